"""Containers against plain docker: the same image on the same private engine, in the same run.

What is fair: the engine, the image, the limits of CPU and memory and the log files are the same on
both sides. p2pool's side is a pool of three agents, of which one offers the machine and the others
nothing; a user asks an agent that does not run what he asks for, and each submission is signed,
committed by a majority to disk, ordered, hardened and started. It runs as soon as the engine says
so; `docker run -d` has done its work when the command has ended.

A hundred tasks share the cores of one machine, so each has a hundredth of them, and the kernel
makes the start of each wait for its share; plain docker's containers have the same. They are run
one command after the other, and four at a time.

Log lines are of 100 characters. A task's log is kept in three files of 10 MiB at most, so what is
read is the end of what was written; `docker logs` reads the same container.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs
import psutil
import trio

from p2pool.dev.engine.engine import Engine, import_busybox, running_engine
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.drivers.config.reader import Size
from p2pool.drivers.config.schema import AgentConfig, ResourcesConfig
from tests.bench import worker_passes
from tests.bench.measurements import User
from tests.bench.peers import plain_docker
from tests.bench.rows import Row
from tests.bench.waiting import wait_until

SUITE = "containers"
AGENTS = 3
ROUNDS = 9
MANY, AT_ONCE = 100, 4
KNOWN, RUNNING = 500, 50
CPU_S, SETTLE_S = 25.0, 12.0
LOG_BYTES = 200_000_000
LOG_LINE = "x" * 99
LOG_MOST_S = 10.0
LOG_ROUNDS = 3
WITHIN_S, POLL_S = 120.0, 0.1
ENDED = ("succeeded", "failed", "stopped", "lost")
DISK_RESERVE_BYTES = 64 * 1024 * 1024
MB = 1_000_000
T = TypeVar("T")

Say = Callable[[str], None]


class OneHost(DevPool):
    """A pool whose first agent offers this machine; the others vote, and run nothing."""

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """The first has all, and takes work on a disk that is nearly full, too."""
        reserve = Size(DISK_RESERVE_BYTES)
        offered = ResourcesConfig(disk_reserve_bytes=reserve)
        if name != "agent-1":
            offered = ResourcesConfig(cpu_milli=0, gpus=0, disk_reserve_bytes=reserve)
        return attrs.evolve(config, resources=offered)


@attrs.define
class Figures:
    """What was measured, in seconds, bytes per second and percent of a core."""

    ours: list[float] = attrs.field(factory=list)
    plain: list[float] = attrs.field(factory=list)
    many: float = 0.0
    many_serial: float = 0.0
    many_together: float = 0.0
    log_here: list[float] = attrs.field(factory=list)
    log_there: list[float] = attrs.field(factory=list)
    log_plain: list[float] = attrs.field(factory=list)
    cpu_host: float = 0.0
    cpu_other: float = 0.0
    cpu_engine: float = 0.0


async def measure(directory: Path, say: Say) -> list[Row]:
    """All rows, on a private engine."""
    with running_engine(directory / "engine") as engine:
        os.environ["DOCKER_HOST"] = engine.url
        try:
            client = plain_docker.connect(engine)
            import_busybox(client, directory)
            client.close()
            figures = await _pool(engine, directory / "pool", say)
            seen = await worker_passes.measure(engine, directory / "passes", KNOWN, RUNNING, say)
        finally:
            del os.environ["DOCKER_HOST"]
    return _rows(figures, seen)


async def _pool(engine: Engine, directory: Path, say: Say) -> Figures:
    pool, out = OneHost(directory, say), Figures()

    async def away(what: str, act: Callable[[], T]) -> T:
        say(f"measuring {what}")
        return await trio.to_thread.run_sync(act)

    try:
        await pool.up(AGENTS)
        await pool.wait_heartbeats()
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(AGENTS)
        user = await trio.to_thread.run_sync(User, pool)
        await away("submission to running, beside docker run", lambda: _one(engine, user, out))
        await away("log streams", lambda: _logs(engine, user, out))
        tasks = await away(f"{MANY} tasks", lambda: _many(engine, user, out))
        await trio.to_thread.run_sync(_stop, user, tasks[RUNNING:])
        await trio.sleep(SETTLE_S)
        await away(f"CPU beside {RUNNING} containers", lambda: _cpu(engine, user, out))
        await trio.to_thread.run_sync(_stop, user, tasks[:RUNNING])
        await away(f"{MANY} times docker run", lambda: _many_plain(out))
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()
    return out


# --- measurements -------------------------------------------------------------------------------


def _one(engine: Engine, user: User, out: Figures) -> None:
    """Ours and docker's in turn."""
    asked = user.pool.agents[1]
    with plain_docker.starts(engine) as starts:
        for number in range(ROUNDS + 1):
            began = time.perf_counter()
            task = user.submit(asked)
            taken = starts.wait([task], WITHIN_S) - began
            user.stop(asked, task)
            _wait_ended(asked, [task])
            began = time.perf_counter()
            name = plain_docker.run(0.3)
            plain = time.perf_counter() - began
            plain_docker.remove([name])
            if number:  # The first of each warms caches and connections.
                out.ours.append(taken)
                out.plain.append(plain)


