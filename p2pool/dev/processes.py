"""Processes that outlive the command that started them, and are ended by their identity.

A process id alone is no identity: the kernel reuses it. A child is (pid, start in ticks since this
boot), recorded at its birth; any other process with that number is somebody else's and is left
alone. Ticks, not the time of day: people set clocks.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.codec.json.envelope import unwrapped
from p2pool.drivers.containers.process.procfs import all_stats, boot_id, read_stat
from p2pool.model.errors import Unavailable

START_DEADLINE_S = 180.0
STOP_DEADLINE_S = 8.0
POLL_S = 0.05
TAIL_BYTES = 1500
# The output directories of a pool's processes, below its own.
WRITTEN = ("logs", "chain")


@attrs.frozen
class Child:
    """A process: its readable name, its identity, its log."""

    name: str
    pid: int
    started_ticks: int
    boot_id: str
    log: str

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and stat[0] not in "ZX"
            and stat[3] == self.started_ticks
            and self.boot_id == boot_id()
        )

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs; one that we may not signal runs on."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            file = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(file, number)
            finally:
                os.close(file)

    def tail(self) -> str:
        """The end of its log."""
        try:
            return Path(self.log).read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""

    def last_words(self) -> str:
        """Why it ended, in its own words; its last lines if it reported no error."""
        tail = self.tail()
        for line in reversed(tail.splitlines()):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = unwrapped(json.loads(line))
                return f"{told['message']} {told.get('hint', '')}".strip()
        return tail

    async def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL; returns when it is gone."""
        self.signal(signal.SIGTERM)
        # A stopped process receives the first signal only when it continues.
        self.signal(signal.SIGCONT)
        with trio.move_on_after(STOP_DEADLINE_S):
            await self.wait_gone()
        self.signal(signal.SIGKILL)
        with trio.move_on_after(STOP_DEADLINE_S):
            await self.wait_gone()

    async def wait_gone(self) -> None:
        """Wait until it is gone; a child of ours is reaped."""
        while self.alive:
            _reap(self.pid)
            await trio.sleep(POLL_S)
        _reap(self.pid)


def _reap(pid: int) -> int | None:
    """Reap a child that has ended: its exit code, negative for a signal; None: not known."""
    # It is not our child if a later command stops what an earlier one started.
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    return None


def adopt(name: str, pid: int, log: Path) -> Child:
    """A process that somebody started, as a child to be ended later."""
    stat = read_stat(pid)
    return Child(
        name=name, pid=pid, started_ticks=stat[3] if stat else -1, boot_id=boot_id(), log=str(log)
    )


def strays(directory: Path) -> list[int]:
    """Processes whose output goes into a pool's directory, whatever its file says."""
    places = [directory / name for name in WRITTEN]
    found = []
    for pid in all_stats():
        with contextlib.suppress(OSError):
            output = Path(os.readlink(f"/proc/{pid}/fd/2"))
            if any(output.is_relative_to(place) for place in places):
                found.append(pid)
    return found


def lock_holders(file: Path) -> list[int]:
    """Processes that hold a lock on a file, whoever started them.

    The kernel says so: a number written into the file may be anybody's by now.
    """
    try:
        wanted = file.stat()
    except OSError:
        return []
    found = []
    for pid in all_stats():
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):  # Closed meanwhile.
                    opened = os.stat(f"/proc/{pid}/fd/{name}")
                    if (opened.st_dev, opened.st_ino) != (wanted.st_dev, wanted.st_ino):
                        continue
                    told = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
                    if "FLOCK" in told and "WRITE" in told:
                        found.append(pid)
    return sorted(set(found))


def spawn(
    name: str,
    arguments: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    program: Sequence[str] = (),
) -> tuple[Child, Path]:
    """Start this Python's `p2pool` with arguments, in a session of its own; its standard output
    goes to the second result, its log lines to the child's log. `program`: another one in its
    place, such as another version."""
    directory.mkdir(parents=True, exist_ok=True)
    log, output = directory / f"{name}.log", directory / f"{name}.out"
    # A packed program is its own interpreter. Any other runs with -P: without it, a trio.py in the
    # user's current directory would replace ours.
    packed = getattr(sys, "frozen", False)
    own = [sys.executable] if packed else [sys.executable, "-P", "-m", "p2pool"]
    with log.open("ab") as err, output.open("wb") as out:
        process = subprocess.Popen(
            [*(program or own), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    # It is ended by identity, perhaps by another command: nobody waits for the object.
    process.returncode = 0
    return adopt(name, process.pid, log), output


async def wait_line(child: Child, output: Path) -> Any:
    """The JSON of the first line that a child writes. `Unavailable` with its last words."""
    with trio.move_on_after(START_DEADLINE_S) as scope:
        while child.alive:
            text = output.read_bytes()
            if b"\n" in text:
                return unwrapped(json.loads(text.splitlines()[0]))
            await trio.sleep(POLL_S)
    why = child.last_words()
    if scope.cancelled_caught:
        ended = f"it said nothing within {START_DEADLINE_S:g} s"
    else:
        ended = _how_ended(_reap(child.pid))
    raise Unavailable(
        f"{child.name} did not start: {why or f'{ended}.'}", hint=f"Its log is {child.log}."
    )


def _how_ended(code: int | None) -> str:
    if code is None:
        return "it ended without a word"
    if code == -signal.SIGKILL:
        return "it was killed; the machine may be short of memory (free -h; sudo dmesg | tail)"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}, without a word"
