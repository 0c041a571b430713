"""What Docker alone can promise: hardening, limits, GPUs, and others' containers left alone."""

from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.container.labels import name_of
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import (
    CannotStart,
    HostPortTaken,
    ImageRefused,
    NotOffered,
    RegistryUnavailable,
    RuntimeUnavailable,
)
from p2pool.model.tasks.spec import Mount, MountKind, PublishedPort, Resources
from tests.containers.harness.plans import FOREVER, MIB, OTHER, SCOPE, lines, plan, run_to_end

pytestmark = pytest.mark.docker


def inspect(engine: Engine, replica: int = 0) -> dict[str, Any]:
    """The engine's own record of a container of ours."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    wanted = plan("", replica=replica)
    found: dict[str, Any] = client.inspect_container(name_of(SCOPE, wanted.allocation, 1))
    client.close()
    return found


async def test_a_container_is_hardened(docker_runtime: DockerRuntime, engine: Engine) -> None:
    """As the engine has it, not as we asked for it."""
    await docker_runtime.start(plan(FOREVER))
    host = inspect(engine)["HostConfig"]
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert "SYS_ADMIN" not in host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PidsLimit"] == limits.TASK_PIDS_DEFAULT + 1  # The init.
    assert host["Memory"] == host["MemorySwap"] == 64 * MIB
    assert host["NanoCpus"] == 500 * 10**6
    assert host["NetworkMode"].startswith("container:")
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert not host["Binds"]


async def test_a_limit_on_memory_is_one(docker_runtime: DockerRuntime) -> None:
    """What takes more is ended, and that is said."""
    hungry = plan("x=a; while :; do x=$x$x; done", resources=Resources(memory_bytes=16 * MIB))
    status = await run_to_end(docker_runtime, hungry)
    assert status.oom_killed or status.exit_code == 137


async def test_others_are_neither_seen_nor_touched(
    docker_runtime: DockerRuntime, engine: Engine, tmp_path: Path
) -> None:
    """Another node's containers of the same allocation, and containers that are nobody's."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    made = client.create_container(
        BUSYBOX_IMAGE, ["sleep", "1000"], labels={"p2pool.pool": "7", "p2pool.chain": "31337"}
    )
    client.start(made)
    other = DockerRuntime(OTHER, tmp_path / "other", base_url=engine.url)
    await other.start(plan(FOREVER))
    await docker_runtime.start(plan(FOREVER))
    assert len(await docker_runtime.list()) == len(await other.list()) == 1
    await docker_runtime.stop(plan("").allocation, 1, 0)
    await docker_runtime.remove(plan("").allocation, 1)
    assert [s.ended for s in await other.list()] == [False]
    assert client.inspect_container(made)["State"]["Running"]
    client.remove_container(made, force=True)
    client.close()


async def test_gpus_are_given_by_uuid(docker_runtime: DockerRuntime, engine: Engine) -> None:
    """Exactly those that were leased are visible inside."""
    gpus = ("GPU-a", "GPU-b")
    status = await run_to_end(docker_runtime, plan("echo $NVIDIA_VISIBLE_DEVICES", gpus=gpus))
    assert status.gpus == gpus
    (request,) = inspect(engine)["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == list(gpus)
    assert await lines(docker_runtime, plan("")) == ["GPU-a,GPU-b"]


async def test_images(docker_runtime: DockerRuntime, engine: Engine, tmp_path: Path) -> None:
    """A local one is not fetched; one that cannot be had says why; registries may be limited."""
    assert (await docker_runtime.pull(BUSYBOX_IMAGE)).startswith("sha256:")
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1"):
        await docker_runtime.pull("127.0.0.1:1/none:1")
    picky = DockerRuntime(
        SCOPE,
        tmp_path,
        base_url=engine.url,
        settings=Settings(registries=("registry.example/ours",)),
    )
    with pytest.raises(ImageRefused, match=r"registry\.example/ours"):
        await picky.pull("registry.example/theirs/x:1")


@pytest.mark.parametrize(
    "mount",
    [
        Mount(MountKind.BIND, "/x", "/etc"),
        Mount(MountKind.TASK, "/x", "../../escape"),
        Mount(MountKind.POOL, "/x", ".."),
    ],
    ids=["bind", "task", "pool"],
)
async def test_no_mount_leaves_the_agents_directory(
    docker_runtime: DockerRuntime, mount: Mount
) -> None:
    """Nor does one of the host's come in that its operator did not allow."""
    with pytest.raises((CannotStart, NotOffered)):
        await docker_runtime.start(plan(FOREVER, mounts=(mount,)))
    assert await docker_runtime.list() == ()


async def test_volumes_outlive_their_containers(docker_runtime: DockerRuntime) -> None:
    """A task's own directory is there again for its next attempt."""
    mount = Mount(MountKind.TASK, "/data", "state")
    await run_to_end(docker_runtime, plan("echo kept > /data/file", mounts=(mount,)))
    again = plan("cat /data/file", attempt=2, mounts=(mount,))
    await run_to_end(docker_runtime, again)
    assert await lines(docker_runtime, again) == ["kept"]


async def test_a_port_that_is_taken_leaves_nothing(docker_runtime: DockerRuntime) -> None:
    """The second one of two that ask for a port of the host cannot start."""
    ports = (PublishedPort(80, 18_471),)
    await docker_runtime.start(plan(FOREVER, ports=ports))
    with pytest.raises(HostPortTaken):
        await docker_runtime.start(plan(FOREVER, replica=1, ports=ports))
    assert [s.allocation.replica for s in await docker_runtime.list()] == [0]


async def test_an_engine_that_is_away_is_no_empty_engine(tmp_path: Path) -> None:
    """Nothing answers: an error that says what to do, whatever is asked."""
    away = DockerRuntime(SCOPE, tmp_path, base_url=f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnavailable, match="systemctl"):
        await away.probe()
    with pytest.raises(RuntimeUnavailable):
        await away.list()
    with pytest.raises(RuntimeUnavailable):
        async for _ in away.watch():
            pass
    wanted = attrs.evolve(plan(FOREVER), attempt=3)
    with pytest.raises(RuntimeUnavailable):
        await away.start(wanted)
