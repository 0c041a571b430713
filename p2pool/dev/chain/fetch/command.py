"""Runs another program until it ends, stalls or takes too long.

Intuition: a package manager says little while it works, and some wait for minutes on a silent
registry. So the program's directory is watched: its growth is progress, reported now and then; if
it stops growing, the program is ended.

Invariants: a cancelled caller ends the program and everything that it started before it continues;
no thread waits for it.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from p2pool.dev.narrator import Say
from p2pool.dev.places import MB

STALL_S = 45.0
DEADLINE_S = 1800.0
GRACE_S = 2.0
LOOK_S = 1.0
TOLD_EVERY_S = 5.0


@attrs.frozen
class Done:
    """How a program ended: its exit code (negative: a signal), and all its output.

    `stuck`: why we ended it; the code means nothing then.
    """

    code: int
    said: str = ""
    stuck: str = ""

    @property
    def good(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0 and not self.stuck


async def run_command(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    watched: Path | None = None,
    say: Say | None = None,
    deadline_s: float = DEADLINE_S,
) -> Done:
    """Run a program without input. `watched`: a directory that grows while it makes progress.

    Raises OSError if it cannot be run at all.
    """
    ended: list[Done | OSError] = []

    async def run() -> None:
        try:
            ended.append(await _run(arguments, environment))
        except OSError as error:
            ended.append(error)
        nursery.cancel_scope.cancel()

    with trio.move_on_after(deadline_s) as whole:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            if watched is not None:
                await _wait_still(watched, say)
                nursery.cancel_scope.cancel()
    if not ended:
        took = f"it took more than {deadline_s:g} s"
        return Done(1, stuck=took if whole.cancelled_caught else f"nothing came for {STALL_S:g} s")
    if isinstance(ended[0], OSError):
        raise ended[0]
    return ended[0]


async def _run(arguments: Sequence[str], environment: Mapping[str, str] | None) -> Done:
    done = await trio.run_process(
        list(arguments),
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        deliver_cancel=_end,
        env=None if environment is None else dict(environment),
        # A session of its own, so everything it started ends with it, and Ctrl-C reaches only us.
        start_new_session=True,
    )
    said = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
    return Done(done.returncode, said.strip())


async def _end(process: trio.Process) -> None:
    """End a program and its children. trio cancels this as soon as the first of them ends."""
    try:
        _signal(process.pid, signal.SIGTERM)
        await trio.sleep(GRACE_S)
    finally:
        _signal(process.pid, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


async def _wait_still(directory: Path, say: Say | None) -> None:
    """Return when the directory has not changed for STALL_S; report its growth until then."""
    size, changed_s = -1, trio.current_time()
    told, told_s = 0, changed_s
    while trio.current_time() - changed_s < STALL_S:
        await trio.sleep(min(LOOK_S, STALL_S / 4))
        now_s, now = trio.current_time(), size_bytes(directory)
        if now != size:
            size, changed_s = now, now_s
        if say is not None and size > told and now_s - told_s >= TOLD_EVERY_S:
            say(f"{size // MB} MB so far")
            told, told_s = size, now_s


def size_bytes(directory: Path) -> int:
    """The size of a directory, which changes meanwhile."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total
