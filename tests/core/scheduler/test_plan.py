"""Copies go where they fit and spread, gangs whole or not at all, and what waits is told why."""

import attrs
import pytest

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import encode_body
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.order_room import order_bytes
from p2pool.core.scheduler.plan import plan
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Token
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.log.raft import Entry
from p2pool.model.messages.work import Desired, Order
from p2pool.model.states import AllocationState, Reachability, StartRefusal
from tests.core.scheduler.planning import MIB, Pool, card, node_id, offer, reason


def gpus(count: int, **keys: object) -> dict[str, object]:
    return {"gpu": {"count": count, **keys}}


def only(attribute: str, value: str, equals: bool = True) -> list[dict[str, object]]:
    return [{"attribute": attribute, "value": value, "equals": equals}]


def test_copies_spread_over_providers_first_and_then_over_nodes() -> None:
    """Three nodes of one provider and one of another: half of the copies go to the one."""
    pool = Pool()
    task = pool.submit(replicas=4)
    pool.run(*(offer(n, provider=1) for n in (1, 2, 3)), offer(4))
    assert sorted(pool.where(task)) == [1, 2, 4, 4]


def test_the_tightest_fit_wins_among_equals() -> None:
    """A GPU machine is kept for who needs one; the smaller machine before the larger."""
    pool = Pool()
    plain = pool.submit()
    pool.run(offer(1, card("a")), offer(2, cpu_milli=64000), offer(3, cpu_milli=2000))
    assert pool.where(plain) == [3]


def test_priority_goes_before_age() -> None:
    """With room for two of three, the oldest of the less urgent waits no longer than it must."""
    pool = Pool()
    old, older_urgent = pool.submit(priority=10), pool.submit(priority=90)
    urgent = pool.submit(priority=90)
    made = pool.run(offer(1, cpu_milli=1500), offer(2, cpu_milli=1500))
    assert [pool.where(t) for t in (older_urgent, urgent)] == [[1], [2]]
    assert reason(made, old) == "2 nodes: not enough CPU (wants 1000m, 500m free)"


def test_what_runs_is_not_moved_and_what_it_holds_is_not_given_again() -> None:
    """A second plan knows what the first took; nothing to do is an empty plan."""
    pool = Pool()
    first = pool.submit(resources=gpus(1))
    pool.run(offer(1, card("a"), card("b")))
    assert plan(pool.state, (offer(1, card("a"), card("b")), offer(2))).placements == ()
    second = pool.submit(resources=gpus(2))
    made = pool.run(offer(1, card("a"), card("b")))
    assert pool.copy(first).gpus == ("a",)
    assert reason(made, second) == "1 node: not enough GPUs (wants 2, 1 free)"


def test_gpus_are_chosen_by_model_memory_and_health_the_smallest_first() -> None:
    """A mixed machine gives exactly the cards that were asked for."""
    pool = Pool()
    cards = (
        card("big", "NVIDIA H100", 80),
        card("ill", "NVIDIA H100", 80, healthy=False),
        card("old", "Tesla T4", 16),
        card("mid", "NVIDIA A100", 40),
    )
    h100 = pool.submit(resources=gpus(1, model="h100"))
    small = pool.submit(resources=gpus(1, memory_min_bytes=20 * 1024 * MIB))
    picked = pool.submit(resources=gpus(1), constraints=only("gpu.model", "tesla t4"))
    none = pool.submit(resources=gpus(1, model="h100"))
    made = pool.run(offer(1, *cards, cpu_milli=8000))
    assert [pool.copy(t).gpus for t in (h100, small, picked)] == [("big",), ("mid",), ("old",)]
    wanted = "1 node: not enough GPUs of h100 (wants 1, 0 free, 1 unhealthy)"
    assert reason(made, none) == wanted


def test_a_gpu_of_unknown_memory_is_named_as_that() -> None:
    """A task that asks for no memory takes it; one that does is told what is unknown."""
    pool = Pool()
    plain = pool.submit(resources=gpus(1))
    picky = pool.submit(resources=gpus(1, memory_min_bytes=MIB))
    made = pool.run(offer(1, card("a", "NVIDIA GB10", 0), card("b", "NVIDIA GB10", 0)))
    assert pool.copy(plain).gpus == ("a",)
    assert "0 free, 2 of unknown memory" in reason(made, picky)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("node", node_id(2).hex()),
        ("node", "0x" + node_id(2).hex().upper()),
        ("provider", offer(2).provider.hex()),
        ("gpu.model", "nvidia a100"),
        ("cpu.model", "ryzen"),
        ("runtime", "Docker"),
        ("architecture", "x86_64"),
    ],
)
def test_a_constraint_is_met_or_avoided(attribute: str, value: str) -> None:
    """Node 2 meets each of these, node 1 differs in the first ones; the reason names it."""
    pool = Pool()
    yes = pool.submit(constraints=only(attribute, value))
    no = pool.submit(constraints=only(attribute, value, equals=False))
    plain = offer(1)
    made = pool.run(plain, offer(2, card("a")))
    common = attribute in ("cpu.model", "runtime", "architecture")
    assert pool.where(yes) == [1] if common else [2]
    assert pool.where(no) == [0] if common else [1]
    assert reason(made, no) == (f"2 nodes: {attribute} is {value}" if common else "")


