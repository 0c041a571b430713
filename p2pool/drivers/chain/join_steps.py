"""A node's way into a pool, step by step: what it does, what it waits for, and on whom.

Every step is idempotent: it reads first and does only what is missing, so the way can be repeated
at any time, after a crash or from another machine with the same keys. Each look makes the whole
rest of the way as a plan, and takes its first step: `p2pool agent run --dry-run` shows that plan.
Without the provider's account the node sends nothing: the plan is its provider's, and what could be
sent waits for that.

stake -> registered -> whitelisted -> node registered -> node validated -> invited -> joined
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.consent import sign_consent
from p2pool.drivers.chain.contracts import NOBODY, PoolContracts
from p2pool.drivers.chain.provider.entry_plans import invite_wait
from p2pool.drivers.chain.provider.plan import Call, Plan, Step, Wait
from p2pool.drivers.chain.provider.provider_plans import stake_plan
from p2pool.drivers.chain.provider.reads import Reader, read_stake
from p2pool.drivers.chain.provider.ways import Candidate, Ways
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.stakes import StakePolicy
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import Writer
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import (
    ChainUnavailable,
    FeesTooHigh,
    NotAllowed,
    TransactionFailed,
    TransactionStuck,
)
from p2pool.model.ids import Address, NodeId
from p2pool.wire.evm.key_signer import AnySigner

BAD_INVITES = ("InviteExpired", "InviteUsed", "BadInviteSignature")
"""Refusals that a new invite resolves."""

STAKE, STAKED = "stake", "staked"
"""The wait for stake that nobody allowed or a slash took, and the step that adds it."""

FindInvite = Callable[[], Awaitable[Invite | None]]
"""Finds an invite for this node: stored, given, or requested from peers."""


class Progress(StrEnum):
    """A step's progress."""

    DONE = "done"
    DOING = "doing"
    WAITING = "waiting"


@attrs.frozen
class JoinStep:
    """One step: its name, its progress, the finding, and who has to act if it waits, by which
    command."""

    name: str
    progress: Progress
    detail: str = ""
    waiting_on: str = ""
    command: str = ""


