"""What users of a pool rely on, on three agents that share an engine: each test leaves it whole."""

import signal
from pathlib import Path

import apsw
import pytest

from p2pool.drivers.config.schema import load_config
from p2pool.drivers.keys.keystore import import_key_file
from p2pool.drivers.store.store import DATABASE_NAME
from tests.cli.output.held import held
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED = 3


async def test_a_killed_agent_finds_its_containers_and_state(pool_directory: Path) -> None:
    """SIGKILL and start: the same containers run on, the same tasks are known, it takes part."""
    acting = Acting.on(pool_directory)
    agent, other = acting.agents[1], acting.agents[0]
    task = acting.submit(other, "kept", ENDLESS, "--replicas", "3")
    await acting.wait_states(other, task, "running", "running", "running")
    before = await acting.containers(agent)
    assert before
    await acting.kill(agent)
    assert await acting.containers(agent) == before
    await acting.start(agent)
    assert (await acting.task(agent, task))["state"] == "running"
    copies = await acting.wait_states(agent, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    assert await acting.containers(agent) == before
    await acting.stop_task(agent, task)


async def test_a_database_that_refuses_for_a_while_is_used_again(pool_directory: Path) -> None:
    """Another program holds it for a while: the agent says so, and is back without a restart."""
    acting = Acting.on(pool_directory)
    agent, other = acting.agents[1], acting.agents[0]
    task = acting.submit(other, "lasting", ENDLESS, "--replicas", "3")
    await acting.wait_states(other, task, "running", "running", "running")
    before, child = await acting.containers(agent), agent.child
    holder = apsw.Connection(str(agent.directory / DATABASE_NAME))
    try:
        holder.execute("BEGIN IMMEDIATE")

        async def waits() -> bool:
            told = p2pool("agent", "status", "--agent", str(agent.directory))
            return "waits until its store can be opened" in told.stderr

        await acting.pool.wait("agent that waits for its store", waits)
    finally:
        holder.close()

    async def back() -> bool:
        return bool((await agent.get("/v1/agent"))["agent"]["ready"])

    await acting.pool.wait("agent that is back", back)
    assert agent.child is child
    assert await acting.containers(agent) == before
    copies = await acting.wait_states(agent, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    await acting.stop_task(agent, task)


async def test_the_chain_may_be_away(pool_directory: Path) -> None:
    """For half a minute no block: tasks are taken and run, nobody is put out, then all is well."""
    acting = Acting.on(pool_directory)
    agent = acting.agents[0]
    chain = next(c for c in acting.pool.children if c.name == "chain")
    chain.signal(signal.SIGSTOP)
    try:

        async def old() -> bool:
            return bool((await agent.get("/v1/agent"))["meta"]["roster_age_ms"] > 30_000)

        await acting.pool.wait("roster that is 30 s old", old)
        assert any("chain" in p for p in (await agent.get("/v1/agent"))["agent"]["problems"])
        task = acting.submit(agent, "meanwhile", "true")
        await acting.wait_states(agent, task, "succeeded")
        nodes = (await agent.get("/v1/nodes"))["nodes"]
        assert [n["membership"] for n in nodes] == ["member"] * 3
    finally:
        chain.signal(signal.SIGCONT)

    async def well() -> bool:
        answer = await agent.get("/v1/agent")
        return bool(answer["meta"]["roster_age_ms"] < 10_000 and answer["agent"]["ready"])

    await acting.pool.wait("fresh roster", well)


async def test_agents_on_one_engine_never_touch_each_other(pool_directory: Path) -> None:
    """The end of one agent, or of one task, leaves all other containers alone."""
    acting = Acting.on(pool_directory)
    first, last = acting.agents[0], acting.agents[2]
    task = acting.submit(first, "spread", ENDLESS, "--replicas", "3")
    await acting.wait_states(first, task, "running", "running", "running")
    each = [await acting.containers(agent) for agent in acting.agents]
    assert len({name for names in each for name in names}) == sum(len(names) for names in each)
    await acting.kill(last, signal.SIGTERM)
    assert [await acting.containers(agent) for agent in acting.agents] == each
    await acting.start(last)
    brief = acting.submit(first, "brief", ENDLESS)
    await acting.wait_states(first, brief, "running")
    await acting.stop_task(first, brief)
    assert [await acting.containers(agent) for agent in acting.agents] == each
    await acting.stop_task(first, task)

    async def empty() -> bool:
        return not any([await acting.containers(agent) for agent in acting.agents])

    # A node that the leader misses for a moment is not waited for by the task's end.
    await acting.pool.wait("no container of the task", empty)


async def test_who_has_no_right_gets_403_and_nothing_runs(pool_directory: Path) -> None:
    """An account that nobody gave a right to: refused by whichever agent is asked."""
    acting = Acting.on(pool_directory)
    path = acting.pool.directory / "keys" / "nobody.json"
    if not path.exists():
        import_key_file(path, b"\x05" * 32, "development", light=True, note=lambda text: None)
    before = len((await acting.agents[0].get("/v1/tasks"))["tasks"])
    for agent in acting.agents:
        done = p2pool(
            "task",
            "run",
            "--name",
            "theft",
            "--image",
            IMAGE,
            "--json",
            "--",
            "true",
            **acting.environment(agent, "nobody"),
        )
        assert done.returncode == REFUSED, done.stderr
        problem = held(done.stderr)
        assert problem["code"] == "not-allowed"
        assert len((await agent.get("/v1/tasks"))["tasks"]) == before
    task = acting.submit(acting.agents[0], "private", "echo secret; sleep 1000")
    copies = await acting.wait_states(acting.agents[0], task, "running")
    for agent in acting.agents:
        read = p2pool("task", "logs", task, **acting.environment(agent, "nobody"))
        assert read.returncode == REFUSED, (read.stdout, read.stderr)
        assert "secret" not in read.stdout
    assert copies
    await acting.stop_task(acting.agents[0], task)


async def test_failures_are_told(pool_directory: Path) -> None:
    """An exit code, a command that is not there, an image that cannot be had: each with why."""
    acting = Acting.on(pool_directory)
    agent = acting.agents[1]
    task = acting.submit(agent, "three", "exit 3")
    (copy,) = await acting.wait_states(agent, task, "failed")
    assert copy["exit_code"] == 3
    made = acting.run(agent, "task", "run", "--name", "nope", "--image", IMAGE, "--", "/nope")
    (copy,) = await acting.wait_states(agent, made["task_id"], "failed")
    assert any(said in copy["reason"] for said in ("cannot-start", "command was not found"))
    made = acting.run(
        agent, "task", "run", "--name", "noimage", "--image", "127.0.0.1:1/none:1", "--", "true"
    )

    async def told() -> bool:
        return (
            "127.0.0.1:1" in (await acting.task(agent, made["task_id"]))["allocations"][0]["reason"]
        )

    await acting.pool.wait("reason of a missing image", told)
    await acting.stop_task(agent, made["task_id"])


async def test_without_its_bootstrap_node_a_pool_goes_on(pool_directory: Path) -> None:
    """Known peers are enough to get back in; a bootstrap node that is back is the same one."""
    acting = Acting.on(pool_directory)
    bootstrap = [c for c in acting.pool.children if c.name == "bootstrap"][-1]
    bootstrap.signal(signal.SIGKILL)
    await bootstrap.wait_gone()
    agent = acting.agents[2]
    await acting.kill(agent)
    await acting.start(agent)
    task = acting.submit(agent, "after", "true")
    await acting.wait_states(agent, task, "succeeded")
    assert (await agent.get("/v1/agent"))["agent"]["peers_connected"] == 2
    config = load_config(acting.pool.directory / "agent-1.toml", {})
    address = config.network.bootstrap[0]
    assert await acting.pool.start_bootstrap(address.partition("/p2p/")[0]) == address
