"""The walk of docs/platforms.md, block by block, while agents are killed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.cli.main import cli
from tests.e2e.harness.actions import Acting
from tests.e2e.harness.killer import Killer
from tests.e2e.platforms.conftest import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

PAGE = ROOT / "docs" / "platforms.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK_DEADLINE_S = 240
_SESSION = """
import sys, traceback
space = {"__name__": "__main__"}
for line in sys.stdin:
    with open(line.strip()) as file:
        text = file.read()
    try:
        exec(compile(text, line.strip(), "exec"), space)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    print("=== done", flush=True)
"""


def blocks() -> list[tuple[str, str]]:
    """The blocks of the walk: language and text."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index("\n## A walk"), text.index("\n## The Python client")
    return [(found[1], found[2]) for found in BLOCK.finditer(text[begin:end])]


@attrs.define
class Walk:
    """A shell whose variables last from block to block, and one Python for all of its blocks."""

    place: Path
    environment: dict[str, str]
    python: "subprocess.Popen[str]" = attrs.field(init=False)
    said: str = ""

    def __attrs_post_init__(self) -> None:
        self.python = subprocess.Popen(
            [sys.executable, "-P", "-c", _SESSION],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def bash(self, text: str) -> None:
        """Run a block as a shell does that stops at the first failure."""
        kept = shlex.quote(str(self.place / "variables"))
        before = f"[ ! -e {kept} ] || . {kept}\nset -euo pipefail\nset -a\n"
        done = subprocess.run(
            ["bash", "-c", f"{before}{text}\nexport -p > {kept}\n"],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_DEADLINE_S,
            check=False,
        )
        self.said += done.stdout
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    def run(self, number: int, language: str, text: str) -> None:
        """Run a block; what it printed is in `said`."""
        if language == "bash":
            self.bash(text)
            return
        path = self.place / f"block-{number}.py"
        path.write_text(text)
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        self.python.stdin.write(f"{path}\n")
        self.python.stdin.flush()
        printed = ""
        for line in self.python.stdout:
            if line == "=== done\n":
                self.said += printed
                return
            printed += line
        raise AssertionError(f"{text}\n{printed}")

    def close(self) -> None:
        """End the Python."""
        self.python.kill()
        self.python.wait()


@pytest.fixture
def walk(acting: Acting, tmp_path: Path) -> Walk:
    """In an empty directory, with `p2pool` as users have it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    program = tools / "p2pool"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m p2pool "$@"\n')
    program.chmod(0o755)
    place = tmp_path / "walk"
    place.mkdir()
    path = f"{tools}:{os.environ['PATH']}"
    return Walk(place, {**os.environ, "PATH": path, "POOL": str(acting.pool.directory)})


async def test_the_walk_goes_to_its_end_while_agents_die(acting: Acting, walk: Walk) -> None:
    """From a grant to a running task, its log, its usage and its end; by the client, by curl and by
    a wallet. The owner makes the grant; from then on an agent is killed in each block."""
    found, killer = blocks(), Killer(acting)
    assert [language for language, _ in found] == [
        *("bash", "bash", "python", "python", "bash", "python", "python", "python")
    ]
    granted = next(n for n, (_, text) in enumerate(found) if "access grant" in text)
    try:
        for number in range(granted + 1):
            await trio.to_thread.run_sync(walk.run, number, *found[number])
        for number in range(granted + 1, len(found)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(killer.once, acting.agents[number % 3])
                await trio.to_thread.run_sync(walk.run, number, *found[number])
    finally:
        walk.close()
    lines = walk.said.splitlines()
    for wanted in (
        r"acme-train is running on 0x[0-9a-f]{40}",
        r"step 1",
        r"1 of 4 copies, 0.1 of 2.0 processors",
        r"stopped",
        r"submit is entry \d+ of the log",
        r"1\.\d+\.\d+ is succeeded on .*",
        r"succeeded",
        r"(not-allowed|bad-spec): .*acme-.*",
    ):
        assert any(re.fullmatch(wanted, line) for line in lines), (wanted, walk.said)
    assert [line for line in lines if line.startswith("step ")] == ["step 1", "step 2", "step 3"]
    assert killer.killed == len(found) - granted - 1 > 3


def test_what_the_page_names_is_there() -> None:
    """Methods of the clients, flags of the commands, and names to import."""
    import p2pool.client

    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"from p2pool\.client import ([\w, ]+)", text):
        for one in name.split(", "):
            assert one in p2pool.client.__all__
    table = text[text.index("| to | call |") : text.index("keys of `spec`")]
    for name in re.findall(r"`(\w+)\(", table):
        known = hasattr(p2pool.client.Client, name) or name in p2pool.client.__all__
        assert known, name
    assert "access" in cli.list_commands(None)  # type: ignore[arg-type]
