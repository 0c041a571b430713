"""Requirement strings of pools are read as the network's tools write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.text.requirements import parse_requirements
from p2pool.model.errors import Malformed
from p2pool.model.machine.fitness import names_model
from p2pool.model.machine.requirements import GpuRequirement, Requirements


def test_all_keys_are_read_with_their_units() -> None:
    """MiB and GiB become bytes; spaces around pairs are no matter."""
    text = "gpu:count=8; gpu:model=H100,A100 80GB;gpu:memory_mb_min=80000;cpu:cores=32;"
    read = parse_requirements(text + "ram_mb=1024;storage_gb=2")
    assert read == Requirements(
        gpus=(
            GpuRequirement(count=8, models=("h100", "a100_80gb"), memory_min_bytes=80000 * 2**20),
        ),
        cpu_cores=32,
        memory_bytes=2**30,
        disk_bytes=2 * 2**30,
    )


def test_a_second_count_begins_an_alternative() -> None:
    """Either is enough; a model before the first count belongs to the first."""
    read = parse_requirements("gpu:model=h100;gpu:count=8;gpu:count=16;gpu:model=a100")
    assert read.gpus == (
        GpuRequirement(count=8, models=("h100",)),
        GpuRequirement(count=16, models=("a100",)),
    )


def test_unknown_keys_are_kept_aside_and_our_own_pairs_are_none() -> None:
    """A pool of a newer version can still be judged by the rest."""
    read = parse_requirements("ram_mb=1;net:mbps=5;net:mbps=6;p2pool:root=x/y")
    assert (read.memory_bytes, read.unknown) == (2**20, ("net:mbps",))


def test_every_pair_that_cannot_be_read_is_told() -> None:
    """All at once, with what was written."""
    with pytest.raises(Malformed) as refused:
        parse_requirements("ram_mb=lots;gpu:count=-1;nonsense;storage_gb=1")
    for part in ("ram_mb='lots'", "gpu:count='-1'", "'nonsense'"):
        assert part in refused.value.message


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whoever writes the data URI can break no agent."""
    try:
        parse_requirements(text)
    except Malformed:
        return


@pytest.mark.parametrize(
    ("model", "wanted", "names"),
    [
        ("NVIDIA H100 80GB HBM3", "h100", True),
        ("NVIDIA H100 80GB HBM3", "h100_80gb", True),
        ("NVIDIA GeForce RTX 4090", "rtx_4090", True),
        ("NVIDIA GeForce RTX 4090", "RTX4090", True),
        ("rtx4090", "NVIDIA_GeForce_RTX_4090", True),
        ("NVIDIA_A100_80GB_PCIE", "nvidia a100 80gb pcie", True),
        ("", "h100", False),
        ("Tesla T4", "", False),
        ("Tesla T4", "h100", False),
    ],
)
def test_models_are_named_by_a_part_of_their_name(model: str, wanted: str, names: bool) -> None:
    """Or by more than it, in any case of letters, whatever stands for a space."""
    assert names_model(model, wanted) is names


def test_people_read_a_requirement_as_a_sentence() -> None:
    """With its units."""
    one = GpuRequirement(count=8, models=("h100",), memory_min_bytes=80 * 2**30)
    assert str(one) == "8 GPUs, h100, at least 81920 MiB each"
