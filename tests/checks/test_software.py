"""The engine's word is judged by a stated minimum, and a container is asked what it sees."""

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.checks.software import (
    container_check,
    engine_checks,
    software_checks,
    toolkit_check,
)
from p2pool.drivers.containers.docker.probe import LABEL, Probed, probe_container
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.machine.checks import Verdict, worst
from p2pool.model.ports.runtime import RuntimeInfo, RuntimeKind
from tests.containers.conftest import docker_runtime, engine

__all__ = ["docker_runtime", "engine"]

INFO = RuntimeInfo(
    RuntimeKind.DOCKER,
    "28.2.2",
    "1.50",
    gpu_support=True,
    storage_driver="overlay2",
    cgroup_version="2",
)
GPU_PROBE_IMAGE = "p2pool-test/smi:1"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("28.2.2", Verdict.PASS),
        ("20.10.24+dfsg1", Verdict.PASS),
        ("20.9.0", Verdict.FAIL),
        ("19.03.15", Verdict.FAIL),
        ("nonsense", Verdict.FAIL),
        ("\N{SUPERSCRIPT TWO}8.\N{SUPERSCRIPT TWO}", Verdict.FAIL),
        ("9" * 5000 + ".1", Verdict.FAIL),
    ],
)
def test_the_version_has_a_stated_minimum(version: str, verdict: Verdict) -> None:
    """Debian's suffix is no matter."""
    check = engine_checks(attrs.evolve(INFO, version=version))[0]
    assert (check.verdict, "20.10" in check.needed) == (verdict, True)


def test_a_slow_storage_driver_and_the_engines_own_warnings_are_told() -> None:
    """Worth knowing, and no reason to stay out."""
    info = attrs.evolve(INFO, storage_driver="vfs", warnings=("WARNING: No swap limit support",))
    checks = {check.name: check for check in engine_checks(info)}
    assert worst(checks.values()) is Verdict.WARN
    assert "overlay2" in checks["storage"].todo
    assert "swap" in checks["docker says"].found


def test_gpus_without_the_toolkit_fail_with_what_to_install() -> None:
    """Before a task finds out; an engine that only does not announce it is a warning."""
    check = toolkit_check(attrs.evolve(INFO, gpu_support=False))
    assert (check.verdict, "nvidia-ctk" in check.todo) == (Verdict.WARN, True)
    assert toolkit_check(INFO).verdict is Verdict.PASS
    said = 'could not select device driver "" with capabilities: [[gpu]]'
    check = container_check(Probed(False, said), "i", ("GPU-a",))
    assert (check.verdict, "nvidia-ctk" in check.todo) == (Verdict.FAIL, True)


def test_a_container_must_see_exactly_what_it_was_given() -> None:
    """One card fewer or more is a failure; an image that is not to be had is not."""
    seen = Probed(True, None, ("GPU-a", "GPU-b"), 0)
    assert container_check(seen, "i", ("GPU-a", "GPU-b")).verdict is Verdict.PASS
    assert "not seen inside: GPU-c" in container_check(seen, "i", ("GPU-a", "GPU-c")).found
    assert "not given: GPU-b" in container_check(seen, "i", ("GPU-a",)).found
    untried = container_check(Probed(False, "no such image"), "ubuntu:24.04", ("GPU-a",))
    assert (untried.verdict, "ubuntu:24.04" in untried.todo) == (Verdict.WARN, True)


@pytest.mark.docker
async def test_on_a_real_engine_everything_passes(docker_runtime: DockerRuntime) -> None:
    """A container starts and ends, and nothing of it is left."""
    checks = await software_checks(docker_runtime, (), BUSYBOX_IMAGE)
    assert [c for c in checks if c.verdict is Verdict.FAIL] == []
    assert next(c for c in checks if c.name == "a container").verdict is Verdict.PASS
    left = docker_runtime.client().containers(all=True, filters={"label": [LABEL]})
    assert left == []


@pytest.fixture
async def smi(docker_runtime: DockerRuntime) -> AsyncIterator[None]:
    """An image whose nvidia-smi lists what the toolkit made visible."""
    script = (
        b"#!/bin/sh\nn=0\nfor g in $(echo $NVIDIA_VISIBLE_DEVICES | tr , ' '); do\n"
        b'echo "GPU $n: NVIDIA H100 80GB HBM3 (UUID: $g)"; n=$((n+1)); done\n'
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        file = tarfile.TarInfo("bin/nvidia-smi")
        file.size, file.mode = len(script), 0o755
        tar.addfile(file, io.BytesIO(script))
    client = docker_runtime.client()
    made = client.create_container(BUSYBOX_IMAGE, ["true"])
    client.put_archive(made, "/", archive.getvalue())
    name, _, tag = GPU_PROBE_IMAGE.partition(":")
    client.commit(made, repository=name, tag=tag)
    client.remove_container(made)
    yield
    client.remove_image(GPU_PROBE_IMAGE, force=True)


@pytest.mark.docker
async def test_the_gpus_inside_a_real_container_are_those_it_was_given(
    docker_runtime: DockerRuntime,
    smi: None,
) -> None:
    """By the engine's own device requests."""
    probed = await probe_container(docker_runtime, GPU_PROBE_IMAGE, ("GPU-a", "GPU-b"))
    assert probed == Probed(True, None, ("GPU-a", "GPU-b"), 0)


@pytest.mark.docker
async def test_a_probe_that_does_not_end_is_cut_off_and_removed(
    docker_runtime: DockerRuntime,
) -> None:
    """An image without nvidia-smi fails at once; one that hangs fails by the deadline."""
    probed = await probe_container(docker_runtime, BUSYBOX_IMAGE, ("GPU-a",))
    assert probed.ran is False
    assert "nvidia-smi" in (probed.reason or "")
    left = docker_runtime.client().containers(all=True, filters={"label": [LABEL]})
    assert left == []


async def test_an_engine_that_is_away_is_one_failed_check(tmp_path: Path) -> None:
    """With what to do."""
    from tests.containers.harness.plans import SCOPE

    away = DockerRuntime(SCOPE, tmp_path, base_url=f"unix://{tmp_path}/no.sock")
    (check,) = await software_checks(away, ())
    assert (check.verdict, bool(check.todo)) == (Verdict.FAIL, True)


def test_the_tests_engine_is_a_real_one(engine: Engine) -> None:
    """Or these tests would show nothing."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    assert client.version()["ApiVersion"]
    client.close()
