"""What a node offers is what its machine has, cut to its caps, and never more; no cut is silent."""

import os
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.digests import hardware_digest
from p2pool.drivers.config.reader import Size
from p2pool.drivers.config.schema import ResourcesConfig, load_config
from p2pool.drivers.hardware import host as host_module
from p2pool.drivers.hardware.host import (
    Host,
    cpu_model,
    disk_free_bytes,
    disk_trouble,
    permille,
    read_host,
    whole_steps,
)
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.drivers.hardware.probe import offer, probe_hardware
from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu

GIB = 1 << 30
HOST = Host("a processor", 8000, 64 * GIB, 500 * GIB, "amd64")
GPUS = tuple(Gpu(f"GPU-{name}", "Tesla T4", 15 * GIB) for name in "abcd")
NVML = NvmlAnswer(GPUS, "550.54.15")
ABSENT = NvmlAnswer(reason="No NVIDIA driver is installed.", absent=True)


def uuids(resources: ResourcesConfig, nvml: NvmlAnswer = NVML) -> tuple[list[str], str]:
    """The GPUs offered, by the end of their names, and all warnings."""
    hardware, warnings = offer(resources, HOST, nvml, "docker")
    return [gpu.uuid.removeprefix("GPU-") for gpu in hardware.gpus], " ".join(warnings)


def test_without_caps_all_is_offered() -> None:
    """Everything that the machine has, and nothing to warn of."""
    hardware, warnings = offer(ResourcesConfig(), HOST, NVML, "docker")
    assert warnings == ()
    assert (hardware.cpu_milli, hardware.memory_bytes, hardware.disk_bytes) == (
        HOST.cpu_milli,
        HOST.memory_bytes,
        HOST.disk_bytes,
    )
    assert (hardware.gpus, hardware.driver_version) == (GPUS, "550.54.15")
    assert (hardware.runtime, hardware.architecture) == ("docker", "amd64")


@pytest.mark.parametrize("name", ["cpu_milli", "memory_bytes", "disk_bytes"])
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_cap_at_its_boundary(name: str, beside: int) -> None:
    """One below is kept, the same is kept, one above is cut with a warning."""
    has: int = getattr(HOST, name)
    caps: dict[str, Any] = {name: Size(has + beside)}
    resources = ResourcesConfig(**caps)
    hardware, warnings = offer(resources, HOST, NVML, "docker")
    assert getattr(hardware, name) == has + min(beside, 0)
    assert len(warnings) == (beside > 0)
    assert all(name in one and str(has) in one for one in warnings)


def test_a_cap_of_nothing_offers_nothing() -> None:
    """Zero is a cap, not the absence of one."""
    resources = ResourcesConfig(cpu_milli=0, memory_bytes=Size(0), disk_bytes=Size(0), gpus=0)
    hardware, warnings = offer(resources, HOST, NVML, "docker")
    assert (hardware.cpu_milli, hardware.memory_bytes, hardware.disk_bytes) == (0, 0, 0)
    assert (hardware.gpus, warnings) == ((), ())


def test_gpus_by_number_and_by_uuid() -> None:
    """Two agents with lists of their own share no GPU."""
    assert uuids(ResourcesConfig(gpus=2)) == (["a", "b"], "")
    assert uuids(ResourcesConfig(gpus=4)) == (["a", "b", "c", "d"], "")
    assert uuids(ResourcesConfig(gpu_uuids=("GPU-d", "GPU-b"))) == (["b", "d"], "")
    assert uuids(ResourcesConfig(gpu_uuids=("GPU-d", "GPU-b"), gpus=1)) == (["b"], "")
    assert uuids(ResourcesConfig(gpu_uuids=("GPU-a", "GPU-c"))) == (["a", "c"], "")


def test_gpus_that_are_not_there_are_warned_of() -> None:
    """Too many, or a UUID of another machine; the others are offered."""
    found, said = uuids(ResourcesConfig(gpus=5))
    assert (len(found), "gpus is 5, but there are 4" in said) == (4, True)
    found, said = uuids(ResourcesConfig(gpu_uuids=("GPU-x", "GPU-a", "GPU-x")))
    assert (found, said.count("GPU-x,")) == (["a"], 1)
    assert "it has: GPU-a, GPU-b, GPU-c, GPU-d." in said


def test_a_gpu_that_falls_out_does_not_move_the_offer() -> None:
    """By number: the sick one stays in the offer, so that another agent's is not taken."""
    sick = attrs.evolve(GPUS[0], healthy=False, reason="GPU is lost")
    nvml = attrs.evolve(NVML, gpus=(sick, *GPUS[1:]), problems=("GPU-a is lost.",))
    assert uuids(ResourcesConfig(gpus=2), nvml) == (["a", "b"], "GPU-a is lost.")


