"""What a rolling upgrade of real agents does and waits for, whatever versions take part."""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.dev.agent import DevAgent
from p2pool.dev.pool import DevPool
from tests.e2e.harness.actions import Acting
from tests.upgrades.load import Load

Program = Sequence[str]

OWN: Program = (sys.executable, "-P", "-m", "p2pool")
"""This version, as installed."""


@attrs.define
class VersionedPool(DevPool):
    """A development pool whose agents run a program of the test's choice unless told otherwise."""

    first_program: Program = OWN

    async def start_agent(self, agent: DevAgent, program: Program = ()) -> None:
        """Start an agent's process and wait for its API."""
        await DevPool.start_agent(self, agent, program or self.first_program)


@asynccontextmanager
async def three_agents(program: Program = OWN) -> AsyncIterator[Acting]:
    """A pool of three agents of one version, whose tasks are processes."""
    directory = Path(tempfile.mkdtemp(prefix="p2u", dir="/tmp"))
    pool = VersionedPool(directory / "pool", lambda text: None, "process", first_program=program)
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


@asynccontextmanager
async def under_load(acting: Acting) -> AsyncIterator[Load]:
    """Somebody who submits tasks all along."""
    made = Load(acting)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.submit)
        await made.goes_on()
        yield made
        nursery.cancel_scope.cancel()


async def become(load: Load, agent: DevAgent, program: Program) -> None:
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


async def wait_lagging(acting: Acting, level: int, at: DevAgent, *late: DevAgent) -> None:
    """Wait until an agent knows that the pool is at a level, and that these agents alone keep it
    there."""

    async def told() -> bool:
        pool = await pool_of(at)
        if pool["feature_level"] < level:
            return False
        assert pool["feature_level"] == level
        return {one["node_id"] for one in pool["lagging"]} == {one.node_id for one in late}

    await acting.pool.wait(f"{len(late)} to be waited for", told)


async def wait_level(acting: Acting, level: int) -> None:
    """Wait until every agent is at a level, and nobody lags."""

    async def risen() -> bool:
        pools = [await pool_of(agent) for agent in acting.agents]
        return all((p["feature_level"], p["lagging"]) == (level, []) for p in pools)

    await acting.pool.wait(f"level {level}", risen)


async def wait_reason(acting: Acting, at: DevAgent, of: DevAgent, what: str) -> None:
    """Wait until an agent gives this as a reason of a node."""

    async def shown() -> bool:
        return what in (await node_of(at, of))["reason"]

    await acting.pool.wait(f"{what!r} at {at.name}", shown)
