"""A peer key and its libp2p peer id: two spellings of one Ed25519 public key.

A peer id of a short key is the identity multihash (0x00, length 36) of libp2p's protobuf of the
key (type Ed25519, 32 bytes), in base58: it always begins with `12D3KooW`. So the id itself
contains the key, and nothing has to be looked up (libp2p specs, peer-ids).
"""

import base58

from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import PEER_KEY_BYTES, PeerKey

_PREFIX = bytes.fromhex("002408011220")  # identity multihash, type Ed25519, 32 bytes


def peer_id(peer_key: PeerKey) -> str:
    """The libp2p peer id of a key, in base58."""
    assert len(peer_key) == PEER_KEY_BYTES
    return str(base58.b58encode(_PREFIX + peer_key), "ascii")


def peer_key_of(text: str) -> PeerKey:
    """The key in a peer id; `Malformed` for any other text, or another kind of key."""
    try:
        # Base58 costs the square of its length: bounded before it is read.
        data = base58.b58decode(text) if len(text) <= limits.PEER_ID_MAX_BYTES else b""
    except ValueError as error:
        raise Malformed(
            f"{text[: limits.PEER_ID_MAX_BYTES]!r} is not a peer id: not base58."
        ) from error
    if len(data) != len(_PREFIX) + PEER_KEY_BYTES or not data.startswith(_PREFIX):
        raise Malformed(
            "Not the peer id of an Ed25519 key.", hint="It begins with 12D3KooW and has 52 letters."
        )
    key = PeerKey(data[len(_PREFIX) :])
    if peer_id(key) != text:  # base58 skips white space
        raise Malformed("Not a peer id: it has white space around it.")
    return key
