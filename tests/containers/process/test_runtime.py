"""The process runtime with real processes: its own promises, beside the shared contract suite."""

import errno
import shutil
import sys
from pathlib import Path
from shlex import quote

import attrs
import pytest
import trio

from p2pool.drivers.containers.process import runs
from p2pool.drivers.containers.process.runs import Runs
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.errors import (
    CannotStart,
    Conflict,
    DiskFull,
    Misconfigured,
    NotFound,
    NotOffered,
    RuntimeUnavailable,
)
from p2pool.model.ids import Address, Digest, NodeId, Token
from p2pool.model.ports.runtime import (
    ContainerState,
    ContainerStatus,
)
from p2pool.model.tasks.spec import Mount, MountKind, PublishedPort, Resources
from tests.containers.harness.plans import FOREVER, SCOPE, plan
from tests.containers.harness.processes import (
    ALLOCATION,
    WAIT_S,
    files_of,
    lines,
    lives,
    read_pids,
    wait_ended,
    wait_gone,
)


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
async def test_the_end_is_told(runtime: ProcessRuntime, script: str, code: int) -> None:
    """An exit code as it is, a signal as 128 and its number, with times and what it was."""
    started = await runtime.start(plan(script))
    assert started.started_at_ms > 0
    ended = await wait_ended(runtime)
    assert (ended.state, ended.exit_code) == (ContainerState.EXITED, code)
    assert ended.finished_at_ms >= ended.started_at_ms == started.started_at_ms
    assert (ended.token, ended.spec_hash) == (Token(1, 2, 3), Digest(b"\x44" * 32))


async def test_a_start_is_idempotent_even_racing(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """Two runtimes on one directory and many calls run it once; another hash is a conflict."""
    other = ProcessRuntime(SCOPE, tmp_path)
    wanted = plan(f"echo once; {FOREVER}")
    got: list[ContainerStatus] = []

    async def start(where: ProcessRuntime) -> None:
        got.append(await where.start(wanted))

    async with trio.open_nursery() as nursery:
        for index in range(8):
            nursery.start_soon(start, (runtime, other)[index % 2])
    assert len({one.started_at_ms for one in got}) == 1
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]
    with pytest.raises(Conflict):
        await runtime.start(attrs.evolve(wanted, spec_hash=Digest(b"\x55" * 32)))
    await runtime.stop(ALLOCATION, 1, 5_000)
    assert await lines(runtime) == [b"once\n"]
    assert (await other.start(wanted)).ended


