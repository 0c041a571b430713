"""Volumes on a real engine: where they are, who sees them, how long they stay, what they hold."""

import io
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import CannotStart, Conflict, NotFound
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.ports.runtime import RunningCopy
from p2pool.model.ports.volumes import Retention
from p2pool.model.tasks.spec import Mount, MountKind, Resources
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, TASK, lines, plan, run_to_end

pytestmark = pytest.mark.docker

FOR_EVER = Retention(100, 10**9)
OURS = f"task/{TASK.hex()}.0/data"


def task(source: str = "data", **more: int) -> tuple[Mount, ...]:
    """One task volume at /data."""
    return (Mount(MountKind.TASK, "/data", source, **more),)  # type: ignore[arg-type]


def ended(task_id: TaskId, used_at_ms: int) -> bool:
    """Every task has ended."""
    return True


@pytest.fixture
async def runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime whose containers are gone after the test."""
    settings = Settings(disk_reserve_bytes=0)
    made = DockerRuntime(SCOPE, tmp_path / "agent", base_url=engine.url, settings=settings)
    yield made
    for status in await made.list():
        await made.stop(status.allocation, status.attempt, 0)
        await made.remove(status.allocation, status.attempt)


async def archive(runtime: DockerRuntime, volume_id: str) -> tarfile.TarFile:
    data = b"".join([piece async for piece in runtime.volumes.export(volume_id)])
    return tarfile.open(fileobj=io.BytesIO(data))


async def ids(runtime: DockerRuntime) -> list[str]:
    return [one.id for one in await runtime.volumes.list()]


async def test_a_task_has_its_own_and_a_pool_shares(runtime: DockerRuntime) -> None:
    """Copies of a task do not see each other's; whoever names a pool volume has the same one."""
    mounts = (*task(), Mount(MountKind.POOL, "/shared", "sets"))
    script = "echo $P2POOL_REPLICA > /data/me; cat /shared/* 2>/dev/null; echo x > /shared/all"
    first, second = plan(script, mounts=mounts), plan(script, replica=1, mounts=mounts)
    for wanted in (first, second):
        await run_to_end(runtime, wanted)
    assert (await lines(runtime, first), await lines(runtime, second)) == ([], ["x"])
    assert await ids(runtime) == ["pool/sets", OURS, OURS.replace(".0/", ".1/")]
    file = (await archive(runtime, OURS)).extractfile("me")
    assert file is not None
    assert file.read() == b"0\n"


