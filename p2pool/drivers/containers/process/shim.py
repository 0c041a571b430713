"""The small process between a task's command and an agent that may die: keeps lines and exit code.

    python -I -S -c BOOT PACKAGE_PARENT RUN_DIRECTORY RUN_NUMBER LOCK_FD

It runs on the standard library alone and starts in 40 ms. It leaves the agent's session, makes
itself the reaper of everything that its command starts, records its identity *before* the command
runs (`run.json`), and records the end when all of it is gone (`exit.json`). If somebody removes the
run's directory, the shim kills the command: nobody could ever find it again. It inherits the
starter's lock and holds it until `run.json` is written, so no second copy starts after a starter is
killed halfway.

Signals: SIGTERM goes on to the command's session, SIGUSR1 kills the command and everything that it
started. When the command ends, the shim kills whatever it left behind, as in a container.
The shim answers once on its standard output, with JSON: `{}`, `{"refused": ..., "errno": ...}` if
the command cannot be run as given, `{"error": ..., "errno": ...}` if the machine fails.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from p2pool.drivers.containers.line_files import STREAMS, LineFiles, sync_directory, write_whole
from p2pool.drivers.containers.process.procfs import (
    all_stats,
    boot_id,
    descendants,
    own_memory_bytes,
    read_stat,
    send,
)
from p2pool.model import limits

PLAN, RUN, LINES, FILES = "plan.json", "run.json", "lines", "files"
EXIT, RESERVE = "exit.json", "exit.reserved"
SECRET_FILES, SECRET_VARIABLES = "files", "variables"
RESERVE_BYTES = 4096
READ_BYTES = 64 * 1024
MARK = "P2POOL_RUN_DIRECTORY"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def become(
    directory: Path, plan: dict[str, Any], shim: int, gate: int, streams: tuple[int, int]
) -> NoReturn:
    """In the child: wait at the gate, then exec the command. Raises if that fails."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != shim or os.read(gate, 1) != b"1":
        os._exit(127)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for name, most in plan["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    os.umask(0o022)
    os.chdir(FILES)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((nothing, *streams)):
        os.dup2(source, target)
    environment = plan["environment"] | {MARK: str(directory)} | secret_variables(plan)
    os.execvpe(plan["argv"][0], plan["argv"], environment)


def secret_variables(plan: dict[str, Any]) -> dict[str, bytes]:
    """The variables that are in no plan. OSError: a run without its secrets does not begin."""
    if not plan.get("secrets"):
        return {}
    place = Path(plan["secrets"], SECRET_VARIABLES)
    return {name: (place / name).read_bytes() for name in os.listdir(place)}


def refusal(error: OSError | ValueError, command: str) -> str:
    """Why a command cannot be run. An error names the last folder of PATH that was tried, or
    nothing; the word that was given says more."""
    return f"{error.strerror}: {command!r}" if isinstance(error, OSError) else str(error)


def prctl(option: int, value: int) -> None:
    """prctl(2); raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class Command:
    """The running command: its pipes, its lines, and the requests that signals make."""

    def __init__(self, directory: Path, plan: dict[str, Any], run: int) -> None:
        """Nothing runs yet."""
        self.directory, self.plan, self.run = directory, plan, run
        self.memory_max: int = plan["memory_bytes"]
        self.oom_killed = False
        self.status: int | None = None
        self.asked: set[int] = set()
        self.waking, wake = os.pipe()
        for file in (self.waking, wake):
            os.set_blocking(file, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda got, _: self.asked.add(got))
        self.lines = LineFiles(
            directory / LINES, plan["line_file_bytes"], plan["line_files"], plan["line_bytes"]
        )

    def start(self) -> str | None:
        """Run it; returns None, or JSON that says why not: then nothing of it is left."""
        pipes = [os.pipe() for _ in STREAMS]
        gate, opened = os.pipe()
        failure, failed = os.pipe()
        shim = os.getpid()
        self.main = os.fork()
        if self.main == 0:
            try:
                os.close(opened)
                become(self.directory, self.plan, shim, gate, (pipes[0][1], pipes[1][1]))
            except (OSError, ValueError) as error:
                number = error.errno if isinstance(error, OSError) else 0
                why = {"refused": refusal(error, self.plan["argv"][0]), "errno": number}
                os.write(failed, json.dumps(why).encode())
            finally:
                os._exit(127)
        for file in (gate, failed, *(end for _, end in pipes)):
            os.close(file)
        before = (self.directory / RUN).read_bytes() if (self.directory / RUN).exists() else None
        self._write_run(shim)
        os.write(opened, b"1")
        said = os.read(failure, RESERVE_BYTES).decode()
        os.close(failure)
        os.close(opened)
        if said:
            os.waitpid(self.main, 0)
            if before is None:
                (self.directory / RUN).unlink()
            else:
                write_whole(self.directory / RUN, json.loads(before))
            return said
        self.pipes = {reading: stream for (reading, _), stream in zip(pipes, STREAMS, strict=True)}
        return None

    def _write_run(self, shim: int) -> None:
        # The end overwrites bytes that the disk has already allocated, so a full disk hides none.
        reserve = os.open(self.directory / RESERVE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(reserve, b" " * RESERVE_BYTES)
        os.close(reserve)
        of_shim, of_main = read_stat(shim), read_stat(self.main)
        assert of_shim is not None
        assert of_main is not None
        record = {
            "run": self.run,
            "boot": boot_id(),
            "shim": [shim, of_shim[3]],
            "main": [self.main, of_main[3]],
            "started_at_ms": time.time_ns() // 1_000_000,
        }
        write_whole(self.directory / RUN, record)

    def attend(self) -> None:
        """Wait until the command and everything it started are gone; then write how it ended."""
        with selectors.DefaultSelector() as selector:
            for file in (*self.pipes, self.waking):
                os.set_blocking(file, False)
                selector.register(file, selectors.EVENT_READ)
            next_sample = 0.0
            while self._reap():
                for key, _ in selector.select(limits.SHIM_SAMPLE_MS / 1000):
                    if self._read(key.fd) == b"":
                        selector.unregister(key.fd)
                self._obey()
                if time.monotonic() >= next_sample:
                    self._hold_memory()
                    if not (self.directory / RUN).exists():
                        self._kill()
                    next_sample = time.monotonic() + limits.SHIM_SAMPLE_MS / 1000
        for file, stream in self.pipes.items():
            while self._read(file):
                pass
            self.lines.finish(stream)
        if self.plan.get("secrets"):
            shutil.rmtree(self.plan["secrets"], ignore_errors=True)
        self._write_exit()

    def _read(self, file: int) -> bytes | None:
        """Take the available output; empty at the end, None if there is none now."""
        try:
            data = os.read(file, READ_BYTES)
        except BlockingIOError:
            return None
        if file in self.pipes:
            self.lines.take(self.pipes[file], data)
        return data

    def _obey(self) -> None:
        asked, self.asked = self.asked, set()
        if signal.SIGTERM in asked:
            for pid, stat in all_stats().items():
                if stat[2] == self.main:
                    send(pid, signal.SIGTERM)
        if signal.SIGUSR1 in asked:
            self._kill()

    def _kill(self) -> None:
        for pid in descendants(os.getpid()):
            send(pid, signal.SIGKILL)

    def _hold_memory(self) -> None:
        if self.memory_max and self.status is None:
            used = sum(own_memory_bytes(pid) for pid in descendants(os.getpid()))
            if used > self.memory_max:
                self.oom_killed = True
                self._kill()

    def _reap(self) -> bool:
        """Reap ended processes; once the command is among them, kill the rest. False: none left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == self.main:
                self.status = os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
        if self.status is not None:
            self._kill()
        return True

    def _write_exit(self) -> None:
        assert self.status is not None
        code = self.status if self.status >= 0 else 128 - self.status
        record = {
            "run": self.run,
            "exit_code": code,
            "oom_killed": self.oom_killed,
            "finished_at_ms": time.time_ns() // 1_000_000,
        }
        for _ in range(limits.SHIM_WRITE_TRIES_MAX):
            try:
                file = os.open(self.directory / RESERVE, os.O_WRONLY | os.O_CREAT, 0o600)
                os.pwrite(file, json.dumps(record).encode(), 0)
                os.fsync(file)
                os.close(file)
                (self.directory / RESERVE).replace(self.directory / EXIT)
                sync_directory(self.directory)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(limits.SHIM_SAMPLE_MS / 1000)


def main() -> None:
    """Leave the starter's session, start the command, answer, attend to it."""
    directory, run, lock = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if os.fork():
        os._exit(0)
    os.setsid()
    os.set_inheritable(lock, False)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    command = None
    try:
        os.chdir(directory)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        command = Command(directory, json.loads((directory / PLAN).read_bytes()), run)
        problem = command.start()
    except OSError as error:
        problem = json.dumps({"error": str(error), "errno": error.errno})
    # A starter that was killed reads no answer; the command runs on.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, (problem or "{}").encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(lock)
    if command is not None and problem is None:
        command.attend()
