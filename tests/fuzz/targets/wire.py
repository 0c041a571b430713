"""What a peer's bytes are decoded with: canonical CBOR, envelopes, payloads, bodies, snapshots."""

from collections.abc import Iterator
from contextlib import suppress

from p2pool.agent.wire.ingress import Ingress
from p2pool.codec import entries, payloads, rows
from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import decode_struct, encode_struct, lowest_level
from p2pool.model.errors import Malformed, Refusal
from p2pool.model.ids import PeerKey
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.messages.registry import (
    DECLARATIONS,
    GOSSIP_CHANNELS,
    Channel,
    Header,
    channel_of,
)
from p2pool.model.messages.task_streams import LogsOpened
from p2pool.model.timing import Now
from p2pool.wire.enclosures import enclosed_in
from p2pool.wire.envelope import _protected, _to_be_signed, open_sealed, purpose_of
from p2pool.wire.typed_data import grant_of, recover_signers
from tests.codec.samples import example
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import golden, sealed, vectors
from tests.fuzz.targets.seeds import payloads as payload_seeds
from tests.wire.samples import KEY, NODE_ID, NOW_MS, PEER_KEY, POOL

NOW = Now(mono_ms=5_000_000, wall_ms=NOW_MS)


def _values() -> Iterator[bytes]:
    yield from payload_seeds()
    for text in (
        "00",
        "20",
        "f6",
        "a0",
        "80",
        "a10000",
        "1bffffffffffffffff",
        "3b7fffffffffffffff",
    ):
        yield bytes.fromhex(text)


@target("wire-cbor", seeds=_values, allowed=[Malformed])
def cbor(data: bytes) -> None:
    """Bytes that decode are the one encoding of what they say."""
    items = canonical.count(data)
    value = canonical.decode(data)
    assert items <= len(data)
    assert canonical.encode(value) == data, "a second encoding"


@target("wire-payload", seeds=payload_seeds, allowed=[Malformed])
def payload(data: bytes) -> None:
    """A payload that is of today's version is the one encoding of its message."""
    value = canonical.decode(data)
    read = payloads.payload_of(value, kept=True)
    header = Header(read.node_id, PEER_KEY, read.incarnation, read.sequence, read.sent_at_ms)
    again = payloads.encode_payload(header, read.message, read.ext)
    assert payloads.payload_of(canonical.decode(again), kept=True) == read
    assert isinstance(value, list)
    if value[1] == DECLARATIONS[type(read.message)].version:
        assert again == data or _says_defaults(again, data), "a second encoding of a message"


def _says_defaults(shorter: bytes, longer: bytes) -> bool:
    """Whether bytes only say the defaults of later fields too: the oldest form is what is sent."""
    return len(shorter) < len(longer)


@target("wire-envelope", seeds=sealed, allowed=[Refusal])
def envelope(data: bytes) -> None:
    """An envelope that opens is the one form of what it holds."""
    verified = open_sealed(data, POOL, max_bytes=1 << 20)
    assert verified.sealed == data


def resealed(data: bytes) -> bytes:
    """A payload in an envelope that its own node has signed, whatever it says."""
    purpose = "p2pool/?"
    try:
        cls, node_id = payloads.head_of(canonical.decode(data))
        purpose = purpose_of(cls)
    except Malformed:
        node_id = NODE_ID
    protected = _protected(PEER_KEY)
    signed = _to_be_signed(protected, data, POOL, node_id, purpose)
    return canonical.encode([protected, {}, data, KEY.sign(signed).signature])


@target("wire-ingress", seeds=payload_seeds, allowed=[], time_ms=500, us_per_byte=200)
def ingress(data: bytes) -> None:
    """No bytes of a guest or a member, signed as they are, make the way in raise anything."""
    frame, channel = resealed(data), Channel.QUERY
    with suppress(Malformed):
        channel = channel_of(payloads.head_of(canonical.decode(data))[0])
    for member in (False, True):
        one = Ingress(
            POOL,
            lambda node_id: PEER_KEY,
            lambda verified, enclosed, now: True,
            lambda node_id, member=member: member,  # type: ignore[misc]
        )
        one._shown[PEER_KEY] = NODE_ID
        if channel in GOSSIP_CHANNELS:
            one.gossip(channel, frame, NOW)
        else:
            one.frame(channel, PeerKey(PEER_KEY), frame, NOW)


def _bodies() -> Iterator[bytes]:
    for one in golden()["bodies"].values():
        yield bytes([one["kind"]]) + bytes.fromhex(one["body"])


@target("wire-body", seeds=_bodies, allowed=[Malformed])
def body(data: bytes) -> None:
    """A log entry's body, after a byte with its kind: what is read is written alike."""
    kind, content = (data[0] if data else 0), data[1:]
    entry = Entry(index=1, term=1, kind=kind, proposed_at_ms=1, body=content)
    entries.configuration_in(entry)
    why, record = entries.read_entry(entry)
    assert why is None or record is None
    for level in (1, 2):
        record = entries.decode_body(kind, content, level)  # type: ignore[arg-type]
        if record is None:
            continue
        again_kind, again = entries.encode_body(record, lowest_level(record))
        assert again_kind is EntryKind(kind)
        assert entries.decode_body(kind, again, level) == record  # type: ignore[arg-type]


def _snapshots() -> Iterator[bytes]:
    for one in golden()["formats"].values():
        yield bytes.fromhex(one)
    yield canonical.encode(["p2pool/state", 1, ["nodes", b"k", 1, b"v"], ["tasks", b"", 2, b""]])


@target("wire-snapshot", seeds=_snapshots, allowed=[Malformed])
def snapshot(data: bytes) -> None:
    """A snapshot, and the rows of a state in it."""
    try:
        found = entries.decode_snapshot(data)
    except Malformed:
        rows.split_rows(data)
        return
    assert entries.decode_snapshot(entries.encode_snapshot(found)) == found
    rows.split_rows(found.state)


def _records() -> Iterator[bytes]:
    for one in golden()["records"].values():
        yield bytes.fromhex(one)
    for one in vectors("typed_data").values():
        if isinstance(one, str) and one:
            yield one.encode()


@target("wire-struct", seeds=payload_seeds, allowed=[Refusal])
def struct(data: bytes) -> None:
    """What a message holds inside is the one encoding of it, for every class of message."""
    value = canonical.decode(data)
    read = payloads.payload_of(value)
    cls = type(read.message)
    enclosed_in(read.message)
    written = encode_struct(read.message, lowest_level(read.message))
    assert decode_struct(cls, written) == read.message
    if isinstance(read.message, LogsOpened):
        recover_signers(POOL, grant_of(read.message))
    assert example(cls) is not None
