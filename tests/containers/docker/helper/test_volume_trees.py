"""Volumes whose files their agent may not read: measured, exported and deleted all the same.

The agent here is a plain user in the engine's group, as `p2pool` on most machines is.
"""

import io
import os
import re
import tarfile
from collections.abc import AsyncIterator

import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker import volume_trees
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import Conflict, P2poolError, RuntimeUnavailable
from p2pool.model.ports.runtime import RunningCopy
from p2pool.model.ports.volumes import Retention
from p2pool.model.tasks.spec import Mount, MountKind
from tests.containers.harness.plain_user import plain_user
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, TASK, plan, run_to_end

pytestmark = pytest.mark.docker

OURS = f"task/{TASK.hex()}.0/data"
QUOTA = (Mount(MountKind.TASK, "/data", "data", size_bytes=4 * MIB),)
DEEP = """
deep=$(printf 'd/%.0s' $(seq 1000))
mkdir -p $deep
echo end > ${deep}file
for i in 1 2; do mkdir -p e/$deep; mv d e/$deep; mv e d; done
"""


@pytest.fixture
async def runtime(engine: Engine) -> AsyncIterator[DockerRuntime]:
    """A plain user's runtime, whose containers are gone after the test."""
    with plain_user(engine) as place:
        settings = Settings(disk_reserve_bytes=0)
        made = DockerRuntime(SCOPE, place, base_url=engine.url, settings=settings)
        yield made
        for status in await made.list():
            await made.stop(status.allocation, status.attempt, 0)
            await made.remove(status.allocation, status.attempt)


async def write(runtime: DockerRuntime, script: str, attempt: int = 1) -> None:
    """Let a task's root do something in its volume."""
    ended = await run_to_end(runtime, plan(f"cd /data; {script}", attempt=attempt, mounts=QUOTA))
    assert ended.exit_code == 0


async def overuse(runtime: DockerRuntime) -> str:
    """Why the copy is over its quota, or nothing."""
    held = RunningCopy(plan("").allocation, 1, plan("", mounts=QUOTA).spec)
    return "; ".join(one.reason for one in await runtime.overused([held]))


async def archive(runtime: DockerRuntime) -> tarfile.TarFile:
    data = b"".join([piece async for piece in runtime.volumes.export(OURS)])
    return tarfile.open(fileobj=io.BytesIO(data))


async def test_a_directory_of_mode_700_hides_nothing(runtime: DockerRuntime) -> None:
    """What a task's root keeps to itself counts, is exported, and is deleted."""
    await write(runtime, "mkdir -m 700 x; echo words > x/f; dd if=/dev/zero of=x/z bs=1M count=8")
    assert "the volume data holds 8.0 MiB" in await overuse(runtime)
    (volume,) = await runtime.volumes.list()
    assert volume.used_bytes > 8 * MIB
    exported = await archive(runtime)
    assert exported.getnames() == ["x", "x/f", "x/z"]
    file = exported.extractfile("x/f")
    assert file is not None
    assert file.read() == b"words\n"
    await runtime.volumes.remove(OURS)
    assert await runtime.volumes.list() == ()


async def test_what_outlived_its_keep_time_goes_whoever_owns_it(runtime: DockerRuntime) -> None:
    """Retention deletes files of a task's root too, in a directory that nobody else may enter."""
    await write(runtime, "mkdir -m 700 x; touch x/f; chmod 0 x; chown 1234 . ; chmod 1700 .")
    assert await runtime.tidy(lambda task, at: True, Retention(0, 0)) == (OURS,)
    assert await runtime.volumes.list() == ()


async def test_no_depth_is_too_deep(runtime: DockerRuntime) -> None:
    """Deeper than a path can name: counted, exported and deleted to the last file."""
    await write(runtime, DEEP)
    (volume,) = await runtime.volumes.list()
    assert volume.used_bytes >= 3_000 * 4096
    assert "the volume data holds 11.7 MiB;" in await overuse(runtime)
    names = (await archive(runtime)).getnames()
    assert len(names) == 3_003
    assert names[-1].endswith("/d/file")
    await runtime.volumes.remove(OURS)
    assert await runtime.volumes.list() == ()


