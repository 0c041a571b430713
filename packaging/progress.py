"""An installation's progress output: one changing line on a terminal, plain lines elsewhere.

pip's output is followed line by line. During look-ups and downloads pip names the current package;
during the installation it is silent, so the packages are counted as they appear on the disk.
"""

import contextlib
import io
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

EVERY_S = 10.0
"""The interval between lines without a terminal to show a changing one."""

COLLECTING = re.compile(r"^\s*Collecting ([A-Za-z0-9._-]+)")
DOWNLOADING = re.compile(
    r"^\s*(?:Downloading|Using cached) ([A-Za-z0-9._]+?)-\d\S*\.(whl|tar\.gz) "
)
INSTALLING = re.compile(r"^Installing collected packages: (.+)")
BUILDING = re.compile(r"^\s*(?:Building wheel|Building editable) for ([A-Za-z0-9._-]+)")
RETRYING = re.compile(r"Retrying \(Retry\(total=(\d+)")


def _stream(number: int) -> TextIO:
    """The stream of a file descriptor, 1 or 2; /dev/null replaces a closed one.

    Otherwise the next opened file would get its number, and a child would write to it.
    """
    stream = sys.stdout if number == 1 else sys.stderr
    if stream is not None:
        return stream
    with contextlib.suppress(OSError):
        os.fstat(number)
        return open(os.devnull, "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
    return open(number, "w", encoding="utf-8", closefd=False)


def _write(out: TextIO, text: str) -> None:
    """Write; if the reader is gone or the disk full, stop writing: the work goes on.

    Python's buffered output would fail again at exit, so it must have somewhere to go.
    """
    try:
        out.write(text)
        out.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


class Progress:
    """The lines that a user sees."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.out, self.errors = _stream(1), _stream(2)
        if isinstance(self.out, io.TextIOWrapper):
            self.out.reconfigure(errors="replace")
        self.changes = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = 0.0
        self._open = False
        self._text = ""

    def _stamped(self, text: str) -> str:
        return f"{time.monotonic() - self.began:5.0f} s  {text}"

    def _close(self) -> None:
        if self._open:
            _write(self.out, "\r\x1b[K")
            self._open = False

    def line(self, text: str) -> None:
        """A line that stays."""
        self._close()
        _write(self.out, self._stamped(text) + "\n")
        self._shown = time.monotonic()

    def phase(self, text: str) -> None:
        """The next phase begins."""
        self._text = text
        self.line(text)

    def now(self, text: str = "") -> None:
        """The current position; without a text, that the last one goes on."""
        self._text = text or self._text
        if self.changes:
            width = max(20, shutil.get_terminal_size().columns - 1)
            _write(self.out, "\r\x1b[K" + self._stamped(self._text)[:width])
            self._open = True
        elif time.monotonic() - self._shown >= EVERY_S:
            self.line(self._text)

    def end(self, text: str) -> None:
        """The work is done."""
        self.line(text)

    def fail(self, sentence: str, advice: str) -> None:
        """The work failed: why, and what to do. A sentence may end in pip's own full stop."""
        self._close()
        _write(self.errors, f"p2pool: {sentence.rstrip('. ')}.\n  To do: {advice}\n")


class Pip:
    """pip's progress, from its output and from the disk."""

    def __init__(self, prefix: Path, progress: Progress) -> None:
        self.prefix, self.progress = prefix, progress
        self.sought: set[str] = set()
        self.fetched: set[str] = set()
        self.total = 0
        self.before: set[str] = set()

    def hears(self, line: str) -> None:
        """Take a line of pip's output."""
        if found := COLLECTING.match(line):
            self.sought.add(found[1])
            self.progress.now(f"asking the registry: {found[1]} ({len(self.sought)} packages)")
        elif found := DOWNLOADING.match(line):
            self.fetched.add(found[1])
            self.progress.now(f"downloading {found[1]} ({len(self.fetched)} packages)")
        elif found := BUILDING.match(line):
            self.progress.now(f"building {found[1]}")
        elif found := INSTALLING.match(line):
            total = len(found[1].split(","))
            if total > 1:
                self.total, self.before = total, self._there()
                self.progress.phase(f"installing {total} packages")
        elif found := RETRYING.search(line):
            last = ", for the last time" if found[1] == "0" else ""
            self.progress.line(f"the registry does not answer; trying again{last}")

    def looks(self) -> None:
        """Report the position while pip is silent."""
        if not self.total:
            self.progress.now()
            return
        new = self._there() - self.before
        last = ""
        if new:
            newest = max(new, key=lambda name: (self._age(name), name))
            last = f": {newest.partition('-')[0]}"
        self.progress.now(f"installing {self.total} packages{last} ({len(new)}/{self.total})")

    def _there(self) -> set[str]:
        return {path.name for path in self.prefix.glob("lib/python3*/site-packages/*.dist-info")}

    def _age(self, name: str) -> float:
        found = list(self.prefix.glob(f"lib/python3*/site-packages/{name}"))
        try:
            return found[0].stat().st_mtime if found else 0.0
        except OSError:
            return 0.0


def follow(
    command: list[str], cwd: Path, environment: Mapping[str, str], log: Path, progress: Progress
) -> tuple[int, str]:
    """Run a step of the installation; returns its exit code and the end of its output.

    All output goes to `log`, as far as the disk takes it. Ctrl-C ends it with its children.
    """
    pip = Pip(log.parent, progress)
    told = [f"$ {' '.join(command)}\n"]
    _append(log, told[0])
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            rest = b""
            while True:
                if not ready.select(0.5):
                    pip.looks()
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                *lines, rest = (rest + data).split(b"\n")
                new = [raw.decode(errors="replace") for raw in (lines if data else [rest])]
                for line in new:
                    pip.hears(line)
                told += [line + "\n" for line in new]
                _append(log, "".join(line + "\n" for line in new))
                if not data:
                    break
        return process.wait(), "".join(told)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        process.stdout.close()


def _append(log: Path, text: str) -> None:
    """Add to the log; the caller learns from pip about a disk that takes no more."""
    with contextlib.suppress(OSError), log.open("a", errors="replace") as out:
        out.write(text)
