"""An agent's own way into its pool: the steps it takes itself, and the ones it reports waiting for.

With the provider's key the agent takes every step (stake, registration, joining). Without it, the
agent says what the provider, the validator and the manager have to do. Either way it continues as
soon as somebody has done it, and begins again when the node has left or was put out. An invite
comes by the API, from a peer that keeps one, or in the data directory's `invite.json`.

Invariants: what the log says once, `agent status` says as long as it holds.
Source: docs/design/chain.md, "Joining".
"""

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.effect_runner import EffectRunner
from p2pool.agent.join.qualification import wait_qualified
from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.codec.text.amounts import GWEI
from p2pool.core.inputs import JoiningTold
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_driver import INVITE_FILE_NAME, drive_joining, find_in_file
from p2pool.drivers.chain.join_steps import STAKED, Joining, JoinStep, Progress
from p2pool.drivers.chain.provider.ways import compute_units
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.record import Delay
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.dates import utc
from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Conflict, Misconfigured, P2poolError, Unavailable
from p2pool.model.ids import Address
from p2pool.model.ports.agent import JoinStatus
from p2pool.model.ports.runtime import ContainerRuntime

log = get_logger(__name__)


async def join_pool(
    options: AgentOptions,
    loop: Loop,
    effects: EffectRunner,
    chain: PoolContracts,
    runtime: ContainerRuntime,
    writer: KeyWriter | None,
    told: "JoiningReport",
) -> None:
    """Walk into the pool, and again whenever the node is out of it, until cancelled. Once the pool
    has ended it says so, and takes no more steps.

    A machine that does not qualify stays out, unless its owner asked to join all the same.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        if writer is not None:
            nursery.start_soon(_settle, writer)
        node = loop.node
        while node.parts.machine.hardware is None:
            await loop.wait_stepped()
        if not options.skip_checks and not node.context.roster.belongs(node.context.me):
            await wait_qualified(options, runtime, told.say)
        joining = _joining(options, loop, effects, chain, writer)
        nursery.start_soon(top_up, joining, loop, told)
        try:
            await stay_in_pool(joining, loop, effects, told)
        except Conflict as error:
            log.error("this node cannot join the pool", reason=str(error))
            told.say(f"It cannot join: {error}")
            await trio.sleep_forever()


async def stay_in_pool(
    joining: Joining, loop: Loop, effects: EffectRunner, told: "JoiningReport"
) -> None:
    """Join, each time that this node is not in the pool. Raises only `Conflict`."""
    roster, me = loop.node.context.roster, loop.node.context.me

    async def wait_invited() -> None:
        known = effects.invite
        while effects.invite == known:
            await loop.wait_stepped()

    while True:
        await drive_joining(joining, told.step, wake=wait_invited)
        told.say("It has joined; blocks have to confirm that.")
        # The roster follows the chain some blocks behind. Whoever left meanwhile looks again.
        with trio.move_on_after(limits.JOIN_POLL_MAX_MS / 1000):
            while not roster.belongs(me):
                await loop.wait_stepped()
        told.say(None)
        while roster.belongs(me):
            await loop.wait_stepped()
        log.warning("this node is out of the pool: it waits for a new invite")


def provider_writer(
    options: AgentOptions, chain: PoolContracts, told: "JoiningReport"
) -> KeyWriter | None:
    """Sends for the provider, if this agent has its key; what is on its way is kept on disk. All of
    an agent's transactions go through one."""
    account = options.provider
    if account is None:
        return None
    config = options.config.chain
    sender = Address(bytes.fromhex(account.address[2:]))
    return KeyWriter(
        chain.rpc,
        account,
        journal=FileJournal.of(options.directory, config.id, sender),
        fee_max_wei=config.fee_max_gwei * GWEI,
        tell=told.delay,
    )


