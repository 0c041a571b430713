"""A Unix socket in each container, through which a task reports numbers (loss, step, tokens/s).

Intuition: a training task knows its own progress best. It writes lines of JSON to the socket that
P2POOL_METRICS_SOCKET names; the agent keeps the last value of each name and shows it in the API, in
`p2pool task metrics` and to Prometheus. The socket lies in a directory of the allocation's own that
is mounted into its container, so the agent can make the socket anew after a restart.

Invariants: each copy has bounds on names, their number, lines, their length and their rate; the
agent counts and drops whatever exceeds them. Nothing that a task writes raises an error or affects
another task. Values live as long as the copy's container.
"""

import hashlib
import os
import shutil
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.codec.text.metric_line import parse_line
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import AllocationId
from p2pool.model.messages.task_streams import MetricsAnswered, TaskMetric

log = get_logger(__name__)

SOCKET_NAME = "metrics.sock"
READ_BYTES = 16 * 1024
Key = tuple[AllocationId, int]
Heard = Callable[[AllocationId, int, Sequence[tuple[str, float]]], None]
"""Hears what each line said that was taken; it neither waits nor raises."""


@attrs.define
class Copy:
    """What one attempt of a copy has reported, and how much more it may report."""

    directory: Path
    heard: Callable[[Sequence[tuple[str, float]]], None] = lambda _: None
    values: OrderedDict[str, tuple[float, int]] = attrs.field(factory=OrderedDict)
    refused_lines: int = 0
    budget: float = float(limits.METRIC_LINES_PER_S)
    budget_s: float = 0.0
    connections: int = 0
    scope: trio.CancelScope | None = None

    def take(self, line: bytes, now_s: float, now_ms: int) -> str | None:
        """Take a line; returns why not, if it is refused."""
        passed_s, self.budget_s = now_s - self.budget_s, now_s
        per_s = limits.METRIC_LINES_PER_S
        self.budget = min(per_s, self.budget + passed_s * per_s)
        if self.budget < 1:
            return self._refuse("too fast")
        self.budget -= 1
        try:
            found = parse_line(line)
        except Malformed:
            return self._refuse("malformed")
        new = [name for name, _ in found if name not in self.values]
        if len(self.values) + len(new) > limits.METRICS_PER_TASK_MAX:
            return self._refuse("too many names")
        for name, value in found:
            self.values[name] = (value, now_ms)
        self.heard(found)
        return None

    def _refuse(self, why: str) -> str:
        self.refused_lines += 1
        return why


class TaskMetrics:
    """The sockets and values of all copies of one node."""

    def __init__(self, directory: Path) -> None:
        """`directory`: the agent's; whatever it holds already belongs to earlier containers."""
        self.counters: Counter[str] = Counter()
        self.heard: Heard = lambda allocation, attempt, found: None
        self._directory = directory / "metrics"
        self._copies: dict[Key, Copy] = {}
        self._nursery: trio.Nursery | None = None

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen on every socket until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await trio.sleep_forever()

    def open(self, allocation: AllocationId, attempt: int) -> str:
        """Listen for a copy; returns the directory to mount into its container, "" on failure."""
        if self._nursery is None:
            return ""
        key = (allocation, attempt)
        copy = self._copies.get(key)
        if copy is None:
            heard = partial(self._heard, key)
            copy = self._copies[key] = Copy(self._place(key), heard)
        if copy.scope is None:
            try:
                copy.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            except OSError as error:
                log.warning("a task has no socket for metrics", reason=str(error))
                return ""
            copy.scope = trio.CancelScope()
            self._nursery.start_soon(self._listen, key, copy, copy.scope)
        return str(copy.directory)

    def keep(self, running: Iterable[Key], there: Iterable[Key]) -> None:
        """After a listing: listen for running copies, forget those without a container."""
        for allocation, attempt in running:
            if self._place((allocation, attempt)).is_dir():
                self.open(allocation, attempt)
        kept = frozenset(there)
        for key in [key for key in self._copies if key not in kept]:
            self.forget(*key)

    def forget(self, allocation: AllocationId, attempt: int) -> None:
        """The copy's container is gone."""
        copy = self._copies.pop((allocation, attempt), None)
        if copy is None:
            return
        if copy.scope is not None:
            copy.scope.cancel()
        shutil.rmtree(copy.directory, ignore_errors=True)

    def _place(self, key: Key) -> Path:
        """Short, since a socket's path has at most 107 bytes; its own, since tasks do not share."""
        name = hashlib.sha256(f"{key[0]}.{key[1]}".encode()).hexdigest()[:16]
        return self._directory / name

    # --- what tasks write -------------------------------------------------------------------------

    async def _listen(self, key: Key, copy: Copy, scope: trio.CancelScope) -> None:
        with scope:
            try:
                listener = await _bind(copy.directory)
            except OSError as error:
                log.warning("a task has no socket for metrics", reason=str(error))
                return
            async with trio.open_nursery() as nursery, listener:
                while True:
                    try:
                        stream = await listener.accept()
                    except OSError:
                        # Most likely out of file descriptors: some will be closed again.
                        await trio.sleep(limits.METRIC_ACCEPT_PAUSE_MS / 1000)
                        continue
                    if copy.connections >= limits.METRIC_CONNECTIONS_MAX:
                        self.counters["connections_refused"] += 1
                        await trio.aclose_forcefully(stream)
                        continue
                    copy.connections += 1
                    nursery.start_soon(self._read, copy, stream)

    async def _read(self, copy: Copy, stream: trio.SocketStream) -> None:
        """Read lines until the end; a line over its bound ends its connection."""
        rest = b""
        try:
            async with stream:
                async for data in stream:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._take(copy, line)
                    if len(rest) > limits.METRIC_LINE_MAX_BYTES:
                        self._take(copy, rest)
                        return
                self._take(copy, rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.counters["connections_broken"] += 1
        finally:
            copy.connections -= 1

    def _heard(self, key: Key, found: Sequence[tuple[str, float]]) -> None:
        self.heard(*key, found)

    def _take(self, copy: Copy, line: bytes) -> None:
        if not line.strip():
            return
        refused = copy.take(line, trio.current_time(), read_clock().wall_ms)
        self.counters[f"lines_{(refused or 'taken').replace(' ', '_')}"] += 1

    # --- what is read -----------------------------------------------------------------------------

    def told(self, allocation: AllocationId, attempt: int) -> MetricsAnswered:
        """The last values of a copy; empty if it reported nothing."""
        copy = self._copies.get((allocation, attempt))
        if copy is None:
            return MetricsAnswered(allocation, (), 0)
        metrics = tuple(
            TaskMetric(name, repr(value), at_ms) for name, (value, at_ms) in copy.values.items()
        )
        return MetricsAnswered(allocation, metrics, copy.refused_lines)

    def all(self) -> Iterator[tuple[AllocationId, str, float]]:
        """Every value of every copy, for Prometheus."""
        for (allocation, _), copy in self._copies.items():
            for name, (value, _) in copy.values.items():
                yield allocation, name, value


async def _bind(directory: Path) -> trio.SocketListener:
    """A listener on the directory's socket, which any user inside the container may write to."""
    with suppress(FileNotFoundError):
        (directory / SOCKET_NAME).unlink()
    made = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        with _short(directory) as short:
            await made.bind(f"{short}/{SOCKET_NAME}")
            os.chmod(directory / SOCKET_NAME, 0o666)
        made.listen(limits.METRIC_CONNECTIONS_MAX)
        return trio.SocketListener(made)
    except BaseException:
        made.close()
        raise


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A path to the directory that is short enough for a socket address, however deep it lies."""
    number = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
