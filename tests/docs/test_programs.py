"""Every program of the tests says what it does before it does anything.

They run in this process, where nothing else can be started.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.docs.generator import pages

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("tests/*/__main__.py")
)


def refused(*given: object, **named: object) -> None:
    """What a program does that was asked for its help."""
    pytest.fail(f"it begins: {given}")


@pytest.fixture(autouse=True)
def nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio, "run", refused)
    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(pages, "write_all", refused)


def ended(program: str, word: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of a program with one word."""
    monkeypatch.setattr(sys, "argv", [program, word])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"{program}.__main__", run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_its_help(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to type and what it does, and no more than that."""
    assert ended(program, "--help", monkeypatch) == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_refuses_what_it_does_not_know(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not run as if nothing had been said."""
    assert ended(program, "--nothing-like-that", monkeypatch) == 2
    assert "usage: " in capsys.readouterr().err


def test_there_are_programs_to_ask() -> None:
    """As `make` starts them."""
    assert {"tests.chaos", "tests.docs", "tests.golden", "tests.sim"} <= set(PROGRAMS)