async def _settle(writer: KeyWriter) -> None:
    """Go on with what was on its way when the agent ended; `agent status` names it meanwhile."""
    said = False
    while True:
        try:
            return await writer.settle()
        except (Unavailable, Misconfigured) as error:
            if not said:
                log.warning("a transaction from before is in no block yet", why=error.message)
            said = True
        await trio.sleep(limits.JOIN_POLL_MAX_MS / 1000)


async def top_up(joining: Joining, loop: Loop, told: "JoiningReport") -> None:
    """Add what a slash took of the provider's stake, once, where its owner allows that. A node that
    is out of the pool adds it on its way in."""
    roster, me = loop.node.context.roster, loop.node.context.me
    while not roster.known:
        await loop.wait_stepped()
    while roster.belongs(me):
        try:
            step = await joining.top_up()
        except (P2poolError, Reverted) as error:
            log.warning("the provider's stake was not added to", why=str(error))
            await trio.sleep(limits.PROVIDER_POLL_MS / 1000)
            continue
        if step is None:
            return
        told.step(step)
        if step.name == STAKED:
            told.say(None)
            return


def _joining(
    options: AgentOptions,
    loop: Loop,
    effects: EffectRunner,
    chain: PoolContracts,
    writer: KeyWriter | None,
) -> Joining:
    async def find_invite() -> Invite | None:
        filed = await find_in_file(options.directory / INVITE_FILE_NAME)
        known = [invite for invite in (effects.invite, filed) if invite is not None]
        fresh = [invite for invite in known if invite not in joining.refused]
        return max(fresh or known, key=lambda invite: invite.expiration_s, default=None)

    hardware = loop.node.parts.machine.hardware
    assert hardware is not None
    joining = Joining(
        chain=chain,
        pool_id=loop.node.context.config.pool.pool_id,
        node=options.node,
        units=compute_units(len(hardware.gpus)),
        find_invite=find_invite,
        writer=writer,
        stake=options.stake,
    )
    return joining


@attrs.define
class JoiningReport:
    """Where this node is on its way, for the log once and for `agent status` until it changes."""

    loop: Loop
    text: str | None = None
    status: JoinStatus | None = None
    """The step that the way is at, for the API; None once the node is in the pool."""
    stuck: str | None = None
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """Hand each change to the node, the last one surely."""
        while True:
            await self.changed.wait()
            self.changed = trio.Event()
            await self.loop.put(JoiningTold(self.text, self.stuck))

    def say(self, text: str | None, status: JoinStatus | None = None) -> None:
        """What holds from now on."""
        self.text, self.status = text, status
        self.changed.set()

    def delay(self, delay: Delay | None) -> None:
        """A transaction is in no block for long; None: it is."""
        if delay is not None and self.stuck is None:
            log.warning("a transaction is stuck", what=delay.text())
        self.stuck = delay.text() if delay is not None else None
        self.changed.set()

    def step(self, step: JoinStep) -> None:
        """A step that was taken, or a wait that began."""
        say = log.info if step.progress is not Progress.WAITING else log.warning
        say(
            "joining the pool",
            step=step.name,
            progress=step.progress.value,
            detail=step.detail,
            waiting_on=step.waiting_on,
            command=step.command,
        )
        status = JoinStatus(
            step=step.name,
            progress=step.progress.value,
            finding=step.detail,
            waiting_on=step.waiting_on,
            command=step.command,
            since_ms=read_clock().wall_ms,
        )
        self.say(joining_text(status), status)


def joining_text(status: JoinStatus) -> str:
    """The step as a sentence: what is waited for, on whom, since when, and what that person
    runs."""
    detail = f": {status.finding}" if status.finding else ""
    if status.progress != Progress.WAITING:
        return f"It takes the step {status.step!r}{detail}."
    run = f" They run: {status.command}." if status.command else ""
    since = utc(status.since_ms // 1000)
    return f"It waits for {status.waiting_on}{detail}.{run} It has waited since {since}."
