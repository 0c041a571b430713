"""Any bytes at all are a verified message or a typed refusal, and one changed bit is refused."""

from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pool.codec import payloads
from p2pool.codec.cbor import canonical
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Refusal
from p2pool.model.ids import Address, AllocationId, Digest, PoolRef, StoreId, TaskId, Token
from p2pool.model.machine.hardware import FreeResources, Load
from p2pool.model.messages.gossip import AllocationStatus, Announcement, Heartbeat
from p2pool.model.messages.queries import Ping, Pong
from p2pool.model.messages.registry import TYPES, Channel, Verified, channel_of
from p2pool.model.messages.task_streams import LogChunk, LogsRead
from p2pool.model.states import AllocationState, Intent, RaftRole
from p2pool.wire import envelope
from tests.codec.samples import example, instances
from tests.wire.samples import HEADER, KEY, NODE_ID, OTHER_KEY, POOL

FRAME = limits.STREAM_FRAME_MAX_BYTES
SEALED = envelope.seal(Ping(7), HEADER, POOL, KEY)


def opened(data: bytes, pool: PoolRef = POOL, channel: Channel | None = None) -> Verified:
    """The message in an envelope from a stream."""
    return envelope.open_sealed(data, pool, max_bytes=FRAME, channel=channel)


def forged(payload: bytes, purpose: str, *, pool: PoolRef = POOL, key: Any = KEY) -> bytes:
    """An envelope well signed over any payload, for any purpose: what an attacker could make."""
    protected = canonical.encode({1: -8, 4: bytes(key.verify_key)})
    parts: list[Any] = ["p2pool/1", pool.chain_id, pool.contract, pool.pool_id, NODE_ID, purpose]
    signed = canonical.encode(["Signature1", protected, canonical.encode(parts), payload])
    return canonical.encode([protected, {}, payload, key.sign(signed).signature])


@pytest.mark.parametrize("number", TYPES)
@given(data=st.data())
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_every_message_travels(number: int, data: st.DataObject) -> None:
    """What is sealed is opened as it was, on its channel and no other."""
    message = data.draw(instances(TYPES[number]))
    sealed = envelope.seal(message, HEADER, POOL, KEY)
    found = opened(sealed, channel=channel_of(TYPES[number]))
    assert found == Verified(HEADER, channel_of(TYPES[number]), message, sealed)
    for channel in Channel:
        if channel is not channel_of(TYPES[number]):
            with pytest.raises(NotForUs):
                opened(sealed, channel=channel)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_type(data: bytes) -> None:
    """Random bytes are `Malformed`; nothing else gets out."""
    with pytest.raises(Malformed):
        opened(data)


@given(st.binary(max_size=200), st.binary(max_size=60), st.binary(min_size=64, max_size=64))
def test_any_parts_are_refused_by_type(payload: bytes, header: bytes, signature: bytes) -> None:
    """A well-formed array of junk is refused by type as well."""
    for protected in (header, canonical.encode({1: -8, 4: (header + bytes(32))[:32]})):
        with pytest.raises(Refusal):
            opened(canonical.encode([protected, {}, payload, signature]))
        with pytest.raises(Refusal):
            opened(
                canonical.encode(
                    [protected, {}, payloads.encode_payload(HEADER, Ping(7)), signature]
                )
            )


@given(st.binary(max_size=60), st.sampled_from(list(TYPES)))
def test_signed_junk_is_malformed(junk: bytes, number: int) -> None:
    """A member that signs junk is told so, and the junk goes no further."""
    payload = canonical.encode([number, 1, NODE_ID, 1, 2, 3, *junk, {}])
    try:
        found = opened(forged(payload, envelope.purpose_of(TYPES[number])))
    except Malformed:
        return
    assert payloads.encode_payload(found.header, found.message) == payload


@pytest.mark.parametrize("name", ["Ping", "Heartbeat"])
def test_one_bit_flips_are_refused(name: str) -> None:
    """Whatever single bit is changed, the envelope is refused by type."""
    cls = next(cls for cls in TYPES.values() if cls.__name__ == name)
    sealed = envelope.seal(example(cls), HEADER, POOL, KEY)
    assert opened(sealed).message == example(cls)
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Malformed, BadSignature)):
            opened(bytes(flipped))


@pytest.mark.parametrize(
    "pool",
    [
        attrs.evolve(POOL, chain_id=1),
        attrs.evolve(POOL, contract=Address(b"d" * 20)),
        attrs.evolve(POOL, pool_id=2),
    ],
)
def test_another_pool(pool: PoolRef) -> None:
    """A message of another chain, contract or pool does not verify."""
    with pytest.raises(BadSignature):
        opened(SEALED, pool)


