"""The replicated state changes only by entries, once each, and comes back the same from bytes."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.cbor import structs
from p2pool.codec.cbor.structs import Pieces, encode_struct
from p2pool.codec.digests import task_id
from p2pool.codec.entries import encode_body
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import PoolSnapshot, PoolState, from_bytes
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, AllocationId, NodeId, TaskId
from p2pool.model.log.entries import Outcome, Placed, Placement, ReportApplied, RequestApplied
from p2pool.model.log.raft import Entry
from p2pool.model.states import AllocationState
from tests.codec.samples import instances
from tests.core.fsm.records import NODE, NOW_S, OTHER, POOL, feed

MANAGER = Address(b"m" * 20)
GPU = "GPU-1"


def request(action: Action, number: int, target: str = "", gpus: int = 0) -> TaskRequest:
    spec = {"name": "t", "image": "busybox:1", "resources": {"gpu": {"count": gpus}}}
    text = {Action.SUBMIT: spec_json(spec), Action.SET: '{"value":"lan"}'}.get(action, "")
    return TaskRequest(action, 0, target, text, bytes([number]) * 32, NOW_S, NOW_S + 600)


def ask(state: PoolState, wanted: TaskRequest) -> TaskId:
    feed(state, RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER))
    return task_id(POOL, wanted)


def placed(name: TaskId, node: NodeId, *gpus: str, attempt: int = 1) -> Placement:
    return Placement((Placed(AllocationId(name, 0), attempt, node, gpus),))


def state_of(state: PoolState, name: TaskId) -> AllocationState:
    copy = state.allocation(AllocationId(name, 0))
    assert copy is not None
    return copy.state


def report(name: TaskId, becomes: AllocationState, node: NodeId = NODE) -> ReportApplied:
    return ReportApplied(node, (Outcome(AllocationId(name, 0), 1, becomes),))


def test_a_submission_is_applied_once() -> None:
    """Sent twice, with whatever signature, it is one task."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1))
    ask(state, request(Action.SUBMIT, 1))
    assert list(state.tasks) == [name]
    assert state.applied_index == 2


def test_one_gpu_never_has_two_holders() -> None:
    """Until the first holder is gone, whatever a leader writes."""
    state = PoolState(POOL, 1)
    first = ask(state, request(Action.SUBMIT, 1, gpus=1))
    second = ask(state, request(Action.SUBMIT, 2, gpus=1))
    feed(state, placed(first, NODE, GPU))
    feed(state, placed(second, NODE, GPU))
    assert state_of(state, first) is AllocationState.ASSIGNED
    assert state_of(state, second) is AllocationState.PENDING
    feed(state, report(first, AllocationState.SUCCEEDED))
    feed(state, placed(second, NODE, GPU))
    assert state_of(state, second) is AllocationState.ASSIGNED


def test_a_report_counts_only_from_the_node_that_has_the_copy() -> None:
    """Another node, an older attempt or an illegal transition change nothing."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1))
    feed(state, placed(name, NODE))
    feed(state, report(name, AllocationState.FAILED, OTHER))
    assert state_of(state, name) is AllocationState.ASSIGNED
    feed(state, report(name, AllocationState.SUCCEEDED))
    feed(state, report(name, AllocationState.FAILED))
    assert state_of(state, name) is AllocationState.SUCCEEDED


def test_snapshot_and_digest_tell_the_whole_state() -> None:
    """Bytes and back is the same state, which goes on the same way."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1, gpus=1))
    feed(state, placed(name, NODE, GPU))
    again = from_bytes(state.to_bytes())
    assert again.digest() == state.digest()
    for each in (state, again):
        ask(each, request(Action.STOP, 9, name.hex()))
        feed(each, report(name, AllocationState.STOPPED))
    assert again.digest() == state.digest()
    assert state_of(again, name) is AllocationState.STOPPED


def test_the_id_of_a_request_is_kept_exactly_as_long_as_a_leader_could_take_it() -> None:
    """Through a snapshot too: equal logs give equal bytes."""
    state = PoolState(POOL, 1)
    ids = [bytes([n]) * 32 for n in range(3)]
    for number in (0, 1):
        ask(state, request(Action.SET, number, "timing"))
    last = (NOW_S + 600) * 1000 + limits.CLOCK_SKEW_MAX_MS
    again = from_bytes(state.to_bytes())
    for each in (state, again):
        feed_at(each, request(Action.SET, 2, "timing"), last)
        assert list(each.applied) == ids
        feed_at(each, request(Action.SET, 2, "timing"), last + 1)
        assert not each.applied
    assert again.digest() == state.digest()


def feed_at(state: PoolState, wanted: TaskRequest, at_ms: int) -> None:
    record = RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER)
    kind, body = encode_body(record)
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, at_ms, body))


@given(instances(PoolSnapshot), instances(PoolSnapshot), st.integers(0, 3))
def test_a_state_is_encoded_piece_by_piece_to_the_same_bytes(
    before: PoolSnapshot, after: PoolSnapshot, kept: int
) -> None:
    """Whatever stays, goes, comes or stands in it twice."""
    pieces = Pieces(PoolSnapshot)
    assert pieces.encode(before) == encode_struct(before)
    moved = before.applied[:kept] + after.applied + before.applied[kept:] * 2
    changed = attrs.evolve(after, applied=moved, tasks=before.tasks)
    assert pieces.encode(changed) == encode_struct(changed)


def test_what_did_not_change_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest a second costs what changed, not what there is."""
    state = PoolState(POOL, 1)
    for number in range(50):
        ask(state, request(Action.SUBMIT, number))
    state.to_bytes()
    encoded: list[object] = []

    def encode(obj: object) -> bytes:
        encoded.append(obj)
        return encode_struct(obj)

    monkeypatch.setattr(structs, "encode_struct", encode)
    ask(state, request(Action.SUBMIT, 99))
    state.digest()
    assert [type(x).__name__ for x in encoded] == ["TaskRecord", "Allocation", "AppliedRequest"]


def test_an_entry_that_a_newer_version_wrote_is_counted_and_changes_nothing() -> None:
    """The index moves on; the rest stays."""
    state = PoolState(POOL, 1)
    apply_entry(state, Entry(1, 1, 99, 5, b"\x80"))
    assert (state.applied_index, len(state.tasks)) == (1, 0)
