"""One piece of work on its way to the chain: what the chain says of it, and the plan that is left.

Invariants: a piece that stands on the chain is never submitted again; what nobody can say is no
reason to send, nor to give up. What a contract refuses for good ends the piece; a pause of the
contracts, an empty account and a node that is not in the pool yet pass.
"""

from collections.abc import Sequence

import attrs

from p2pool.agent.work.journal import Piece, PieceState
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.conduct import send_ready
from p2pool.drivers.chain.provider.plan import Plan
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import CannotPay, KeyWriter
from p2pool.drivers.chain.validator.work import PieceState as ChainState
from p2pool.drivers.chain.validator.work import PoolWork, Submission, submit_plan, work_of
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import Address, NodeId

PASSING = ("EnforcedPause", "PoolNotActive", "NodeNotInPool")
"""Refusals that time or somebody else ends."""


@attrs.frozen
class Found:
    """What the chain says of a piece. `over`: the piece, if it needs nothing any more; else `plan`
    submits it. `judged`: whether anybody judges work in the pool's domain."""

    judged: bool
    over: Piece | None
    plan: Plan | None


@attrs.frozen
class Submitter:
    """Submits the pieces of one node for its provider."""

    chain: PoolContracts
    pool_id: int
    node_id: NodeId

    async def look(self, piece: Piece, account: Address) -> Found:
        """Raises what a command would tell: P2poolError."""
        reader = await Reader.at_head(self.chain)
        pool = await reader.pool(self.pool_id, account)
        node = await reader.node(self.pool_id, self.node_id)
        work = await work_of(reader, self.pool_id, pool.need().domain_id)
        judged = not work.judge.is_absent
        over = self._stands(piece, work)
        if over is not None:
            return Found(judged, over, None)
        asked = Submission(piece.key, piece.units)
        return Found(judged, None, submit_plan(self.chain.at, pool, node, work, asked, account))

    def _stands(self, piece: Piece, work: PoolWork) -> Piece | None:
        """The piece as it is over, if the chain has its key."""
        known = work.past.need("list of work").pieces.get(piece.key)
        if known is None:
            return None
        if known.node_id != self.node_id:
            why = f"another node's work has this key since block {known.block}"
            return attrs.evolve(piece, state=PieceState.REFUSED, why=why)
        if known.state is not ChainState.SUBMITTED:
            why = f"the chain has it as {known.state} since block {known.block}"
            return attrs.evolve(piece, state=PieceState.REFUSED, why=why)
        why = f"it stands on the chain since block {known.block}"
        return attrs.evolve(piece, state=PieceState.SUBMITTED, why=why)

    async def taken_back(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those of some submitted pieces that a validator has taken back since."""
        reader = await Reader.at_head(self.chain)
        pool = await reader.pool(self.pool_id)
        work = await work_of(reader, self.pool_id, pool.need().domain_id)
        known = work.past.need("list of work").pieces
        found = []
        for piece in pieces:
            now = known.get(piece.key)
            if now is not None and now.state is not ChainState.SUBMITTED:
                why = f"a validator took it back ({now.state}) in block {now.block}"
                found.append(attrs.evolve(piece, state=PieceState.INVALIDATED, why=why))
        return found

    async def submit(self, piece: Piece, writer: KeyWriter) -> tuple[Found, Piece]:
        """The piece as it is over, once a block has it. Raises what may pass."""
        counted = await writer.count()
        found = await self.look(piece, writer.address)
        if found.over is not None or found.plan is None:
            return found, found.over or piece
        try:
            done = await send_ready(found.plan, writer, counted)
        except TransactionFailed as refused:
            if may_pass(refused):
                raise
            return found, attrs.evolve(piece, state=PieceState.REFUSED, why=refused.message)
        sent = done[-1].sent.transaction_hash
        return found, attrs.evolve(piece, state=PieceState.SUBMITTED, transaction=sent, why="")


def may_pass(refused: TransactionFailed) -> bool:
    """Whether the same may be taken later."""
    if isinstance(refused, CannotPay):
        return True
    cause = refused.__cause__
    return not isinstance(cause, Reverted) or cause_of(cause) in PASSING
