"""Real agents on contracts that others deployed: in, at work, out, in again, and the stake back."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio

from p2pool.codec.text.data_uri import own_pairs
from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import TOKENS_WEI
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.validator.work import PieceState, work_of
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import NodeId
from p2pool.model.states import PoolStatus
from tests.cli.output.held import held
from tests.contracts.foreign.harness.agents import ForeignPool, foreign_pool
from tests.e2e.harness.stakes import command_with, take_stake_back

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

UNAVAILABLE = 5


@pytest.fixture(scope="module")
def pool() -> Iterator[ForeignPool]:
    """Created, started and filled by commands; its agents staked and joined by themselves."""
    with foreign_pool() as made:
        yield made


async def test_its_agents_are_members(pool: ForeignPool) -> None:
    """As each of them reads it on the chain."""
    everybody = {agent.node_id for agent in pool.agents}
    for agent in pool.agents:
        assert await pool.members(agent) == everybody


async def running_task(pool: ForeignPool, at: DevAgent) -> str:
    """A task of the manager that runs; sent again while there is no leader, as the command says."""
    words = ("--name", "here", "--image", "none", "--cpus", "0.1", "--memory", "16MiB")
    tasks: list[str] = []

    async def taken() -> bool:
        done = await trio.to_thread.run_sync(
            lambda: pool.tried("manager", "task", "run", *words, "--", "sleep", "1000", at=at)
        )
        assert done.returncode in (0, UNAVAILABLE), done.stderr
        if done.returncode == 0:
            tasks.append(held(done.stdout)["task_id"])
        return bool(tasks)

    async def running() -> bool:
        return [state for state, _ in await copies(at, tasks[0])] == ["running"]

    await pool.wait("the task taken", taken)
    await pool.wait("the task running", running)
    return tasks[0]


async def copies(at: DevAgent, task: str) -> list[tuple[str, int]]:
    """State and attempt of each copy of a task."""
    found = (await at.get(f"/v1/tasks/{task}"))["task"]["allocations"]
    return [(copy["state"], copy["attempt"]) for copy in found]


async def test_its_record_moves_to_another_contract_and_its_task_runs_on(
    pool: ForeignPool,
) -> None:
    """Every agent reads the record from PoolRoot in a final block, and none misses it meanwhile;
    log and copy stay as they are, and one that starts again finds both."""
    at, chain = pool.agents[1], pool.there.chain
    task = await running_task(pool, at)

    async def all_know_it() -> bool:
        return int((await at.get("/v1/pool"))["pool"]["feature_level"]) >= DISTRUST_LEVEL

    await pool.wait("a level at which all know PoolRoot", all_know_it)
    before = await chain.pool(pool.pool_id)
    assert (before.is_recorded, "p2pool:root=" in own_pairs(before.data_uri)) == (False, True)
    led, copy = await pool.wait_elected(pool.agents), await copies(at, task)
    words = ("pool", "root", str(pool.pool_id))
    moved = await trio.to_thread.run_sync(
        lambda: pool.command("manager", *words, "--move", "--yes")
    )
    assert (moved["created"], moved["written"], moved["cleaned"]) == (True, True, True)
    after = await chain.pool(pool.pool_id)
    assert (after.root, after.is_recorded, own_pairs(after.data_uri)) == (before.root, True, "")
    block = await chain.rpc.quantity("eth_blockNumber")
    await pool.wait_final(block)
    for agent in pool.agents:
        assert (await agent.get("/v1/agent"))["agent"]["problems"] == []
        shown = partial(pool.command, "manager", *words, "--agent", str(agent.directory))
        seen = await trio.to_thread.run_sync(shown)
        assert (seen["place"], seen["same"]) == ("pool-root", True)
    still = await pool.wait_elected(pool.agents)
    assert still["proof"]["log_id"] == led["proof"]["log_id"]
    assert await copies(at, task) == copy

    again = next(one for one in pool.agents if one.node_id != still["node_id"] and one is not at)
    assert again.child is not None
    await again.child.stop()
    await pool.start_agent(again)
    await pool.wait_final(block, [again])
    await pool.wait_elected(pool.agents)
    assert await copies(again, task) == copy
    await trio.to_thread.run_sync(
        lambda: pool.command("manager", "task", "stop", task, "--wait", at=at)
    )


async def test_what_a_task_has_done_is_on_the_chain_once(pool: ForeignPool) -> None:
    """Its file is read where it ran, and submitted by that agent; one that starts again knows."""
    spec = {
        "name": "work",
        "image": "none",
        "work": {"file": "/out.json"},
        "command": ["sh", "-c", "printf '{\"units\": 12}' > out.json"],
        "resources": {"cpu_milli": 100, "memory_bytes": 2**24},
    }
    path = pool.directory / "work.json"
    path.write_text(json.dumps(spec))
    task: list[str] = []

    async def taken() -> bool:
        done = await trio.to_thread.run_sync(
            lambda: pool.tried("manager", "task", "run", "-f", str(path), at=pool.agents[1])
        )
        assert done.returncode in (0, UNAVAILABLE), done.stderr
        task.extend([held(done.stdout)["task_id"]] if done.returncode == 0 else [])
        return bool(task)

    async def work_at(agent: DevAgent) -> dict[str, Any]:
        work: dict[str, Any] = (await agent.get("/v1/agent"))["agent"]["work"]
        return work

    async def submitted() -> bool:
        return [bool((await work_at(one))["submitted"]) for one in pool.agents].count(True) == 1

    await pool.wait("the task taken", taken)
    await pool.wait("its work on the chain", submitted)
    (where,) = [one for one in pool.agents if (await work_at(one))["submitted"]]
    told = await work_at(where)
    assert (told["units"], told["judged"], told["problem"]) == ("12", True, "")
    (piece,) = told["pieces"]
    assert piece["source"].startswith(f"{task[0]}.0.1.")
    assert piece["key"] == "0x" + hashlib.sha256(b'{"units": 12}').hexdigest()
    count = ("eth_getTransactionCount", "0x" + where.provider.hex(), "latest")
    sent = await pool.there.chain.rpc.quantity(*count)
    assert where.child is not None
    await where.child.stop()
    await pool.start_agent(where)

    async def known() -> bool:
        return bool((await work_at(where))["submitted"])

    await pool.wait("its work known again", known)
    assert await pool.there.chain.rpc.quantity(*count) == sent
    words = ("validator", "invalidate-work", piece["key"], "--yes")
    await trio.to_thread.run_sync(lambda: pool.command("validator", *words))
    reader = await Reader.at_head(pool.there.chain)
    work = await work_of(reader, pool.pool_id, pool.there.domain_id)
    (found,) = work.past.need("work").pieces.values()
    assert (found.state, found.units) == (PieceState.REMOVED, 12)
    await pool.wait_elected(pool.agents)


async def test_one_leaves_is_invited_again_and_comes_back(pool: ForeignPool) -> None:
    """By its provider's command, with its agent running; the others see each change."""
    gone, other = pool.agents[2], pool.agents[0]
    key = f"{gone.name}-provider"
    await trio.to_thread.run_sync(lambda: pool.command(key, "pool", "leave", gone.node_id))

    async def out() -> bool:
        return gone.node_id not in await pool.members(other)

    async def back() -> bool:
        return gone.node_id in await pool.members(other)

    await pool.wait("a roster without it", out)
    with trio.fail_after(300):
        await pool.admit([gone])
    await pool.wait("a roster with it", back)
    await pool.wait_committee(3)


