"""What a command costs: its CPU time, beside docker's own for the same kind of question.

The CPU time of a child, user and system, is steadier than what somebody waits, and is what a script
pays that asks again and again. The agent and the engine answer from memory and are not counted. A
command that signs has its key unlocked: deriving it from a passphrase is slow on purpose.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from p2pool.api.server import ApiSettings, serve_api
from p2pool.dev.engine.engine import running_engine
from p2pool.drivers.keys import keystore
from tests.api.fakes import FakePort
from tests.bench.rows import Row

SUITE = "cli"
READS_AIM, SIGNS_AIM = 4, 8
"""Times docker's CPU."""
TRIES = 9
READS = {
    "node ls": ("node", "ls"),
    "task ls": ("task", "ls"),
    "task show": ("task", "show", "train"),
}
SIGNS = {
    "node drain": ("node", "drain", "0xabababab"),
    "task stop": ("task", "stop", "train"),
}
Say = Callable[[str], None]


async def measure(directory: Path, say: Say) -> list[Row]:
    """All rows."""
    token = keystore.load_or_make_token(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_api(
                *(FakePort(), ApiSettings("127.0.0.1:0"), directory, token),
                task_status=task_status,
            )
        )
        with running_engine(directory / "engine") as engine:
            rows = await trio.to_thread.run_sync(_rows, directory, engine.url, say)
        nursery.cancel_scope.cancel()
    return rows


def _rows(directory: Path, engine: str, say: Say) -> list[Row]:
    say("measuring docker ps")
    docker_ms = cpu_ms(["docker", "ps"], {"DOCKER_HOST": engine})
    python_ms = cpu_ms([sys.executable, "-c", "import click"], {})
    key = directory / "key.json"
    keystore.import_key_file(key, b"k" * 32, "x", light=True)
    where = {
        "P2POOL_AGENT": str(directory),
        "P2POOL_KEY": str(key),
        "XDG_RUNTIME_DIR": str(directory),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    against = f"docker ps: {docker_ms:.0f} ms; Python with click: {python_ms:.0f} ms"

    def row(name: str, words: tuple[str, ...], times: int, **more: str) -> Row:
        say(f"measuring {name}")
        figure = cpu_ms([sys.executable, "-m", "p2pool", *words], {**where, **more})
        return Row(SUITE, f"CPU of {name}", figure, "ms", against, times * docker_ms)

    rows = [row(name, words, READS_AIM) for name, words in READS.items()]
    cpu_ms(
        [sys.executable, "-m", "p2pool", "wallet", "unlock"], {**where, "P2POOL_PASSPHRASE": "x"}
    )
    rows += [row(f"{name}, unlocked", words, SIGNS_AIM) for name, words in SIGNS.items()]
    cpu_ms([sys.executable, "-m", "p2pool", "wallet", "lock"], where)
    return rows


def cpu_ms(command: list[str], more: Mapping[str, str], tries: int = TRIES) -> float:
    """The least CPU time of several runs: others on the machine only ever add to it."""
    found = []
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **more}, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found) * 1000
