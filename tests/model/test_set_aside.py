"""Nodes that refused a task are set aside for it, for a while that grows, within bounds."""

import pytest

from p2pool.model import errors, limits
from p2pool.model.ids import NodeId, TaskId
from p2pool.model.states import StartRefusal
from p2pool.model.tasks.faults import Fault, fault_of
from p2pool.model.tasks.set_aside import SetAside, SetAsideNodes

NOW_MS = 1_700_000_000_000


def task(number: int) -> TaskId:
    return TaskId(number.to_bytes(16, "big"))


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(20, "big"))


def refusal(at_ms: int, of: int = 1, by: int = 1) -> SetAside:
    return SetAside(
        task_id=task(of),
        node_id=node(by),
        kind=StartRefusal.LASTING,
        reason="because",
        times=1,
        at_ms=at_ms,
        until_ms=at_ms,
    )


def test_the_while_doubles_up_to_a_bound_and_begins_anew_after_a_long_time() -> None:
    """A node that keeps refusing is asked ever less often, and one that was mended counts anew."""
    kept, at_ms, waits = SetAsideNodes(), NOW_MS, []
    for _ in range(8):
        kept.refused(refusal(at_ms), placed_at_ms=at_ms)
        (row,) = kept.of_task(task(1))
        waits.append(row.until_ms - at_ms)
        assert not row.over(row.until_ms - 1)
        assert row.over(row.until_ms)
        at_ms = row.until_ms
    assert waits[:3] == [limits.SET_ASIDE_MIN_MS << n for n in range(3)]
    assert waits[-1] == limits.SET_ASIDE_TOP_MS
    at_ms += limits.SET_ASIDE_TOP_MS
    kept.refused(refusal(at_ms), placed_at_ms=at_ms)
    assert kept.of_task(task(1))[0].times == 1


def test_copies_that_were_placed_together_are_one_refusal() -> None:
    """Ten copies that a node refuses at once do not set it aside for half an hour."""
    kept = SetAsideNodes()
    for number in range(10):
        kept.refused(refusal(NOW_MS + number), placed_at_ms=NOW_MS - 1)
    assert kept.of_task(task(1))[0].times == 1


def test_what_is_kept_has_bounds() -> None:
    """Of one task and of all: the oldest go. A task that is forgotten takes its rows along."""
    kept = SetAsideNodes()
    for number in range(limits.SET_ASIDE_PER_TASK_MAX + 1):
        kept.refused(refusal(NOW_MS, 1, number), NOW_MS)
    assert len(kept.of_task(task(1))) == limits.SET_ASIDE_PER_TASK_MAX
    assert node(0) not in {row.node_id for row in kept.of_task(task(1))}
    for number in range(limits.SET_ASIDE_MAX):
        kept.refused(refusal(NOW_MS, 2 + number), NOW_MS)
    assert len(kept.rows) == limits.SET_ASIDE_MAX
    assert kept.of_task(task(1)) == ()
    kept.drop_task(task(2))
    assert len(list(kept)) == limits.SET_ASIDE_MAX - 1


def test_only_refusals_in_force_and_for_good_count_as_everywhere() -> None:
    """One that may pass, or is over, leaves hope."""
    kept = SetAsideNodes()
    kept.refused(refusal(NOW_MS, by=1), NOW_MS)
    kept.refused(refusal(NOW_MS, by=2), NOW_MS)
    both = (node(1), node(2))
    assert kept.everywhere(task(1), both, NOW_MS)
    assert not kept.everywhere(task(1), (*both, node(3)), NOW_MS)
    assert not kept.everywhere(task(1), both, NOW_MS + limits.SET_ASIDE_MIN_MS)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (errors.ImageNotFound("no such tag"), Fault.TASK),
        (errors.CannotStart("no such program"), Fault.TASK),
        (errors.ImageRefused("not from there"), Fault.NODE),
        (errors.ImageNotHere("never pulled"), Fault.NODE),
        (errors.RegistryDenied("no login"), Fault.NODE),
        (errors.WrongPlatform("arm64"), Fault.NODE),
        (errors.NoGpuSupport("no toolkit"), Fault.NODE),
        (errors.Misconfigured("docker config"), Fault.NODE),
        (errors.Malformed("unforeseen"), Fault.NODE),
        (errors.HostPortTaken("8080"), Fault.NODE_NOW),
        (errors.DiskFull("full"), Fault.NODE_NOW),
        (errors.RegistryUnavailable("away"), Fault.WORLD),
        (errors.RuntimeUnavailable("away"), Fault.WORLD),
    ],
)
def test_whose_fault_each_error_is(error: errors.P2poolError, fault: Fault) -> None:
    """Only what is known to be the task's own fault ends it at once."""
    assert fault_of(error) is fault
