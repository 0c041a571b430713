"""Requirement strings mean what the network's other tools take them to mean, and are as strict.

The values are those of the tests that Prime's network has of its own parser (protocol v0.1.34);
what that parser refuses as a whole, `refusals` names, and no other text.
"""

import pytest

from p2pool.codec.text.data_uri import format_root, with_root
from p2pool.codec.text.requirements import KEYS, parse_requirements, refusals
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.machine.requirements import GpuRequirement, Requirements

MIB, GIB = 2**20, 2**30
ROOT = RootRecord(1, NodeId(b"n" * 20), PeerKey(b"p" * 32), StoreId(b"s" * 16))
A100 = GpuRequirement(count=1, models=("a100",), memory_bytes=40_000 * MIB)
H100 = GpuRequirement(count=8, models=("h100",), memory_bytes=80_000 * MIB)

ACCEPTED = {
    "gpu:count=1;gpu:model=A100;gpu:memory_mb=40000;ram_mb=64000;storage_gb=500": Requirements(
        gpus=(A100,), memory_bytes=64_000 * MIB, disk_bytes=500 * GIB
    ),
    "gpu:count=8;gpu:model=H100;gpu:memory_mb=80000 ; gpu:count=4;gpu:model=H100;"
    "gpu:memory_mb=80000 ; ram_mb=128000; storage_gb=1000": Requirements(
        gpus=(H100, GpuRequirement(count=4, models=("h100",), memory_bytes=80_000 * MIB)),
        memory_bytes=128_000 * MIB,
        disk_bytes=1000 * GIB,
    ),
    "gpu:count=8;gpu:model=H100 ; gpu:count=16; ram_mb=128000": Requirements(
        gpus=(GpuRequirement(count=8, models=("h100",)), GpuRequirement(count=16)),
        memory_bytes=128_000 * MIB,
    ),
    "ram_mb=32000;storage_gb=250;cpu:cores=8": Requirements(
        cpu_cores=8, memory_bytes=32_000 * MIB, disk_bytes=250 * GIB
    ),
    "gpu:model=": Requirements(gpus=(GpuRequirement(),)),
    " gpu:count = 1 ; gpu:model = A100 ; ram_mb = 32000 ": Requirements(
        gpus=(GpuRequirement(count=1, models=("a100",)),), memory_bytes=32_000 * MIB
    ),
    "": Requirements(),
    ";; ;": Requirements(),
    "gpu:count=+1": Requirements(gpus=(GpuRequirement(count=1),)),
    "gpu:memory_mb_min=20000;gpu:memory_mb_max=40000": Requirements(
        gpus=(GpuRequirement(memory_min_bytes=20_000 * MIB, memory_max_bytes=40_000 * MIB),)
    ),
    "gpu:count=4;gpu:model=A100;gpu:total_memory_min=160000;gpu:total_memory_max=320000": (
        Requirements(
            gpus=(
                GpuRequirement(
                    count=4,
                    models=("a100",),
                    total_memory_min_bytes=160_000 * MIB,
                    total_memory_max_bytes=320_000 * MIB,
                ),
            )
        )
    ),
    "gpu:count=1;gpu:memory_mb_min=24000;gpu:memory_mb_max=24999;gpu:count=2;gpu:count=3;"
    "gpu:count=4;": Requirements(
        gpus=(
            GpuRequirement(count=1, memory_min_bytes=24_000 * MIB, memory_max_bytes=24_999 * MIB),
            GpuRequirement(count=2),
            GpuRequirement(count=3),
            GpuRequirement(count=4),
        )
    ),
}


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda text: text[:40])
def test_what_they_accept_is_read_alike(text: str) -> None:
    """Alternatives, defaults and units; nothing is said against it."""
    assert parse_requirements(text) == ACCEPTED[text]
    assert refusals(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "gpu:count=abc",
        "ram_mb=100;gpu_model=xyz",
        "gpu:count=1=2",
        "gpu:count=",
        "nonsense",
        "=1",
        "GPU:COUNT=1",
        "storage_path=/var/lib/p2pool",
        "ram_mb=4294967296",
        "ram_mb=1.5",
        "gpu:memory_mb_min=40000;gpu:memory_mb_max=20000",
        "gpu:memory_mb_max=20000;gpu:memory_mb_min=40000",
        "gpu:total_memory_min=400000;gpu:total_memory_max=200000",
        "gpu:memory_mb=40000;gpu:memory_mb_min=30000;gpu:memory_mb_max=50000",
        "gpu:memory_mb_max=50000;gpu:memory_mb=40000",
    ],
)
def test_what_they_refuse_is_named(text: str) -> None:
    """The whole text is lost to them for one such pair."""
    assert refusals(text)
    assert refusals(f"cpu:cores=1;{text}")


@pytest.mark.parametrize(
    "text",
    [
        "gpu:memory_mb_min=40000;gpu:memory_mb_max=20000",
        "gpu:total_memory_min=400000;gpu:total_memory_max=200000",
        "gpu:memory_mb=40000;gpu:memory_mb_max=50000",
    ],
)
def test_what_contradicts_itself_is_refused_here_too(text: str) -> None:
    """With both numbers: no machine can meet it."""
    with pytest.raises(Malformed, match="gpu:"):
        parse_requirements(text)


def test_no_key_of_theirs_can_hold_a_root_record() -> None:
    """Each of them takes a number, but for the model of a GPU, which is a requirement: that is why
    the record stands in a contract of its own. Beside requirements it costs them all."""
    for key in KEYS - {"gpu:model"}:
        assert refusals(f"{key}={format_root(ROOT)}"), key
    assert parse_requirements(f"gpu:model={format_root(ROOT)}").gpus
    assert refusals(with_root("gpu:count=8", ROOT))
