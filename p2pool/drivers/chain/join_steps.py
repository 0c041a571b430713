"""A node's way into a pool, step by step: what it does, what it waits for, and on whom.

Every step is idempotent: it reads first and does only what is missing, so the way can be repeated
at any time, after a crash or from another machine with the same keys. Without the provider's
account the node sends nothing: the steps that need the account wait for the provider.

stake -> registered -> whitelisted -> node registered -> node validated -> invited -> joined
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.consent import is_well_formed
from p2pool.drivers.chain.contracts import NodeInfo, PoolContracts, PoolInfo
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.stakes import StakePolicy, read_stake
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import Writer
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import (
    ChainUnavailable,
    Conflict,
    FeesTooHigh,
    TransactionFailed,
    TransactionStuck,
)
from p2pool.model.ids import Address, NodeId
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

BAD_INVITES = ("InviteExpired", "InviteUsed", "BadInviteSignature")
"""Refusals that a new invite resolves."""

STAKED = "staked"

FindInvite = Callable[[], Awaitable[Invite | None]]
"""Finds an invite for this node: stored, given, or requested from peers."""


class Progress(StrEnum):
    """A step's progress."""

    DONE = "done"
    DOING = "doing"
    WAITING = "waiting"


@attrs.frozen
class JoinStep:
    """One step: its name, its progress, the finding, and who has to act if it waits."""

    name: str
    progress: Progress
    detail: str = ""
    waiting_on: str = ""