def test_a_machine_without_a_driver_warns_only_who_wants_gpus() -> None:
    """A processor-only node is quiet; a driver that should work is not."""
    assert uuids(ResourcesConfig(), ABSENT) == ([], "")
    for wants in (ResourcesConfig(gpus=1), ResourcesConfig(gpu_uuids=("GPU-a",))):
        _, said = uuids(wants, ABSENT)
        assert said == "No GPU is offered. No NVIDIA driver is installed."
    broken = NvmlAnswer(reason="It is not loaded.")
    assert uuids(ResourcesConfig(), broken) == ([], "No GPU is offered. It is not loaded.")


@given(
    st.integers(0, 2**40),
    st.none() | st.just(0) | st.integers(2**20, 2**40),
    st.none() | st.integers(0, 64),
    st.lists(st.sampled_from([gpu.uuid for gpu in GPUS] + ["GPU-x"])),
)
def test_no_cap_ever_makes_more(has: int, cap: int | None, gpus: int | None, by: list[str]) -> None:
    """For any machine and caps: at most what is there, and at most the cap."""
    size = None if cap is None else Size(cap)
    resources = ResourcesConfig(memory_bytes=size, gpus=gpus, gpu_uuids=tuple(by))
    hardware, _ = offer(resources, attrs.evolve(HOST, memory_bytes=has), NVML, "docker")
    assert hardware.memory_bytes == min(has, has if cap is None else cap)
    assert set(hardware.gpus) <= set(GPUS)
    assert len(hardware.gpus) <= (len(GPUS) if gpus is None else gpus)


async def test_the_real_machine_is_read(tmp_path: Path) -> None:
    """This one, for a data directory that is not there yet; and it fits into a message."""
    directory = tmp_path / "not" / "yet"
    resources = ResourcesConfig(cpu_milli=500, gpus=0)
    hardware, load, warnings = await probe_hardware(resources, directory, "process")
    assert warnings == ()
    assert (hardware.cpu_milli, hardware.runtime, hardware.gpus) == (500, "process", ())
    assert hardware.memory_bytes == psutil.virtual_memory().total
    assert 0 <= hardware.disk_bytes <= psutil.disk_usage(str(tmp_path)).total
    assert hardware.disk_bytes % host_module.DISK_STEP_BYTES == 0
    assert hardware.cpu_model
    assert 0 <= load.cpu_permille <= 1000
    assert 0 < load.memory_permille <= 1000
    assert not directory.exists()
    assert len(hardware_digest(hardware)) == 32


async def test_caps_come_from_a_configuration_file(tmp_path: Path) -> None:
    """The units that people write are the ones that are offered."""
    address = "0x" + "11" * 20
    names = ("network", "pool", "registry", "stake", "domains", "token")
    path = tmp_path / "config.toml"
    path.write_text(
        "[chain]\nid = 1\nendpoints = ['http://127.0.0.1:1']\n[chain.addresses]\n"
        + "".join(f"{name} = '{address}'\n" for name in names)
        + "[pool]\nid = 0\n[resources]\ncpu_milli = 250\nmemory_bytes = '64MiB'\n"
        + "disk_bytes = '2MB'\ngpus = 0\n"
    )
    hardware, _, _ = await probe_hardware(load_config(path, {}).resources, tmp_path, "docker")
    assert hardware.cpu_milli == 250
    assert hardware.memory_bytes == 64 * 1024 * 1024
    assert hardware.disk_bytes == 2_000_000


def test_host_numbers_at_their_boundaries() -> None:
    """Milli, permille and steps round down and stay in range."""
    step = host_module.DISK_STEP_BYTES
    assert [whole_steps(n) for n in (0, step - 1, step, step + 1)] == [0, 0, step, step]
    assert [permille(n, 2) for n in (0, 0.001, 1, 1.9999, 2, 9)] == [0, 0, 500, 999, 1000, 1000]
    assert permille(1, 0) == 0


def test_a_machine_beyond_the_bounds_is_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Processors in thousandths, and no more than a message may say."""
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert read_host(tmp_path).cpu_milli == 3000
    monkeypatch.setattr(os, "cpu_count", lambda: 5000)
    assert read_host(tmp_path).cpu_milli == limits.CPU_MILLI_MAX


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("model\t: 85\nmodel name\t: Intel(R)  Xeon(R)\n", "Intel(R) Xeon(R)"),
        ("processor: 0\nHardware : BCM2835\nModel\t: Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("model name: " + "x" * 500, "x" * limits.NAME_MAX_BYTES),
    ],
)
def test_the_processors_name(tmp_path: Path, text: str, model: str) -> None:
    """As different kernels write it, and bounded."""
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_model(tmp_path / "cpuinfo") == model


def test_a_processor_without_a_name_has_one(tmp_path: Path) -> None:
    """A kernel that does not say falls back to the architecture."""
    (tmp_path / "cpuinfo").write_text("model : 85\nflags : fpu\n")
    assert cpu_model(tmp_path / "cpuinfo")
    assert cpu_model(tmp_path / "none")


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path) -> None:
    """With what is free and what is kept free; at the boundary it is enough."""
    free_bytes = disk_free_bytes(tmp_path)
    assert disk_trouble(tmp_path, 0) is None
    assert "nearly full" in (disk_trouble(tmp_path, free_bytes + (1 << 40)) or "")
