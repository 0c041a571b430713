"""Real agents on contracts that others deployed: in, out, in again, and the pool's end."""

from collections.abc import Iterator

import pytest
import trio

from p2pool.model.ids import NodeId
from p2pool.model.states import PoolStatus
from tests.cli.output.held import held
from tests.contracts.foreign.harness.agents import ForeignPool, foreign_pool

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


async def test_it_runs_a_task_of_its_managers(pool: ForeignPool) -> None:
    """Sent again while there is no leader, as the command says; then it runs, and stops."""
    at = pool.agents[1]
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
        copies = (await at.get(f"/v1/tasks/{tasks[0]}"))["task"]["allocations"]
        return [copy["state"] for copy in copies] == ["running"]

    await pool.wait("the task taken", taken)
    await pool.wait("the task running", running)
    await trio.to_thread.run_sync(
        lambda: pool.command("manager", "task", "stop", tasks[0], "--wait", at=at)
    )


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
