"""A node of a pool that runs gets another peer key, and loses neither its work nor its seat."""

from pathlib import Path

from tests.e2e.harness.actions import ENDLESS, Acting


async def test_a_voter_is_another_peer_and_goes_on(pool_directory: Path) -> None:
    """Its containers run on meanwhile, the pool takes its seat back and gives it one again."""
    acting = Acting.on(pool_directory)
    await acting.pool.wait_committee(3)
    leader = (await acting.agents[0].get("/v1/leader"))["leader"]["node_id"]
    node = next(agent for agent in acting.agents if agent.node_id != leader)
    other = next(agent for agent in acting.agents if agent is not node)
    task = acting.submit(other, "stays", ENDLESS, "--replicas", "3")
    before = await acting.wait_states(other, task, "running", "running", "running")
    containers = await acting.containers(node)
    peer = (await node.get("/v1/agent"))["agent"]["peer_id"]

    await acting.kill(node)
    words = ("--data-dir", str(node.directory))
    told = acting.run(node, "node", "rotate-peer-key", *words)
    assert (told["old"], told["node_id"], told["voters"]) == (peer, node.node_id, 3)
    await acting.start(node)
    assert (await node.get("/v1/agent"))["agent"]["peer_id"] == told["new"]

    async def seated() -> bool:
        members = (await other.get("/v1/committee"))["committee"]["members"]
        voters = {one["node_id"]: one["peer_id"] for one in members if one["voter"]}
        return len(voters) == 3 and voters.get(node.node_id) == told["new"]

    await acting.pool.wait("a seat for the new peer", seated)
    after = await acting.wait_states(other, task, "running", "running", "running")
    assert await acting.containers(node) == containers
    assert {(c["id"], c["attempt"]) for c in after} == {(c["id"], c["attempt"]) for c in before}
    await acting.stop_task(other, task)
