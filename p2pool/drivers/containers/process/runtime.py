"""The process runtime: tasks as local processes, on development chains without an engine.

Intuition: each attempt has a directory (`runs`) and a shim of its own (`shim`). The agent starts
the shim and afterwards only reads about it, so an agent can die and its successor finds everything.
The image is ignored, and nothing keeps a task away from the files of the agent's user; so the
runtime refuses every chain but the development chain.

Invariants: a task gets nothing of the agent's environment. A process is signalled only while its
number, its start time and a pidfd prove that it is the one meant.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

import p2pool
from p2pool.drivers.containers.process import procfs
from p2pool.drivers.containers.process.left_files import left_file
from p2pool.drivers.containers.process.line_reader import LineReader
from p2pool.drivers.containers.process.runs import (
    Found,
    Processes,
    Runs,
    orphans,
    record_of,
    world_failure,
)
from p2pool.drivers.containers.process.secret_files import (
    remove_secrets,
    secrets_of,
    sweep_secrets,
    write_secrets,
)
from p2pool.drivers.containers.process.shim import FILES, LINES, RUN
from p2pool.drivers.containers.required_secrets import check_given, not_given
from p2pool.drivers.containers.volumes import NoVolumes
from p2pool.model import limits
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.errors import (
    CannotStart,
    Conflict,
    Misconfigured,
    NotFound,
    NotOffered,
    P2poolError,
    RuntimeUnavailable,
)
from p2pool.model.ids import AllocationId
from p2pool.model.messages.task_streams import LogChunks
from p2pool.model.ports.runtime import (
    ContainerPlan,
    ContainerStatus,
    OnProgress,
    Overuse,
    RunningCopy,
    RuntimeChanged,
    RuntimeInfo,
    RuntimeKind,
    RuntimeScope,
)
from p2pool.model.ports.volumes import Retention, TaskEnded
from p2pool.model.tasks.secrets import RegistryAuth, SecretValue
from p2pool.model.tasks.spec import PullPolicy, TaskSpec

T = TypeVar("T")

PACKAGE_PARENT = Path(p2pool.__file__).resolve().parent.parent
BOOT = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from p2pool.drivers.containers.process.shim import main; main()"
)
WARNINGS = (
    "Tasks run as plain processes of this user and can reach its files: for development only.",
    "Images are ignored; a task's command must be a program on this machine.",
    "Memory is checked every second, processor time is not limited, ports are the machine's.",
    "Swap, shared memory, disk, process counts and read-only files are not limited; health is"
    " not checked.",
)


class NoAnswerYet(RuntimeUnavailable):
    """A shim was started and is slow: a later listing will show the outcome."""


class ProcessRuntime:
    """Implements `model.ports.runtime.ContainerRuntime` with local processes below `directory`."""

    def __init__(self, scope: RuntimeScope, directory: Path) -> None:
        """Makes and starts nothing yet."""
        self._scope = scope
        self._runs = Runs(scope, directory)
        self._swept = False
        self._threads = trio.CapacityLimiter(limits.ENGINE_CALLS_IN_FLIGHT_MAX)

    @property
    def scope(self) -> RuntimeScope:
        """The scope that it was built for."""
        return self._scope

    @property
    def kind(self) -> RuntimeKind:
        """Local processes."""
        return RuntimeKind.PROCESS

    async def probe_directories(self) -> None:
        """Processes see what their agent sees."""

    async def probe(self) -> RuntimeInfo:
        """The runtime, with its limitations as warnings. Raises Misconfigured on a real chain."""
        self._require_development()
        return RuntimeInfo(
            kind=RuntimeKind.PROCESS,
            version=p2pool.__version__,
            gpu_support=True,
            operating_system=f"{platform.system()} {platform.release()}",
            architecture=platform.machine(),
            warnings=WARNINGS,
        )

    async def list(self) -> tuple[ContainerStatus, ...]:
        """All runs of the scope."""
        found = await self._in_thread(self._runs.all)
        if not self._swept:
            self._swept = True
            running = [self._runs.path(*_key(one.status)) for one in found if not one.status.ended]
            await self._in_thread(lambda: sweep_secrets(self._runs.directory, running))
        return tuple(one.status for one in found)

    async def pull(
        self,
        image: str,
        on_progress: OnProgress | None = None,
        policy: PullPolicy = PullPolicy.IF_NOT_PRESENT,
        auth: RegistryAuth | None = None,
    ) -> str:
        """Does nothing: there are no images here, and no digest of one."""
        return ""

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """Start the attempt in a directory of its own, or return its existing run."""
        self._require_development()
        _refuse_what_processes_cannot(plan.spec)
        check_given(plan.spec.secrets, plan.secrets)
        return await self._in_thread(lambda: self._start(plan))

    async def restart(
        self, allocation: AllocationId, attempt: int, secrets: tuple[SecretValue, ...] = ()
    ) -> ContainerStatus:
        """Run its command again, in the same directory, appending to its lines."""
        self._require_development()
        return await self._in_thread(lambda: self._restart(allocation, attempt, secrets))

    async def stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        """SIGTERM to its session; after the grace period SIGKILL to everything that it started."""
        found = await self._in_thread(lambda: self._settled(allocation, attempt))
        if found is None or found.status.ended:
            return
        path = self._runs.path(allocation, attempt)
        await self._in_thread(lambda: _signal(path, found.processes, signal.SIGTERM))
        if not await self._wait_ended(allocation, attempt, grace_ms):
            await self._in_thread(lambda: _signal(path, found.processes, signal.SIGUSR1))
            if not await self._wait_ended(allocation, attempt, limits.KILL_DEADLINE_MS):
                raise RuntimeUnavailable(
                    f"Allocation {allocation} was killed and does not end.",
                    hint="The kernel may be waiting for one of its devices or disks.",
                )

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """Delete the directory of an ended run."""
        await self._in_thread(lambda: self._remove(allocation, attempt))

    async def read_file(
        self, allocation: AllocationId, attempt: int, path: str, most_bytes: int
    ) -> bytes:
        """A file of an ended run, whose working directory stands for the root of a container."""
        files = self._runs.path(allocation, attempt) / FILES
        return await self._in_thread(lambda: left_file(files, path, most_bytes))

    @property
    def volumes(self) -> NoVolumes:
        """There are none."""
        return NoVolumes()

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """Measures nothing of the disk."""
        return ()

    async def tidy(self, over: TaskEnded, keep: Retention) -> tuple[str, ...]:
        """There is nothing to tidy."""
        return ()

    async def watch(self) -> AsyncIterator[RuntimeChanged]:
        """Hints, from polling the directories of the runs."""
        known = {_key(one): one for one in await self.list()}
        while True:
            await trio.sleep(limits.STOP_POLL_MAX_MS / 1000)
            now = {_key(one): one for one in await self.list()}
            for key in sorted(known.keys() | now.keys()):
                if known.get(key) != now.get(key):
                    yield RuntimeChanged(*key)
            known = now

    async def logs(
        self,
        allocation: AllocationId,
        attempt: int,
        *,
        follow: bool = False,
        tail_lines: int = -1,
        since_ms: int = 0,
    ) -> AsyncIterator[LogChunks]:
        """Its lines, from its files."""
        found = await self._in_thread(lambda: self._runs.find(allocation, attempt))
        if found is None:
            raise _not_found(allocation, attempt)
        reader = LineReader(self._runs.path(allocation, attempt) / LINES)
        try:
            if tail_lines >= 0:
                await self._in_thread(lambda: reader.seek_tail(tail_lines, since_ms))
            while True:
                # Asked before reading: an ended run writes no more, so this read is complete.
                found = await self._in_thread(lambda: self._runs.find(allocation, attempt))
                while (chunks := await self._in_thread(lambda: reader.read(since_ms))) is not None:
                    if chunks:
                        yield tuple(chunks)
                if not follow or found is None or found.status.ended:
                    return
                await trio.sleep(limits.LOG_POLL_MS / 1000)
        finally:
            reader.close()

    # --- in threads ------------------------------------------------------------------------------

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """All blocking work. It ends by itself in bounded time, so it is not abandoned."""
        try:
            return await trio.to_thread.run_sync(call, limiter=self._threads)
        except OSError as error:
            raise world_failure("The process runtime cannot use its files", error) from error

    def _start(self, plan: ContainerPlan) -> ContainerStatus:
        with self._runs.locked(
            plan.allocation, plan.attempt, limits.SHIM_START_DEADLINE_MS
        ) as lock:
            found = self._runs.find(plan.allocation, plan.attempt)
            if found is not None:
                if found.status.spec_hash != plan.spec_hash:
                    raise Conflict(
                        f"Attempt {plan.attempt} of {plan.allocation} runs another specification."
                    )
                return found.status
            path = self._runs.path(plan.allocation, plan.attempt)
            place = secrets_of(path) if plan.secrets else None
            self._runs.make(plan, record_of(plan, self._scope, path / FILES, place))
            try:
                if plan.secrets:
                    write_secrets(path, plan.secrets)
                _run_shim(path, 1, lock)
            except P2poolError as error:
                # A shim that did not answer may still do so, and holds the lock until then.
                if not isinstance(error, NoAnswerYet) and not (path / RUN).exists():
                    remove_secrets(path)
                    self._runs.discard(plan.allocation, plan.attempt)
                raise
            return self._status(plan.allocation, plan.attempt)

    def _restart(
        self, allocation: AllocationId, attempt: int, secrets: Sequence[SecretValue]
    ) -> ContainerStatus:
        with self._runs.locked(allocation, attempt, limits.SHIM_START_DEADLINE_MS) as lock:
            found = self._runs.find(allocation, attempt)
            if found is None:
                raise _not_found(allocation, attempt)
            path = self._runs.path(allocation, attempt)
            if found.status.ended:
                if self._runs.needs_secrets(path):
                    if not secrets:
                        raise not_given()
                    write_secrets(path, secrets)
                _run_shim(path, found.run + 1, lock)
            return self._status(allocation, attempt)

    def _settled(self, allocation: AllocationId, attempt: int) -> Found | None:
        """The run, once nobody is starting or removing it."""
        if not self._runs.path(allocation, attempt).exists():
            return None
        with self._runs.locked(allocation, attempt, limits.SHIM_START_DEADLINE_MS):
            return self._runs.find(allocation, attempt)

    def _remove(self, allocation: AllocationId, attempt: int) -> None:
        if not self._runs.path(allocation, attempt).exists():
            return
        with self._runs.locked(allocation, attempt, limits.SHIM_START_DEADLINE_MS):
            found = self._runs.find(allocation, attempt)
            if found is not None and not found.status.ended:
                raise Conflict(f"Allocation {allocation} still runs.", hint="Stop it first.")
            remove_secrets(self._runs.path(allocation, attempt))
            self._runs.discard(allocation, attempt)

    def _status(self, allocation: AllocationId, attempt: int) -> ContainerStatus:
        found = self._runs.find(allocation, attempt)
        if found is None:
            raise RuntimeUnavailable(f"Somebody removed the files of allocation {allocation}.")
        return found.status

    async def _wait_ended(self, allocation: AllocationId, attempt: int, within_ms: int) -> bool:
        pause_ms = limits.STOP_POLL_MIN_MS
        with trio.move_on_after(within_ms / 1000):
            while True:
                found = await self._in_thread(lambda: self._runs.find(allocation, attempt))
                if found is None or found.status.ended:
                    return True
                await trio.sleep(pause_ms / 1000)
                pause_ms = min(2 * pause_ms, limits.STOP_POLL_MAX_MS)
        return False

    def _require_development(self) -> None:
        if self._scope.pool.chain_id != DEVELOPMENT_CHAIN_ID:
            raise Misconfigured(
                "Tasks run as plain processes on development chains only"
                f" (chain id {DEVELOPMENT_CHAIN_ID}).",
                hint='Start a Docker Engine and set [runtime] kind = "docker".',
            )


def _key(status: ContainerStatus) -> tuple[AllocationId, int]:
    return status.allocation, status.attempt


def _not_found(allocation: AllocationId, attempt: int) -> NotFound:
    return NotFound(f"Attempt {attempt} of allocation {allocation} is not on this node.")


def _refuse_what_processes_cannot(spec: TaskSpec) -> None:
    """Refuse whatever a process cannot have, rather than run without it."""
    if not spec.entrypoint and not spec.command:
        raise NotOffered(
            "The process runtime cannot read an image's command.", hint="Give the task a command."
        )
    if spec.mounts:
        raise NotOffered(
            "The process runtime has no mounts.", hint="Use the working directory, or an engine."
        )
    for port in spec.ports:
        if port.host not in (0, port.container):
            raise NotOffered(
                f"The process runtime cannot publish port {port.container} as {port.host}.",
                hint="Let the command listen on the published port itself.",
            )


def _run_shim(path: Path, run: int, lock: int) -> None:
    """Start a shim and wait for its answer. Raises CannotStart, or the machine's failure."""
    arguments = [sys.executable, "-I", "-S", "-c", BOOT, str(PACKAGE_PARENT), str(path), str(run)]
    with (path / "shim.errors").open("ab") as errors:
        process = subprocess.Popen(
            [*arguments, str(lock)],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(lock,),
            start_new_session=True,
        )
    try:
        said, _ = process.communicate(timeout=limits.SHIM_START_DEADLINE_MS / 1000)
    except subprocess.TimeoutExpired as error:
        assert process.stdout is not None
        process.stdout.close()
        raise NoAnswerYet(
            f"A task's shim gave no answer within {limits.SHIM_START_DEADLINE_MS} ms."
        ) from error
    if not said:
        raise RuntimeUnavailable("A task's shim failed.", hint=f"See {path / 'shim.errors'}.")
    answer = json.loads(said)
    if "refused" in answer:
        raise CannotStart(f"The command cannot be run: {answer['refused']}.")
    if "error" in answer:
        raise world_failure("A task's shim failed", OSError(answer["errno"], answer["error"]))


def _signal(path: Path, processes: Processes, number: signal.Signals) -> None:
    """Signal the shim, or without one, what it left: there SIGUSR1 stands for SIGKILL."""
    if processes.shim_lives():
        _send(processes.shim, number)
        return
    for process in orphans(path):
        _send(process, signal.SIGKILL if number is signal.SIGUSR1 else number)


def _send(process: tuple[int, ...], number: signal.Signals) -> None:
    """Signal this process, but no other that got its number."""
    with contextlib.suppress(ProcessLookupError):
        file = os.pidfd_open(process[0])
        try:
            stat = procfs.read_stat(process[0])
            if stat is not None and stat[3] == process[1]:
                signal.pidfd_send_signal(file, number)
        finally:
            os.close(file)
