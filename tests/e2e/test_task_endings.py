"""Every row of the table of endings, on three agents, a chain and a Docker Engine of their own.

The machine has four GPUs by a stand-in for NVIDIA's library, and the engine hands them out by a
stand-in for its hook, so that a GPU can be lost. Tests go in the order of the file: the last ones
end the node, and then the pool.
"""

import signal
from pathlib import Path

import pytest

from p2pool.client.agent_client import Answer
from p2pool.dev.pool import DevAgent
from p2pool.model.ids import NodeId
from p2pool.model.tasks.endings import ENDINGS, markdown
from tests.chain.harness import acts
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import ENDLESS
from tests.e2e.harness.machines import Place, chain_as, place

__all__ = ["place"]

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

ROOT = Path(__file__).resolve().parents[2]


def test_the_documents_have_the_table_and_every_row_its_test() -> None:
    """What users read is what the code says, and what the code says is shown."""
    assert markdown() in (ROOT / "docs" / "containers.md").read_text()
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for ending in ENDINGS:
        assert f"def {ending.shown_by}(" in tests, ending.case


# --- by itself, and by its owner ----------------------------------------------------------------


async def test_exit_codes_decide(place: Place) -> None:
    """0 succeeds; another code, or a signal's, fails, or begins again as the policy says."""
    at = place.agents[0]
    good, bad = place.submit(at, "good", "exit 0"), place.submit(at, "bad", "exit 3")
    again = place.submit(
        at, "again", "exit 4", "--restart", "on-failure", "--restart-attempts", "1"
    )
    killed = place.submit(at, "killed", "sh -c 'kill -9 $$'; exit $?")
    loud = place.submit(
        at, "loud", "echo one; sleep 1; exit 4", "--restart", "always", "--restart-attempts", "2"
    )
    read = p2pool("task", "logs", "-f", loud, **place.environment(at))
    assert (read.returncode, read.stdout) == (0, "one\n" * 3)
    assert "is failed, exit code 4" in read.stderr
    await place.wait_states(at, good, "succeeded")
    (copy,) = await place.wait_states(at, bad, "failed")
    assert (copy["exit_code"], copy["oom_killed"]) == (3, False)
    (copy,) = await place.wait_states(at, again, "failed")
    assert copy["exit_code"] == 4
    (copy,) = await place.wait_states(at, killed, "failed")
    assert (copy["exit_code"], copy["reason"]) == (137, "signal 9 ended it")


async def test_a_stop_asks_before_it_kills(place: Place) -> None:
    """What obeys SIGTERM ends by itself, what does not is killed after its grace."""
    at = place.agents[0]
    polite = place.submit(at, "polite", "trap 'echo bye; exit 0' TERM; while :; do sleep 1; done")
    deaf = place.submit(at, "deaf", "trap '' TERM; while :; do sleep 1; done", "--stop-grace", "2s")
    for task in (polite, deaf):
        await place.running(at, task)
        await place.stop_task(at, task)
        (copy,) = (await place.task(at, task))["allocations"]
        assert copy["state"] == "stopped"
    read = p2pool("task", "logs", polite, **place.environment(at))
    assert "bye" in read.stdout


async def test_a_deadline_ends_it(place: Place) -> None:
    """Counted from its placement, and said."""
    at = place.agents[0]
    task = place.submit(at, "late", ENDLESS, "--deadline", "3s", "--stop-grace", "1s")
    (copy,) = await place.wait_states(at, task, "failed")
    assert "deadline" in copy["reason"]


async def test_out_of_memory_is_told_apart(place: Place) -> None:
    """From a program that ends with 137 by itself."""
    at = place.agents[0]
    hungry = place.submit(at, "hungry", "x=a; while :; do x=$x$x; done")
    honest = place.submit(at, "honest", "exit 137")
    (copy,) = await place.wait_states(at, hungry, "failed")
    assert (copy["oom_killed"], copy["reason"]) == (True, "it ran out of memory")
    (copy,) = await place.wait_states(at, honest, "failed")
    assert (copy["oom_killed"], copy["exit_code"]) == (False, 137)


