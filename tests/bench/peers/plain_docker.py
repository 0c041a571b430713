"""Plain docker on an engine: what the same costs by its own command, and when containers start.

When a container runs is heard of the engine's events, not asked for again and again: asking would
cost the engine time, of which there is little on a machine that starts a hundred containers.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import docker
import psutil
from docker.errors import DockerException
from requests.exceptions import RequestException

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from tests.bench.waiting import wait_until

TASK_LABEL = "p2pool.task"
READ_BYTES = 256 * 1024
REMOVE_DEADLINE_S = 120.0
RUN_DEADLINE_S = 60.0


def connect(engine: Engine) -> Any:
    """A client of an engine."""
    return docker.APIClient(base_url=engine.url, version="auto")


class Starts:
    """When the container of each task started, on the monotonic clock."""

    def __init__(self, stream: Any) -> None:
        self.at: dict[str, float] = {}
        self._stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(DockerException, RequestException, OSError, ValueError):
            for event in self._stream:
                self.at[event["Actor"]["Attributes"][TASK_LABEL]] = time.perf_counter()

    def wait(self, tasks: Iterable[str], within_s: float) -> float:
        """When the last of these tasks had started. Raises TimeoutError."""
        names = [task.removeprefix("0x") for task in tasks]

        def last() -> float | None:
            times = [self.at.get(name) for name in names]
            return max(t for t in times if t is not None) if None not in times else None

        return wait_until(last, within_s)


@contextlib.contextmanager
def starts(engine: Engine) -> Iterator[Starts]:
    """Listen to an engine for the length of a block."""
    client = connect(engine)
    stream = client.events(
        decode=True,
        since=int(time.time()),
        filters={"type": "container", "event": "start", "label": TASK_LABEL},
    )
    try:
        yield Starts(stream)
    finally:
        with contextlib.suppress(DockerException, OSError, ValueError):
            stream.close()
        client.close()


# --- docker run ---------------------------------------------------------------------------------


def run(cpus: float, command: str = "sleep 1000") -> str:
    """`docker run -d` of the test's image on the engine of DOCKER_HOST; the container's id."""
    done = subprocess.run(
        [
            "docker",
            "run",
            "-d",
            "--memory",
            "16m",
            "--cpus",
            f"{cpus:g}",
            BUSYBOX_IMAGE,
            "sh",
            "-c",
            command,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=RUN_DEADLINE_S,
    )
    return done.stdout.strip()


def run_many(count: int, at_once: int, cpus: float) -> tuple[float, list[str]]:
    """Seconds until so many have been run, so many commands at the same time; their ids."""
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        names = list(threads.map(lambda _: run(cpus), range(count)))
    return time.perf_counter() - began, names


def remove(names: Sequence[str]) -> None:
    """Remove containers, whether they run or not, a few at a time."""
    forced = partial(subprocess.run, capture_output=True, check=True, timeout=REMOVE_DEADLINE_S)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: forced(["docker", "rm", "-f", name]), names))


# --- streams and processes ----------------------------------------------------------------------


def bytes_per_second(arguments: Sequence[str], most_s: float) -> float:
    """How fast a command writes, from its first byte to its last, or for so long; then it ends."""
    reader = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    try:
        first = os.read(reader.stdout.fileno(), READ_BYTES)
        began = last = time.perf_counter()
        count = 0  # What came with the first read was written before the clock began.
        while last - began < most_s and (data := os.read(reader.stdout.fileno(), READ_BYTES)):
            count, last = count + len(data), time.perf_counter()
    finally:
        reader.kill()
        _, said = reader.communicate()
    if not first or not count:
        raise RuntimeError(f"{arguments[0]} wrote next to nothing: {said.decode(errors='replace')}")
    return count / (last - began)


def busy(groups: Sequence[Sequence[int]], seconds: float) -> list[float]:
    """Percent of a core that each of these groups of processes takes, at the same time."""
    processes = [[psutil.Process(pid) for pid in pids] for pids in groups]

    def taken() -> list[float]:
        return [sum(sum(p.cpu_times()[:2]) for p in group) for group in processes]

    before, began = taken(), time.perf_counter()
    time.sleep(seconds)
    after, elapsed = taken(), time.perf_counter() - began
    return [100 * (b - a) / elapsed for a, b in zip(before, after, strict=True)]


def engine_pids(engine: Engine) -> list[int]:
    """The engine's own processes, without those of its containers."""
    children = psutil.Process(engine.pid).children()
    return [engine.pid, *(child.pid for child in children if child.name() == "containerd")]
