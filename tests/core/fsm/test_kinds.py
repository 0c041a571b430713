"""Every kind of log entry has a record, and every record a way to be applied."""

from typing import get_args

from p2pool.codec.digests import task_id
from p2pool.codec.entries import RECORDS, Record, encode_body
from p2pool.core.fsm import apply
from p2pool.core.fsm.state import PoolState
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import AllocationId
from p2pool.model.log.entries import Noop, Outcome, ReportApplied, RequestApplied
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.states import AllocationState
from tests.core.fsm.records import MANAGER, NODE, NOW_S, POOL, placed, request


def test_every_kind_has_a_record() -> None:
    """A kind without one is applied as nothing, as if a newer version had written it."""
    assert set(RECORDS) == set(EntryKind)
    assert set(get_args(Record)) == set(RECORDS.values())


def test_every_record_is_applied() -> None:
    """One that has no row raises at every replica that comes to it, again after each start."""
    assert set(apply._TABLE) == set(RECORDS.values())


def test_an_event_says_by_names_what_it_says_in_words() -> None:
    """So that nobody parses a sentence: states, numbers, whole ids, and reasons alone."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    wanted = request(Action.SUBMIT, 1)
    name = task_id(POOL, wanted)
    seen: dict[str, dict[str, str | int | None]] = {}
    copy = AllocationId(name, 0)
    failed = Outcome(copy, 1, AllocationState.FAILED, "it fell", exit_code=3)
    for record in (
        RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER),
        placed(name, NODE),
        ReportApplied(NODE, (failed,)),
        RequestApplied(
            SignedRequest(request(Action.DRAIN, 2, NODE.hex()), b"s" * 65), NODE, MANAGER
        ),
        Noop(NODE),
    ):
        kind, body = encode_body(record, state.level)
        for event in apply.apply_entry(
            state, Entry(state.applied_index + 1, 1, kind, NOW_S * 1000, body)
        ):
            seen[event.kind] = dict(event.details)
    node_id = "0x" + NODE.hex()
    assert seen["allocation"] == {
        "state": "failed",
        "previous": "assigned",
        "task_id": name.hex(),
        "replica": 0,
        "attempt": 1,
        "node_id": node_id,
        "exit_code": 3,
        "reason": "it fell",
    }
    assert seen["task"] == {"state": "failed", "name": "t-1"}
    assert seen["node"]["intent"] == "draining"
    assert seen["node"]["node_id"] == node_id
    assert seen["leader"] == {"node_id": node_id, "term": 1}
