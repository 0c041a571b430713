"""A real agent whose clock is wrong says so, and is back by itself once the clock is mended."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from p2pool.drivers.store.store import DATABASE_NAME
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

DAY_MS = 86_400_000
SILENT_MS = 40_000


async def test_a_new_disk_and_a_clock_a_day_behind(pool_directory: Path, tmp_path: Path) -> None:
    """Peers heed the agent's last run, which began later by the clocks. It tells from the chain
    that its clock is behind; once that is mended it begins anew, in the same process, and works."""
    acting = Acting.on(pool_directory)
    agent, other = acting.agents[2], acting.agents[0]
    page = tmp_path / "off_ms"
    page.write_text(str(-DAY_MS))
    await acting.kill(agent)
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"):
        (agent.directory / name).unlink(missing_ok=True)

    async def silent() -> bool:
        nodes = (await other.get("/v1/nodes"))["nodes"]
        (one,) = [n for n in nodes if n["node_id"] == agent.node_id]
        return bool(time.time() * 1000 - one["last_heard_ms"] > SILENT_MS)

    # What was said within a message's time is of now: a second agent with these keys might say it.
    await acting.pool.wait("silence", silent)
    program = [sys.executable, "-m", "tests.e2e.harness.wrong_clock", str(page)]
    await acting.pool.start_agent(agent, program)
    child = agent.child

    async def says(text: str) -> bool:
        done = p2pool("agent", "status", "--json", "--agent", str(agent.directory))
        return bool(done.stdout) and text in json.dumps(held(done.stdout))

    await acting.pool.wait("word of its clock", lambda: says("behind the chain's newest block"))
    page.write_text("0")
    await acting.pool.wait("agent that is back", lambda: acting.is_ready(agent))
    assert agent.child is child
    assert child is not None
    assert "this agent begins anew: its clock was behind" in Path(child.log).read_text()
    # Of so many processors no machine has room for two, so the third copy waits for this one.
    most = f"{0.75 * (os.cpu_count() or 1):g}"
    task = acting.submit(other, "after", ENDLESS, "--replicas", "3", "--cpus", most)
    await acting.wait_states(other, task, "running", "running", "running")
    assert await acting.containers(agent)
    await acting.stop_task(other, task)
