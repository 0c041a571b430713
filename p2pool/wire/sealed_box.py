"""Encrypts a task's secrets once, and seals their data key to nodes.

Intuition: one random key encrypts all values of a task (XChaCha20-Poly1305). That key is sealed
(`crypto_box_seal`) to the X25519 form of the peer key of each node that may open them, so a node's
one key pair is enough, and whoever holds a disk, the log or an answer of the API has ciphertext.

Invariants: the ciphertext is bound to pool, account and request id, as data that the cipher
authenticates; so is each sealed key, with the ciphertext's digest inside it. A blob copied into
another request opens for nobody. The length of what is encrypted is padded. Values and data keys
are given to callers and kept nowhere here.
Source: docs/design/secrets.md; libsodium, "Sealed boxes" and "AEAD".
"""

from collections.abc import Iterable

import attrs
from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey
from nacl.utils import random

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.codec.digests import digest
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs
from p2pool.model.ids import Digest, NodeId, PeerKey
from p2pool.model.tasks.secrets import (
    KeyStatement,
    SealedKey,
    SecretBlob,
    SecretContents,
    SecretOwner,
)

CONTENTS_PURPOSE = "p2pool/1 secrets"
KEY_PURPOSE = "p2pool/1 data key"

Recipients = Iterable[tuple[NodeId, PeerKey]]
"""Nodes with the peer keys that their bindings prove."""


@attrs.frozen
class _Bound:
    """What the cipher authenticates beside the contents."""

    purpose: str
    owner: SecretOwner


def new_data_key() -> bytes:
    """A random key for one blob."""
    return random(limits.DATA_KEY_BYTES)


def encrypt(
    contents: SecretContents, owner: SecretOwner, data_key: bytes, recipients: Recipients
) -> SecretBlob:
    """Contents for one request, with the data key sealed to each recipient."""
    nonce = random(limits.SECRET_NONCE_BYTES)
    plain = bindings.sodium_pad(encode_struct(contents), limits.SECRET_PADDED_TO_BYTES)
    ciphertext = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain, _bound_to(owner), nonce, data_key
    )
    blob = SecretBlob(nonce, ciphertext)
    keys = tuple(seal_key(blob, owner, data_key, to) for to in recipients)
    return attrs.evolve(blob, keys=keys)


def decrypt(blob: SecretBlob, owner: SecretOwner, data_key: bytes) -> SecretContents:
    """The contents of a blob of this request; `BadSignature` if it is another's, or not whole."""
    try:
        plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            blob.ciphertext, _bound_to(owner), blob.nonce, data_key
        )
        return decode_struct(
            SecretContents, bindings.sodium_unpad(plain, limits.SECRET_PADDED_TO_BYTES)
        )
    except (CryptoError, Malformed, ValueError, TypeError):
        # The cause may hold what was decrypted.
        raise BadSignature("The secrets were not encrypted for this request.") from None


def seal_key(
    blob: SecretBlob, owner: SecretOwner, data_key: bytes, to: tuple[NodeId, PeerKey]
) -> SealedKey:
    """A blob's data key for one node. `BadSignature`: that peer key is no point of the curve."""
    node_id, peer_key = to
    statement = KeyStatement(KEY_PURPOSE, owner, ciphertext_digest(blob), data_key)
    try:
        public = VerifyKey(peer_key).to_curve25519_public_key()
    except (CryptoError, ValueError, RuntimeError) as error:
        raise BadSignature("That peer key is no point of the curve.") from error
    return SealedKey(node_id, peer_key, _sealed(public, encode_struct(statement)))


def _sealed(public: PublicKey, plain: bytes) -> bytes:
    return SealedBox(public).encrypt(plain)


def open_key(sealed: SealedKey, blob: SecretBlob, owner: SecretOwner, key: SigningKey) -> bytes:
    """The data key in what was sealed to us, if it is for this ciphertext and this request.

    `BadSignature`: we cannot open it. `NotForUs`: it was sealed for something else.
    """
    try:
        plain = SealedBox(key.to_curve25519_private_key()).decrypt(sealed.sealed)
        statement = decode_struct(KeyStatement, plain)
    except (CryptoError, Malformed, ValueError, TypeError):
        raise BadSignature("The secrets' key was not sealed to this node.") from None
    said = (statement.purpose, statement.owner, statement.ciphertext_digest)
    if said != (KEY_PURPOSE, owner, ciphertext_digest(blob)):
        raise NotForUs("The secrets' key was sealed for another request.")
    return statement.data_key


def seal_again(sealed: SealedKey, key: SigningKey, to: tuple[NodeId, PeerKey]) -> SealedKey | None:
    """What was sealed to one peer key, sealed to another of the same node, unread; None if `key` is
    not the one that it was sealed to."""
    try:
        plain = SealedBox(key.to_curve25519_private_key()).decrypt(sealed.sealed)
    except (CryptoError, ValueError, TypeError):
        return None
    node_id, peer_key = to
    return SealedKey(
        node_id, peer_key, _sealed(VerifyKey(peer_key).to_curve25519_public_key(), plain)
    )


def ciphertext_digest(blob: SecretBlob) -> Digest:
    """The digest of what is encrypted, with its nonce."""
    return digest(blob.nonce + blob.ciphertext)


def blob_bytes(blob: SecretBlob) -> bytes:
    """The bytes of a blob, which lie beside the log; a specification has their digest."""
    data = encode_struct(blob)
    if len(data) > limits.SECRET_BLOB_MAX_BYTES:
        raise Malformed(f"The secrets take more than {limits.SECRET_BLOB_MAX_BYTES} bytes.")
    return data


def read_blob(data: bytes) -> SecretBlob:
    """The blob in these bytes; `Malformed` if they are none."""
    if len(data) > limits.SECRET_BLOB_MAX_BYTES:
        raise Malformed(f"A blob of secrets has {limits.SECRET_BLOB_MAX_BYTES} bytes at most.")
    return decode_struct(SecretBlob, data)


def _bound_to(owner: SecretOwner) -> bytes:
    return encode_struct(_Bound(CONTENTS_PURPOSE, owner))
