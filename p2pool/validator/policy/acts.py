"""What a validator does about a node, and what became of it.

Intuition: an act is decided once and carried out later, perhaps by another run of the process. So
it has an id that follows from what it is about and not from when it was decided: whoever decides it
again has the same act in hand.

Invariants: the id covers kind, node, provider and findings, and nothing else; a slash carries it as
its reason, so the chain itself knows each slash by it.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property

import attrs

from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.findings import WrongPiece

DOMAIN = b"p2pool/validator-act/1\x00"


class ActKind(StrEnum):
    """What is done, mildest first."""

    VALIDATE = "validate"
    """The node may enter pools."""
    INVALIDATE = "invalidate"
    """Softly: it loses its validation, and may get it back as it is."""
    REMOVE = "remove"
    """Hard: it leaves the registry too, and comes back as a stranger."""
    SLASH = "slash"
    """Its provider loses a part of its stake for good."""
    TAKE_BACK = "take_back"
    """Units of one piece of work count no more; it changes nothing else for the node."""


STANDING = (ActKind.VALIDATE, ActKind.INVALIDATE, ActKind.REMOVE)
"""The acts that change where a node stands."""


class ActState(StrEnum):
    """What became of an act."""

    PLANNED = "planned"
    """Decided, and perhaps sent: nobody has seen it in a block."""
    DONE = "done"
    """In a block, or the chain was so already."""
    REFUSED = "refused"
    """The chain will not have it; it is not tried again."""
    SHOWN = "shown"
    """Of a dry run: told, and not sent."""


@attrs.frozen(kw_only=True)
class Act:
    """Something to do. `findings`: the ids of those that it answers, sorted. `reserve_wei`: the
    most that it may cost. `amount_wei`: of a slash; `piece`: of work that is taken back."""

    kind: ActKind
    node_id: NodeId
    provider: Address
    findings: tuple[bytes, ...]
    at_ms: int
    reserve_wei: int
    amount_wei: int = 0
    piece: WrongPiece | None = None

    @cached_property
    def act_id(self) -> bytes:
        """What it is about, in 32 bytes."""
        told = hashlib.sha256(DOMAIN)
        told.update(self.kind.encode().ljust(16, b"\x00"))
        told.update(bytes(self.node_id) + bytes(self.provider))
        for one in self.findings:
            told.update(len(one).to_bytes(2, "big") + one)
        return told.digest()


def sorted_ids(findings: Iterable[bytes]) -> tuple[bytes, ...]:
    """Each once, in an order that does not depend on who counted."""
    return tuple(sorted(set(findings)))


@attrs.frozen(kw_only=True)
class TakenAct:
    """An act, and what became of it. `spent_wei`: what it cost, once it is over."""

    act: Act
    state: ActState
    spent_wei: int = 0
    transaction: str = ""
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it may be on its way still."""
        return self.state is ActState.PLANNED