async def test_the_manager_ejects_one_and_ends_the_pool(pool: ForeignPool) -> None:
    """What the commands say is what the chain has."""
    gone, other = pool.agents[2], pool.agents[0]
    await trio.to_thread.run_sync(lambda: pool.command("manager", "pool", "eject", gone.node_id))

    async def out() -> bool:
        return gone.node_id not in await pool.members(other)

    await pool.wait("a roster without it", out)
    number = str(pool.pool_id)
    await trio.to_thread.run_sync(lambda: pool.command("manager", "pool", "end", number, "--yes"))
    info = await pool.there.chain.pool(pool.pool_id)
    assert info.status is PoolStatus.COMPLETED
    # Whoever is in stays listed, and can leave.
    stays = NodeId(bytes.fromhex(other.node_id[2:]))
    assert await pool.there.chain.in_pool(pool.pool_id, stays)
    key = f"{other.name}-provider"
    await trio.to_thread.run_sync(lambda: pool.command(key, "pool", "leave", other.node_id))
    assert not await pool.there.chain.in_pool(pool.pool_id, stays)


async def test_a_provider_gets_its_stake_back(pool: ForeignPool) -> None:
    """By commands, from the ended pool to the last token; its agent was stopped first."""
    gone, chain = pool.agents[0], pool.there.chain
    assert gone.child is not None
    await gone.child.stop()
    assert await chain.tokens(gone.provider) < TOKENS_WEI
    by_provider = command_with(pool.environment(f"{gone.name}-provider"))
    await take_stake_back(by_provider, chain.rpc, gone.node_id)
    assert await chain.tokens(gone.provider) == TOKENS_WEI
    status = await trio.to_thread.run_sync(lambda: by_provider("provider", "status"))
    assert status["registered"] == "absent"
