"""A pool that lost its majority for good, and disks that are not what they were, on real processes.

The tests go in the order of the file and hand the pool on to each other: what one leaves is where
the next begins.
"""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.dev.pool import DevAgent
from p2pool.dev.processes import spawn, wait_line
from tests.cli.output.held import held
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED = 3
SOCKETS = shutil.ignore_patterns("metrics")


@pytest.fixture(scope="module")
def acting(engine: Engine) -> Iterator[Acting]:
    """Three agents of their own: what is done to them is nobody else's."""
    directory = Path(tempfile.mkdtemp(prefix="p2v", dir="/tmp")) / "pool"
    up = p2pool("dev", "up", "--dir", str(directory), "--json")
    try:
        assert up.returncode == 0, up.stderr
        yield Acting.on(directory)
    finally:
        down = p2pool("dev", "down", "--dir", str(directory))
        shutil.rmtree(directory.parent, ignore_errors=True)
        assert down.returncode == 0, down.stderr


def recover(acting: Acting, at: DevAgent, *options: str) -> tuple[int, Any]:
    """`p2pool pool recover` as the manager; exit code and what it said."""
    config = acting.pool.directory / f"{at.name}.toml"
    done = p2pool(
        "pool",
        "recover",
        "--json",
        "--yes",
        "--config",
        str(config),
        *options,
        **acting.environment(at),
    )
    return done.returncode, held(done.stdout or done.stderr)


async def agent_of(agent: DevAgent) -> Any:
    """What an agent says of itself."""
    return (await agent.get("/v1/agent"))["agent"]


async def wait_voters(acting: Acting, at: DevAgent, count: int) -> None:
    """Wait until the committee has so many voters, as an agent sees it."""

    async def there() -> bool:
        members = (await at.get("/v1/committee"))["committee"]["members"]
        return len([member for member in members if member["voter"]]) == count

    await acting.pool.wait(f"{count} voters", there)


async def test_where_a_quorum_lives_nothing_is_recovered(acting: Acting) -> None:
    """It says so, and what to do instead; nothing is sent."""
    await acting.pool.wait_committee(3)
    code, told = recover(acting, acting.agents[0])
    assert code == REFUSED, told
    assert "quorum" in json.dumps(told) or "majority" in json.dumps(told)


