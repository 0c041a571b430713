"""Runs of the process runtime on disk: one directory for each attempt of an allocation.

    <root>/<chain>-<contract>-<pool>-<node>/<task>.<replica>.<attempt>/
        plan.json   the command and its settings, written once, before the directory has its name
        run.json    the processes that run it, written by the shim before the command starts
        exit.json   how the run that it names ended
        lines/      its output      files/  its working directory

Secrets are not here, but in memory (`secret_files`).

Without `run.json` nothing ran: a start that was cut off then counts as never made, and a repeated
start continues from there. Whoever changes a run holds its lock, a file beside it.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from p2pool.drivers.containers.line_files import sync_directory, write_whole
from p2pool.drivers.containers.process import procfs, shim
from p2pool.model import limits
from p2pool.model.errors import DiskFull, P2poolError, RuntimeUnavailable
from p2pool.model.ids import AllocationId, Digest, TaskId, Token
from p2pool.model.ports.runtime import ContainerPlan, ContainerState, ContainerStatus, RuntimeScope

VERSION = 1
DATA_MIN_BYTES = 64 * 1024 * 1024
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
RUNTIME_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@attrs.frozen
class Processes:
    """The processes of a command: numbers and start times, of one boot."""

    boot: str
    shim: tuple[int, ...]
    main: tuple[int, ...]

    def shim_lives(self) -> bool:
        """Whether the shim is still this process."""
        return self.boot == procfs.boot_id() and _is_alive(self.shim)


def orphans(path: Path) -> list[tuple[int, int]]:
    """What a killed shim left behind: processes with its mark, and their start times.

    A session's number may have been reused; the mark in the environment is unique.
    """
    mark = f"{shim.MARK}={path}"
    stats = procfs.all_stats()
    return [(pid, stat[3]) for pid, stat in stats.items() if procfs.has_variable(pid, mark)]


@attrs.frozen
class Found:
    """A run as found on disk: `run` counts its starts from 1."""

    status: ContainerStatus
    run: int
    processes: Processes


def _is_alive(process: tuple[int, ...]) -> bool:
    stat = procfs.read_stat(process[0])
    return stat is not None and stat[0] not in "ZX" and stat[3] == process[1]


def world_failure(what: str, error: OSError) -> P2poolError:
    """The error for a disk that refuses."""
    if error.errno in NO_SPACE:
        return DiskFull(f"{what}: the disk is full.", hint="Make space in the data directory.")
    return RuntimeUnavailable(f"{what}: {error.strerror or error}.")


def scope_name(scope: RuntimeScope) -> str:
    """A scope's directory name: all four parts of it."""
    pool = scope.pool
    return f"{pool.chain_id}-{pool.contract.hex()}-{pool.pool_id}-{scope.node_id.hex()}"


class Runs:
    """All runs of one scope. Every method blocks for a short while: call it in a thread."""

    def __init__(self, scope: RuntimeScope, root: Path) -> None:
        """Makes nothing before the first start."""
        self.directory = root.absolute() / scope_name(scope)

    def path(self, allocation: AllocationId, attempt: int) -> Path:
        """A run's directory, whether it exists or not."""
        return self.directory / f"{allocation}.{attempt}"

    @contextlib.contextmanager
    def locked(self, allocation: AllocationId, attempt: int, wait_ms: int) -> Iterator[int]:
        """Hold a run's lock; yields its file, for a shim to inherit.

        Closing the file releases the lock, never an unlock: a shim that inherited it still holds
        it. Raises RuntimeUnavailable if the lock is not free in time.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / f".lock-{allocation}.{attempt}"
        deadline = time.monotonic() + wait_ms / 1000
        while (file := _try_lock(path)) is None:
            if time.monotonic() > deadline:
                raise RuntimeUnavailable(
                    f"Allocation {allocation} has been starting or being removed for {wait_ms} ms."
                )
            time.sleep(limits.RUN_LOCK_POLL_MS / 1000)
        try:
            yield file
        finally:
            if not self.path(allocation, attempt).exists():
                path.unlink(missing_ok=True)
            os.close(file)

    def all(self) -> list[Found]:
        """All runs, past and present, sorted by (allocation, attempt)."""
        try:
            names = [name for name in os.listdir(self.directory) if not name.startswith(".")]
        except FileNotFoundError:
            return []
        found = [self._find(self.directory / name) for name in names]
        return sorted(
            (one for one in found if one is not None),
            key=lambda one: (one.status.allocation, one.status.attempt),
        )

    def find(self, allocation: AllocationId, attempt: int) -> Found | None:
        """One run, None if it never ran."""
        return self._find(self.path(allocation, attempt))

    def _find(self, path: Path) -> Found | None:
        # Read again a run that was restarted or removed between two reads.
        while (run := _read(path / shim.RUN)) is not None:
            plan = _read(path / shim.PLAN)
            processes = Processes(run["boot"], tuple(run["shim"]), tuple(run["main"]))
            # Asked first: a shim that is gone has written the end by then, if it ever will.
            alive = processes.shim_lives()
            ended = _read(path / shim.EXIT)
            if ended is not None and ended["run"] != run["run"]:
                ended = None
            alive = alive or (ended is None and bool(orphans(path)))
            if plan is not None and run == _read(path / shim.RUN):
                return Found(_status(plan, run, ended, alive), run["run"], processes)
        return None

    def make(self, plan: ContainerPlan, record: dict[str, Any]) -> Path:
        """Make a run's directory, whole or not at all; the lock is held. Returns its path.

        An existing directory belongs to a start that was cut off before anything ran: it may have
        been for an older order, so it goes.
        """
        path = self.path(plan.allocation, plan.attempt)
        self.discard(plan.allocation, plan.attempt)
        aside = self.directory / f".new-{path.name}"
        shutil.rmtree(aside, ignore_errors=True)
        for name in (shim.FILES, shim.LINES):
            (aside / name).mkdir(mode=0o700, parents=True)
        aside.chmod(0o700)
        write_whole(aside / shim.PLAN, record)
        aside.rename(path)
        sync_directory(self.directory)
        return path

    def needs_secrets(self, path: Path) -> bool:
        """Whether a run cannot begin without secrets."""
        plan = _read(path / shim.PLAN)
        return plan is not None and bool(plan.get("secrets"))

    def discard(self, allocation: AllocationId, attempt: int) -> None:
        """Delete a run; the lock is held. Its name goes at once, its files soon after."""
        path = self.path(allocation, attempt)
        aside = self.directory / f".gone-{path.name}"
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _try_lock(path: Path) -> int | None:
    """The lock's file, or None while somebody else holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous holder may have removed the name: then this file locks nothing.
        if os.fstat(file).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A record, None if there is none. Records are written whole, so a torn one is damage."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise world_failure(f"{path} cannot be read", error) from error
    except ValueError as error:
        raise RuntimeUnavailable(
            f"{path} is damaged.", hint=f"If nothing of it runs, remove {path.parent}."
        ) from error
    assert isinstance(value, dict)
    return value


