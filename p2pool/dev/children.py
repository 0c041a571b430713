"""Processes that outlive the command that started them, and are ended by their identity.

A process id alone is no identity: it is used again. A child is (pid, time of its start), written
down at its birth; one whose start differs is somebody else's process and is left alone.
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
import psutil
import trio

from p2pool.model.errors import Unavailable

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 8.0
POLL_S = 0.05
TAIL_BYTES = 1500


@attrs.frozen
class Child:
    """A process: its name for people, its identity, where its output goes."""

    name: str
    pid: int
    started_at: float
    log: str

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started_at) < 0.01
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.alive:
            os.kill(self.pid, number)

    def tail(self) -> str:
        """The end of what it wrote."""
        try:
            return Path(self.log).read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""

    async def stop(self) -> None:
        """End it: asked first, then killed; returns when it is gone."""
        self.signal(signal.SIGTERM)
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


def _reap(pid: int) -> None:
    # It is not our child where a later command stops what an earlier one started.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def adopt(name: str, pid: int, log: Path) -> Child:
    """A process that somebody started, as a child to be ended later."""
    return Child(name, pid, psutil.Process(pid).create_time(), str(log))


def spawn(
    name: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> tuple[Child, Path]:
    """Start this Python's `p2pool` with arguments, in a session of its own; its standard output
    goes to the second result, its log lines to the child's log."""
    directory.mkdir(parents=True, exist_ok=True)
    log, output = directory / f"{name}.log", directory / f"{name}.out"
    with log.open("ab") as err, output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2pool", *arguments],
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
    """The JSON of the first line that a child writes. `Unavailable` with the end of its log."""
    with trio.move_on_after(START_DEADLINE_S):
        while child.alive:
            text = output.read_text()
            if text.endswith("\n"):
                return json.loads(text.splitlines()[0])
            await trio.sleep(POLL_S)
    raise Unavailable(
        f"{child.name} did not start: {child.tail() or 'it said nothing.'}",
        hint=f"Its log is {child.log}.",
    )