async def test_a_missing_image_fails_and_an_absent_registry_waits(place: Place) -> None:
    """A name that is none fails at once; a registry that is away is asked again."""
    at = place.agents[0]
    made = place.run(at, "task", "run", "--image", "127.0.0.1:1/none:1", "--name", "away")
    copy = await place.wait_copy(
        at, made["task_id"], "a reason", lambda c: "127.0.0.1:1" in c["reason"]
    )
    assert copy["state"] in ("assigned", "pulling")
    await place.stop_task(at, made["task_id"])


async def test_a_taken_port_is_no_failure(place: Place) -> None:
    """Whoever holds it may let go of it: the copy waits, and says who refused it and why. The three
    agents share one engine, so no other node has that port free."""
    at = place.agents[0]
    holds = place.submit(at, "holds", ENDLESS, "--publish", "18473:80")
    await place.running(at, holds)
    task = place.submit(at, "waits", ENDLESS, "--publish", "18473:80")
    copy = await place.wait_copy(at, task, "a refusal", lambda c: "allocated" in c["reason"])
    assert (copy["state"], copy["node_id"]) == ("pending", None)
    (first, *_) = (await place.task(at, task))["refusals"]
    assert not first["lasting"]
    assert "18473" in first["reason"]
    await place.stop_task(at, task)
    await place.stop_task(at, holds)


# --- agents and masters -------------------------------------------------------------------------


async def test_an_agent_may_come_and_go(place: Place) -> None:
    """Ended, killed and started again: what ran runs on, what ended meanwhile is told once."""
    at = place.agents[0]
    task = place.submit(at, "stays", ENDLESS)
    copy = await place.running(at, task)
    agent = place.agent_of(copy)
    other = place.other_than(agent)
    brief = place.run_file(
        other, "sleep 4; exit 5", constraints=[{"attribute": "node", "value": agent.node_id}]
    )
    await place.running(other, brief)
    before = await place.containers(agent)
    for number in (signal.SIGKILL, signal.SIGTERM):
        await place.kill(agent, number)
        await place.start(agent)
    (ended,) = await place.wait_states(agent, brief, "failed")
    assert (ended["exit_code"], ended["attempt"]) == (5, 1)
    name = f"{task}.0"
    assert (await place.containers(agent))[name] == before[name]
    assert (await place.running(agent, task))["attempt"] == 1
    await place.stop_task(agent, task)