@attrs.define
class Joining:
    """One node's way into one pool. `writer` None: this machine has no provider key.
    `stake`: what its owner allows to be staked."""

    chain: PoolContracts
    pool_id: int
    node: AnySigner
    units: int
    find_invite: FindInvite
    writer: Writer | None = None
    stake: StakePolicy = StakePolicy()
    poll_s: float = limits.JOIN_STEP_POLL_MS / 1000
    refused: BoundedDict[Invite, None] = attrs.field(
        factory=lambda: BoundedDict(limits.JOIN_REFUSED_MAX)
    )
    """Invites that the chain took once or will not take: another one is looked for."""
    consents: dict[Address, bytes] = attrs.field(factory=dict)
    """By provider: this process has one, and its node's key is asked once."""
    offered: Invite | None = None
    """The invite that the last plan was made with."""

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
            whom = "a block to take what it has sent"
            return JoinStep("transaction", Progress.WAITING, error.message, whom)
        except FeesTooHigh as error:
            return JoinStep("fees", Progress.WAITING, error.message, "gas to cost less")
        except ChainUnavailable as error:
            return JoinStep("chain", Progress.WAITING, error.message, "an RPC endpoint")

    async def plan(self, provider: Address) -> Plan:
        """The whole rest of the way, with this provider's account."""
        ways = await Ways.at_head(self.chain, provider)

        async def consent() -> bytes:
            if provider not in self.consents:
                # A signer may wait for a person.
                self.consents[provider] = await trio.to_thread.run_sync(
                    sign_consent, self.node, provider, abandon_on_cancel=True
                )
            return self.consents[provider]

        async def find_invite(_: NodeId) -> Invite | None:
            self.offered = await self.find_invite()
            return self.offered

        return await ways.into_pool(
            self.pool_id,
            [Candidate(self.node_id, self.units, consent)],
            find_invite,
            stake_max_wei=self.stake.most_wei if self.writer is not None else None,
            refused=lambda invite: self.refused.renew(invite, None),
        )

    async def _walk(self) -> JoinStep:
        """Take the first missing step, or report a wait."""
        if self.writer is None:
            return await self._for_provider()
        try:
            plan = await self.plan(self.writer.address)
        except NotAllowed as beyond:
            stake = await read_stake(self.chain, self.writer.address, self.units)
            return JoinStep(
                name=STAKE,
                progress=Progress.WAITING,
                detail=stake.over(self.stake) or beyond.message,
                waiting_on=stake.whom(),
                command=stake.allowing(),
            )
        if not plan.steps:
            return self._joined()
        return await self._take(self.writer, plan.steps[0])

    async def _take(self, writer: Writer, step: Step) -> JoinStep:
        """Send a call, or report a wait."""
        if isinstance(step, Wait):
            topped = await self.top_up() if step.name == STAKE else None
            return topped or waiting_step(step)
        assert isinstance(step, Call), "what lacks something stands behind a wait"
        try:
            sent = await writer.send(step.to, step.function, *step.arguments)
        except TransactionFailed as refused:
            cause = refused.__cause__
            bad = isinstance(cause, Reverted) and cause_of(cause) in BAD_INVITES
            if step.name != "joined" or not bad:
                raise
            self._refuse_offered()
            return await self._uninvited(refused.message)
        if step.name == "joined":
            self._refuse_offered()  # It is good for one join.
        return JoinStep(
            step.name, Progress.DOING, f"{step.purpose} Transaction {sent.transaction_hash}"
        )

    async def top_up(self) -> JoinStep | None:
        """Add what a slash took of the provider's stake, where its owner allows that; None: there
        is nothing to add, or nobody who may. Raises what `next_step` raises."""
        if self.writer is None or not self.stake.top_up:
            return None
        account = self.writer.address
        if (await read_stake(self.chain, account)).over(self.stake) is not None:
            return None
        facts = await (await Reader.at_head(self.chain)).provider(account)
        if not facts.is_registered:
            return None
        steps = stake_plan(self.chain.at, facts).steps
        return await self._take(self.writer, steps[0]) if steps else None

    def _refuse_offered(self) -> None:
        """The invite was used, or is not taken: look for another one."""
        if self.offered is not None:
            self.refused.renew(self.offered, None)

    async def _uninvited(self, why: str) -> JoinStep:
        """Another invite is needed."""
        pool = await self.chain.pool(self.pool_id)
        return waiting_step(invite_wait(pool, self.node_id, why))

    async def _for_provider(self) -> JoinStep:
        """What others have to do for a node whose agent has no provider key: the waits of its
        provider's own plan, and where that could send, the provider itself."""
        if await self.chain.in_pool(self.pool_id, self.node_id):
            return self._joined()
        node = await self.chain.node(self.node_id)
        if node is None:
            ways = await Ways.at_head(self.chain, NOBODY)
            waits = await ways.of_a_stranger(self.pool_id, self.node_id, self.units)
            return waiting_step(waits[0])
        plan = await self.plan(node.provider)
        if not plan.steps:
            return self._joined()
        if isinstance(plan.steps[0], Wait):
            return waiting_step(plan.steps[0])
        return JoinStep(
            name="joined",
            progress=Progress.WAITING,
            detail="the node is in no pool, and the manager has invited it",
            waiting_on=f"its provider {address_text(node.provider)}, who takes it in",
            command=f"p2pool pool join {address_text(self.node_id)} --invite FILE",
        )

    def _joined(self) -> JoinStep:
        return JoinStep("joined", Progress.DONE, f"{address_text(self.node_id)} is in the pool")


def waiting_step(wait: Wait) -> JoinStep:
    """A plan's wait, as a step."""
    return JoinStep(
        name=wait.name,
        progress=Progress.WAITING,
        detail=wait.finding,
        waiting_on=wait.whom,
        command=wait.command,
    )
