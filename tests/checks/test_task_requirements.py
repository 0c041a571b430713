"""A task's requirements and the check of a joining machine judge alike."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.codec.text.requirements import refusals, task_requirements
from p2pool.drivers.checks.machine import Facts, machine_checks
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.model.machine.checks import Verdict
from p2pool.model.machine.fitness import unmet
from p2pool.model.machine.hardware import Gpu, Hardware

MIB, GIB = 2**20, 2**30
JUDGED = ("processor", "memory", "disk", "gpu")

gpus = st.builds(
    Gpu,
    st.uuids().map(str),
    st.sampled_from(["NVIDIA H100", "nvidia_a100_80gb_pcie", "NVIDIA GeForce RTX 4090"]),
    st.sampled_from([0, 24_564, 40_000, 81_559]).map(lambda size: size * MIB),
    st.booleans(),
)
machines = st.builds(
    lambda cpu, ram, disk, cards: Hardware("cpu", cpu, ram * MIB, disk * GIB, cards, "1", "docker"),
    st.integers(1, 32_000),
    st.integers(1, 200_000),
    st.integers(1, 2_000),
    st.lists(gpus, max_size=9).map(tuple),
)
numbers = st.one_of(st.integers(0, 9), st.sampled_from([24_000, 40_000, 80_000, 160_000]))
pairs = st.one_of(
    st.builds("gpu:count={}".format, st.integers(0, 9)),
    st.builds("gpu:model={}".format, st.sampled_from(["H100", "a100, h100", "rtx4090", ""])),
    st.builds(
        "{}={}".format,
        st.sampled_from(
            [
                "gpu:memory_mb",
                "gpu:memory_mb_min",
                "gpu:memory_mb_max",
                "gpu:total_memory_min",
                "gpu:total_memory_max",
                "cpu:cores",
                "ram_mb",
                "storage_gb",
            ]
        ),
        numbers,
    ),
)
texts = st.lists(pairs, max_size=6).map(";".join).filter(lambda text: not refusals(text))


@settings(max_examples=400)
@given(machine=machines, text=texts)
def test_a_node_meets_a_text_exactly_where_the_check_of_its_machine_passes(
    machine: Hardware, text: str
) -> None:
    """Where the check only warns, as of a memory that nobody knows, a task goes elsewhere."""
    wanted = task_requirements(text)
    facts = Facts(64, (), "ext4", "/", 4_000 * GIB, 4_000 * GIB)
    checks = machine_checks(machine, facts, NvmlAnswer(), wanted, 0)
    verdicts = [check.verdict for check in checks if check.name in JUDGED]
    assert len(verdicts) == len(JUDGED)
    assert (unmet(machine, wanted) is None) == all(one is Verdict.PASS for one in verdicts)
