"""`make bench`: a pool of three agents on a private engine, measured; a table at the end."""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import docker
import trio
from rich.console import Console
from rich.table import Table

from p2pool.dev.engine import import_busybox, running_engine
from p2pool.dev.pool import DevPool
from tests.bench import figures

MIB = 1024 * 1024
T = TypeVar("T")


@attrs.frozen
class Row:
    """One line: what, how much, against what. `aim` 0: a ratio without an aim."""

    what: str
    figure: float
    unit: str
    against: str
    aim: float = 0.0

    @property
    def verdict(self) -> str:
        """Whether the aim is met."""
        if not self.aim:
            return ""
        return "ok" if self.figure <= self.aim else "over the aim"


async def measure(pool: DevPool, say: Console) -> list[Row]:
    """All figures, one after the other."""
    median = statistics.median
    user = await trio.to_thread.run_sync(figures.User, pool)

    async def away(what: str, act: Callable[[], T]) -> T:
        say.print(f"measuring {what}")
        return await trio.to_thread.run_sync(act)

    running = await away("submission to running", lambda: figures.submit_to_running(user, 7))
    plain = await away("docker run", lambda: figures.docker_run(7))
    durable = await away("durable submissions", lambda: figures.durable_submission(user, 25))
    synced = await away("fsync", lambda: figures.fsync(pool.directory, 50))
    percent, resident = await away("an idle agent", lambda: figures.idle(pool, 20))
    say.print("measuring failover")
    failovers = [await figures.failover(user) for _ in range(3)]
    helped = await away("--help", lambda: figures.command(["-m", "p2pool", "--help"], 7))
    bare = await away("a bare Python", lambda: figures.command(["-c", "pass"], 7))
    p95 = statistics.quantiles(durable, n=20)[-1]
    return [
        Row("submission to container running", median(running), "s",
            f"docker run {median(plain):.2f} s: {median(running) / median(plain):.1f} times"),
        Row("durable submission, median", median(durable) * 1000, "ms",
            f"fsync {median(synced) * 1000:.1f} ms: {median(durable) / median(synced):.1f} times"),
        Row("durable submission, 95th of 100", p95 * 1000, "ms", ""),
        Row("master killed to next accepted write", median(failovers), "s",
            f"worst of 3: {max(failovers):.2f} s", 3.0),
        Row("idle agent, CPU", percent, "% of a core", "", 5.0),
        Row("idle agent, resident memory", resident / MIB, "MiB", "", 160.0),
        Row("p2pool --help", median(helped), "s", f"python -c pass {median(bare):.2f} s", 0.3),
    ]  # fmt: skip


async def play(directory: Path, say: Console) -> list[Row]:
    """Bring a pool up, measure, and end it whatever happens."""
    pool = DevPool(directory / "pool", say.print)
    try:
        await pool.up(3)
        await pool.wait_heartbeats()
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(3)
        return await measure(pool, say)
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()


def main() -> int:
    """0 when everything could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    say = Console(stderr=True, highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="p2b", dir="/tmp"))
    with running_engine(directory / "engine") as engine:
        os.environ["DOCKER_HOST"] = engine.url
        client = docker.APIClient(base_url=engine.url, version="auto")
        import_busybox(client, directory)
        client.close()
        rows = trio.run(play, directory, say)
    directory.rmdir()
    if given.json:
        print(json.dumps([{**attrs.asdict(row), "verdict": row.verdict} for row in rows]))
        return 0
    table = Table("what", "figure", "against", "aim", "verdict")
    for row in rows:
        aim = f"{row.aim:g} {row.unit}" if row.aim else ""
        table.add_row(row.what, f"{row.figure:.2f} {row.unit}", row.against, aim, row.verdict)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