def test_a_gang_is_placed_whole_in_one_entry_or_not_at_all() -> None:
    """What it could have had in part is left for others."""
    pool = Pool()
    gang = pool.submit(replicas=3, gang=True, resources=gpus(1))
    alone = pool.submit(resources=gpus(1))
    two = (offer(1, card("a")), offer(2, card("b")))
    made = pool.run(*two)
    assert pool.where(gang) == [0, 0, 0]
    assert pool.where(alone) == [1]
    wanted = "2 of the gang's 3 copies fit; 2 nodes: not enough GPUs (wants 1, 0 free)"
    assert [reason(made, gang, n) for n in range(3)] == [wanted] * 3
    made = pool.run(*two, offer(3, card("c"), card("d")))
    assert [len(placement.placed) for placement in made.placements] == [3]
    assert sorted(pool.where(gang)) == [2, 3, 3]


def test_a_gang_that_lost_a_member_is_placed_anew_with_one_attempt_more() -> None:
    """All copies in one entry, once nothing of it runs any more."""
    pool = Pool()
    gang = pool.submit(replicas=2, gang=True)
    nodes = (offer(1), offer(2), offer(3))
    pool.run(*nodes)
    pool.judge(1, Reachability.UNREACHABLE)
    pool.report(pool.copy(gang, 0), AllocationState.LOST)
    assert pool.run(*nodes).placements == ()
    pool.report(pool.copy(gang, 1), AllocationState.STOPPED)
    pool.run(*nodes)
    assert sorted(pool.where(gang)) == [2, 3]
    assert [pool.copy(gang, n).attempt for n in (0, 1)] == [2, 2]


def test_a_system_task_has_one_copy_on_each_node_that_takes_it() -> None:
    """New nodes get one; a drained node's copy comes back under its number."""
    pool = Pool()
    task = pool.submit(system=True)
    full = offer(3, cpu_milli=500)
    pool.run(offer(1), offer(2), full)
    assert pool.where(task) == [1, 2]
    pool.report(pool.copy(task, 0), AllocationState.SUCCEEDED)
    pool.drain(2)
    pool.report(pool.copy(task, 1), AllocationState.STOPPED)
    made = pool.run(offer(1), offer(2), offer(4))
    assert pool.where(task) == [1, 2, 4]
    assert reason(made, task, 1) == "its node refuses it: draining"
    pool.resume(2)
    pool.run(offer(1), offer(2), offer(4))
    assert pool.where(task) == [1, 2, 4]
    assert [pool.copy(task, n).attempt for n in range(3)] == [1, 2, 1]


def test_a_host_port_is_given_once_on_each_node() -> None:
    """Also where the holder was placed by an earlier plan."""
    pool = Pool()
    ports = [{"container": 80, "host": 8080}]
    task = pool.submit(replicas=2, ports=ports)
    pool.run(offer(1))
    made = pool.run(offer(1))
    assert sorted(pool.where(task)) == [0, 1]
    assert reason(made, task, 1) == "1 node: port 8080/tcp is taken"
    pool.run(offer(1), offer(2))
    assert sorted(pool.where(task)) == [1, 2]


def test_a_lost_copy_is_replaced_elsewhere_and_holds_its_gpu_until_it_is_gone() -> None:
    """Its node, back again, gets no other copy of that task before it says that the old is gone."""
    pool = Pool()
    task = pool.submit(resources=gpus(1))
    nodes = (offer(1, card("a"), card("b")), offer(2, card("c")))
    pool.run(*nodes)
    first = pool.copy(task)
    assert first.node_id == node_id(2)
    pool.judge(2, Reachability.UNREACHABLE)
    pool.report(first, AllocationState.LOST)
    made = pool.run(nodes[1])
    assert reason(made, task) == "1 node: unreachable"
    pool.judge(2, Reachability.HEALTHY)
    made = pool.run(*nodes)
    assert "heard again a moment ago" in reason(made, task)
    made = pool.run(nodes[1], later_ms=limits.RETURN_WAIT_MS)
    assert reason(made, task) == "1 node: an older copy may still run on it"
    pool.run(*nodes, later_ms=limits.RETURN_WAIT_MS)
    assert pool.where(task) == [1]
    other = pool.submit(resources=gpus(1, memory_min_bytes=MIB), constraints=only("node", "2" * 40))
    assert "node is not" in reason(pool.run(*nodes), other)
    pool.report(first, AllocationState.STOPPED)
    last = pool.submit(resources=gpus(1), constraints=only("node", node_id(2).hex()))
    pool.run(*nodes)
    assert pool.copy(last).gpus == ("c",)