async def test_a_command_that_cannot_run_leaves_nothing(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Missing, not executable, or asking for what a process cannot have: refused, and why."""
    bad = plan("", command=("no-such-program",))
    with pytest.raises(CannotStart, match=r"No such file[^/]*: 'no-such-program'\.$"):
        await runtime.start(bad)
    with pytest.raises(CannotStart, match="Permission denied"):
        await runtime.start(plan("", command=("/etc/passwd",)))
    with pytest.raises(CannotStart, match="null byte"):
        await runtime.start(plan("", command=("echo", "a\0b")))
    for refused in (
        plan("", command=()),
        plan("", mounts=(Mount(MountKind.TASK, "/data"),)),
        plan("", ports=(PublishedPort(80, 8080),)),
    ):
        with pytest.raises(NotOffered):
            await runtime.start(refused)
    assert await runtime.list() == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert (await runtime.start(plan("exit 0"))).attempt == 1


async def test_the_environment_is_the_task_s_alone(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of the agent's gets in, reserved names win, and HOME is where it works."""
    monkeypatch.setenv("AGENT_SECRET", "x")
    wanted = attrs.evolve(
        plan("env; pwd", environment=(("A", "1"), ("P2POOL_NODE", "mine"))),
        environment=(("P2POOL_NODE", "theirs"),),
        gpus=("GPU-a", "GPU-b"),
    )
    await runtime.start(wanted)
    assert (await wait_ended(runtime)).gpus == ("GPU-a", "GPU-b")
    said = b"".join(await lines(runtime)).decode().splitlines()
    home = str(files_of(tmp_path))
    seen = dict(line.split("=", 1) for line in said[:-1])
    assert said[-1] == home
    assert {"A": "1", "P2POOL_NODE": "theirs", "HOME": home}.items() <= seen.items()
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert not seen.keys() - {
        *("A", "P2POOL_NODE", "HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"),
        "P2POOL_RUN_DIRECTORY",
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    }


async def test_stop_asks_then_kills_with_all_children(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """One that ignores SIGTERM is killed after the grace, with a child in another session."""
    children = f"setsid sleep 1000 & echo $! > p; sh -c '{FOREVER}' & echo $! >> p"
    script = f"trap '' TERM; {children}; wait; {FOREVER}"
    await runtime.start(plan(script))
    pids = await read_pids(files_of(tmp_path) / "p", 2)
    began = trio.current_time()
    await runtime.stop(ALLOCATION, 1, 300)
    assert trio.current_time() - began >= 0.3
    assert (await wait_ended(runtime)).exit_code == 137
    assert not any(lives(pid) for pid in pids)
    await runtime.stop(ALLOCATION, 1, 300)
    await runtime.stop(ALLOCATION, 9, 300)


async def test_a_task_that_obeys_ends_within_its_grace(runtime: ProcessRuntime) -> None:
    """SIGTERM reaches it, and its own exit code counts."""
    await runtime.start(plan("trap 'echo bye; exit 5' TERM; echo up; " + FOREVER))
    async for _ in runtime.logs(ALLOCATION, 1, follow=True):
        break
    await runtime.stop(ALLOCATION, 1, 20_000)
    assert (await wait_ended(runtime)).exit_code == 5
    assert b"bye\n" in await lines(runtime)


async def test_what_a_command_leaves_behind_ends_with_it(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """As in a container: the end of the command is the end of all that it started."""
    await runtime.start(plan("setsid sleep 1000 & echo $! > p; exit 4"))
    assert (await wait_ended(runtime)).exit_code == 4
    (pid,) = await read_pids(files_of(tmp_path) / "p", 1)
    assert not lives(pid)


async def test_restart_and_remove(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """A restart keeps files and lines, and is a run of its own; a removal forgets all."""
    await runtime.start(plan("echo x >> n; cat n | wc -l; [ $(cat n | wc -l) = 2 ]"))
    assert (await wait_ended(runtime)).exit_code == 1
    again = await runtime.restart(ALLOCATION, 1)
    assert again.exit_code in (None, 0)
    assert (await wait_ended(runtime)).exit_code == 0
    assert [line.strip() for line in await lines(runtime)] == [b"1", b"2"]
    await runtime.remove(ALLOCATION, 1)
    await runtime.remove(ALLOCATION, 1)
    assert await runtime.list() == ()
    assert list(tmp_path.glob("*/*")) == []
    with pytest.raises(NotFound):
        await runtime.restart(ALLOCATION, 1)
    with pytest.raises(NotFound):
        await lines(runtime)
    await runtime.start(plan(FOREVER))
    with pytest.raises(Conflict):
        await runtime.remove(ALLOCATION, 1)


async def test_scopes_never_meet(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """Two nodes, pools or contracts on one directory see only their own."""
    await runtime.start(plan(FOREVER))
    for scope in (
        attrs.evolve(SCOPE, node_id=NodeId(b"\x23" * 20)),
        attrs.evolve(SCOPE, pool=attrs.evolve(SCOPE.pool, pool_id=8)),
        attrs.evolve(SCOPE, pool=attrs.evolve(SCOPE.pool, contract=Address(b"\x12" * 20))),
    ):
        other = ProcessRuntime(scope, tmp_path)
        assert await other.list() == ()
        await other.stop(ALLOCATION, 1, 0)
        await other.remove(ALLOCATION, 1)
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]


async def test_other_chains_are_refused(tmp_path: Path) -> None:
    """Where work is paid for, nothing runs without isolation."""
    scope = attrs.evolve(SCOPE, pool=attrs.evolve(SCOPE.pool, chain_id=1))
    other = ProcessRuntime(scope, tmp_path)
    with pytest.raises(Misconfigured, match="development chains only"):
        await other.probe()
    with pytest.raises(Misconfigured):
        await other.start(plan("exit 0"))


async def test_a_command_whose_directory_is_gone_ends(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Nobody could find it again, so it and its shim do not stay behind."""
    await runtime.start(plan(FOREVER))
    found = runtime._runs.find(ALLOCATION, 1)
    assert found is not None
    shutil.rmtree(tmp_path)
    await wait_gone(found.processes.main[0])
    await wait_gone(found.processes.shim[0])


async def test_its_memory_is_held(runtime: ProcessRuntime) -> None:
    """One that takes more than it asked for is killed, and that is told as such."""
    code = "import time; x = b'x' * 100_000_000; time.sleep(1000)"
    script = f"exec {quote(sys.executable)} -c {quote(code)}"
    await runtime.start(plan(script, resources=Resources(memory_bytes=64 << 20)))
    ended = await wait_ended(runtime)
    assert (ended.exit_code, ended.oom_killed) == (137, True)


async def test_a_change_is_hinted(runtime: ProcessRuntime) -> None:
    """The watch names the attempt whose state is another."""
    await runtime.start(plan("while [ ! -e go ]; do sleep 0.05; done"))
    watching = runtime.watch()
    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop, ALLOCATION, 1, 0)
            hint = await anext(watching)
    assert (hint.allocation, hint.attempt) == (ALLOCATION, 1)


async def test_a_start_that_was_cut_off_is_made_anew(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in which nothing ran is not listed, and does not decide what runs next."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeUnavailable, match="shim failed"):
        await runtime.start(plan("echo old"))
    monkeypatch.undo()
    Runs(SCOPE, tmp_path).make(plan("echo old"), {"old": True})
    assert await runtime.list() == ()
    await runtime.stop(ALLOCATION, 1, 0)
    await runtime.start(plan("echo new"))
    await wait_ended(runtime)
    assert await lines(runtime) == [b"new\n"]


async def test_trouble_with_the_disk_is_told_apart(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is DiskFull and leaves no run; a damaged record is never taken for an end."""

    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "write_whole", full)
    with pytest.raises(DiskFull):
        await runtime.start(plan(FOREVER))
    monkeypatch.undo()
    assert await runtime.list() == ()
    await runtime.start(plan(FOREVER))
    (file,) = tmp_path.glob("*/*/run.json")
    text = file.read_text()
    file.write_text(text[:10])
    with pytest.raises(RuntimeUnavailable, match="damaged"):
        await runtime.list()
    file.write_text(text)
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]