async def test_names_and_kinds_of_every_sort(runtime: DockerRuntime) -> None:
    """Names like options and with line ends, links of both kinds, pipes, and a file that says that
    it is huge: all are in the archive as they are, and nothing counts twice."""
    script = (
        "echo x > -f; echo x > --help; echo x > \"$(printf 'a\\nb')\"; echo x > .hidden;"
        " echo x > \"$(printf '\\377')\"; mkdir '*' ' '; echo x > '*/ '; ln -s /etc/passwd soft;"
        " dd if=/dev/zero of=big bs=1M count=3; ln big hard; mkfifo pipe;"
        " truncate -s 1000G sparse; rm -rf -- none"
    )
    await write(runtime, script)
    assert await overuse(runtime) == ""
    with trio.fail_after(60):
        found = {member.name: member for member in (await archive(runtime)).getmembers()}
    names = ["-f", "--help", "a\nb", ".hidden", "*/ ", " ", os.fsdecode(b"\xff"), "pipe"]
    assert set(names) <= set(found)
    assert found["soft"].issym()
    assert found["soft"].linkname == "/etc/passwd"
    assert {found["big"].islnk(), found["hard"].islnk()} == {True, False}
    assert found["sparse"].size == 1000 * 2**30
    await runtime.volumes.remove(OURS)
    assert await runtime.volumes.list() == ()


async def test_more_entries_than_are_counted_are_too_many(
    runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy cannot hide its bytes behind more files than anybody counts."""
    monkeypatch.setattr(limits, "VOLUME_ENTRIES_MAX", 50)
    await write(runtime, "for i in $(seq 51); do echo > $i; done")
    assert "it has more than 50 entries" in await overuse(runtime)
    await write(runtime, "rm 51", attempt=2)
    assert await overuse(runtime) == ""


async def test_files_that_come_and_go_are_no_overuse(runtime: DockerRuntime) -> None:
    """A program that makes and deletes files while they are counted is not stopped for that."""
    busy = "cd /data; while :; do mkdir a; for i in 1 2 3 4 5 6; do : > a/$i; done; rm -r a; done"
    wanted = plan(busy, mounts=QUOTA)
    await runtime.start(wanted)
    for _ in range(4):
        assert await overuse(runtime) == ""
    await runtime.stop(wanted.allocation, 1, 0)


async def test_an_export_that_is_not_whole_says_so(runtime: DockerRuntime) -> None:
    """A file that grows all the time: what there is comes, and then an error that names it."""
    busy = "cd /data; mkdir -m 700 x; while :; do echo line >> x/log; done"
    wanted = plan(busy, mounts=QUOTA)
    await runtime.start(wanted)
    refused, got = await _until_refused(runtime)
    assert re.search("not whole: .*x/log: file changed as we read it", str(refused))
    with tarfile.open(fileobj=io.BytesIO(got)) as whole:
        assert "x/log" in whole.getnames()
    await runtime.stop(wanted.allocation, 1, 0)


async def _until_refused(runtime: DockerRuntime) -> tuple[Conflict, bytes]:
    """Export until a file changes at the moment that it is read; what came until then."""
    for _ in range(20):
        got = bytearray()
        try:
            async for piece in runtime.volumes.export(OURS):
                got += piece
        except Conflict as refused:
            return refused, bytes(got)
    raise AssertionError("no export met a change")


async def test_a_reader_that_leaves_ends_the_export(runtime: DockerRuntime) -> None:
    """Memory stays bounded, whatever a volume holds, and no container stays."""
    await write(runtime, "dd if=/dev/zero of=z bs=1M count=64")
    pieces = runtime.volumes.export(OURS)
    assert len(await anext(pieces)) <= MIB
    await pieces.aclose()
    await runtime.volumes.remove(OURS)


async def test_what_cannot_be_deleted_is_told(
    runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion that fails leaves the volume in the list, and says why."""
    await write(runtime, "mkdir x; echo > x/f")
    monkeypatch.setattr(volume_trees, "CLEAR", "echo 'rm: cannot remove x: no way' >&2; exit 1")
    with pytest.raises(RuntimeUnavailable, match="no way"):
        await runtime.volumes.remove(OURS)
    await run_to_end(runtime, plan("true", replica=1, mounts=QUOTA))
    other = OURS.replace(".0/", ".1/")
    assert await runtime.tidy(lambda task, at: True, Retention(0, 0)) == (other,)
    (volume,) = await runtime.volumes.list()
    assert volume.id == OURS


async def test_an_engine_that_is_away_is_told(runtime: DockerRuntime) -> None:
    """Nothing is measured as empty because nobody could look."""
    await write(runtime, "echo > x")
    place = runtime.store.root.parent
    away = DockerRuntime(SCOPE, place, base_url=f"unix://{place}/none.sock")
    for ask in (away.volumes.list(), away.volumes.remove(OURS), _read(away)):
        with pytest.raises(P2poolError, match="No Docker Engine answers"):
            await ask


async def _read(runtime: DockerRuntime) -> None:
    async for _ in runtime.volumes.export(OURS):
        pass


async def test_a_busy_copy_is_measured(runtime: DockerRuntime) -> None:
    """While it runs: the engine has its volume mounted twice, and it counts as in use."""
    await runtime.start(plan(FOREVER, mounts=QUOTA))
    (volume,) = await runtime.volumes.list()
    assert volume.in_use