async def test_a_majority_that_is_gone_is_recovered_from(acting: Acting) -> None:
    """Two disks of three are lost: the manager founds the next epoch from the third; tasks are
    there, no container is touched, and the pool takes work again."""
    first, second, third = acting.agents
    task = acting.submit(first, "outlives", ENDLESS, "--replicas", "3")
    await acting.wait_states(first, task, "running", "running", "running")
    before = [await acting.containers(agent) for agent in acting.agents]
    for lost in (second, third):
        await acting.kill(lost)
        shutil.rmtree(lost.directory)
        lost.directory.mkdir()

    async def leaderless() -> bool:
        return bool((await first.get("/v1/leader"))["leader"]["node_id"] is None)

    await acting.pool.wait("no leader", leaderless)
    dry = recover(acting, first, "--dry-run")
    assert dry[0] == 0, dry
    code, told = recover(acting, first)
    assert code == 0, told
    assert told["epoch"] == 2
    await acting.pool.wait_elected([first])
    assert (await acting.task(first, task))["state"] == "running"
    for lost in (second, third):
        await acting.start(lost)
    copies = await acting.wait_states(third, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    assert [await acting.containers(agent) for agent in acting.agents] == before
    await wait_voters(acting, first, 3)
    other = acting.submit(second, "goes-on", "true")
    await acting.wait_states(first, other, "succeeded")
    assert (await third.get("/v1/agent"))["meta"]["epoch"] == 2
    await acting.stop_task(first, task)


async def test_a_second_recovery_is_refused(acting: Acting) -> None:
    """Its epoch lives."""
    code, told = recover(acting, acting.agents[1])
    assert code == REFUSED, told


async def test_a_founder_with_a_wiped_disk_founds_nothing(acting: Acting) -> None:
    """It comes back as another store, gets the log from the others, and has all of it."""
    first, second, _ = acting.agents
    task = acting.submit(second, "remembered", "true")
    await acting.wait_states(second, task, "succeeded")
    store = (await agent_of(first))["store_id"]
    await acting.kill(first)
    shutil.rmtree(first.directory)
    first.directory.mkdir()
    await acting.start(first)
    assert (await agent_of(first))["store_id"] != store

    async def knows() -> bool:
        answer = await first.get("/v1/tasks")
        return any(one["task_id"] == task for one in answer["tasks"])

    await acting.pool.wait("the log on the founder's new disk", knows)
    assert (await first.get("/v1/agent"))["meta"]["epoch"] == 2
    await wait_voters(acting, second, 3)


async def test_a_disk_from_a_backup_never_votes_as_it_did(acting: Acting) -> None:
    """What it forgot is shown to it: it takes another name, and the pool goes on with it."""
    first, second, _ = acting.agents
    await acting.kill(second, signal.SIGTERM)
    backup = acting.pool.directory / "backup"
    shutil.copytree(second.directory, backup, ignore=SOCKETS)
    await acting.start(second)
    store = (await agent_of(second))["store_id"]
    for number in range(3):
        task = acting.submit(first, f"since-{number}", "true")
        await acting.wait_states(second, task, "succeeded")
    await acting.kill(second)
    shutil.rmtree(second.directory)
    backup.rename(second.directory)
    await acting.pool.start_agent(second)

    async def renamed() -> bool:
        one = await agent_of(second)
        return bool(one["store_id"] != store and one["ready"])

    await acting.pool.wait("another name of the store", renamed)
    await wait_voters(acting, first, 3)

    async def knows() -> bool:
        return any(t["task_id"] == task for t in (await second.get("/v1/tasks"))["tasks"])

    await acting.pool.wait("what happened since", knows)


async def test_of_two_agents_with_one_disk_the_earlier_ends_and_the_later_has_peers(
    acting: Acting,
) -> None:
    """A copy of a directory, started while the first one runs: the pool is not confused by it."""
    first, _, third = acting.agents
    await wait_voters(acting, first, 3)
    await acting.kill(third, signal.SIGTERM)
    copy = acting.pool.directory / "copy"
    shutil.copytree(third.directory, copy, ignore=SOCKETS)
    (copy / "lock").unlink(missing_ok=True)
    await acting.start(third)
    keys = acting.pool.directory / "keys"
    child, output = spawn(
        "copy",
        [
            "agent",
            "run",
            "--data-dir",
            str(copy),
            "--json",
            "--config",
            str(acting.pool.directory / f"{third.name}.toml"),
            "--node-key",
            str(keys / f"{third.name}-node.json"),
            "--passphrase-file",
            str(keys / "passphrase"),
        ],
        acting.pool.directory / "logs",
        {},
    )
    clone = attrs.evolve(third, directory=copy, child=child)
    try:
        await wait_line(child, output)

        earlier = third.child
        assert earlier is not None

        async def ended() -> bool:
            return not earlier.alive

        async def ready() -> bool:
            told = await agent_of(clone)
            return bool(told["ready"] and told["peers_connected"] >= 2)

        await acting.pool.wait("the end of the earlier of the two", ended)
        assert "another agent runs with this one's keys" in earlier.last_words()
        await acting.pool.wait("the later one's peers", ready)
        # On another node: what was placed on that one waits until the two are one again.
        wanted = {
            "name": "meanwhile",
            "image": IMAGE,
            "command": ["true"],
            "resources": {"cpu_milli": 100, "memory_bytes": 64 * 2**20},
            "constraints": [{"attribute": "node", "value": first.node_id}],
        }
        spec = acting.pool.directory / "meanwhile.json"
        spec.write_text(json.dumps(wanted))
        task = str(acting.run(first, "task", "run", "-f", str(spec))["task_id"])
        await acting.wait_states(first, task, "succeeded")
    finally:
        child.signal(signal.SIGKILL)
        await child.wait_gone()
    await acting.kill(third)
    await acting.start(third)
    await wait_voters(acting, first, 3)
