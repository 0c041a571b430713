"""An agent's own way into its pool: the steps it takes itself, and the ones it reports waiting for.

With the provider's key the agent takes every step (stake, registration, joining). Without it, the
agent says what the provider, the validator and the manager have to do. Either way it continues as
soon as somebody has done it. An invite comes by the API, from a peer that keeps one, or in the data
directory's `invite.json`.
Source: docs/design/chain.md, "Joining".
"""

from p2pool.agent.effect_runner import EffectRunner
from p2pool.agent.join.qualification import wait_qualified
from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_driver import INVITE_FILE_NAME, drive_joining, find_in_file
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.chain.writer import KeyWriter
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Conflict
from p2pool.model.ports.runtime import ContainerRuntime

log = get_logger(__name__)

UNITS_PER_GPU = 1000


async def join_pool(
    options: AgentOptions,
    loop: Loop,
    effects: EffectRunner,
    chain: PoolContracts,
    runtime: ContainerRuntime,
) -> None:
    """Walk into the pool, logging each step once; return when the node is in it.

    A machine that does not qualify stays out, unless its owner asked to join all the same.
    """
    node = loop.node
    while node.parts.machine.hardware is None:
        await loop.wait_stepped()
    if not options.skip_checks and not node.context.roster.belongs(node.context.me):
        await wait_qualified(options, runtime)
    writer = KeyWriter(chain.rpc, options.provider) if options.provider is not None else None

    async def find_invite() -> Invite | None:
        filed = await find_in_file(options.directory / INVITE_FILE_NAME)
        known = [invite for invite in (effects.invite, filed) if invite is not None]
        return max(known, key=lambda invite: invite.expiration_s, default=None)

    async def wait_invited() -> None:
        known = effects.invite
        while effects.invite == known:
            await loop.wait_stepped()

    units = max(1, UNITS_PER_GPU * len(node.parts.machine.hardware.gpus))
    joining = Joining(
        chain=chain,
        pool_id=node.context.config.pool.pool_id,
        node=options.node,
        units=units,
        find_invite=find_invite,
        writer=writer,
    )
    try:
        await drive_joining(joining, _say, wake=wait_invited)
    except Conflict as error:
        log.error("this node cannot join the pool", reason=str(error))


def _say(step: JoinStep) -> None:
    say = log.info if step.progress is not Progress.WAITING else log.warning
    say(
        "joining the pool",
        step=step.name,
        progress=step.progress.value,
        detail=step.detail,
        waiting_on=step.waiting_on,
    )
