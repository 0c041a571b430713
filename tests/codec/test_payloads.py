"""Every message and record survives the way to bytes and back, within its bounds."""

from typing import Any, cast

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pool.codec import digests, entries, payloads
from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import decode_struct, encode_struct, lowest_level
from p2pool.model import ids, limits
from p2pool.model.access import delegations, grants, requests
from p2pool.model.chain import root_record, roster
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.log import raft
from p2pool.model.messages.queries import Ping
from p2pool.model.messages.registry import TYPES, Header
from p2pool.model.tasks import spec
from tests.codec.samples import example, instances

HEADER = Header(
    node_id=ids.NodeId(b"n" * 20),
    peer_key=ids.PeerKey(b"p" * 32),
    incarnation=1,
    sequence=2,
    sent_at_ms=3,
)
RECORDS: list[type] = [
    *entries.RECORDS.values(),
    raft.Entry,
    raft.HardState,
    raft.Snapshot,
    roster.ChainRoster,
    root_record.RootRecord,
    spec.TaskSpec,
    grants.SignedGrant,
]
slow = settings(max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("number", TYPES)
@given(data=st.data())
@slow
def test_messages_come_back(number: int, data: st.DataObject) -> None:
    """Any message of a type, with any extensions that may be skipped, comes back equal."""
    message = data.draw(instances(TYPES[number]))
    ext = data.draw(st.dictionaries(st.integers(0, 9).map(lambda n: 2 * n), st.integers(0, 9)))
    payload = payloads.payload_of(canonical.decode(payloads.encode_payload(HEADER, message, ext)))
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
    data_of = encode_struct(record, lowest_level(record))
    assert decode_struct(cls, data_of) == record


@pytest.mark.parametrize("kind", entries.RECORDS)
def test_bodies_of_entries(kind: raft.EntryKind) -> None:
    """A body names its kind; a kind of a newer version is None, not an error."""
    record = example(entries.RECORDS[kind])
    assert entries.encode_body(record)[0] is kind
    assert entries.decode_body(*entries.encode_body(record)) == record
    assert entries.decode_body(999, b"whatever a newer version wrote") is None


@given(st.binary(max_size=100), st.sampled_from(list(TYPES)))
def test_any_fields_are_a_message_or_malformed(junk: bytes, number: int) -> None:
    """Any canonical fields in a good frame are a message or `Malformed`."""
    value = [number, 1, b"n" * 20, 1, 2, 3, *junk, {}]
    try:
        payload = payloads.payload_of(value)
    except Malformed:
        return
    assert payloads.encode_payload(HEADER, payload.message, payload.ext) == canonical.encode(value)


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
    assert payloads.payload_of(PING).message == Ping(7)
    with pytest.raises(Malformed):
        payloads.payload_of([*PING[:place], value, *PING[place + 1 :]])


def test_even_extensions_are_skipped_and_odd_ones_not_sent() -> None:
    """A newer sender may add even keys; an odd one that we do not know is not ours to send."""
    assert payloads.payload_of([*PING[:-1], {4: b"new"}]).message == Ping(7)
    with pytest.raises(Malformed):
        payloads.encode_payload(HEADER, Ping(7), {3: 1})


def test_unknown_enum_values_are_refused() -> None:
    """A state that this version does not know is not guessed, and 1 is not True."""
    good = encode_struct(raft.HardState(3, None))
    assert decode_struct(raft.HardState, good) == raft.HardState(3, None)
    delegation: list[Any] = [1, b"d" * 20, 1, 5, 6]
    assert (
        decode_struct(delegations.Delegation, canonical.encode(delegation)).scope
        is delegations.Scope.SUBMIT
    )
    wrong: list[Any] = [3, -1, True, "submit", None, [1], {1: 1}]
    for scope in wrong:
        with pytest.raises(Malformed):
            decode_struct(delegations.Delegation, canonical.encode([1, b"d" * 20, scope, 5, 6]))


def test_numbered_enums_stand_for_their_number() -> None:
    """An entry's kind is open to newer ones, yet may be given as a known one."""
    entry = attrs.evolve(example(raft.Entry), kind=raft.EntryKind.SETTING)
    assert decode_struct(raft.Entry, encode_struct(entry)) == entry


def test_both_directions_check_bounds() -> None:
    """What is too long is neither sent nor taken."""
    ping = attrs.evolve(example(requests.TaskRequest), spec_json="x" * limits.SPEC_JSON_MAX_BYTES)
    fields = canonical.decode(encode_struct(ping))
    assert isinstance(fields, list)
    fields[3] = "x" * (limits.SPEC_JSON_MAX_BYTES + 1)
    with pytest.raises(Malformed, match="spec_json"):
        decode_struct(requests.TaskRequest, canonical.encode(fields))
    with pytest.raises(Malformed, match="spec_json"):
        encode_struct(attrs.evolve(ping, spec_json="x" * (limits.SPEC_JSON_MAX_BYTES + 1)))
    for wrong in (b"r" * 31, b"r" * 33, "r" * 32, None):
        with pytest.raises(Malformed, match="request_id"):
            encode_struct(attrs.evolve(ping, request_id=wrong))
    with pytest.raises(Malformed, match="not_after_s"):
        encode_struct(attrs.evolve(ping, not_after_s=2**64))


def test_digests_name_what_they_are_of() -> None:
    """Pool and content change a digest; a second signature does not change a task's id."""
    pool = ids.PoolRef(31337, ids.Address(b"c" * 20), 1)
    other = attrs.evolve(pool, pool_id=2)
    root, request = example(root_record.RootRecord), example(requests.TaskRequest)
    assert digests.log_id(pool, root) != digests.log_id(other, root)
    assert digests.log_id(pool, root) != digests.log_id(pool, attrs.evolve(root, epoch=0))
    assert digests.task_id(pool, request) != digests.task_id(other, request)
    assert len(digests.task_id(pool, request)) == ids.TASK_ID_BYTES
    empty = raft.Configuration(())
    assert digests.configuration_hash(empty) == digests.configuration_hash(empty)


def test_snapshots_come_back() -> None:
    """A snapshot travels as bytes, and other bytes are refused."""
    snapshot = example(raft.Snapshot)
    assert entries.decode_snapshot(entries.encode_snapshot(snapshot)) == snapshot
    with pytest.raises(Malformed):
        entries.decode_snapshot(entries.encode_snapshot(snapshot)[:-1])
    name, number, fields = cast(list[Any], canonical.decode(entries.encode_snapshot(snapshot)))
    for bad in ([name, 0, fields], ["p2pool/state", number, fields], fields, [name, number]):
        with pytest.raises(Malformed):
            entries.decode_snapshot(canonical.encode(bad))
    with pytest.raises(TooNew, match=r"format 2, .* Upgrade"):
        entries.decode_snapshot(canonical.encode([name, number + 1, fields]))
