"""A pool of real agents becomes another version, agent by agent, under load."""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.dev.agent import DevAgent
from p2pool.dev.pool import DevPool
from p2pool.model.errors import Unavailable
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.upgrades.load import Load
from tests.upgrades.next_version import ASKED_BY, LEVEL, VERSION

Program = Sequence[str]

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

OWN: Program = ()
NEXT: Program = (sys.executable, "-m", "tests.upgrades.next_version")


async def become(load: Load, agent: DevAgent, program: Program = NEXT) -> None:
    """Stop an agent as people do, start it as another version, wait until it takes part, and until
    it has taken tasks."""
    pool = load.acting.pool
    load.away.append(agent)
    assert agent.child is not None
    await agent.child.stop()
    await pool.start_agent(agent, program)
    await pool.wait(f"{agent.name} ready", lambda: ready(agent))
    load.away.remove(agent)
    await load.goes_on()


async def ready(agent: DevAgent) -> bool:
    return bool((await agent.get("/v1/agent"))["agent"]["ready"])


async def pool_of(agent: DevAgent) -> Any:
    return (await agent.get("/v1/pool"))["pool"]


async def node_of(at: DevAgent, of: DevAgent) -> Any:
    return (await at.get(f"/v1/nodes/{of.node_id}"))["node"]


def processes(mark: str) -> set[tuple[int, str]]:
    """Process id and start time of everything whose command line has a mark."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "cmdline").read_bytes():
                started = (path / "stat").read_text().rpartition(")")[2].split()[19]
                found.add((int(path.name), started))
        except OSError:
            continue
    return found


async def wait_lagging(acting: Acting, at: DevAgent, *late: DevAgent) -> None:
    """Wait until an agent knows that the pool waits for these, and for nobody else."""

    async def told() -> bool:
        pool = await pool_of(at)
        if pool["feature_level"] < LEVEL - 1:
            return False
        assert pool["feature_level"] == LEVEL - 1
        return {one["node_id"] for one in pool["lagging"]} == {one.node_id for one in late}

    await acting.pool.wait(f"{len(late)} to be waited for", told)


async def wait_level(acting: Acting) -> None:
    """Wait until every agent is at the next level."""

    async def risen() -> bool:
        pools = [await pool_of(agent) for agent in acting.agents]
        return all((p["feature_level"], p["lagging"]) == (LEVEL, []) for p in pools)

    await acting.pool.wait(f"level {LEVEL}", risen)


async def wait_reason(acting: Acting, at: DevAgent, of: DevAgent, what: str) -> None:
    """Wait until an agent gives this as a reason of a node."""

    async def shown() -> bool:
        return what in (await node_of(at, of))["reason"]

    await acting.pool.wait(f"{what!r} at {at.name}", shown)


@pytest.fixture
async def acting() -> AsyncIterator[Acting]:
    """Three agents of this version, whose tasks are processes."""
    directory = Path(tempfile.mkdtemp(prefix="p2u", dir="/tmp"))
    pool = DevPool(directory / "pool", lambda text: None, "process")
    try:
        await pool.up(3)
        await pool.wait_heartbeats()
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(3)
        yield Acting(pool)
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def load(acting: Acting) -> AsyncIterator[Load]:
    """Somebody who submits tasks all along."""
    made = Load(acting)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.submit)
        await made.goes_on()
        yield made
        nursery.cancel_scope.cancel()


async def test_a_pool_is_upgraded_agent_by_agent(acting: Acting, load: Load) -> None:
    """What runs is adopted and nothing is lost; the level waits for the last agent, then the new
    field is written, and survives a restart; until then there is a way back, and none after."""
    first, second, third = acting.agents
    await become(load, first)
    await wait_lagging(acting, first, second, third)
    acting.run(first, "node", "drain", second.node_id)
    await wait_reason(acting, first, second, "drain by")
    assert ASKED_BY not in (await node_of(first, second))["reason"]
    acting.run(first, "node", "resume", second.node_id)

    mark = f"outlives-{os.getpid()}"
    task = acting.submit(first, "outlives", f": {mark}; {ENDLESS}", "--replicas", "3")
    await acting.wait_states(first, task, "running", "running", "running")
    before = processes(mark)
    assert len(before) >= 3
    await become(load, first, OWN)
    await become(load, first)
    await become(load, second)
    await wait_lagging(acting, second, third)
    await become(load, third)
    await wait_level(acting)
    copies = await acting.wait_states(third, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    assert processes(mark) == before

    acting.run(second, "node", "drain", third.node_id)
    for agent in acting.agents:
        await wait_reason(acting, agent, third, ASKED_BY)
    await become(load, first)
    await wait_reason(acting, first, third, ASKED_BY)
    assert {node["agent_version"] for node in acting.run(first, "node", "ls")} == {VERSION}

    load.away.append(first)
    assert first.child is not None
    await first.child.stop()
    with pytest.raises(Unavailable) as refused:
        await acting.pool.start_agent(first)
    assert f"The pool is at feature level {LEVEL}" in str(refused.value)
    assert f"Install p2pool {VERSION} or later" in str(refused.value)
    await become(load, first)
    await load.check(first)
    await acting.stop_task(first, task)