def _many(engine: Engine, user: User, out: Figures) -> list[str]:
    """As many tasks as MANY, asked for by a few clients at a time, until all of them run."""
    cpu_milli = _cores() * 1000 // MANY
    agents = user.pool.agents
    with plain_docker.starts(engine) as starts, ThreadPoolExecutor(AT_ONCE) as threads:
        began = time.perf_counter()
        tasks = list(
            threads.map(lambda n: user.submit(agents[n % AGENTS], cpu_milli=cpu_milli), range(MANY))
        )
        out.many = starts.wait(tasks, WITHIN_S) - began
    return tasks


def _many_plain(out: Figures) -> None:
    """The same by docker's command."""
    for at_once in (1, AT_ONCE):
        seconds, names = plain_docker.run_many(MANY, at_once, _cores() / MANY)
        plain_docker.remove(names)
        if at_once == 1:
            out.many_serial = seconds
        else:
            out.many_together = seconds


def _logs(engine: Engine, user: User, out: Figures) -> None:
    """A task writes a lot; then its log is read from the agent that ran it, from another one, and
    by docker, in turn."""
    host, other = user.pool.agents[0], user.pool.agents[2]
    task = user.submit(other, f"yes {LOG_LINE} | head -c {LOG_BYTES}", cpu_milli=1000)
    _wait_ended(other, [task])
    client = plain_docker.connect(engine)
    (row,) = client.containers(all=True, filters={"label": f"{plain_docker.TASK_LABEL}={task}"})
    client.close()
    for _ in range(LOG_ROUNDS):
        for taken, arguments in (
            (out.log_plain, ["docker", "logs", row["Id"]]),
            (out.log_here, _task_logs(user, host, task)),
            (out.log_there, _task_logs(user, other, task)),
        ):
            taken.append(plain_docker.bytes_per_second(arguments, LOG_MOST_S))


def _task_logs(user: User, agent: DevAgent, task: str) -> list[str]:
    keys = user.pool.directory / "keys"
    return [
        sys.executable,
        "-m",
        "p2pool",
        "task",
        "logs",
        task,
        "--agent",
        str(agent.directory),
        "--key",
        str(keys / "manager.json"),
        "--passphrase-file",
        str(keys / "passphrase"),
    ]


def _cpu(engine: Engine, user: User, out: Figures) -> None:
    """Agents and engine over the same time."""
    pids = [agent.child.pid for agent in user.pool.agents if agent.child is not None]
    groups = [[pids[0]], pids[1:], plain_docker.engine_pids(engine)]
    out.cpu_host, others, out.cpu_engine = plain_docker.busy(groups, CPU_S)
    out.cpu_other = others / (AGENTS - 1)


def _stop(user: User, tasks: list[str]) -> None:
    asked = user.pool.agents[1]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda task: user.stop(asked, task), tasks))
    _wait_ended(asked, tasks)


def _wait_ended(agent: DevAgent, tasks: list[str]) -> None:
    """Until every copy of these tasks has ended."""
    client = agent.client()

    def ended() -> bool | None:
        states = {task["task_id"]: task["allocations"] for task in client.tasks()}
        copies = [copy["state"] for task in tasks for copy in states[task]]
        return True if copies and all(state in ENDED for state in copies) else None

    wait_until(ended, WITHIN_S, POLL_S)


def _cores() -> int:
    return psutil.cpu_count() or 1


# --- the table ----------------------------------------------------------------------------------


def _rows(out: Figures, seen: worker_passes.Passes) -> list[Row]:
    median = statistics.median
    ours, plain = median(out.ours), median(out.plain)
    here, there = median(out.log_here), median(out.log_there)
    listed = f"one list of the engine {median(seen.listed) * 1000:.0f} ms"
    by_docker = f"docker logs {median(out.log_plain) / MB:.0f} MB/s"
    return [
        Row(
            SUITE,
            "submission to container running, median",
            ours,
            "s",
            f"docker run {plain:.2f} s: {ours / plain:.1f} times",
            1.2 * plain,
        ),
        Row(
            SUITE,
            f"{MANY} tasks until all run, on one node",
            out.many,
            "s",
            f"docker run one by one {out.many_serial:.0f} s, {AT_ONCE} at a time"
            f" {out.many_together:.0f} s",
            out.many_together,
        ),
        Row(
            SUITE,
            f"a pass over {seen.containers} containers, {seen.running} running",
            median(seen.whole) * 1000,
            "ms",
            listed,
        ),
        Row(SUITE, "of that, to judge them", median(seen.judged) * 1000, "ms"),
        Row(SUITE, "the first pass of an agent", seen.first * 1000, "ms"),
        Row(SUITE, "task logs, from the agent that ran it", here / MB, "MB/s", by_docker),
        Row(SUITE, "task logs, from another agent", there / MB, "MB/s", by_docker),
        Row(
            SUITE,
            f"an agent with {RUNNING} containers, CPU",
            out.cpu_host,
            "% of a core",
            f"its engine {out.cpu_engine:.1f} %, an agent with none {out.cpu_other:.1f} %",
            5.0,
        ),
    ]
