"""The committee and the chain, each rule as a scenario of real processes."""

import signal

import pytest
import trio

from p2pool.dev.admission import admit
from p2pool.dev.pool import DevAgent
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.access.requests import Action
from p2pool.model.ids import NodeId
from tests.chain.harness import acts
from tests.chaos.fixtures import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.chain]


async def test_committees_that_see_different_blocks(scene: Scene) -> None:
    """The leader's endpoint is stuck, another lags, one is silent, one is gone: all goes on."""
    leader = await scene.leader()
    names = [leader.name, *(a.name for a in scene.others(leader))]
    views = scene.pool.views
    block = (await scene.pool.ask(leader, "/v1/roster"))["roster"]["block_number"]
    views[names[0]].show("stuck", block)
    views[names[1]].show("lag", 12)
    views[names[2]].show("silent")
    views[names[3]].show("down")
    before = await scene.term(leader)

    async def apart_by_blocks() -> bool:
        seen = [
            (await scene.pool.ask(agent, "/v1/roster"))["roster"]["block_number"]
            for agent in scene.pool.agents
        ]
        return bool(max(seen) >= block + 5)

    await scene.until("agents that see different blocks", apart_by_blocks)
    for agent in scene.pool.agents:
        signed, task = scene.user.submission(f"by-{agent.name}")
        await scene.write(agent, signed)
        await scene.until("it running", lambda task=task: scene.running(task))  # type: ignore[misc]
        await scene.write(agent, scene.user.signed(Action.STOP, task))
        roster = (await scene.pool.ask(agent, "/v1/roster"))["roster"]
        assert len(roster["members"]) == len(scene.pool.agents)
    assert await scene.leader() == leader, "nobody was deposed for what its endpoint says"
    assert await scene.term(leader) == before
    committee = (await scene.pool.ask(leader, "/v1/committee"))["committee"]
    assert len([m for m in committee["members"] if m["voter"]]) == len(scene.pool.agents)
    ages = [(await scene.pool.ask(a, "/v1/roster"))["roster"]["age_ms"] for a in scene.pool.agents]
    assert max(ages) > min(ages)
    await scene.pool.wait_healed()


async def test_an_agent_comes_back_without_the_bootstrap_node(scene: Scene) -> None:
    """Who knows peers needs nobody to introduce it."""
    leader = await scene.leader()
    one = scene.others(leader)[0]
    await scene.pool.kill("bootstrap")
    await scene.pool.kill(one.name)
    await scene.pool.start_agent(one)
    await scene.pool.wait_healed()
    await scene.pool.restart_bootstrap()


async def test_only_some_see_that_a_voter_left(scene: Scene) -> None:
    """While most others cannot confirm it, it stays and serves; then it goes, and may come back."""
    pool = scene.pool
    leader = await scene.leader()
    gone, *rest = scene.others(leader)
    deployment = pool._deployment
    assert deployment is not None
    blind = [leader, rest[0]]
    block = (await pool.ask(leader, "/v1/roster"))["roster"]["block_number"]
    for agent in blind:
        pool.views[agent.name].show("stuck", block)
    manager = KeyWriter(deployment.chain.rpc, pool._manager)
    await acts.eject(
        deployment.chain, manager, pool.pool_id, NodeId(bytes.fromhex(gone.node_id[2:]))
    )

    async def members_seen(by: DevAgent) -> int:
        return len((await pool.ask(by, "/v1/roster"))["roster"]["members"])

    async def voters() -> set[str]:
        seen = await pool.ask(rest[1], "/v1/committee")
        return {m["node_id"] for m in seen["committee"]["members"] if m["voter"]}

    async def seen_by_some() -> bool:
        return await members_seen(rest[1]) == await members_seen(rest[2]) == 4

    await scene.until("agents that see it gone", seen_by_some)
    await trio.sleep(5)  # Long enough for a removal, were there nobody to confirm it.
    assert await members_seen(leader) == 5
    assert gone.node_id in await voters()
    signed, task = scene.user.submission("while-they-differ", on=rest[1].node_id)
    for agent in (leader, rest[0], rest[1]):
        await scene.write(agent, signed)
    await scene.until("it running", lambda: scene.running(task))

    for agent in blind:
        pool.views[agent.name].show("pass")

    async def removed() -> bool:
        return gone.node_id not in await voters()

    await scene.until("a committee without it", removed)
    await scene.write(rest[1], scene.user.signed(Action.STOP, task))

    await pool.kill(gone.name, signal.SIGTERM)
    await pool.start_agent(gone)
    with trio.fail_after(120):
        await admit(deployment, KeyManager(pool._manager), pool.pool_id, [gone])
    await pool.wait_healed()
