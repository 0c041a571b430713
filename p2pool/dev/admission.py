"""The validator and manager of a development pool: they admit everyone who asks, by
transactions."""

import trio

from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import Deployment
from p2pool.drivers.chain.consent import ManagerSigner
from p2pool.model.ids import NodeId

POLL_S = 0.2
INVITE_LIFETIME_S = 600


async def admit(
    deployment: Deployment, manager: ManagerSigner, pool_id: int, agents: list[DevAgent]
) -> None:
    """Whitelist, validate and invite until all nodes are in the pool."""
    invited: set[str] = set()
    waiting = {agent.node_id: agent for agent in agents}
    while waiting:
        for name, agent in tuple(waiting.items()):
            if await _bring_on(deployment, manager, pool_id, agent, invited):
                del waiting[name]
        await trio.sleep(POLL_S)


async def _bring_on(
    deployment: Deployment,
    manager: ManagerSigner,
    pool_id: int,
    agent: DevAgent,
    invited: set[str],
) -> bool:
    """Do the next step that this node waits for; True once it is in the pool."""
    chain, node_id = deployment.chain, NodeId(bytes.fromhex(agent.node_id[2:]))
    provider = agent.provider
    if not await chain.whitelisted(provider):
        if await chain.provider_exists(provider):
            await chain.whitelist(deployment.federator, provider)
        return False
    node = await chain.node(node_id)
    if node is None:
        return False
    if not node.validated:
        await chain.validate_node(deployment.federator, provider, node_id)
        return False
    if agent.node_id not in invited:
        block = await chain.rpc.request("eth_getBlockByNumber", "latest", False)
        until_s = int(block["timestamp"], 16) + INVITE_LIFETIME_S
        invite = manager.sign_invite(deployment.domain_id, pool_id, node_id, until_s)
        await trio.to_thread.run_sync(lambda: agent.client().invite(invite))
        invited.add(agent.node_id)
    return await chain.in_pool(pool_id, node_id)
