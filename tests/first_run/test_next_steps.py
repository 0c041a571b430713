"""What the demonstration says to do next can be done word for word."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from p2pool.dev.demo import next_steps


def test_a_shell_that_does_not_find_p2pool_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make demo` the program is in an environment that no shell has activated."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    first = next_steps().splitlines()[2]
    done = subprocess.run(
        ["bash", "-c", f"{first} && command -v p2pool"], capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == Path(sys.executable).parent
    assert shlex.split(first)[0] == "source"


def test_a_shell_that_finds_p2pool_is_told_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No word too many."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert "activate" not in next_steps()
