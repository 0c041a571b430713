"""The result of checking a machine: one line for each thing that a pool depends on.

A check says what it found, what is needed and, unless it passed, what to do. `fail` keeps a node
out of a pool, or its tasks from running; `warn` informs and stops nothing.
"""

from collections.abc import Iterable
from enum import IntEnum, StrEnum

import attrs


class Verdict(IntEnum):
    """A check's result; larger is worse."""

    PASS = 0
    WARN = 1
    FAIL = 2


class Group(StrEnum):
    """The subject of a check."""

    HARDWARE = "hardware"
    SOFTWARE = "software"
    NETWORK = "network"
    CHAIN = "chain"


@attrs.frozen
class Check:
    """One check. `todo` is the next step, empty if it passed."""

    group: Group
    name: str
    verdict: Verdict
    found: str
    needed: str = ""
    todo: str = ""


def worst(checks: Iterable[Check]) -> Verdict:
    """The worst verdict among them; no checks count as passed."""
    return max((check.verdict for check in checks), default=Verdict.PASS)