def test_the_reasons_of_all_nodes_are_summed_up() -> None:
    """Most common first; who says no altogether is named by its own reason."""
    pool = Pool()
    task = pool.submit(resources={"memory_bytes": 8192 * MIB})
    pool.drain(5)
    offers = (
        offer(1),
        offer(2),
        offer(3, eligible=False, reason="its provider is blacklisted"),
        offer(4, eligible=False, reason="its runtime: no"),
        offer(5),
    )
    assert reason(pool.run(*offers), task) == (
        "2 nodes: not enough memory (wants 8192 MiB, 4096 MiB free); "
        "1 node: draining; 1 node: its provider is blacklisted; "
        "1 node: its runtime: no"
    )
    assert reason(plan(pool.state, ()), task) == "no node is known yet"


def test_reasons_stay_short_however_many_nodes_say_something_else() -> None:
    """A text in the log has a bound, also with long words by somebody else."""
    pool = Pool()
    task = pool.submit()
    offers = (offer(n, eligible=False, reason=f"{n}" + "é" * 900) for n in range(1, 40))
    text = reason(pool.run(*offers), task)
    assert len(text.encode()) < limits.TEXT_MAX_BYTES
    assert text.endswith("nodes: other reasons")


def order_size(pool: Pool) -> int:
    """Bytes of the order that node 1 would get."""
    copies = pool.state.on_node(node_id(1))
    desired = tuple(
        Desired(c.allocation, c.attempt, pool.state.tasks[c.allocation.task_id].record.signed, ())
        for c in copies
    )
    return len(encode_struct(Order(node_id(1), Token(1, 1, 1), desired, ())))


def test_a_node_is_given_no_more_than_its_order_can_carry() -> None:
    """By the number of copies, and by the length of their specifications together."""
    large = offer(1, cpu_milli=10**7, memory_mib=10**7)
    small = {"cpu_milli": 1, "memory_bytes": 6 * MIB}
    most = limits.ALLOCATIONS_PER_NODE_MAX
    for env, words in (({}, "maximum of"), ({"LONG": "x" * 1_500}, "too long together")):
        pool = Pool()
        many = pool.submit(replicas=most + 1, resources=small, env=env)
        made = pool.run(large)
        taken = sum(n == 1 for n in pool.where(many))
        own = order_bytes(pool.state.tasks[many].record.signed)
        assert taken == min(most, limits.ORDER_SPECS_MAX_BYTES // own)
        assert words in made.reasons[0][1]
        assert order_size(pool) < limits.STREAM_FRAME_MAX_BYTES


def test_many_copies_come_in_entries_that_the_log_takes() -> None:
    """1000 copies over 100 nodes, with long GPU names: applying checks every entry's size."""
    pool = Pool()
    names = [f"{'GPU-' * 30}{n:04}" for n in range(2020)]
    task = pool.submit(replicas=1000, resources={**gpus(2), "cpu_milli": 100})
    offers = tuple(
        offer(n, *(card(name) for name in names[n * 20 : n * 20 + 20]), provider=1 + n % 7)
        for n in range(1, 101)
    )
    made = pool.run(*offers)
    assert len(made.placements) == 2
    assert sum(bool(n) for n in pool.where(task)) == 1000


def test_what_one_plan_leaves_the_next_one_places() -> None:
    """One plan is bounded; the copies beyond it wait with the words of a new copy."""
    pool = Pool()
    small = {"cpu_milli": 1, "memory_bytes": 6 * MIB}
    tasks = [pool.submit(replicas=1000, resources=small) for _ in range(3)]
    offers = tuple(offer(n, memory_mib=4000) for n in range(1, 8))
    made = pool.run(*offers)
    assert len(made.reasons) == 3000 - limits.PLACEMENTS_PER_PLAN_MAX
    assert reason(made, tasks[2]) == "waits to be placed"
    assert pool.run(*offers).reasons == ()


def test_a_stopped_task_gets_nothing_and_is_given_no_reason() -> None:
    """Its waiting copies are ended already."""
    pool = Pool()
    task = pool.submit()
    pool.stop(task)
    made = pool.run(offer(1))
    assert (made.placements, made.reasons) == ((), ())


def test_a_task_that_very_many_nodes_refuse_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool remembers so many of them and no more: to try those it forgot, and forget others
    for them, would go round for ever."""
    monkeypatch.setattr(limits, "SET_ASIDE_PER_TASK_MAX", 3)
    pool = Pool()
    pool.state.level = DISTRUST_LEVEL
    task = pool.submit()
    nodes = [offer(number) for number in range(1, 6)]
    for _ in range(10):
        made = pool.run(*nodes)
        copy = pool.copy(task)
        if copy.node_id is None:
            break
        no = Outcome(copy.allocation, copy.attempt, AllocationState.STOPPED, "no")
        refused = attrs.evolve(no, refused=StartRefusal.LASTING)
        index, at_ms = pool.state.applied_index + 1, pool.state.log_time_ms + 1
        kind, body = encode_body(ReportApplied(copy.node_id, (refused,)), DISTRUST_LEVEL)
        apply_entry(pool.state, Entry(index, 1, kind, at_ms, body))
    assert pool.copy(task).attempt == 3
    assert reason(made, task) == "3 nodes refused to start it; more are tried later"
