"""Run a command and show its output as it comes, with a sign of life when it is silent."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

SILENT_S = 30.0
"""After this many seconds without a line, a line of ours says that the command still runs."""


def say(text: str) -> None:
    """A line of the watcher's own."""
    print(f"== {text}", flush=True)


def watched(command: str, cwd: Path, environment: Mapping[str, str], limit_s: float) -> int:
    """Run a shell command; returns its exit code, 124 if it took longer than `limit_s`.

    Its output goes to ours as it comes. Its children may hold the pipe open afterwards: only the
    command itself is waited for.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    shown = began
    code = None
    while code is None:
        if _show(pipe, 0.5):
            shown = time.monotonic()
        now = time.monotonic()
        if now - shown > SILENT_S:
            say(f"{command.split(chr(10))[0]!r} still runs, {now - began:.0f} s")
            shown = now
        if now - began > limit_s:
            say(f"{command!r} did not finish within {limit_s:.0f} s, and is ended")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = 124
        else:
            code = process.poll()
    while _show(pipe, 0):
        pass
    process.stdout.close()
    return code


def _show(pipe: int, wait_s: float) -> bool:
    """Pass on the available output; returns whether there was any. At the pipe's end it only
    waits."""
    if not select.select([pipe], [], [], wait_s)[0]:
        return False
    try:
        data = os.read(pipe, 65536)
    except BlockingIOError:
        return False
    if not data:
        time.sleep(wait_s)
        return False
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return True
