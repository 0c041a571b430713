"""Every message and record survives the way to bytes and back, within its bounds."""

import types
from typing import Any, NewType, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pool.codec import bounds, cbor, messages
from p2pool.codec.structs import decode_struct, encode_struct, fields_of
from p2pool.model import chain, ids, limits, raft, tasks
from p2pool.model.errors import Malformed
from p2pool.model.messages import TYPES, Header, Ping
from tests.codec.samples import example, instances

HEADER = Header(ids.NodeId(b"n" * 20), ids.PeerKey(b"p" * 32), 1, 2, 3)
RECORDS: list[type] = [
    *messages.RECORDS.values(),
    raft.Entry,
    raft.HardState,
    raft.Snapshot,
    chain.Roster,
    chain.RootRecord,
    tasks.TaskSpec,
    tasks.SignedGrant,
]
slow = settings(max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("number", TYPES)
@given(data=st.data())
@slow
def test_messages_come_back(number: int, data: st.DataObject) -> None:
    """Any message of a type, with any extensions that may be skipped, comes back equal."""
    message = data.draw(instances(TYPES[number]))
    ext = data.draw(st.dictionaries(st.integers(0, 9).map(lambda n: 2 * n), st.integers(0, 9)))
    payload = messages.decode_payload(messages.encode_payload(HEADER, message, ext))
    assert (payload.message, payload.ext) == (message, ext)
    assert (payload.node_id, payload.incarnation, payload.sequence, payload.sent_at_ms) == (
        HEADER.node_id,
        1,
        2,
        3,
    )


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@slow
def test_records_come_back(cls: type, data: st.DataObject) -> None:
    """Any record that is kept on disk or in the log comes back equal."""
    record = data.draw(instances(cls))
    assert decode_struct(cls, encode_struct(record)) == record


@pytest.mark.parametrize("kind", messages.RECORDS)
def test_bodies_of_entries(kind: raft.EntryKind) -> None:
    """A body names its kind; a kind of a newer version is None, not an error."""
    record = example(messages.RECORDS[kind])
    assert messages.encode_body(record)[0] is kind
    assert messages.decode_body(*messages.encode_body(record)) == record
    assert messages.decode_body(999, b"whatever a newer version wrote") is None


@given(st.binary(max_size=100), st.sampled_from(list(TYPES)))
def test_any_fields_are_a_message_or_malformed(junk: bytes, number: int) -> None:
    """Any canonical fields in a good frame are a message or `Malformed`."""
    value = [number, 1, b"n" * 20, 1, 2, 3, *junk, {}]
    try:
        payload = messages.payload_of(value)
    except Malformed:
        return
    assert messages.encode_payload(HEADER, payload.message, payload.ext) == cbor.encode(value)


PING: list[Any] = [30, 1, b"n" * 20, 1, 2, 3, 7, {}]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 29),
        (0, True),
        (0, "30"),
        (1, 2),
        (2, b"n" * 19),
        (2, None),
        (3, -1),
        (4, None),
        (5, True),
        (6, "7"),
        (6, None),
        (6, True),
        (7, []),
        (7, {1: 0}),
        (7, {2 * n: 0 for n in range(limits.EXT_FIELDS_MAX + 1)}),
    ],
)
def test_frames_that_are_no_message(place: int, value: Any) -> None:
    """A wrong type, version, header, field or extension is refused."""
    assert messages.payload_of(PING).message == Ping(7)
    with pytest.raises(Malformed):
        messages.payload_of([*PING[:place], value, *PING[place + 1 :]])


def test_even_extensions_are_skipped_and_odd_ones_not_sent() -> None:
    """A newer sender may add even keys; an odd one that we do not know is not ours to send."""
    assert messages.payload_of([*PING[:-1], {4: b"new"}]).message == Ping(7)
    with pytest.raises(Malformed):
        messages.encode_payload(HEADER, Ping(7), {3: 1})


