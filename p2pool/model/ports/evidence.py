"""Verdicts of validators, and documents of evidence, as an agent's API reads them."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import attrs

from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.validation.verdict import SignedVerdict

VerdictPlace = tuple[NodeId, Address]
"""A node, and the validator that judged it."""


@attrs.frozen
class VerdictView:
    """A verdict. `confirmed`: whether the chain has said since the agent's start that its account
    is a validator."""

    signed: SignedVerdict
    confirmed: bool

    @property
    def place(self) -> VerdictPlace:
        """Where it stands among the others."""
        return self.signed.verdict.node_id, self.signed.verdict.validator


class VerdictTable:
    """Verdicts, by node and validator. This one holds them ready; an agent's own makes each when it
    is read."""

    def __init__(self, verdicts: Iterable[VerdictView] = ()) -> None:
        """In any order."""
        self._verdicts = tuple(sorted(verdicts, key=lambda one: one.place))

    def behind(self, place: VerdictPlace | None) -> Iterator[VerdictView]:
        """Those behind a place, in order; None: all."""
        return (one for one in self._verdicts if place is None or one.place > place)

    def of_node(self, node_id: NodeId) -> Iterator[VerdictView]:
        """Those on one node, in order."""
        return (one for one in self._verdicts if one.place[0] == node_id)


class EvidenceKeeper(Protocol):
    """The documents that an agent keeps, or can get."""

    def is_here(self, digest: Digest) -> bool:
        """Whether this agent keeps the document."""
        ...

    def contradicts(self, digest: Digest) -> Digest | None:
        """Another document that this agent keeps, by the same validator on the same challenge."""
        ...

    async def document(self, digest: Digest) -> bytes:
        """The document's bytes, from here or from a member that has them. NotFound: none of those
        that were asked has it; Unavailable, Overloaded: it may be had later."""
        ...
