"""Submitted work as tests state it, and judges of all manners."""

from collections.abc import Callable
from typing import Any

import attrs

from p2pool.drivers.chain.validator.work import Piece, PieceState
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.validator.judging.judge import SubmittedWork, WorkVerdict

POOL = PoolRef(31337, Address(b"c" * 20), 7)
NODE = NodeId(b"n" * 20)
PROVIDER = Address(b"p" * 20)


def piece(number: int = 1, **changes: Any) -> Piece:
    """A piece of the node, as the chain tells it."""
    made = Piece(
        key=bytes([number] * 32),
        provider=PROVIDER,
        node_id=NODE,
        units=12,
        block=100 + number,
        state=PieceState.SUBMITTED,
    )
    return attrs.evolve(made, **changes)


def work(number: int = 1, **changes: Any) -> SubmittedWork:
    """The same, as a judge gets it."""
    made = SubmittedWork(
        pool=POOL,
        node_id=NODE,
        provider=PROVIDER,
        key=bytes([number] * 32),
        units=12,
        block=100 + number,
    )
    return attrs.evolve(made, **changes)


@attrs.define
class Judge:
    """Answers by a function, and remembers what it was asked about."""

    says: Callable[[SubmittedWork], Any]
    asked: list[bytes] = attrs.field(factory=list)

    def judge(self, asked: SubmittedWork) -> WorkVerdict:
        """As the function says."""
        self.asked.append(asked.key)
        found: WorkVerdict = self.says(asked)
        return found