def record_of(
    plan: ContainerPlan, scope: RuntimeScope, home: Path, secrets: Path | None
) -> dict[str, Any]:
    """The facts that the shim and later agents need about a run. `secrets`: where they are."""
    gpus = ",".join(plan.gpus)
    environment = {"PATH": RUNTIME_PATH, "HOME": str(home)}
    environment |= dict(plan.spec.environment)
    environment |= {"CUDA_VISIBLE_DEVICES": gpus, "NVIDIA_VISIBLE_DEVICES": gpus or "void"}
    environment |= dict(plan.environment)
    if plan.metrics_directory:
        environment["P2POOL_METRICS_SOCKET"] = f"{plan.metrics_directory}/metrics.sock"
    if secrets is not None:
        environment["P2POOL_SECRETS"] = f"{secrets}/{shim.SECRET_FILES}"
    token = plan.token
    return {
        "version": VERSION,
        "scope": scope_name(scope),
        "task": plan.allocation.task_id.hex(),
        "replica": plan.allocation.replica,
        "attempt": plan.attempt,
        "token": [token.epoch, token.term, token.index],
        "spec_hash": plan.spec_hash.hex(),
        "gpus": list(plan.gpus),
        "secrets": "" if secrets is None else str(secrets),
        "argv": [*plan.spec.entrypoint, *plan.spec.command],
        "environment": environment,
        "memory_bytes": plan.spec.resources.memory_bytes,
        # The shim measures and enforces memory; this stops a process that grows between two looks.
        "limits": {
            # A kernel that pipes core dumps to a program obeys a limit of 1 byte, and none of 0.
            "CORE": 0 if secrets is None else 1,
            "NOFILE": limits.PROCESS_FILES_MAX,
            "DATA": max(DATA_MIN_BYTES, 2 * plan.spec.resources.memory_bytes),
        },
        "line_bytes": limits.LOG_LINE_MAX_BYTES,
        "line_file_bytes": limits.CONTAINER_LOG_FILE_MAX_BYTES,
        "line_files": limits.CONTAINER_LOG_FILES_MAX,
    }


def _status(
    plan: dict[str, Any], run: dict[str, Any], ended: dict[str, Any] | None, alive: bool
) -> ContainerStatus:
    if ended is not None:
        state = ContainerState.EXITED
    else:
        state = ContainerState.RUNNING if alive else ContainerState.DEAD
    dead = state is ContainerState.DEAD
    return ContainerStatus(
        allocation=AllocationId(TaskId(bytes.fromhex(plan["task"])), plan["replica"]),
        attempt=plan["attempt"],
        token=Token(*plan["token"]),
        spec_hash=Digest(bytes.fromhex(plan["spec_hash"])),
        state=state,
        exit_code=None if ended is None else ended["exit_code"],
        oom_killed=ended is not None and ended["oom_killed"],
        started_at_ms=run["started_at_ms"],
        finished_at_ms=0 if ended is None else ended["finished_at_ms"],
        gpus=tuple(plan["gpus"]),
        error="Its shim was killed, or the machine stopped: how it ended is lost." if dead else "",
    )