async def test_any_user_of_a_container_can_write_and_no_other_of_the_machine_can_enter(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    """Images run as users of their own, so the data are open; the way to them is not."""
    wanted = plan(
        "su nobody -s /bin/sh -c 'touch /data/x' || touch /data/y; ls /data", mounts=task()
    )
    await run_to_end(runtime, wanted)
    assert len(await lines(runtime, wanted)) >= 1
    place = tmp_path / "agent" / "volumes"
    data = next(place.glob("task/*/data/data"))
    assert stat.S_IMODE(data.stat().st_mode) == 0o777
    for above in (place, *[parent for parent in data.parents if parent.is_relative_to(place)]):
        assert stat.S_IMODE(above.stat().st_mode) == 0o700


async def test_planted_links_lead_nowhere(runtime: DockerRuntime, tmp_path: Path) -> None:
    """A container fills its volume with links to the host: the next mount, the measure, the export
    and the removal stay inside."""
    victim = tmp_path / "agent" / "victim"
    victim.mkdir(parents=True)
    (victim / "key").write_text("secret\n")
    escapes = "/ /etc ../../../../.. ../../../../../victim"
    script = (
        f"cd /data; for t in {escapes} {victim}; do ln -s $t l$((n=n+1)); done;"
        " mkdir -p a/b; ln -s / a/b/root; mkfifo pipe; rm -rf data volume.json;"
        " ln -s /etc data; ln -s /etc/passwd volume.json; ln -s . self; ls"
    )
    await run_to_end(runtime, plan(script, mounts=task()))
    again = plan("ls /data/l5; cat /data/l5/key; ls /data/a", attempt=2, mounts=task())
    await run_to_end(runtime, again)
    said = await lines(runtime, again)
    assert not any("secret" in line for line in said)
    assert "b" in said  # Standard output and errors keep no order between each other.
    (volume,) = await runtime.volumes.list()
    assert volume.used_bytes < MIB
    found = (await archive(runtime, OURS)).getmembers()
    assert {member.name for member in found if member.issym()} >= {"l1", "a/b/root", "data"}
    assert not any("key" in member.name for member in found)
    await runtime.volumes.remove(OURS)
    assert (victim / "key").read_text() == "secret\n"
    assert Path("/etc/passwd").exists()
    assert await ids(runtime) == []


async def test_a_link_in_a_pool_volume_is_no_way_into_anothers(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    """What one task plants, another's container resolves inside itself."""
    mounts = (Mount(MountKind.POOL, "/shared", "sets"),)
    await run_to_end(
        runtime, plan("ln -s /etc/hostname /shared/x; ln -s / /shared/up", mounts=mounts)
    )
    other = plan("ls /shared/up/ | grep -c agent; ls /shared/up/shared", replica=1, mounts=mounts)
    await run_to_end(runtime, other)
    assert await lines(runtime, other) == ["0", "up", "x"]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/abs", "", ".", "A", "x" * 64])
async def test_names_that_lead_elsewhere(runtime: DockerRuntime, name: str) -> None:
    """The runtime looks itself, whatever was checked before."""
    with pytest.raises(CannotStart):
        await runtime.start(plan("true", mounts=(Mount(MountKind.POOL, "/data", name),)))
    for volume_id in (f"pool/{name}", f"task/{name}", f"task/{TASK.hex()}.0/{name}", name):
        with pytest.raises(NotFound):
            await runtime.volumes.remove(volume_id)
        with pytest.raises(NotFound):
            await archive(runtime, volume_id)


async def test_what_is_used_is_not_removed(runtime: DockerRuntime) -> None:
    """Neither by its owner nor by retention; afterwards it is."""
    await runtime.start(plan(FOREVER, mounts=task(keep_s=0)))
    (volume,) = await runtime.volumes.list()
    assert volume.in_use
    with pytest.raises(Conflict, match="p2pool task stop"):
        await runtime.volumes.remove(OURS)
    assert await runtime.tidy(ended, FOR_EVER) == ()
    await runtime.stop(plan("").allocation, 1, 0)
    await runtime.volumes.remove(OURS)
    with pytest.raises(NotFound):
        await runtime.volumes.remove(OURS)


async def test_how_long_a_volume_is_kept(runtime: DockerRuntime) -> None:
    """Of a task that goes on: for ever. Of one that ended: as it asked, no longer than the owner
    keeps, and of so many tasks at most; pool volumes stay."""
    names = [bytes([number]) * 16 for number in range(1, 5)]
    for number, name in enumerate(names):
        keep_s = 0 if number == 0 else -1
        mounts = (*task(keep_s=keep_s), Mount(MountKind.POOL, "/pool", "kept"))
        wanted = plan("true", mounts=mounts)
        allocation = AllocationId(TaskId(name), 0)
        await run_to_end(runtime, attrs.evolve(wanted, allocation=allocation))
    every = [f"task/{name.hex()}.0/data" for name in names]
    assert await runtime.tidy(lambda task, at: False, Retention(0, 0)) == ()
    assert await runtime.tidy(ended, FOR_EVER) == (every[0],), "it asked for none"
    assert (await runtime.volumes.list())[1].ended_at_ms > 0
    assert await runtime.tidy(ended, Retention(1, 10**9)) == tuple(every[2:])
    assert await ids(runtime) == ["pool/kept", every[1]]
    assert await runtime.tidy(ended, Retention(5, 0)) == (every[1],)
    assert await ids(runtime) == ["pool/kept"]


async def test_a_quota_is_looked_at(runtime: DockerRuntime) -> None:
    """Of a volume, and of a container's own files where the storage driver has none; who is below
    it is not named."""
    mounts = task(size_bytes=4 * MIB)
    resources = Resources(memory_bytes=64 * MIB, disk_bytes=4 * MIB)
    script = "dd if=/dev/zero of={} bs=1M count={} 2>/dev/null; echo done; " + FOREVER
    plans = [
        plan(script.format("/data/x", 8), replica=0, mounts=mounts),
        plan(script.format("/data/x", 2), replica=1, mounts=mounts),
        plan(script.format("/x", 8), replica=2, resources=resources),
        plan(script.format("/x", 2), replica=3, resources=resources),
    ]
    for wanted in plans:
        await runtime.start(wanted)
        async for _ in runtime.logs(wanted.allocation, 1, follow=True):
            break
    held = [RunningCopy(wanted.allocation, 1, wanted.spec) for wanted in plans]
    over = {one.allocation.replica: one.reason for one in await runtime.overused(held)}
    assert sorted(over) == [0, 2]
    assert "volume data holds 8.0 MiB" in over[0]
    assert "4.0 MiB were asked for" in over[0]
    assert "outside its mounts" in over[2]


async def test_a_tmpfs_is_memory_and_gone_with_its_container(runtime: DockerRuntime) -> None:
    """Nothing of it is on the disk."""
    mounts = (Mount(MountKind.TMPFS, "/scratch", size_bytes=MIB),)
    script = "cd /scratch; echo x > file; cat file; grep -c ' /scratch tmpfs' /proc/mounts"
    wanted = plan(script, mounts=mounts)
    await run_to_end(runtime, wanted)
    assert await lines(runtime, wanted) == ["x", "1"]
    assert await ids(runtime) == []
