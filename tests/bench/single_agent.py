"""One agent by itself: what a user waits for, beside what the machine takes for less."""

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import docker
import trio

from p2pool.dev.engine.engine import import_busybox, running_engine
from p2pool.dev.pool import DevPool
from tests.bench import measurements
from tests.bench.rows import Row, p95

SUITE = "own"
MIB = 1024 * 1024
T = TypeVar("T")
Say = Callable[[str], None]


async def measure(directory: Path, say: Say) -> list[Row]:
    """All rows, on a private engine."""
    with running_engine(directory / "engine") as engine:
        os.environ["DOCKER_HOST"] = engine.url
        client = docker.APIClient(base_url=engine.url, version="auto")
        import_busybox(client, directory)
        client.close()
        pool = DevPool(directory / "pool", say)
        try:
            await pool.up(3)
            await pool.wait_heartbeats()
            await pool.wait_elected(pool.agents)
            await pool.wait_committee(3)
            return await _figures(pool, say)
        finally:
            with trio.CancelScope(shield=True):
                await pool.down()
            del os.environ["DOCKER_HOST"]


async def _figures(pool: DevPool, say: Say) -> list[Row]:
    median = statistics.median
    user = await trio.to_thread.run_sync(measurements.User, pool)

    async def away(what: str, act: Callable[[], T]) -> T:
        say(f"measuring {what}")
        return await trio.to_thread.run_sync(act)

    percent, resident = await away(
        "an idle agent", lambda: measurements.idle(measurements.agent_pids(pool), 20)
    )
    durable = await away("durable submissions", lambda: measurements.durable_submission(user, 25))
    synced = await away("fsync", lambda: measurements.fsync(pool.directory, 50))
    say("measuring failover")
    failovers = [await measurements.failover(user) for _ in range(3)]
    helped = await away("--help", lambda: measurements.command(["-m", "p2pool", "--help"], 7))
    bare = await away("a bare Python", lambda: measurements.command(["-c", "pass"], 7))
    return [
        Row(
            SUITE,
            "durable submission, median",
            median(durable) * 1000,
            "ms",
            f"fsync {median(synced) * 1000:.1f} ms: {median(durable) / median(synced):.1f} times",
        ),
        Row(SUITE, "durable submission, 95th of 100", p95(durable) * 1000, "ms"),
        Row(
            SUITE,
            "master killed to next accepted write",
            median(failovers),
            "s",
            f"worst of 3: {max(failovers):.2f} s",
            3.0,
        ),
        Row(SUITE, "idle agent, CPU", percent, "% of a core", "", 5.0),
        Row(SUITE, "idle agent, resident memory", resident / MIB, "MiB", "", 160.0),
        Row(
            SUITE, "p2pool --help", median(helped), "s", f"python -c pass {median(bare):.2f} s", 0.3
        ),
    ]