@attrs.define
class Joining:
    """One node's way into one pool. `writer` None: this machine has no provider key."""

    chain: PoolContracts
    pool_id: int
    node: "LocalAccount"
    units: int
    find_invite: FindInvite
    writer: Writer | None = None
    stake: StakePolicy = StakePolicy()
    poll_s: float = limits.JOIN_STEP_POLL_MS / 1000
    refused: BoundedDict[Invite, None] = attrs.field(
        factory=lambda: BoundedDict(limits.JOIN_REFUSED_MAX)
    )
    """Invites that the chain took once or will not take: another one is looked for."""

    @property
    def node_id(self) -> NodeId:
        """The node's id."""
        return NodeId(bytes.fromhex(self.node.address[2:]))

    async def steps(self) -> AsyncIterator[JoinStep]:
        """Take the steps in order; ends once the node is in the pool.

        A waiting step is yielded once and looked at again every `poll_s`; an unreachable chain is a
        wait too. Raises what `next_step` raises: `drive_joining` goes on.
        """
        said: JoinStep | None = None
        while True:
            step = await self.next_step()
            if step != said:
                said = step
                yield step
            if step.name == "joined" and step.progress is Progress.DONE:
                return
            if step.progress is Progress.WAITING:
                await trio.sleep(self.poll_s)

    async def next_step(self) -> JoinStep:
        """Take the next step, or report a wait; an unreachable chain is a wait too.

        Raises `TransactionFailed` and `Reverted` for a refusal by the chain, `NotFound` and
        `WrongChain` for what does not exist, `Conflict` once the pool has ended.
        """
        try:
            return await self._walk()
        except TransactionStuck as error:
            return JoinStep(
                "transaction", Progress.WAITING, error.message, "a block to take what it has sent"
            )
        except FeesTooHigh as error:
            return JoinStep("fees", Progress.WAITING, error.message, "gas to cost less")
        except ChainUnavailable as error:
            return JoinStep("chain", Progress.WAITING, error.message, "an RPC endpoint")

    async def _walk(self) -> JoinStep:
        """Take the first missing step, or report a wait."""
        if await self.chain.in_pool(self.pool_id, self.node_id):
            if self.writer is not None:
                _check_provider(await self.chain.node(self.node_id), self.writer)
            return JoinStep("joined", Progress.DONE, f"{address_text(self.node_id)} is in the pool")
        # Before any stake: nobody pays for a pool that does not exist, or no longer does.
        pool = await self.chain.pool(self.pool_id)
        if pool.status is PoolStatus.COMPLETED:
            raise Conflict("The pool has ended.", hint="Choose another pool.")
        node = await self.chain.node(self.node_id)
        if self.writer is None:
            return await self._for_provider(node)
        _check_provider(node, self.writer)
        if node is None:
            wait = await self._before_paying(self.writer, pool)
            return wait if wait is not None else await self._register(self.writer)
        if not node.validated:
            return await self._unvalidated(node.provider)
        return await self._enter(self.writer, pool)

    async def top_up(self) -> JoinStep | None:
        """Add what a slash took of the provider's stake, where its owner allows that; None: there
        is nothing to add, or nobody who may. Raises what `next_step` raises."""
        if self.writer is None or not self.stake.top_up:
            return None
        stake = await read_stake(self.chain, self.writer.address)
        registered = await self.chain.provider_exists(self.writer.address)
        if not (registered and stake.missing_wei) or stake.over(self.stake) is not None:
            return None
        return await self._stake(self.writer, True, stake.missing_wei)

    async def _unvalidated(self, provider: Address) -> JoinStep:
        """A validator's turn, unless the stake keeps it from validating."""
        stake = await read_stake(self.chain, provider)
        if (shortage := stake.shortage()) is None:
            return JoinStep(
                "validated", Progress.WAITING, "the node is not validated", "the validator"
            )
        if (step := await self.top_up()) is not None:
            return step
        return JoinStep("stake", Progress.WAITING, shortage, stake.adding())

    async def _for_provider(self, node: NodeInfo | None) -> JoinStep:
        """What others have to do for a node whose agent has no provider key."""
        if node is not None and not node.validated:
            return await self._unvalidated(node.provider)
        if node is None:
            return JoinStep(
                "registered",
                Progress.WAITING,
                "the node is not registered",
                "its provider: run `p2pool agent run --provider-key FILE` once",
            )
        return JoinStep(
            "joined",
            Progress.WAITING,
            "the node is in no pool",
            f"its provider {address_text(node.provider)}, whose key joins it once the manager has"
            " invited it (`p2pool agent run --provider-key FILE`)",
        )

    async def _register(self, writer: Writer) -> JoinStep:
        """Register provider and node; one transaction per call."""
        chain, provider = self.chain, writer.address
        registered = await chain.provider_exists(provider)
        stake = await read_stake(chain, provider, self.units)
        if stake.missing_wei or not registered:
            if (why := stake.over(self.stake)) is not None:
                return JoinStep("stake", Progress.WAITING, why, stake.allowing())
            return await self._stake(writer, registered, stake.missing_wei)
        if not await chain.whitelisted(provider):
            return JoinStep(
                "whitelisted",
                Progress.WAITING,
                f"the provider {address_text(provider)} is not whitelisted",
                "the validator",
            )
        sent = await chain.add_compute_node(writer, self.node, self.units)
        return JoinStep("node registered", Progress.DOING, sent.transaction_hash)

    async def _stake(self, writer: Writer, registered: bool, missing_wei: int) -> JoinStep:
        chain = self.chain
        if await chain.allowance(writer.address) < missing_wei:
            name, sent = "approved", await chain.approve(writer, missing_wei)
        elif registered:
            name, sent = STAKED, await chain.increase_stake(writer, missing_wei)
        else:
            name, sent = "registered", await chain.register_provider(writer, missing_wei)
        return JoinStep(name, Progress.DOING, f"{missing_wei} wei: {sent.transaction_hash}")

    async def _before_paying(self, writer: Writer, pool: PoolInfo) -> JoinStep | None:
        """What to wait for before any stake: a pool that does not run yet may never do, and one
        that takes no node of ours is no reason to pay."""
        if pool.status is PoolStatus.PENDING:
            return _not_started(pool)
        why = await self.chain.barred(pool, writer.address, self.node_id, self.units)
        if why is None:
            return None
        return JoinStep(
            "admitted", Progress.WAITING, why, f"the pool's manager {address_text(pool.manager)}"
        )

    async def _enter(self, writer: Writer, pool: PoolInfo) -> JoinStep:
        if pool.status is PoolStatus.PENDING:
            return _not_started(pool)
        if not await self.chain.whitelisted(writer.address):
            return JoinStep(
                "whitelisted",
                Progress.WAITING,
                "the provider was taken off the whitelist",
                "the validator",
            )
        invite = await self.find_invite()
        if invite is None:
            return self._uninvited(pool, f"no invite for {address_text(self.node_id)} is known")
        if not await self._good(invite, pool):
            self.refused.renew(invite, None)
            return self._uninvited(pool, "the known invite is not valid")
        try:
            sent = await self.chain.join_pool(writer, self.pool_id, invite)
        except TransactionFailed as refused:
            cause = refused.__cause__
            if isinstance(cause, Reverted) and cause_of(cause) in BAD_INVITES:
                self.refused.renew(invite, None)
                return self._uninvited(pool, refused.message)
            raise
        self.refused.renew(invite, None)  # It is good for one join.
        return JoinStep("joined", Progress.DOING, sent.transaction_hash)

    def _uninvited(self, pool: PoolInfo, why: str) -> JoinStep:
        return JoinStep(
            "invited",
            Progress.WAITING,
            why,
            f"the manager {address_text(pool.manager)}: `p2pool pool invite"
            f" {address_text(self.node_id)}`",
        )

    async def _good(self, invite: Invite, pool: PoolInfo) -> bool:
        """Whether an invite is worth a transaction: for us, not expired, and from the manager."""
        wanted = (pool.domain_id, self.pool_id, self.node_id)
        named = (invite.domain_id, invite.pool_id, invite.node_id)
        if named != wanted or not is_well_formed(invite):
            return False
        if invite.expiration_s <= await self.chain.time_s():
            return False
        return await self.chain.invited_by(pool.manager, invite)


def _not_started(pool: PoolInfo) -> JoinStep:
    return JoinStep(
        "pool started",
        Progress.WAITING,
        "the pool is not active",
        f"its creator {address_text(pool.creator)}",
    )


def _check_provider(node: NodeInfo | None, writer: Writer) -> None:
    """`TransactionFailed` for a node of another provider than the one whose key we were given."""
    if node is not None and node.provider != writer.address:
        raise TransactionFailed(
            f"The node is registered by the provider {address_text(node.provider)}.",
            hint="Use that provider's key, or another node key.",
        )
