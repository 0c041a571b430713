"""What an image brings along gives its task nothing: labels of ours, volumes that nobody counts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.images.helper_image import helper_image
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import NotFound
from p2pool.model.ports.runtime import RunningCopy
from p2pool.model.ports.volumes import Retention
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, lines, plan, run_to_end

pytestmark = pytest.mark.docker

HOSTILE = "p2pool-test/hostile:1"
DEADLINE_S = 30


@pytest.fixture
async def runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime whose copies are gone after the test."""
    settings = Settings(disk_reserve_bytes=0)
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    yield made
    await end_all(made)


async def end_all(runtime: DockerRuntime) -> None:
    """Stop and remove every copy."""
    for status in await runtime.list():
        await runtime.stop(status.allocation, status.attempt, 0)
        await runtime.remove(status.allocation, status.attempt)


def build(client: Any, *changes: str) -> None:
    """An image of busybox with more in its configuration."""
    made = client.create_container(BUSYBOX_IMAGE, ["true"], runtime="runc")
    client.commit(made, *HOSTILE.split(":"), changes=list(changes))
    client.remove_container(made)


async def test_an_image_with_our_labels_is_a_copy(
    runtime: DockerRuntime, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another copy's sandbox, whose rules are written anew, nor a helper's leftover."""
    monkeypatch.setattr(limits, "HELPER_LEFTOVER_MS", -60_000)
    honest = plan(FOREVER)
    key = f"{honest.allocation.task_id.hex()}-0-1"
    build(client, f"LABEL p2pool.sandbox={key}", "LABEL p2pool.helper=1")
    hostile = plan(FOREVER, replica=1, image=HOSTILE)
    await runtime.start(honest)
    await runtime.start(hostile)
    await runtime.tidy(lambda task, at_ms: False, Retention(0, 0))
    await runtime.helper.sweep(young=True)
    statuses = await runtime.list()
    assert [(one.allocation.replica, one.ended) for one in statuses] == [(0, False), (1, False)]


async def test_what_is_written_to_an_images_own_volumes_counts(
    runtime: DockerRuntime, client: Any
) -> None:
    """Docker makes them as the image says, and neither its quota nor its own count covers them."""
    build(client, "VOLUME /scratch")
    wanted = plan(
        f"dd if=/dev/zero of=/scratch/x bs=1M count=8; echo written; {FOREVER}", image=HOSTILE
    )
    allowed = attrs.evolve(wanted.spec.resources, disk_bytes=4 * MIB)
    wanted = attrs.evolve(wanted, spec=attrs.evolve(wanted.spec, resources=allowed))
    await runtime.start(wanted)
    with trio.fail_after(DEADLINE_S):
        while True:
            if "written" in await lines(runtime, wanted):
                break
            await trio.sleep(0.1)
    (over,) = await runtime.overused([RunningCopy(wanted.allocation, 1, wanted.spec)])
    assert "it wrote 8.0 MiB outside its mounts; 4.0 MiB were asked for" in over.reason


def test_an_image_with_our_layer_and_other_settings_is_not_ours() -> None:
    """A task may bring one of our name: `LD_PRELOAD` would load what it planted in a volume."""
    ours = helper_image("linux/amd64")
    record = {"Id": "sha256:" + "0" * 64, "RootFS": {"Layers": [ours.layer]}}
    plain = {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Labels": {"p2pool.helper": "x"}}
    assert ours.is_it(record | {"Config": plain})
    loader = {"Env": [*plain["Env"], "LD_PRELOAD=/v/0/planted.so"]}
    assert not ours.is_it(record | {"Config": plain | loader})


async def test_the_network_of_a_removed_sandbox_goes(runtime: DockerRuntime, client: Any) -> None:
    """Also where somebody else removed what was on it."""
    before = {one["Id"] for one in client.networks()}
    wanted = plan(FOREVER)
    await runtime.start(wanted)
    await runtime.list()
    (box,) = client.containers(filters={"label": ["p2pool.sandbox"]})
    client.remove_container(box["Id"], force=True)
    with trio.fail_after(DEADLINE_S):
        while True:
            if all(status.ended for status in await runtime.list()):
                break
            await trio.sleep(0.05)
    await runtime.remove(wanted.allocation, 1)
    assert await runtime.list() == ()
    assert {one["Id"] for one in client.networks()} == before


async def test_a_copy_from_before_isolation_is_not_started_again(
    runtime: DockerRuntime, client: Any, engine: Engine, tmp_path: Path
) -> None:
    """A copy that shares the engine's network, made by an older agent or with isolation off."""
    older = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=Settings(isolation=False))
    wanted = plan("true")
    await run_to_end(older, wanted)
    with pytest.raises(NotFound, match="network of its own"):
        await runtime.restart(wanted.allocation, 1)
    await runtime.start(wanted)
    (made,) = client.containers(all=True, filters={"label": ["p2pool.task"]})
    assert made["HostConfig"]["NetworkMode"].startswith("container:")
