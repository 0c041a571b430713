"""What the pool asks for and the machine lacks is told with the difference; nothing else fails."""

from pathlib import Path

import attrs
import pytest

from p2pool.codec.text.requirements import parse_requirements
from p2pool.drivers.checks.machine import Facts, machine_checks, read_facts
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.model.machine.checks import Check, Verdict, worst
from p2pool.model.machine.hardware import Gpu, Hardware

GIB = 2**30
H100 = "NVIDIA H100 80GB HBM3"
FACTS = Facts(32, ("avx2",), "ext4", "/", 900 * GIB, 500 * GIB)
CARDS = tuple(Gpu(f"GPU-{i}", H100, 80 * GIB) for i in range(8))
MACHINE = Hardware("cpu", 16_000, 64 * GIB, 400 * GIB, CARDS, "550", "docker", "amd64", "12.4")
ABSENT = NvmlAnswer(reason="No NVIDIA driver is installed.", absent=True)
HUGE_GIB = 10**6


def look(
    wanted: str,
    hardware: Hardware = MACHINE,
    nvml: NvmlAnswer = NvmlAnswer(),  # noqa: B008 - frozen
    facts: Facts = FACTS,
) -> dict[str, Check]:
    """The checks of a machine for a requirement string, by name."""
    made = machine_checks(hardware, facts, nvml, parse_requirements(wanted), GIB)
    return {check.name: check for check in made}


def test_a_machine_that_has_it_all_passes() -> None:
    """With what was found and what was needed."""
    found = look("gpu:count=8;gpu:model=h100;gpu:memory_mb_min=80000;cpu:cores=16;storage_gb=400")
    assert worst(found.values()) is Verdict.PASS
    assert found["gpu"].found == f"8 x {H100} (80 GiB)"
    assert "8 GPUs, h100" in found["gpu"].needed


def test_a_machine_without_gpus_joins_a_pool_that_asks_for_none() -> None:
    """And is told so; one that asks for some is not for it."""
    bare = attrs.evolve(MACHINE, gpus=())
    assert look("", bare, ABSENT)["gpu"].verdict is Verdict.PASS
    assert "No NVIDIA driver" in look("", bare, ABSENT)["gpu"].found
    refused = look("gpu:count=1", bare, ABSENT)["gpu"]
    assert (refused.verdict, bool(refused.todo)) == (Verdict.FAIL, True)


def test_a_broken_driver_is_a_warning_where_no_gpu_is_asked_for() -> None:
    """And a failure with what to do where one is."""
    bare = attrs.evolve(MACHINE, gpus=())
    broken = NvmlAnswer(reason="The NVIDIA driver is not loaded.")
    assert look("", bare, broken)["gpu"].verdict is Verdict.WARN
    assert "Fix the driver" in look("gpu:count=1", bare, broken)["gpu"].todo


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        ("gpu:count=8;gpu:model=h100", Verdict.PASS),
        ("gpu:model=a100,h100", Verdict.PASS),
        ("gpu:count=8;gpu:model=a100;gpu:count=8;gpu:model=h100", Verdict.PASS),
        ("gpu:count=4;gpu:model=h100", Verdict.FAIL),
        ("gpu:count=4;gpu:count=8", Verdict.PASS),
        ("gpu:count=9;gpu:model=h100", Verdict.FAIL),
        ("gpu:count=8;gpu:model=a100", Verdict.FAIL),
        ("gpu:count=8;gpu:memory_mb_min=81921", Verdict.FAIL),
        ("gpu:count=8;gpu:memory_mb_min=81920", Verdict.PASS),
        ("gpu:count=8;gpu:memory_mb=81920", Verdict.PASS),
        ("gpu:count=8;gpu:memory_mb=80000", Verdict.PASS),
        ("gpu:count=8;gpu:memory_mb=81921", Verdict.FAIL),
        ("gpu:count=8;gpu:memory_mb_max=81919", Verdict.FAIL),
        ("gpu:total_memory_min=655360", Verdict.PASS),
        ("gpu:total_memory_min=655361", Verdict.FAIL),
        ("gpu:total_memory_max=655359", Verdict.FAIL),
    ],
)
def test_alternatives_of_gpus(wanted: str, verdict: Verdict) -> None:
    """One that is satisfied is enough; more cards than asked for are not what was asked for."""
    assert look(wanted)["gpu"].verdict is verdict


