"""One start of a development pool, by the command line as a user starts it, and its end.

What it proves: `p2pool dev up` returns only when each agent has heard every other and all follow
one leader, or says why not. A start that fails keeps its logs and what its agents counted.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import attrs
import psutil

from p2pool.client.discovery import agent_in
from p2pool.dev.pool import DevPool
from p2pool.model.errors import P2poolError

START_DEADLINE_S = 600
"""Far more than a start may take: `dev up` has deadlines of its own, and this only ends a hang."""

ANSWER_TIMEOUT_S = 10
BUSY_LOOP = "while True: pass"


@attrs.frozen
class Start:
    """What became of one start. `reason` None: it came up."""

    number: int
    busy: bool
    seconds: float
    load: float
    """What the whole machine carried in the minute before it was up, by the kernel."""
    reason: str | None = None
    kept: str | None = None
    """Where the logs of a failed start are."""


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that each want a core for themselves, ended with the block."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def start_once(number: int, busy: bool, kept_below: Path) -> Start:
    """Start a pool and end it. Logs of a start that failed go below `kept_below`."""
    home = Path(tempfile.mkdtemp(prefix="p2start-"))
    directory = home / "pool"
    try:
        began = time.monotonic()
        reason = _command("up", directory, "--keep")
        seconds = time.monotonic() - began
        load = os.getloadavg()[0]
        kept = str(_keep(directory, kept_below / f"start-{number}")) if reason else None
        reason = reason or _command("down", directory) or _left(directory)
        return Start(number, busy, seconds, load, reason, kept)
    finally:
        if directory.exists():
            _command("down", directory)
        shutil.rmtree(home, ignore_errors=True)


def _command(verb: str, directory: Path, *options: str) -> str | None:
    """Run `p2pool dev VERB`; None when it succeeded, else the end of what it said."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "p2pool", "dev", verb, "--dir", str(directory), *options],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=START_DEADLINE_S,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"dev {verb} did not return within {START_DEADLINE_S} s"
    if done.returncode == 0:
        return None
    return f"dev {verb} ended with {done.returncode}: {done.stderr.strip()[-600:]}"


def _left(directory: Path) -> str | None:
    """What `dev down` left behind, or None."""
    if directory.exists():
        return f"dev down left {directory}"
    for process in psutil.process_iter(["cmdline"]):
        if str(directory) in " ".join(process.info["cmdline"] or ()):
            return f"dev down left process {process.pid}"
    return None


def _keep(directory: Path, to: Path) -> Path:
    """Save the logs and what each agent counted: the way to the cause."""
    to.mkdir(parents=True)
    for log in (directory / "logs").glob("*"):
        shutil.copy(log, to)
    try:
        agents = DevPool.load(directory, lambda text: None).agents
    except (P2poolError, ValueError, KeyError):
        agents = []
    for agent in agents:
        for path in ("/metrics", "/v1/nodes", "/v1/leader", "/v1/agent"):
            name = f"{agent.name}{path.replace('/', '-')}.txt"
            (to / name).write_text(_answer(agent.directory, path))
    return to


def _answer(agent: Path, path: str) -> str:
    """What an agent's API says, as text, or why it says nothing."""
    try:
        found = agent_in(agent)
        asked = Request(found.url + path, headers={"Authorization": f"Bearer {found.token}"})
        with urlopen(asked, timeout=ANSWER_TIMEOUT_S) as answer:
            return bytes(answer.read()).decode(errors="replace")
    except (P2poolError, OSError, HTTPException) as error:
        return f"{error}\n"