def test_unknown_enum_values_are_refused() -> None:
    """A state that this version does not know is not guessed, and 1 is not True."""
    good = encode_struct(raft.HardState(3, None))
    assert decode_struct(raft.HardState, good) == raft.HardState(3, None)
    delegation: list[Any] = [1, b"d" * 20, 1, 5, 6]
    assert decode_struct(tasks.Delegation, cbor.encode(delegation)).scope is tasks.Scope.SUBMIT
    wrong: list[Any] = [3, -1, True, "submit", None, [1], {1: 1}]
    for scope in wrong:
        with pytest.raises(Malformed):
            decode_struct(tasks.Delegation, cbor.encode([1, b"d" * 20, scope, 5, 6]))


def test_numbered_enums_stand_for_their_number() -> None:
    """An entry's kind is open to newer ones, yet may be given as a known one."""
    entry = attrs.evolve(example(raft.Entry), kind=raft.EntryKind.SETTING)
    assert decode_struct(raft.Entry, encode_struct(entry)) == entry


def test_both_directions_check_bounds() -> None:
    """What is too long is neither sent nor taken."""
    ping = attrs.evolve(example(tasks.TaskRequest), spec_json="x" * limits.SPEC_JSON_MAX_BYTES)
    fields = cbor.decode(encode_struct(ping))
    assert isinstance(fields, list)
    fields[3] = "x" * (limits.SPEC_JSON_MAX_BYTES + 1)
    with pytest.raises(Malformed, match="spec_json"):
        decode_struct(tasks.TaskRequest, cbor.encode(fields))
    with pytest.raises(Malformed, match="spec_json"):
        encode_struct(attrs.evolve(ping, spec_json="x" * (limits.SPEC_JSON_MAX_BYTES + 1)))
    for wrong in (b"r" * 31, b"r" * 33, "r" * 32, None):
        with pytest.raises(Malformed, match="request_id"):
            encode_struct(attrs.evolve(ping, request_id=wrong))
    with pytest.raises(Malformed, match="not_after_s"):
        encode_struct(attrs.evolve(ping, not_after_s=2**64))


def test_every_field_that_a_message_reaches_is_bounded() -> None:
    """No byte string or list of a message falls back on the bound of a local record."""
    seen: set[type] = set()
    unbounded: list[str] = []

    def visit(hint: Any, place: str) -> None:
        origin = get_origin(hint)
        if origin is tuple and place not in bounds.MAX_ITEMS:
            unbounded.append(place)
        if hint is bytes and place not in bounds.EXACT_BYTES | bounds.MAX_BYTES:
            unbounded.append(place)
        if origin in (tuple, Union, types.UnionType):
            for inner in get_args(hint):
                visit(inner, place)
        elif isinstance(hint, type) and attrs.has(hint) and hint not in seen:
            seen.add(hint)
            for name, inner in fields_of(hint):
                visit(inner, f"{hint.__name__}.{name}")
        assert isinstance(hint, type | NewType) or origin or hint is Ellipsis, place

    for cls in [*TYPES.values(), *messages.RECORDS.values()]:
        visit(cls, "")
    assert unbounded == []


def test_digests_name_what_they_are_of() -> None:
    """Pool and content change a digest; a second signature does not change a task's id."""
    pool = ids.PoolRef(31337, ids.Address(b"c" * 20), 1)
    other = attrs.evolve(pool, pool_id=2)
    root, request = example(chain.RootRecord), example(tasks.TaskRequest)
    assert messages.log_id(pool, root) != messages.log_id(other, root)
    assert messages.log_id(pool, root) != messages.log_id(pool, attrs.evolve(root, epoch=0))
    assert messages.task_id(pool, request) != messages.task_id(other, request)
    assert len(messages.task_id(pool, request)) == ids.TASK_ID_BYTES
    empty = raft.Configuration(())
    assert messages.configuration_hash(empty) == messages.configuration_hash(empty)


def test_snapshots_come_back() -> None:
    """A snapshot travels as bytes, and other bytes are refused."""
    snapshot = example(raft.Snapshot)
    assert messages.decode_snapshot(messages.encode_snapshot(snapshot)) == snapshot
    with pytest.raises(Malformed):
        messages.decode_snapshot(messages.encode_snapshot(snapshot)[:-1])