def test_who_has_more_gpus_is_told_how_to_offer_fewer() -> None:
    """Of all alternatives the one that leaves the fewest idle; with that cap the machine passes."""
    wanted = "gpu:count=2;gpu:model=h100;gpu:count=4;gpu:model=h100"
    assert "[resources] gpus = 4" in look(wanted)["gpu"].todo
    capped = attrs.evolve(MACHINE, gpus=CARDS[:4])
    assert look(wanted, capped)["gpu"].verdict is Verdict.PASS
    assert "[resources] gpus = 0" in look("gpu:count=0")["gpu"].todo


def test_models_are_not_added_up() -> None:
    """Four of one and four of another are no eight."""
    mixed = attrs.evolve(
        MACHINE, gpus=CARDS[:4] + tuple(Gpu(f"GPU-t{i}", "Tesla T4", 15 * GIB) for i in range(4))
    )
    assert look("gpu:count=8", mixed)["gpu"].verdict is Verdict.FAIL
    assert look("gpu:count=4;gpu:model=t4", mixed)["gpu"].verdict is Verdict.PASS
    assert look("gpu:count=3;gpu:model=t4", mixed)["gpu"].verdict is Verdict.FAIL


def test_gpus_that_are_not_well_do_not_count() -> None:
    """And are the thing to mend."""
    ill = attrs.evolve(CARDS[0], healthy=False, reason="GPU is lost")
    machine = attrs.evolve(MACHINE, gpus=(ill, *CARDS[1:]))
    check = look("gpu:count=8", machine)["gpu"]
    assert (check.verdict, "1 unhealthy" in check.found) == (Verdict.FAIL, True)
    assert "Fix the unhealthy GPUs" in check.todo


def test_caps_that_hide_what_is_there_are_the_thing_to_raise() -> None:
    """A machine that is too small for good is told apart from one that offers too little."""
    assert "[resources] cpu_milli" in look("cpu:cores=32")["processor"].todo
    assert "too small" in look("cpu:cores=33")["processor"].todo
    assert look(f"ram_mb={HUGE_GIB}")["memory"].verdict is Verdict.FAIL
    assert "[resources] disk_bytes" in look("storage_gb=450")["disk"].todo
    assert "Free some space" in look(f"storage_gb={HUGE_GIB}")["disk"].todo


def test_the_reserve_of_the_disk_is_needed_whatever_the_pool_asks() -> None:
    """At the boundary it is enough."""
    full = attrs.evolve(FACTS, disk_free_bytes=GIB - 1)
    assert look("", facts=full)["disk"].verdict is Verdict.FAIL
    assert look("", facts=attrs.evolve(full, disk_free_bytes=GIB))["disk"].verdict is Verdict.PASS


def test_a_network_file_system_is_warned_of() -> None:
    """The log needs a disk that keeps what it says it kept."""
    assert look("", facts=attrs.evolve(FACTS, file_system="nfs4"))["disk"].verdict is Verdict.WARN


def test_what_cannot_be_judged_is_named() -> None:
    """A newer pool's keys."""
    assert look("net:mbps=100")["requirements"].found == "net:mbps"


def test_the_facts_of_this_machine_are_read(tmp_path: Path) -> None:
    """Of the file system that the directory is on, even before it is made."""
    facts = read_facts(tmp_path / "not" / "yet")
    assert facts.disk_total_bytes >= facts.disk_free_bytes > 0
    assert Path(facts.mount_point).exists()
    assert facts.cpu_cores >= 1


DIM = attrs.evolve(MACHINE, gpus=(Gpu("GPU-0", "NVIDIA GB10", 0),))


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        ("gpu:count=1;gpu:model=gb10", Verdict.PASS),
        ("gpu:count=1;gpu:memory_mb_min=0", Verdict.PASS),
        ("gpu:count=1;gpu:model=gb10;gpu:memory_mb_min=80000", Verdict.WARN),
        ("gpu:count=1;gpu:memory_mb=80000", Verdict.WARN),
        ("gpu:count=1;gpu:memory_mb_max=80000", Verdict.WARN),
        ("gpu:count=1;gpu:total_memory_min=80000", Verdict.WARN),
        ("gpu:count=1;gpu:model=h100;gpu:memory_mb_min=80000", Verdict.FAIL),
        ("gpu:count=2;gpu:memory_mb_min=80000", Verdict.FAIL),
    ],
)
def test_memory_that_is_unknown_is_not_zero(wanted: str, verdict: Verdict) -> None:
    """A GPU that shares the machine's memory may join; what nobody can check is said."""
    found = look(wanted, DIM)["gpu"]
    assert found.verdict is verdict, found
    assert found.found == "1 x NVIDIA GB10 (memory unknown)"
    assert ("does not report its memory" in found.todo) == (verdict is Verdict.WARN)
