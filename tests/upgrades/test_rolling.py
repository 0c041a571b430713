"""A pool of real agents becomes another version, agent by agent, under load."""

import os
import sys
from collections.abc import AsyncIterator

import pytest

from p2pool.model.errors import Unavailable
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.upgrades.load import Load
from tests.upgrades.next_version import ASKED_BY, LEVEL, VERSION
from tests.upgrades.rolling import (
    OWN,
    Program,
    become,
    node_of,
    processes,
    three_agents,
    under_load,
    wait_lagging,
    wait_level,
    wait_reason,
)

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

NEXT: Program = (sys.executable, "-m", "tests.upgrades.next_version")


@pytest.fixture
async def acting() -> AsyncIterator[Acting]:
    """Three agents of this version."""
    async with three_agents() as pool:
        yield pool


@pytest.fixture
async def load(acting: Acting) -> AsyncIterator[Load]:
    """Somebody who submits tasks all along."""
    async with under_load(acting) as made:
        yield made


async def test_a_pool_is_upgraded_agent_by_agent(acting: Acting, load: Load) -> None:
    """What runs is adopted and nothing is lost; the level waits for the last agent, then the new
    field is written, and survives a restart; until then there is a way back, and none after."""
    first, second, third = acting.agents
    await become(load, first, NEXT)
    await wait_lagging(acting, LEVEL - 1, first, second, third)
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
    await become(load, first, NEXT)
    await become(load, second, NEXT)
    await wait_lagging(acting, LEVEL - 1, second, third)
    await become(load, third, NEXT)
    await wait_level(acting, LEVEL)
    copies = await acting.wait_states(third, task, "running", "running", "running")
    assert {copy["attempt"] for copy in copies} == {1}
    assert processes(mark) == before

    acting.run(second, "node", "drain", third.node_id)
    for agent in acting.agents:
        await wait_reason(acting, agent, third, ASKED_BY)
    await become(load, first, NEXT)
    await wait_reason(acting, first, third, ASKED_BY)
    assert {node["agent_version"] for node in acting.run(first, "node", "ls")} == {VERSION}

    load.away.append(first)
    assert first.child is not None
    await first.child.stop()
    with pytest.raises(Unavailable) as refused:
        await acting.pool.start_agent(first)
    assert f"The pool is at feature level {LEVEL}" in str(refused.value)
    assert f"Install p2pool {VERSION} or later" in str(refused.value)
    await become(load, first, NEXT)
    await load.check(first)
    await acting.stop_task(first, task)
