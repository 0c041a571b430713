"""A task's requirements choose nodes by their whole machines, as a pool's choose who may join."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.codec.text.requirements import task_requirements
from p2pool.core.scheduler import capacity
from p2pool.core.scheduler.capacity import NodeOffer, need_of, room_of
from p2pool.core.scheduler.plan import plan
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.machine.fitness import unmet
from p2pool.model.machine.hardware import Hardware
from p2pool.model.machine.requirements import Requirements
from tests.core.scheduler.planning import Pool, card, offer, reason

H100 = "NVIDIA H100 80GB HBM3"
TWO = "gpu:count=2;gpu:model=H100;gpu:memory_mb=80000"


def pool_of_today() -> Pool:
    """A pool at the level that the key needs."""
    pool = Pool()
    pool.state.level = DISTRUST_LEVEL
    return pool


def server(number: int, count: int, model: str = H100, gib: int = 80) -> NodeOffer:
    """A node with so many GPUs of a model."""
    cards = [card(f"{number}-{n}", model, gib) for n in range(count)]
    return offer(number, *cards)


def test_copies_go_to_nodes_whose_machines_meet_them() -> None:
    """One GPU is enough for the copy, yet only a machine of two H100s may have it."""
    pool = pool_of_today()
    task = pool.submit(replicas=2, requirements=TWO, resources={"gpu": {"count": 1}})
    pool.run(server(1, 1), server(2, 2), server(3, 3), server(4, 2, "Tesla T4"))
    assert pool.where(task) == [2, 2]


def test_a_machine_is_judged_whole_whatever_is_taken_of_it() -> None:
    """What others hold is for `resources` to say; a copy without GPUs finds the busy machine."""
    pool = pool_of_today()
    pool.submit(name="holder", resources={"gpu": {"count": 2}})
    pool.run(server(1, 2))
    task = pool.submit(requirements=TWO)
    pool.run(server(1, 2), server(2, 1))
    assert pool.where(task) == [1]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("cpu:cores=16", "2 nodes: requires cpu:cores=16, has 4"),
        ("ram_mb=64000", "2 nodes: requires ram_mb=64000, has 4096"),
        ("ram_mb=1;storage_gb=2", "2 nodes: requires storage_gb=2, has 1"),
        ("gpu:count=2", "2 nodes: requires (2 GPUs), has no GPU"),
        (
            "gpu:count=2;gpu:model=h100;gpu:count=4",
            "2 nodes: requires (2 GPUs, h100) or (4 GPUs), has no GPU",
        ),
    ],
)
def test_what_no_node_meets_is_said_with_what_there_is(wanted: str, said: str) -> None:
    """The copy waits, and starts once a node comes that has it."""
    pool = pool_of_today()
    task = pool.submit(requirements=wanted)
    assert reason(pool.run(offer(1), offer(2)), task) == said
    large = offer(3, card("a", H100), card("b", H100), cpu_milli=16_000, memory_mib=64_000)
    large = attrs.evolve(large, hardware=attrs.evolve(large.hardware, disk_bytes=2 * 2**30))
    pool.run(offer(1), large)
    assert pool.where(task) == [3]


def test_a_sick_gpu_and_an_unknown_memory_do_not_count() -> None:
    """A machine that reports less than it has is not taken at its word; both are named."""
    pool = pool_of_today()
    task = pool.submit(requirements=TWO)
    ill = offer(1, card("a", H100, 80), card("b", H100, 80, healthy=False))
    assert "has 2 x NVIDIA H100 80GB HBM3 (81920 MiB each), 1 unhealthy" in reason(
        pool.run(ill), task
    )
    dim = server(2, 2, gib=0)
    assert "has GPUs that do not report their memory" in reason(pool.run(dim), task)


def test_a_system_task_runs_on_the_nodes_that_meet_them() -> None:
    """One copy on each of them, and none elsewhere."""
    pool = pool_of_today()
    task = pool.submit(system=True, requirements=TWO)
    pool.run(server(1, 2), server(2, 1), server(3, 2))
    assert sorted(pool.where(task)) == [1, 3]


def test_a_gang_waits_until_all_of_it_finds_such_machines() -> None:
    """Whole, or not at all."""
    pool = pool_of_today()
    wanted: dict[str, object] = {"requirements": TWO, "resources": {"gpu": {"count": 2}}}
    task = pool.submit(replicas=2, gang=True, **wanted)
    made = pool.run(server(1, 2), server(2, 1))
    assert pool.where(task) == [0, 0]
    assert reason(made, task).startswith("1 of the gang's 2 copies fit; ")
    pool.run(server(1, 2), server(2, 1), server(3, 2))
    assert sorted(pool.where(task)) == [1, 3]


def test_a_node_is_judged_once_in_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many copies and tasks ask the same, and never for a task that asks nothing."""
    judged: list[Hardware] = []

    def counted(hardware: Hardware, wanted: Requirements) -> str | None:
        judged.append(hardware)
        return unmet(hardware, wanted)

    monkeypatch.setattr(capacity, "unmet", counted)
    pool, nodes = pool_of_today(), (server(1, 2), server(2, 1), server(3, 2))
    pool.submit(name="plain", replicas=4)
    pool.run(*nodes)
    assert judged == []
    pool.submit(name="first", replicas=4, requirements=TWO)
    pool.submit(replicas=4, requirements=TWO, resources={"cpu_milli": 10})
    pool.run(*nodes)
    assert len(judged) == len(nodes)


