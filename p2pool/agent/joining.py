"""An agent's own way into its pool: what it does by itself, and what it says that it waits for.

With the provider's key the agent walks the whole way (stake, registration, joining); without it, it
says what the provider, the validator and the manager have to do. Either way it goes on as soon as
somebody did it. Source: `design/chain.md` (flow of a node into a pool).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pool.agent.loop import Loop
from p2pool.agent.wiring import Wiring
from p2pool.drivers.chain.actions import Chain
from p2pool.drivers.chain.join import Joining, Progress
from p2pool.drivers.chain.writer import KeyWriter
from p2pool.drivers.logs import get_logger
from p2pool.model.chain import Invite
from p2pool.model.errors import TransactionFailed

if TYPE_CHECKING:
    from p2pool.agent.agent import AgentOptions

log = get_logger(__name__)

UNITS_PER_GPU = 1000


async def join_pool(options: AgentOptions, loop: Loop, wiring: Wiring, chain: Chain) -> None:
    """Walk into the pool, saying each step once; returns when the node is in it."""
    node = loop.node
    while node.hardware is None:
        await loop.wait_stepped()
    writer = KeyWriter(chain.rpc, options.provider) if options.provider is not None else None

    async def find_invite() -> Invite | None:
        return wiring.invite

    units = max(1, UNITS_PER_GPU * len(node.hardware.gpus))
    joining = Joining(
        chain, node.context.config.pool.pool_id, options.node, units, find_invite, writer
    )
    try:
        async for step in joining.steps():
            say = log.info if step.progress is not Progress.WAITING else log.warning
            say(
                "joining the pool", step=step.name, progress=step.progress.value,
                detail=step.detail, waiting_on=step.waiting_on,
            )  # fmt: skip
    except TransactionFailed as error:
        log.error("this node cannot join the pool", reason=str(error))
