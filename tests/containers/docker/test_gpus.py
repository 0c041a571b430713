"""GPUs on a real engine, whose hook is a stand-in that writes down what it is called for."""

from pathlib import Path

import docker
import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import GpuPath, Settings
from p2pool.model.errors import NoGpuSupport, RuntimeUnavailable
from tests.containers.harness.hook_record import hooked
from tests.containers.harness.plans import FOREVER, OTHER, SCOPE, lines, plan, run_to_end

pytestmark = pytest.mark.docker


async def test_the_hook_is_called_with_exactly_the_leased(
    docker_runtime: DockerRuntime, engine: Engine
) -> None:
    """Before the container begins, by UUID; one without GPUs never meets the hook."""
    await docker_runtime.start(plan(FOREVER, gpus=("GPU-a", "GPU-b")))
    await docker_runtime.start(plan(FOREVER, replica=1))
    client = docker.APIClient(base_url=engine.url, version="auto")
    ids = {
        row["Labels"]["p2pool.replica"]: row["Id"]
        for row in client.containers(filters={"label": ["p2pool.replica"]})
    }
    client.close()
    called = hooked(engine)
    assert called[ids["0"]] == "GPU-a,GPU-b"
    assert ids["1"] not in called


async def test_two_never_hold_one_gpu(
    docker_runtime: DockerRuntime, engine: Engine, tmp_path: Path
) -> None:
    """Not of one agent, and not of two that share a machine: the second one waits for the first."""
    first = plan(FOREVER, gpus=("GPU-a", "GPU-b"))
    second = plan(FOREVER, replica=1, gpus=("GPU-b",))
    other = DockerRuntime(OTHER, tmp_path / "other", base_url=engine.url)
    await docker_runtime.start(first)
    for runtime in (docker_runtime, other):
        with pytest.raises(RuntimeUnavailable, match="GPU-b is held by the container p2pool-"):
            await runtime.start(second)
    await docker_runtime.start(plan(FOREVER, replica=2, gpus=("GPU-c",)))
    await docker_runtime.stop(first.allocation, 1, 0)
    status = await docker_runtime.start(second)
    assert (status.ended, status.gpus) == (False, ("GPU-b",))
    with pytest.raises(RuntimeUnavailable, match="GPU-b"):
        await docker_runtime.restart(first.allocation, 1)


async def test_of_many_at_once_one_gets_it(docker_runtime: DockerRuntime) -> None:
    """However they race."""
    got, refused = [], []

    async def start(replica: int) -> None:
        try:
            await docker_runtime.start(plan(FOREVER, replica=replica, gpus=("GPU-z",)))
        except RuntimeUnavailable:
            refused.append(replica)
        else:
            got.append(replica)

    async with trio.open_nursery() as nursery:
        for replica in range(5):
            nursery.start_soon(start, replica)
    assert (len(got), len(refused)) == (1, 4)


async def test_a_task_without_gpus_sees_none(docker_runtime: DockerRuntime) -> None:
    """Nothing that the agent or the engine has in its environment."""
    wanted = plan("echo [$NVIDIA_VISIBLE_DEVICES]; ls /dev | grep -c nvidia; exit 0")
    await run_to_end(docker_runtime, wanted)
    assert await lines(docker_runtime, wanted) == ["[void]", "0"]


async def test_cdi_is_told_to_be_missing_here(engine: Engine, tmp_path: Path) -> None:
    """With the reason; an owner who wants it gets an error that says what to do, and no
    container."""
    settings = Settings(gpus=GpuPath.CDI)
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    info = await runtime.probe()
    reasons = {one.feature: one.reason for one in info.unsupported}
    if "cdi" not in reasons:
        pytest.skip("this engine has CDI")
    with pytest.raises(NoGpuSupport, match="CDI"):
        await runtime.start(plan(FOREVER, gpus=("GPU-a",)))
    assert await runtime.list() == ()