def test_a_signature_is_for_one_purpose() -> None:
    """A Ping's signature does not make a Pong, nor another key's a Ping."""
    pong = payloads.encode_payload(HEADER, Pong(7, False))
    assert opened(forged(pong, "Pong")).message == Pong(7, False)
    with pytest.raises(BadSignature):
        opened(forged(pong, "Ping"))
    parts = canonical.decode(SEALED)
    assert isinstance(parts, list)
    parts[0] = canonical.encode({1: -8, 4: bytes(OTHER_KEY.verify_key)})
    with pytest.raises(BadSignature):
        opened(canonical.encode(parts))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, canonical.encode({1: -7, 4: HEADER.peer_key})),
        (0, canonical.encode({1: -8})),
        (0, canonical.encode({1: -8, 4: HEADER.peer_key, 5: b"iv"})),
        (0, canonical.encode({1: -8, 4: HEADER.peer_key[:31]})),
        (0, b""),
        (0, {1: -8, 4: HEADER.peer_key}),
        (1, {4: HEADER.peer_key}),
        (1, []),
        (1, None),
        (2, None),
        (2, b""),
        (3, b"s" * 63),
        (3, b"s" * 65),
    ],
)
def test_other_headers(place: int, value: Any) -> None:
    """There is one header and one algorithm: nothing is negotiated with who sends."""
    parts = canonical.decode(SEALED)
    assert isinstance(parts, list)
    parts[place] = value
    with pytest.raises(Malformed):
        opened(canonical.encode(parts))


def test_small_order_keys_sign_nothing() -> None:
    """The identity point verifies anything in a careless implementation."""
    for key in (b"\x01" + bytes(31), bytes(32), b"\xff" * 32):
        protected = canonical.encode({1: -8, 4: key})
        payload = payloads.encode_payload(HEADER, Ping(7))
        for signature in (key + bytes(32), bytes(64)):
            with pytest.raises(BadSignature):
                opened(canonical.encode([protected, {}, payload, signature]))


def test_size_is_bounded_both_ways() -> None:
    """Gossip takes 16 KiB; more is neither sealed nor opened."""
    with pytest.raises(Malformed):
        envelope.open_sealed(SEALED, POOL, max_bytes=len(SEALED) - 1)
    beat = example(Heartbeat)
    huge = attrs.evolve(beat, addresses=("x" * 1024,) * 8, allocations=beat.allocations * 200)
    with pytest.raises(Malformed, match="16384"):
        envelope.seal(attrs.evolve(huge, reason="x" * 1024), HEADER, POOL, KEY)
    most = limits.LOG_BATCH_MAX_BYTES // limits.LOG_BATCH_MAX_CHUNKS
    chunk = LogChunk(2, 2**62, b"x" * most)
    read = LogsRead((chunk,) * limits.LOG_BATCH_MAX_CHUNKS)
    assert opened(envelope.seal(read, HEADER, POOL, KEY)).message == read


def test_overhead_is_as_stated() -> None:
    """The relations in `limits` count on this bound."""
    payload = payloads.encode_payload(HEADER, Ping(7))
    assert len(SEALED) - len(payload) < limits.ENVELOPE_OVERHEAD_MAX_BYTES


def test_a_full_heartbeat_is_small() -> None:
    """8 GPUs and 4 allocations in less than 600 bytes, sealed (docs/design/health.md)."""
    token = Token(3, 123_456, 98_765_432)
    beat = Heartbeat(
        agent_version="0.1.0",
        addresses=("/ip4/203.0.113.250/tcp/40123", "/ip6/2001:db8::1234:5678/tcp/40123"),
        store_id=StoreId(b"s" * 16),
        intent=Intent.ELIGIBLE,
        role=RaftRole.FOLLOWER,
        leader=NODE_ID,
        epoch=3,
        term=123_456,
        applied_index=98_765_432,
        hardware_digest=Digest(b"h" * 32),
        hardware=None,
        free=FreeResources(128_000, 2**40, 2**43, 8),
        allocations=tuple(
            AllocationStatus(
                AllocationId(TaskId(bytes([n]) * 16), 999), 300, AllocationState.RUNNING, token
            )
            for n in range(4)
        ),
        load=Load(999, 999),
        healthy=True,
        reason="",
    )
    assert len(envelope.seal(beat, HEADER, POOL, KEY)) < limits.HEARTBEAT_AIM_BYTES


def test_who_seals_is_who_signs() -> None:
    """Sealing in another key's name is our bug, not somebody's fault."""
    with pytest.raises(AssertionError):
        envelope.seal(example(Announcement), HEADER, POOL, OTHER_KEY)
