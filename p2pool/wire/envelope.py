"""Signed envelopes: bytes from anybody become a verified message or a typed refusal.

An envelope is a COSE_Sign1 (RFC 9052, 4.2; without the tag) by the sender's peer key:
    [h'{1: -8, 4: peer key}', {}, payload, signature]
EdDSA over the Sig_structure, whose external data are the canonical CBOR of
    ["p2pool/1", chain id, contract, pool id, node id, purpose]
The purpose is declared with the message: the name of its class, or the name it first had. So a
signature holds for one pool, one node and one kind of message, on whatever channel it travels;
nothing signed elsewhere with the key can be taken for it. The payload is `codec.payloads`.

Order of checks: size, number of items, canonical form, header, sender and purpose, signature, and
only then the fields: whoever is blamed for a bad field has signed it. Not checked here: whether the
key is that node's (`wire.binding`), whether the message is new (`wire.replay`), whether its sender
belongs.
"""

from collections.abc import Callable
from typing import cast

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2pool.codec.cbor import canonical
from p2pool.codec.payloads import (
    NO_EXT,
    Ext,
    encode_payload,
    head_of,
    payload_of,
)
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs
from p2pool.model.ids import PEER_KEY_BYTES, SIGNATURE_BYTES, NodeId, PeerKey, PoolRef
from p2pool.model.messages.registry import (
    DECLARATIONS,
    GOSSIP_CHANNELS,
    Channel,
    Header,
    Message,
    Verified,
    channel_of,
)

FORMAT = "p2pool/1"

_ALGORITHM, _EDDSA, _KEY_ID = 1, -8, 4
_CONTEXT = "Signature1"
_ENVELOPE_ITEMS = 5


def seal(
    message: Message, header: Header, pool: PoolRef, signing_key: SigningKey, *, ext: Ext = NO_EXT
) -> bytes:
    """Seal a message into an envelope by the peer key that `header` names.

    `Malformed`: the message exceeds its own bounds, or its channel's size limit.
    """
    assert bytes(signing_key.verify_key) == header.peer_key, "sealed by another key"
    payload = encode_payload(header, message, ext)
    protected = _protected(header.peer_key)
    signed = _to_be_signed(protected, payload, pool, header.node_id, purpose_of(type(message)))
    sealed = canonical.encode([protected, {}, payload, signing_key.sign(signed).signature])
    most = max_bytes(channel_of(type(message)))
    if len(sealed) > most:
        raise Malformed(f"A {type(message).__name__} of {len(sealed)} bytes; {most} at most.")
    return sealed


def open_sealed(
    data: bytes,
    pool: PoolRef,
    *,
    max_bytes: int,
    channel: Channel | None = None,
    signer: PeerKey | None = None,
    admit: Callable[[int], None] = lambda items: None,
) -> Verified:
    """The message in an envelope, after checking form, size, purpose and signature.

    `max_bytes`: the limit of the caller's transport. `channel`: where it came from, None if it is
    relayed or stored: it may then be of an earlier version. `signer`: the only key that may have
    signed it, None for any. Raises `Malformed`, `BadSignature`
    (also for a message for another pool: the signature does not tell which) or `NotForUs` (wrong
    channel); nothing else but what `admit` raises, which is told of how many items the message is
    before they are read.
    """
    if len(data) > max_bytes:
        raise Malformed(f"A message of {len(data)} bytes; {max_bytes} at most.")
    protected, payload, signature = _parts(data)
    peer_key = _key_of(protected)
    if signer is not None and peer_key != signer:
        raise Malformed("Another key than the connection's sealed this frame.")
    gossiped = max_bytes <= limits.GOSSIP_MESSAGE_MAX_BYTES
    most = limits.GOSSIP_ITEMS_MAX if gossiped else limits.FRAME_ITEMS_MAX
    admit(canonical.count(payload, most))
    value = canonical.build(payload)
    kept = channel is None
    cls, node_id = head_of(value, kept=kept)
    signed = _to_be_signed(protected, payload, pool, node_id, purpose_of(cls))
    try:
        VerifyKey(peer_key).verify(signed, signature)
    except BadSignatureError as error:
        raise BadSignature(
            f"The signature of a {cls.__name__} does not verify for this pool."
        ) from error
    travels_on = channel_of(cls)
    if channel is not None and channel is not travels_on:
        raise NotForUs(f"A {cls.__name__} does not travel on {channel.value}.")
    content = payload_of(value, kept=kept)
    header = Header(
        node_id=node_id,
        peer_key=peer_key,
        incarnation=content.incarnation,
        sequence=content.sequence,
        sent_at_ms=content.sent_at_ms,
    )
    return Verified(header, travels_on, content.message, data)


def max_bytes(channel: Channel) -> int:
    """The largest envelope that a channel takes."""
    if channel in GOSSIP_CHANNELS:
        return limits.GOSSIP_MESSAGE_MAX_BYTES
    return limits.STREAM_FRAME_MAX_BYTES


def purpose_of(cls: type[Message]) -> str:
    """The purpose of a signature over a message of this class."""
    return DECLARATIONS[cls].purpose


def _protected(peer_key: PeerKey) -> bytes:
    """The protected header: the only form accepted."""
    return canonical.encode({_ALGORITHM: _EDDSA, _KEY_ID: peer_key})


def _to_be_signed(
    protected: bytes, payload: bytes, pool: PoolRef, node_id: NodeId, purpose: str
) -> bytes:
    """The Sig_structure of RFC 9052, 4.4, in bytes."""
    external = canonical.encode(
        [FORMAT, pool.chain_id, pool.contract, pool.pool_id, node_id, purpose]
    )
    return canonical.encode([_CONTEXT, protected, external, payload])


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Protected header, payload and signature of an envelope."""
    value = canonical.decode(data, _ENVELOPE_ITEMS)
    if not isinstance(value, list) or len(value) != 4:
        raise Malformed("An envelope is an array of four.")
    protected, unprotected, payload, signature = value
    if not all(type(part) is bytes for part in (protected, payload, signature)):
        raise Malformed("An envelope's header, payload and signature are byte strings.")
    if type(unprotected) is not dict or unprotected:
        raise Malformed("An envelope has nothing in its unprotected header.")
    if len(cast(bytes, signature)) != SIGNATURE_BYTES:
        raise Malformed(f"A signature has {SIGNATURE_BYTES} bytes.")
    return cast(bytes, protected), cast(bytes, payload), cast(bytes, signature)


def _key_of(protected: bytes) -> PeerKey:
    """The signer that a protected header names."""
    value = canonical.decode(protected, _ENVELOPE_ITEMS)
    if type(value) is not dict or set(value) != {_ALGORITHM, _KEY_ID}:
        raise Malformed("An envelope's header names an algorithm and a key, nothing else.")
    key = value[_KEY_ID]
    if value[_ALGORITHM] != _EDDSA or type(key) is not bytes or len(key) != PEER_KEY_BYTES:
        raise Malformed("An envelope is signed with EdDSA by a key of 32 bytes.")
    return PeerKey(key)
