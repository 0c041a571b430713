"""An agent's memory, with keys and opened secrets, goes into no core dump."""

import resource
import subprocess
import sys
from pathlib import Path

from p2pool.drivers.core_dumps import MOST_BYTES


def limits_after(code: str) -> tuple[int, ...]:
    told = "\nimport resource\nprint(*resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run(
        [sys.executable, "-c", code + told], capture_output=True, text=True, check=True, timeout=60
    )
    return tuple(int(word) for word in done.stdout.split()[-2:])


def most() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return MOST_BYTES if hard == resource.RLIM_INFINITY else min(MOST_BYTES, hard)


def test_no_dump_has_room() -> None:
    """Nor can the process take the limit back."""
    code = "from p2pool.drivers.core_dumps import forbid_core_dumps as f; f(); f()"
    assert limits_after(code) == (most(), most())


def test_an_agent_begins_with_it(tmp_path: Path) -> None:
    """Before it reads a key, so also where it goes no further than its files."""
    code = (
        "from click.testing import CliRunner\n"
        "from p2pool.cli.agent.run import run\n"
        f"done = CliRunner().invoke(run, ['--data-dir', {str(tmp_path)!r}])\n"
        "assert done.exit_code, done.output"
    )
    assert limits_after(code) == (most(), most())
