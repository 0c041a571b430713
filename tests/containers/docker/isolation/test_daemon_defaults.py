"""No copy is isolated by what `daemon.json` happens to say: a real engine with other defaults.

Its default runtime is a stand-in for NVIDIA's: it writes down which GPUs a container would get,
then runs runc. Its other defaults are what an operator may have chosen for containers of their own.
"""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.probe import probe_container
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import CannotStart, RuntimeUnavailable
from p2pool.model.tasks.spec import Mount, MountKind
from tests.containers.harness.plans import SCOPE, lines, plan, run_to_end
from tests.containers.harness.private_engine import make_hook, private_engine

pytestmark = pytest.mark.docker

GREEDY_IMAGE = "p2pool-test/greedy:1"
GREEDY = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_MIG_CONFIG_DEVICES=all", "DOCKER_RESOURCE_GPU=all")
STAND_IN = """#!/bin/sh
for one in "$@"; do
    [ -f "$one/config.json" ] && cp "$one/config.json" {called}/$$.json
done
exec runc "$@"
"""
DEFAULTS = (
    *("--default-runtime", "nvidia", "--log-driver", "none", "--init"),
    *("--default-cgroupns-mode", "host"),
)


@pytest.fixture(scope="module")
def other_engine() -> Iterator[Engine]:
    """An engine whose defaults are not Docker's own."""
    directory = Path(tempfile.mkdtemp(prefix="p2d", dir="/tmp"))
    tools = directory / "tools"
    make_hook(tools, f'cat > "{tools}/hooked/$$.json"')
    (tools / "called").mkdir()
    (tools / "hooked").mkdir()
    stand_in = tools / "nvidia-container-runtime"
    stand_in.write_text(STAND_IN.format(called=tools / "called"))
    stand_in.chmod(0o755)
    arguments = ("--add-runtime", f"nvidia={stand_in}", *DEFAULTS)
    with private_engine(directory, tools, arguments) as running:
        client = docker.APIClient(base_url=running.url, version="auto")
        made = client.create_container(BUSYBOX_IMAGE, ["true"], runtime="runc")
        changes = [f"ENV {one}" for one in GREEDY]
        client.commit(made, *GREEDY_IMAGE.split(":"), changes=changes)
        client.remove_container(made)
        client.close()
        yield running


@pytest.fixture
async def runtime(other_engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime on that engine, which leaves no containers."""
    for kept in ("called", "hooked"):
        shutil.rmtree(other_engine.directory / "tools" / kept)
        (other_engine.directory / "tools" / kept).mkdir()
    made = DockerRuntime(SCOPE, tmp_path, base_url=other_engine.url)
    yield made
    for status in await made.list():
        await made.stop(status.allocation, status.attempt, 0)
        await made.remove(status.allocation, status.attempt)


def handed_out(engine: Engine) -> list[str]:
    """The GPUs that the stand-in for NVIDIA's runtime would have given, by container."""
    found = []
    for path in (engine.directory / "tools" / "called").iterdir():
        config: dict[str, Any] = json.loads(path.read_text())
        named = dict(variable.split("=", 1) for variable in config["process"]["env"])
        found.append(named.get("NVIDIA_VISIBLE_DEVICES", ""))
    return found


async def test_an_image_that_names_all_gpus_gets_none(
    runtime: DockerRuntime, other_engine: Engine
) -> None:
    """The engine's default runtime is NVIDIA's; the copy never meets it, and reads no such name."""
    wanted = plan("env | grep -E 'NVIDIA|DOCKER_RES'; exit 0", image=GREEDY_IMAGE)
    await run_to_end(runtime, wanted)
    assert handed_out(other_engine) == []
    assert await lines(runtime, wanted) == ["NVIDIA_VISIBLE_DEVICES=void"]


async def test_a_leased_gpu_is_the_only_one(runtime: DockerRuntime, other_engine: Engine) -> None:
    """An image that names all of them gets the leased one, by the toolkit's hook alone."""
    wanted = plan("env | grep -E 'NVIDIA|DOCKER_RES'", image=GREEDY_IMAGE, gpus=("GPU-a",))
    await run_to_end(runtime, wanted)
    assert handed_out(other_engine) == []
    assert set(await lines(runtime, wanted)) == {"NVIDIA_VISIBLE_DEVICES=GPU-a"}
    assert len(list((other_engine.directory / "tools" / "hooked").iterdir())) == 1


async def test_a_probe_gets_what_it_asks_for(runtime: DockerRuntime, other_engine: Engine) -> None:
    """`agent check` sees what a task would: none of the GPUs that the image names."""
    assert (await probe_container(runtime, GREEDY_IMAGE, ())).ran
    assert handed_out(other_engine) == []


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_MIG_CONFIG_DEVICES",
        "NVIDIA_MIG_MONITOR_DEVICES",
        "NVIDIA_IMEX_CHANNELS",
        "NVIDIA_GDS",
        "AMD_VISIBLE_DEVICES",
        "DOCKER_RESOURCE_GPU",
    ],
)
async def test_a_task_that_names_devices_is_not_started(runtime: DockerRuntime, name: str) -> None:
    """Also where an agent of an earlier version took the task in."""
    with pytest.raises(CannotStart, match=f"{name}.*resources.gpu"):
        await runtime.start(plan("true", environment=((name, "all"),)))
    assert await runtime.list() == ()


async def test_a_mount_names_no_devices(runtime: DockerRuntime) -> None:
    """NVIDIA's hook may take the names of mounts for those of GPUs."""
    mounts = (Mount(MountKind.TMPFS, "/var/run/nvidia-container-devices/all"),)
    with pytest.raises(CannotStart, match=r"mounts\[0\]"):
        await runtime.start(plan("true", mounts=mounts))


async def test_logs_and_namespaces_are_our_own(runtime: DockerRuntime) -> None:
    """The engine's defaults drop logs, add a first process and show the host's cgroups."""
    script = "cat /proc/1/comm; cut -d: -f3 /proc/self/cgroup | sort -u"
    wanted = plan(script, init=False)
    await run_to_end(runtime, wanted)
    assert await lines(runtime, wanted) == ["sh", "/"]


async def test_what_would_not_isolate_is_refused(other_engine: Engine, tmp_path: Path) -> None:
    """With what is wrong: no node that takes tasks and fails or exposes each."""
    for name, said in (("nvidia", "would give GPUs"), ("runsc", "no runtime named runsc")):
        settings = Settings(oci_runtime=name)
        made = DockerRuntime(SCOPE, tmp_path, base_url=other_engine.url, settings=settings)
        with pytest.raises(RuntimeUnavailable, match=said):
            await made.probe()
        with pytest.raises(RuntimeUnavailable, match=said):
            await made.start(plan("true"))
