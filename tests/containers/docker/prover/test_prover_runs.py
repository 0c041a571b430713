"""A prover on a real engine: it gets devices and lines, and is gone whatever ends it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.drivers.containers.docker.prover import PROVER
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import messages as m
from p2pool.model.errors import ImageNotHere, RuntimeUnavailable
from p2pool.model.machine.hardware import Gpu
from p2pool.model.validation.evidence import Conclusion
from tests.agent.streams import doubles
from tests.containers.harness.hook_record import hooked
from tests.containers.harness.plans import FOREVER, OTHER, plan
from tests.containers.harness.prover_image import make_prover_image
from tests.validator.harness.nodes import MODEL

pytestmark = pytest.mark.docker

DEVICES = b'{"id":1,"op":"devices"}'
SHORT = 64 * 1024


@pytest.fixture
def sdk(engine: Engine) -> Iterator[Any]:
    """The SDK, to see what is there."""
    made = docker.APIClient(base_url=engine.url, version="auto")
    yield made
    made.close()


@pytest.fixture
def image(sdk: Any) -> str:
    """The reference prover as two devices, by its digest."""
    made = make_prover_image(sdk, "--devices", "2", "--memory-bytes", "1048576")
    return made.digest


def provers_on(sdk: Any) -> list[dict[str, Any]]:
    """The containers of provers that the engine has."""
    rows: list[dict[str, Any]] = sdk.containers(all=True, filters={"label": [PROVER]})
    return rows


async def test_a_node_passes_a_challenge_on_an_engine(
    docker_runtime: DockerRuntime, sdk: Any, image: str
) -> None:
    """The whole way of a validator's challenge, with the reference prover in a container."""
    config = ChallengeConfig(images=(image,), apart_s=0)
    claims = tuple(Gpu(f"CPU-{number}", MODEL, 16_384) for number in range(2))
    place = doubles.Place(config, docker_runtime.provers, doubles.Machine(claims))
    async with place.stream() as talk:
        validator = doubles.Validator(talk, accepts=(image,))
        evidence = await validator.challenge()
        assert not isinstance(evidence, m.ChallengeDeclined), evidence
        assert evidence.conclusion is Conclusion.VALID, evidence.faults
        assert evidence.transcript.challenge.image == image
        await validator.tell(evidence)
        assert await talk.receive(20_000) is None
    assert provers_on(sdk) == []
    assert place.server.counters["concluded_valid"] == 1


async def test_it_has_devices_and_nothing_else(
    docker_runtime: DockerRuntime, engine: Engine, sdk: Any, image: str
) -> None:
    """No network, mount, right or place to write; a GPU by its UUID, and no processor by name."""
    async with docker_runtime.provers.running(image, ("CPU-0", "GPU-p"), 7) as lines:
        answer = json.loads(await lines.ask(DEVICES, answer_max_bytes=SHORT))
        assert [one["uuid"] for one in answer["devices"]] == ["CPU-0", "CPU-1"]
        (row,) = provers_on(sdk)
        assert await docker_runtime.list() == ()
        record = sdk.inspect_container(row["Id"])
        host = record["HostConfig"]
        assert (record["Mounts"], host["NetworkMode"], host["ReadonlyRootfs"]) == ([], "none", True)
        assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
        assert host["Memory"] == host["MemorySwap"]
        assert record["Image"] == image
        assert hooked(engine)[row["Id"]] == "GPU-p"
        with pytest.raises(RuntimeUnavailable, match="GPU-p is held by the container p2"):
            await docker_runtime.start(plan(FOREVER, gpus=("GPU-p",)))
    assert provers_on(sdk) == []
    await docker_runtime.start(plan(FOREVER, gpus=("GPU-p",)))
    with pytest.raises(RuntimeUnavailable, match="GPU-p is held"):
        async with docker_runtime.provers.running(image, ("GPU-p",), 0):
            pass
    assert provers_on(sdk) == []


async def test_it_is_gone_when_nobody_waits_any_longer(
    docker_runtime: DockerRuntime, sdk: Any, image: str
) -> None:
    """In the middle of an answer."""
    with trio.move_on_after(30) as scope:
        async with docker_runtime.provers.running(image, ("CPU-0",), 0) as lines:
            await lines.ask(DEVICES, answer_max_bytes=SHORT)
            scope.cancel()
            await lines.ask(DEVICES, answer_max_bytes=SHORT)
    assert scope.cancelled_caught
    assert provers_on(sdk) == []


async def test_what_a_killed_agent_left_is_swept(
    docker_runtime: DockerRuntime, engine: Engine, sdk: Any, image: str, tmp_path: Path
) -> None:
    """By the next agent of this node, and by no other node's; who runs one keeps it."""
    again = DockerRuntime(docker_runtime.scope, tmp_path / "again", base_url=engine.url)
    other = DockerRuntime(OTHER, tmp_path / "other", base_url=engine.url)
    async with docker_runtime.provers.running(image, ("CPU-0",), 0) as lines:
        await docker_runtime.provers.sweep()
        await other.provers.sweep()
        await lines.ask(DEVICES, answer_max_bytes=SHORT)
        await again.provers.sweep()
        assert provers_on(sdk) == []
        with pytest.raises(RuntimeUnavailable, match="The prover ended"):
            await lines.ask(DEVICES, answer_max_bytes=SHORT)


async def test_what_is_no_prover_says_so(docker_runtime: DockerRuntime, sdk: Any) -> None:
    """A program that ends at once, by the beginning of its errors; one that never stops a line."""
    broken = make_prover_image(sdk, "--devices", "none").digest
    with pytest.raises(RuntimeUnavailable, match="invalid int value"):
        async with docker_runtime.provers.running(broken, (), 0) as lines:
            await lines.ask(DEVICES, answer_max_bytes=SHORT)
    good = make_prover_image(sdk, "--devices", "2").digest
    async with docker_runtime.provers.running(good, (), 0) as lines:
        with pytest.raises(RuntimeUnavailable, match="more than 10 bytes"):
            await lines.ask(DEVICES, answer_max_bytes=10)
    assert provers_on(sdk) == []


async def test_an_image_is_the_one_that_was_named(docker_runtime: DockerRuntime, sdk: Any) -> None:
    """Not one whose identifier begins like it, nor one of which a name alone is known."""
    image = make_prover_image(sdk).digest
    assert await docker_runtime.provers.is_here(image)
    for unlike in (image[:20], "sha256:" + "0" * 64, f"{BUSYBOX_IMAGE}@{image}"):
        assert not await docker_runtime.provers.is_here(unlike)
    with pytest.raises(ImageNotHere):
        await docker_runtime.provers.fetch("sha256:" + "0" * 64)
    with pytest.raises(RuntimeUnavailable, match="is not on this node"):
        async with docker_runtime.provers.running("sha256:" + "0" * 64, (), 0):
            pass
