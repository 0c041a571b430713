"""Sees whatever touches trio from a thread where trio does not run, and which sites were reached.

Intuition: what is called in a thread may not use what belongs to trio's own. Some of it fails at
once (`trio.current_time`), some only when a task happens to wait (`Event.set`, a channel's
`send_nowait`, `CancelScope.cancel`): that works in every test and fails one start in a thousand.
So each such call is noted with its stack, whether it would have failed or not.

It works in the process that calls `watching`, and in others by `sitecustomize` (see `environment`),
which append what they saw to a file.
"""

import functools
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import trio

FILE_VARIABLE = "P2POOL_TEST_WATCH"
HERE = Path(__file__).resolve().parent
PACKAGE = str(HERE.parents[2] / "p2pool") + os.sep

FUNCTIONS = (
    (trio, ("current_time", "current_effective_deadline")),
    (
        trio.lowlevel,
        (
            "current_root_task",
            "current_statistics",
            "current_clock",
            "current_trio_token",
            "reschedule",
            "spawn_system_task",
            "add_instrument",
        ),
    ),
    (trio.Event, ("set",)),
    (trio.CancelScope, ("cancel", "__enter__")),
    (trio.Nursery, ("start_soon",)),
    (trio.MemorySendChannel, ("send_nowait", "close", "clone")),
    (trio.MemoryReceiveChannel, ("receive_nowait", "close", "clone")),
    (trio.Semaphore, ("acquire_nowait", "release")),
    (trio.Lock, ("acquire_nowait", "release")),
    (
        trio.CapacityLimiter,
        ("acquire_nowait", "acquire_on_behalf_of_nowait", "release", "release_on_behalf_of"),
    ),
    (trio.Condition, ("notify", "notify_all")),
    (trio.lowlevel.ParkingLot, ("unpark", "unpark_all")),
)
"""What may be called where trio runs only; all of it is checked to exist."""


class Watch:
    """What was seen. `lines`: (file, line) of the package on the way to a thread."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.misuses: list[str] = []
        self.lines: set[tuple[str, int]] = set()

    def misused(self, what: str) -> None:
        """Something of trio's was touched from a thread."""
        stack = "".join(traceback.format_stack(sys._getframe(2), limit=12))
        self.misuses.append(f"{what} in {threading.current_thread().name}:\n{stack}")

    def went(self, frame: FrameType | None) -> None:
        """Something is handed to a thread: by all these callers."""
        while frame is not None:
            if frame.f_code.co_filename.startswith(PACKAGE):
                self.lines.add((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back


class FileWatch(Watch):
    """One that writes what it sees to a file, for whoever started this process."""

    def __init__(self, path: Path) -> None:
        """The file is appended to, by several processes."""
        super().__init__()
        self._path = path

    def misused(self, what: str) -> None:
        """As above."""
        super().misused(what)
        self._write({"misuse": self.misuses[-1]})

    def went(self, frame: FrameType | None) -> None:
        """As above."""
        before = set(self.lines)
        super().went(frame)
        for line in self.lines - before:
            self._write({"line": line})

    def _write(self, told: dict[str, Any]) -> None:
        # One write each: those of other processes do not come in between.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(file, json.dumps(told).encode() + b"\n")
        os.close(file)


def read(path: Path) -> Watch:
    """What other processes saw."""
    watch = Watch()
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if "misuse" in told:
            watch.misuses.append(told["misuse"])
        else:
            watch.lines.add((told["line"][0], told["line"][1]))
    return watch


def environment(path: Path) -> Mapping[str, str]:
    """Variables with which every Python that is started writes to `path`."""
    before = os.environ.get("PYTHONPATH")
    places = [str(HERE / "site"), str(HERE.parents[2]), *([before] if before else [])]
    return {FILE_VARIABLE: str(path), "PYTHONPATH": os.pathsep.join(places)}


def _in_foreign_thread() -> bool:
    return (
        threading.current_thread() is not threading.main_thread()
        and not trio.lowlevel.in_trio_run()
    )


def _noted(watch: Watch, name: str, usual: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(usual)
    def noted(*arguments: Any, **options: Any) -> Any:
        if _in_foreign_thread():
            watch.misused(name)
        return usual(*arguments, **options)

    return noted


def _seen(watch: Watch, usual: Callable[..., Any]) -> Callable[..., Any]:
    """A function that hands something to a thread."""

    @functools.wraps(usual)
    def seen(*arguments: Any, **options: Any) -> Any:
        watch.went(sys._getframe(1))
        return usual(*arguments, **options)

    return seen


@contextmanager
def watching(watch: Watch | None = None) -> Iterator[Watch]:
    """Watch this process within a block."""
    import apsw.aio

    watch = Watch() if watch is None else watch
    undo: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for owner, names in FUNCTIONS:
        for name in names:
            where = getattr(owner, "__name__", "trio")
            put(owner, name, _noted(watch, f"{where}.{name}", getattr(owner, name)))
    put(trio.to_thread, "run_sync", _seen(watch, trio.to_thread.run_sync))
    put(threading.Thread, "start", _seen(watch, threading.Thread.start))
    put(apsw.aio.Trio, "send", _seen(watch, apsw.aio.Trio.send))
    try:
        yield watch
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)
