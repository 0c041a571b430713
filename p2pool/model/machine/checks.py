"""The result of looking at a machine: one line for each thing that a pool depends on.

A check says what was found, what is needed and, unless it passed, what to do. `fail` keeps a node
out of a pool or its tasks from running; `warn` is worth knowing and stops nothing.
"""

from collections.abc import Iterable
from enum import IntEnum, StrEnum

import attrs


class Verdict(IntEnum):
    """How a check came out; the larger, the worse."""

    PASS = 0
    WARN = 1
    FAIL = 2


class Group(StrEnum):
    """What a check looks at."""

    HARDWARE = "hardware"
    SOFTWARE = "software"
    NETWORK = "network"
    CHAIN = "chain"


@attrs.frozen
class Check:
    """One thing that was looked at. `todo` is what to do, empty where it passed."""

    group: Group
    name: str
    verdict: Verdict
    found: str
    needed: str = ""
    todo: str = ""


def worst(checks: Iterable[Check]) -> Verdict:
    """The worst verdict among them; none at all passes."""
    return max((check.verdict for check in checks), default=Verdict.PASS)