def test_a_machine_counts_as_able_by_what_it_is_when_well() -> None:
    """Else a task could fail because the only machine for it has a sick GPU today."""
    pool = pool_of_today()
    need = need_of(pool.state.tasks[pool.submit(requirements=TWO)])
    ill = offer(1, card("a", H100, 80), card("b", H100, 80, healthy=False))
    room = room_of(pool.state, ill)
    assert room.refusal(need) is not None
    assert room.suits(need)
    assert not room_of(pool.state, server(2, 1)).suits(need)


machines = st.builds(
    lambda number, cards, cores, ram: offer(number, *cards, cpu_milli=cores, memory_mib=ram),
    st.integers(1, 9),
    st.lists(
        st.builds(
            card,
            st.uuids().map(str),
            st.sampled_from([H100, "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 4090"]),
            st.sampled_from([0, 24, 40, 80]),
            st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
    st.sampled_from([2000, 4000, 8000]),
    st.sampled_from([1024, 2048, 4096]),
)
pairs = st.one_of(
    st.integers(0, 4).map("gpu:count={}".format),
    st.sampled_from(["H100", "a100,rtx4090", "RTX_4090"]).map("gpu:model={}".format),
    st.sampled_from([20_000, 40_000, 81_920]).map("gpu:memory_mb={}".format),
    st.sampled_from([60_000, 160_000]).map("gpu:total_memory_min={}".format),
    st.integers(1, 8).map("cpu:cores={}".format),
    st.sampled_from([1000, 3000]).map("ram_mb={}".format),
)
texts = st.lists(pairs, min_size=1, max_size=6).map(";".join)


@settings(max_examples=150)
@given(text=texts, nodes=st.lists(machines, max_size=5, unique_by=lambda o: o.node_id))
def test_a_copy_is_placed_exactly_where_a_machine_meets_its_text(
    text: str, nodes: list[NodeOffer]
) -> None:
    """Whatever the order of the offers; where nothing does, the reason names a requirement."""
    pool = pool_of_today()
    task = pool.submit(requirements=text, resources={"cpu_milli": 1, "memory_bytes": 2**23})
    able = {o.node_id for o in nodes if unmet(o.hardware, task_requirements(text)) is None}
    made = plan(pool.state, tuple(nodes))
    assert plan(pool.state, tuple(nodes[::-1])) == made
    went = {placed.node_id for each in made.placements for placed in each.placed}
    assert went <= able
    assert bool(went) == bool(able)
    told = reason(made, task)
    assert bool(told) == (not able)
    assert len(told.encode()) < limits.TEXT_MAX_BYTES
    if nodes and not able:
        assert "requires " in told
