"""The table of transitions: what follows for a node, by where it stands and what was found.

Intuition: everything that changes a node's standing is said here, row by row, and `decision` runs
this table and nothing beside it. A slash is no transition: it takes stake, wherever the node
stands.

Invariants: the table is whole, and nothing follows for a node that nobody knows.
"""

from collections.abc import Mapping
from enum import StrEnum

from p2pool.validator.policy.acts import ActKind
from p2pool.validator.policy.history import NodeStanding


class Verdict(StrEnum):
    """What the rules make of a node's findings."""

    PASSES = "passes"
    """Often enough, since the last failure."""
    SOFT = "soft"
    """A rule says that it loses its validation."""
    HARD = "hard"
    """A rule says that it leaves the registry."""


TRANSITIONS: Mapping[tuple[NodeStanding, Verdict], ActKind | None] = {
    (NodeStanding.UNKNOWN, Verdict.PASSES): None,
    (NodeStanding.UNKNOWN, Verdict.SOFT): None,
    (NodeStanding.UNKNOWN, Verdict.HARD): None,
    (NodeStanding.ABSENT, Verdict.PASSES): None,
    (NodeStanding.ABSENT, Verdict.SOFT): None,
    (NodeStanding.ABSENT, Verdict.HARD): None,
    (NodeStanding.REGISTERED, Verdict.PASSES): ActKind.VALIDATE,
    (NodeStanding.REGISTERED, Verdict.SOFT): None,
    (NodeStanding.REGISTERED, Verdict.HARD): ActKind.REMOVE,
    (NodeStanding.INVALIDATED, Verdict.PASSES): ActKind.VALIDATE,
    (NodeStanding.INVALIDATED, Verdict.SOFT): None,
    (NodeStanding.INVALIDATED, Verdict.HARD): ActKind.REMOVE,
    (NodeStanding.VALIDATED, Verdict.PASSES): None,
    (NodeStanding.VALIDATED, Verdict.SOFT): ActKind.INVALIDATE,
    (NodeStanding.VALIDATED, Verdict.HARD): ActKind.REMOVE,
}
"""None: nothing to do."""
