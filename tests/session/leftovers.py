"""The plugin by which a run leaves no temporary files and directories behind, and ends in order.

What this process makes is known from Python's own audit events. What the processes that it starts
make goes to a directory of the run, their TMPDIR. What pytest itself keeps (`tmp_path` of the last
three runs) is not meant. Whatever is left is named, removed, and fails the run. Where a test has
failed it is only named: it may show why.

A run that is asked to end (SIGTERM, as a CI does after its time) ends as by Ctrl-C: fixtures end
the engines and agents that they started.

Where pytest-xdist spreads the tests over processes, each worker hears what it makes, and tells the
one that started it at its end.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

WORKER = "exec(eval(sys.stdin.readline()))"
"""What execnet has a worker's Python run."""
LEFT = "p2pool-left"
MADE = ("tempfile.mkdtemp", "tempfile.mkstemp")


class Watch:
    """Hears what this process makes, and ends a run that is asked to end."""

    def __init__(self) -> None:
        """From here on."""
        self._made: list[Path] = []
        self._watches = True
        self._session: pytest.Session | None = None
        sys.addaudithook(self._hear)
        signal.signal(signal.SIGTERM, self._interrupt)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in MADE and self._watches:
            self._made.append(Path(os.fsdecode(arguments[0])))

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """As Ctrl-C, which trio hears of in a test of its own; no other test begins."""
        if self._session is not None:
            self._session.shouldstop = "asked to end by SIGTERM"
        signal.raise_signal(signal.SIGINT)

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """What is to be stopped."""
        self._session = session


class WorkerKeeper(Watch):
    """Watches one of xdist's workers, which says what is left to the process that started it."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """All fixtures of this worker have ended."""
        left = [str(path) for path in _there(session.config, self._made)]
        output: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]
        output[LEFT] = left
        if session.shouldstop:
            # As interrupted its tests would go to the other workers.
            output["exitstatus"] = int(pytest.ExitCode.TESTS_FAILED)


class LeftoverKeeper(Watch):
    """Watches what is made, and looks at the end what is left of it."""

    def __init__(self) -> None:
        """From here on the processes that are started have a TMPDIR of this run."""
        # Short, since paths of sockets have at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="p2"))
        super().__init__()
        self._left: list[Path] = []
        self._told: list[Path] = []
        self._removes = False
        self._before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(self._directory)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Workers end in order first, and then xdist ends the run."""
        workers = children_with(WORKER)
        for worker in workers:
            worker.terminate()
        if not workers:
            super()._interrupt(number, frame)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker says that is left of it. One that died says nothing."""
        told = getattr(node, "workeroutput", None) or {}
        self._told += [Path(path) for path in told.get(LEFT, ())]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """All fixtures have ended."""
        found = [*self._made, *self._told, *self._directory.iterdir()]
        self._left = _there(session.config, found)
        if self._left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._removes = True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What is left, by name."""
        for path in self._left:
            if self._removes:
                terminalreporter.line(
                    f"ERROR The tests left {path} behind, which is removed now: let the fixture or"
                    " the program that makes it remove it.",
                    red=True,
                )
            else:
                terminalreporter.line(f"The tests left {path}: look there, and remove it.")

    def pytest_unconfigure(self) -> None:
        """Nothing is left."""
        self._watches = False
        for path in self._left if self._removes else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # It is not empty where something in it may show a failure.
            self._directory.rmdir()
        if self._before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = self._before


def children_with(words: str) -> list[psutil.Process]:
    """Children of this process that run and have these words in an argument."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):  # It has ended, and has no command line any more.
            if any(words in argument for argument in process.cmdline()):
                found.append(process)
    return found


def _there(config: pytest.Config, found: Iterable[Path]) -> list[Path]:
    """What is there of it, each once, but for what pytest keeps."""
    kept = _kept_by_pytest(config)
    return [path for path in dict.fromkeys(found) if path.exists() and not _is_below(path, kept)]


def _kept_by_pytest(config: pytest.Config) -> Path | None:
    """Where the directories of `tmp_path` are, if any test had one."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    made: Path | None = factory._basetemp
    return made


def _is_below(path: Path, directory: Path | None) -> bool:
    return directory is not None and path.resolve().is_relative_to(directory.resolve())
