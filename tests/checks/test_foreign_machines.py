"""A machine qualifies here where the network's other tools take it, and nowhere else.

The values are those of the tests that Prime's network has of its own judgement (protocol v0.1.34):
what it refuses does not pass here, and what it takes does not fail. Where a card does not report
its memory, or how many there are, their verdict is a guess, and ours a warning.
"""

import pytest

from p2pool.codec.text.requirements import parse_requirements
from p2pool.drivers.checks.machine import Facts, machine_checks
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.model.machine.checks import Verdict, worst
from p2pool.model.machine.hardware import Gpu, Hardware

MIB, GIB = 2**20, 2**30
EIGHT = "gpu:count=8;gpu:model=H100;gpu:memory_mb=80000"
SIZES = "cpu:cores=16;ram_mb=64000;storage_gb=500"
SIXTEEN = f"{EIGHT} ; gpu:count=16;gpu:model=A100;gpu:memory_mb=80000 ; ram_mb=128000"
OR_RTX = "gpu:count=8;gpu:model=H100;gpu:memory_mb=80000;gpu:count=4;gpu:model=A100;"
OR_RTX += "gpu:memory_mb=40000;gpu:count=2;gpu:model=RTX4090;gpu:memory_mb=24000;ram_mb=62000"
IN_ALL = "gpu:count=8;gpu:model=H100;gpu:total_memory_min=600000;gpu:count=4;gpu:model=A100;"
IN_ALL += "gpu:total_memory_min=160000;gpu:count=2;gpu:model=RTX4090;gpu:total_memory_min=40000;"
IN_ALL += "gpu:total_memory_max=60000"
LARGE = (64, 256_000, 2000)


def verdict(
    gpus: tuple[int, str, int], wanted: str, sizes: tuple[int, int, int] = LARGE
) -> Verdict:
    """Of a machine with so many GPUs of a model and size in MiB, and so many processors, MiB of
    memory and GiB of disk."""
    count, model, memory_mb = gpus
    cores, ram_mb, storage_gb = sizes
    cards = tuple(Gpu(f"GPU-{n}", model, memory_mb * MIB) for n in range(count))
    disk_bytes = storage_gb * GIB
    machine = Hardware("cpu", cores * 1000, ram_mb * MIB, disk_bytes, cards, "", "docker", "amd64")
    facts = Facts(cores, (), "ext4", "/", disk_bytes, disk_bytes)
    nvml = NvmlAnswer() if cards else NvmlAnswer(reason="No driver.", absent=True)
    read = parse_requirements(wanted)
    return worst(machine_checks(machine, facts, nvml, read, GIB))


TAKEN = [
    ((4, "nvidia_a100_80gb_pcie", 40000), f"gpu:count=4;gpu:model=A100;{SIZES}", (16, 64000, 500)),
    (
        (1, "nvidia_a100_80gb_pcie", 40000),
        "gpu:count=4;gpu:model=a100,h100,h200;gpu:count=1;gpu:model=a100,h100,h200;storage_gb=700",
        (16, 64000, 700),
    ),
    ((8, "NVIDIA A100 80GB", 80000), f"gpu:count=8;gpu:model=A100;gpu:memory_mb=40000;{SIZES}"),
    ((8, "NVIDIA H100", 80000), SIXTEEN),
    ((16, "NVIDIA A100", 80000), SIXTEEN),
    ((1, "RTX 3060", 12000), "ram_mb=16000;storage_gb=200;cpu:cores=4", (8, 32000, 500)),
    ((0, "", 0), "ram_mb=16000;storage_gb=200;cpu:cores=4", (8, 32000, 500)),
    ((4, "NVIDIA H100", 80000), "gpu:count=4; ram_mb=128000"),
    (
        (4, "A100", 40000),
        "gpu:count=4;gpu:model=A100;gpu:memory_mb_min=30000;gpu:memory_mb_max=50000",
    ),
    ((1, "NVIDIA_A100_80GB_PCIE", 40000), "gpu:model=nvidia_a100_80gb_pcie"),
    ((2, "rtx4090", 24000), OR_RTX),
    (
        (4, "NVIDIA A100", 40000),
        "gpu:count=4;gpu:total_memory_min=120000;gpu:total_memory_max=200000",
    ),
    (
        (4, "NVIDIA A100", 40000),
        "gpu:count=4;gpu:total_memory_min=160000;gpu:total_memory_max=160000",
    ),
    (
        (8, "NVIDIA H100", 80000),
        "gpu:count=4;gpu:model=A100;gpu:total_memory_min=160000;gpu:count=8;gpu:model=H100;"
        "gpu:total_memory_min=500000",
    ),
    ((2, "RTX 4090", 24000), IN_ALL),
    # Seen in a pool of theirs: cards sold as 80 GB, and a model written without its space.
    ((8, "NVIDIA H100 80GB HBM3", 81559), EIGHT),
    ((2, "NVIDIA GeForce RTX 4090", 24564), "gpu:count=2;gpu:model=RTX4090"),
]
REFUSED = [
    ((4, "A100", 40000), "gpu:count=4;gpu:model=A100;ram_mb=64000", (16, 32000, 500)),
    ((4, "A100", 40000), "gpu:count=4;gpu:model=A100;storage_gb=500", (16, 64000, 499)),
    ((4, "A100", 40000), "gpu:count=4;gpu:model=A100;cpu:cores=17", (16, 64000, 500)),
    ((2, "A100", 40000), "gpu:count=4;gpu:model=A100"),
    ((8, "A100", 40000), "gpu:count=4;gpu:model=A100"),
    ((4, "RTX 3090", 24000), "gpu:count=4;gpu:model=A100"),
    ((4, "NVIDIA A100", 80000), SIXTEEN),
    ((0, "", 0), "gpu:count=1;gpu:model=A100;ram_mb=16000"),
    ((4, "A100", 39999), "gpu:count=4;gpu:model=A100;gpu:memory_mb=40000"),
    ((4, "A100", 40000), "gpu:count=4;gpu:memory_mb_min=20000;gpu:memory_mb_max=35000"),
    ((4, "A100", 40000), "gpu:count=4;gpu:memory_mb_min=45000;gpu:memory_mb_max=60000"),
    ((1, "AMD Radeon RX 7900", 20000), "gpu:model=nvidia,rtx"),
    ((4, "NVIDIA A100", 40000), "gpu:count=4;gpu:model=A100;gpu:total_memory_min=200000"),
    ((4, "NVIDIA A100", 40000), "gpu:count=4;gpu:model=A100;gpu:total_memory_max=120000"),
]


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: f"{case[0]} {case[1][:40]}")
def test_what_they_take_qualifies(
    case: tuple[tuple[int, str, int], str, tuple[int, int, int]],
) -> None:
    """Any alternative, at least that much memory, exactly that many cards."""
    assert verdict(*case) is Verdict.PASS


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} {case[1][:40]}")
def test_what_they_refuse_does_not(
    case: tuple[tuple[int, str, int], str, tuple[int, int, int]],
) -> None:
    """More cards than asked for among them."""
    assert verdict(*case) is Verdict.FAIL


def test_memory_that_nobody_reports_is_not_judged() -> None:
    """They refuse the card for its own memory, and skip what all have together; here both warn."""
    for wanted in ("gpu:count=4;gpu:memory_mb=40000", "gpu:model=A100;gpu:total_memory_min=120000"):
        assert verdict((4, "A100", 0), wanted) is Verdict.WARN
    assert verdict((4, "A100", 0), "gpu:count=4;gpu:model=A100") is Verdict.PASS
