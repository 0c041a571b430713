"""Room for images on a real engine: a reserve is kept, and only what the agent fetched goes."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine, import_busybox, start_engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import DiskFull, Misconfigured, RuntimeUnavailable
from p2pool.model.tasks.spec import Resources
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, lines, plan, run_to_end
from tests.containers.harness.registry import Registry, running_registry

pytestmark = pytest.mark.docker

NOISE_MIB = 8
DISK_MIB, HUGE_MIB = 256, 200
DEADLINE_S = 120


@pytest.fixture(scope="module")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with four images of the same size."""
    with running_registry(tmp_path_factory.mktemp("registry"), engine) as found:
        for name in "abcd":
            found.push(f"{name}:1", mib=NOISE_MIB)
        yield found


def runtime(engine: Engine, directory: Path, **of: Any) -> DockerRuntime:
    """A runtime with an owner's settings."""
    settings = attrs.evolve(Settings(disk_reserve_bytes=0, image_grace_ms=0), **of)
    return DockerRuntime(SCOPE, directory, base_url=engine.url, settings=settings)


def present(client: Any, registry: Registry) -> str:
    """Which of the registry's images are here, by their letters."""
    tags = [tag for row in client.images() for tag in row["RepoTags"] or []]
    mine = sorted(tag for tag in tags if tag.startswith(f"{registry.host}/"))
    return "".join(tag.removeprefix(f"{registry.host}/").partition(":")[0] for tag in mine)


async def test_the_least_recently_used_go_first(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """Until the rest fits the limit; what a container uses, running or ended, never goes."""
    made = runtime(engine, tmp_path)
    for letter in "abc":
        await made.pull(f"{registry.host}/{letter}:1")
    await run_to_end(made, plan("true", image=f"{registry.host}/a:1"))
    await made.start(plan(FOREVER, replica=1, image=f"{registry.host}/b:1"))
    assert await made.images.collect() == [], "there is no limit"
    size = client.inspect_image(f"{registry.host}/a:1")["Size"]
    tight = runtime(engine, tmp_path, images_max_bytes=3 * size)
    assert await tight.images.collect() == [], "it fits"
    await tight.pull(f"{registry.host}/d:1")
    assert present(client, registry) == "abd", "c was used least recently of what is not in use"
    await tight.remove(plan("").allocation, 1)
    none = runtime(engine, tmp_path, images_max_bytes=1)
    assert await none.images.collect() == [f"{registry.host}/a:1", f"{registry.host}/d:1"]
    assert present(client, registry) == "b"


async def test_what_others_brought_never_goes(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """Not by name, not by the image behind a name, not when they gave ours a name of their own."""
    client.pull(f"{registry.host}/a", tag="1")
    made = runtime(engine, tmp_path, images_max_bytes=1)
    loose = runtime(engine, tmp_path)
    await loose.pull(f"{registry.host}/a:1")
    await loose.pull(f"{registry.host}/b:1")
    client.tag(f"{registry.host}/b:1", "somebodys/own", "1")
    assert await made.images.collect() == [f"{registry.host}/b:1"]
    assert present(client, registry) == "a"
    assert client.inspect_image("somebodys/own:1")["Id"]
    assert client.inspect_image(BUSYBOX_IMAGE)["Id"]


async def test_a_name_that_moved_is_followed(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """The image that a name of ours meant before goes too; a name that somebody moved to an image
    of their own is theirs."""
    made = runtime(engine, tmp_path, images_max_bytes=1)
    loose = runtime(engine, tmp_path)
    await loose.pull(f"{registry.host}/c:1")
    client.tag(BUSYBOX_IMAGE, f"{registry.host}/c", "1", force=True)
    assert await made.images.collect() == []
    assert (
        client.inspect_image(f"{registry.host}/c:1")["Id"]
        == (client.inspect_image(BUSYBOX_IMAGE)["Id"])
    )


async def test_a_young_image_stays(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """Between a pull and the start of its container nothing takes the image away."""
    made = runtime(engine, tmp_path, images_max_bytes=1, image_grace_ms=3_600_000)
    await made.pull(f"{registry.host}/a:1")
    assert present(client, registry) == "a"


async def test_nothing_is_fetched_into_the_reserve(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """What is not in use is deleted for it first; then it is said how much is free."""
    rich = runtime(engine, tmp_path)
    await rich.pull(f"{registry.host}/a:1")
    full = runtime(engine, tmp_path, disk_reserve_bytes=2**50)
    with pytest.raises(DiskFull, match="must stay free") as caught:
        await full.pull(f"{registry.host}/b:1")
    assert "disk_reserve_bytes" in caught.value.hint
    assert present(client, registry) == ""


# --- an engine whose storage driver has quotas, on a small disk ----------------------------------


@pytest.fixture(scope="module")
def small_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine on a small btrfs in a file."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("no mkfs.btrfs: apt-get install btrfs-progs")
    directory = tmp_path_factory.mktemp("small")
    disk, mounted = directory / "disk", directory / "m"
    mounted.mkdir()
    with disk.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    subprocess.run(["mkfs.btrfs", "-q", str(disk)], check=True)
    done = subprocess.run(
        ["mount", "-o", "loop,commit=1", str(disk), str(mounted)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no btrfs can be mounted here: {done.stderr.strip()}")
    try:
        engine = start_engine(mounted / "e")
        client = docker.APIClient(base_url=engine.url, version="auto")
        try:
            import_busybox(client, directory)
            yield engine
        finally:
            client.close()
            engine.stop()
    except (Misconfigured, RuntimeUnavailable) as error:
        pytest.skip(f"no engine on btrfs: {error}")
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=False)


async def test_a_disk_quota_is_the_storage_drivers(small_engine: Engine, tmp_path: Path) -> None:
    """Where it has one: what is over it cannot be written."""
    made = runtime(small_engine, tmp_path)
    info = await made.probe()
    assert info.storage_driver == "btrfs"
    assert "disk-quota" not in [one.feature for one in info.unsupported]
    wanted = plan(
        "dd if=/dev/urandom of=/big bs=1M count=64 2>&1 | grep -o 'quota exceeded'; sync;"
        " du -m /big | cut -f1",
        resources=Resources(memory_bytes=64 * MIB, disk_bytes=24 * MIB),
    )
    await run_to_end(made, wanted)
    said = await lines(made, wanted)
    await made.remove(wanted.allocation, 1)
    assert said[0].lower() == "quota exceeded"
    assert int(said[-1]) <= 24


async def test_an_image_that_fills_the_disk_is_told(
    small_engine: Engine, registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    """By the guard or by the engine, as a full disk; soon the disk is as free as before."""
    registry.push("huge:1", mib=HUGE_MIB)
    made = runtime(small_engine, tmp_path, disk_reserve_bytes=16 * MIB)
    with running_registry(tmp_path / "near", small_engine, files=registry.directory) as near:
        with pytest.raises(DiskFull, match="huge:1"):
            await made.pull(f"{near.host}/huge:1")
        with trio.fail_after(DEADLINE_S):
            while True:
                try:
                    await made.pull(f"{near.host}/a:1")
                except DiskFull:
                    await trio.sleep(0.5)
                else:
                    return