async def test_a_change_of_master_touches_nothing(place: Place) -> None:
    """The master is killed; the copies are the same ones, and the log goes on."""
    at = place.agents[0]
    task = place.submit(at, "kept", ENDLESS, "--replicas", "3")
    await place.wait_states(at, task, "running", "running", "running")
    before = [await place.containers(agent) for agent in place.agents]
    leader_id = (await at.get("/v1/leader"))["leader"]["node_id"]
    leader = next(a for a in place.agents if a.node_id == leader_id)
    term = (await at.get("/v1/leader"))["leader"]["term"]
    await place.kill(leader)
    rest = [a for a in place.agents if a is not leader]
    await place.pool.wait_elected(rest, term)
    assert [await place.containers(agent) for agent in place.agents] == before
    await place.start(leader)
    copies = await place.wait_states(at, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    assert [await place.containers(agent) for agent in place.agents] == before
    await place.stop_task(at, task)


async def test_back_in_time_it_runs_on(place: Place) -> None:
    """A node that is silent and comes back within the window keeps its copy."""
    at = place.agents[0]
    task = place.run_file(at, ENDLESS, reconnect_window_s=600)
    agent = place.agent_of(await place.running(at, task))
    other, before = place.other_than(agent), await place.containers(agent)
    await _silent(place, agent, other)
    assert agent.child is not None
    agent.child.signal(signal.SIGCONT)
    await _heard(place, agent, other)
    assert (await place.running(other, task))["attempt"] == 1
    assert await place.containers(agent) == before
    await place.stop_task(other, task)


async def test_back_too_late_and_not_replaced_it_is_taken_back(place: Place) -> None:
    """No other node may take the copy, so it is lost, and it runs on: the pool says so again once
    its agent is heard, whatever that agent had reported before."""
    at = place.agents[0]
    task = place.run_file(at, ENDLESS, reconnect_window_s=600)
    agent = place.agent_of(await place.running(at, task))
    other = place.other_than(agent)
    lost = place.run_file(
        other,
        ENDLESS,
        reconnect_window_s=2,
        constraints=[{"attribute": "node", "value": agent.node_id}],
    )
    await place.running(other, lost)
    before = await place.containers(agent)
    await _silent(place, agent, other)
    (unknown,) = (await place.task(other, task))["allocations"]
    assert (unknown["state"], unknown["known"]) == ("running", False)
    await place.wait_states(other, lost, "lost")
    assert agent.child is not None
    agent.child.signal(signal.SIGCONT)
    await _heard(place, agent, other)
    copy = await place.running(other, lost)
    assert (copy["attempt"], copy["known"]) == (1, True)
    assert await place.containers(agent) == before
    for one in (task, lost):
        await place.stop_task(other, one)


async def test_back_too_late_the_older_copy_ends(place: Place) -> None:
    """Another attempt runs elsewhere; the node that comes back gives up exactly that copy."""
    at = place.agents[0]
    task = place.run_file(at, ENDLESS, reconnect_window_s=2)
    agent = place.agent_of(await place.running(at, task))
    other = place.other_than(agent)
    kept = place.run_file(
        other,
        ENDLESS,
        reconnect_window_s=600,
        constraints=[{"attribute": "node", "value": agent.node_id}],
    )
    await place.running(other, kept)
    await _silent(place, agent, other)
    copy = await place.running(other, task, attempt=2)
    assert copy["node_id"] != agent.node_id
    assert f"{task}.0" in await place.containers(agent)
    assert agent.child is not None
    agent.child.signal(signal.SIGCONT)
    await _heard(place, agent, other)

    async def gone() -> bool:
        return f"{task}.0" not in await place.containers(agent)

    await place.pool.wait("the end of the older copy", gone)
    assert f"{kept}.0" in await place.containers(agent)
    assert (await place.running(other, task))["attempt"] == copy["attempt"]
    for one in (task, kept):
        await place.stop_task(other, one)


async def _silent(place: Place, agent: DevAgent, other: DevAgent) -> None:
    """Stop an agent's process, and wait until the pool says that it is unreachable."""
    assert agent.child is not None
    agent.child.signal(signal.SIGSTOP)
    await place.pool.wait("unreachable", lambda: _is(other, agent, "unreachable"))


async def _heard(place: Place, agent: DevAgent, other: DevAgent) -> None:
    await place.pool.wait("healthy again", lambda: _is(other, agent, "healthy"))


async def _is(other: DevAgent, agent: DevAgent, state: str) -> bool:
    nodes = (await other.get("/v1/nodes"))["nodes"]
    return any(n["node_id"] == agent.node_id and n["reachability"] == state for n in nodes)


# --- the machine --------------------------------------------------------------------------------


async def test_a_lost_gpu_moves_it(place: Place) -> None:
    """NVML calls it lost time after time: the copy ends here and begins on another GPU."""
    at = place.agents[0]
    made = place.run(
        at,
        "task",
        "run",
        "--name",
        "cuda",
        "--image",
        IMAGE,
        "--gpus",
        "1",
        "--cpus",
        "0.1",
        "--memory",
        "64MiB",
        "--",
        "sh",
        "-c",
        ENDLESS,
    )
    task = str(made["task_id"])
    first = await place.running(at, task)
    number = int(first["gpus"][0].removeprefix("GPU-"))
    place.gpus(number)
    try:
        second = await place.running(at, task, attempt=2)
        assert second["gpus"] != first["gpus"]
        node = await place.agent_of(first).get(f"/v1/nodes/{first['node_id']}")
        assert f"GPU number {number} is not offered" in node["node"]["reason"]
    finally:
        place.gpus()
    await place.stop_task(at, task)


async def test_what_ended_with_the_engine_is_placed_anew(place: Place) -> None:
    """The engine ends and begins again, as when its host reboots; policies are obeyed here."""
    at = place.agents[0]
    once = place.submit(at, "once", ENDLESS)
    again = place.submit(at, "again", ENDLESS, "--restart", "always", "--restart-attempts", "3")
    done = place.submit(at, "done", "exit 6")
    await place.wait_states(at, done, "failed")
    for task in (once, again):
        await place.running(at, task)
    place.engine.halt()
    place.engine.go_on()
    assert (await place.running(at, once, attempt=2))["attempt"] == 2

    async def restarted() -> bool:
        copies = [await place.containers(agent) for agent in place.agents]
        return sum(f"{again}.0" in names for names in copies) == 1

    await place.pool.wait("the copy with a policy again", restarted)
    copy = await place.running(at, again)
    assert copy["attempt"] == 1
    (ended,) = (await place.task(at, done))["allocations"]
    assert (ended["state"], ended["exit_code"], ended["attempt"]) == ("failed", 6, 1)
    for task in (once, again):
        await place.stop_task(at, task)


# --- the node and the pool ----------------------------------------------------------------------


async def test_a_drain_moves_it(place: Place) -> None:
    """Ends here after its grace, begins elsewhere; a node that is drained gets nothing."""
    at = place.agents[0]
    task = place.submit(at, "moves", ENDLESS)
    first = await place.running(at, task)
    drained = p2pool("node", "drain", first["node_id"], "--json", **place.environment(at))
    assert drained.returncode == 0, drained.stderr
    second = await place.running(at, task, attempt=2)
    assert second["node_id"] != first["node_id"]
    resumed = p2pool("node", "resume", first["node_id"], "--json", **place.environment(at))
    assert resumed.returncode == 0, resumed.stderr
    await place.stop_task(at, task)


async def test_a_ban_moves_it(place: Place) -> None:
    """As a drain, and only the manager lifts it."""
    at = place.agents[0]
    task = place.submit(at, "flees", ENDLESS)
    first = await place.running(at, task)
    banned = p2pool("node", "ban", first["node_id"], "--json", **place.environment(at))
    assert banned.returncode == 0, banned.stderr
    second = await place.running(at, task, attempt=2)
    assert second["node_id"] != first["node_id"]
    lifted = p2pool("node", "unban", first["node_id"], "--json", **place.environment(at))
    assert lifted.returncode == 0, lifted.stderr
    await place.stop_task(at, task)


async def test_who_leaves_the_pool_ends_its_tasks(place: Place) -> None:
    """Ejected on the chain: its copies end there once that is final, and begin elsewhere."""
    at = place.agents[0]
    task = place.submit(at, "remains", ENDLESS, "--replicas", "3")
    copies = await place.wait_states(at, task, "running", "running", "running")
    agent = place.agents[2]
    assert any(copy["node_id"] == agent.node_id for copy in copies)
    chain, manager = chain_as(place, "manager")
    await acts.eject(chain, manager, place.pool.pool_id, NodeId(bytes.fromhex(agent.node_id[2:])))

    def moved(found: list[Answer]) -> bool:
        away = all(copy["node_id"] != agent.node_id for copy in found)
        return away and all(copy["state"] == "running" for copy in found)

    await place.wait_copies(at, task, "all on members", moved)

    async def empty() -> bool:
        return await place.containers(agent) == {}

    await place.pool.wait("the ejected node runs nothing", empty)
    await place.stop_task(at, task)


async def test_the_end_of_the_pool_ends_all(place: Place) -> None:
    """Everywhere, with their grace; a submission is refused with what to do."""
    at = place.agents[0]
    task = place.submit(at, "last", ENDLESS, "--replicas", "2")
    await place.wait_states(at, task, "running", "running")
    chain, manager = chain_as(place, "manager")
    await acts.end_pool(chain, manager, place.pool.pool_id)

    async def empty() -> bool:
        return all([await place.containers(agent) == {} for agent in place.agents])

    await place.pool.wait("no container anywhere", empty)
    refused = p2pool(
        "task", "run", "--image", IMAGE, "--json", "--", "true", **place.environment(at)
    )
    assert refused.returncode != 0
    assert "The pool has ended" in refused.stderr
