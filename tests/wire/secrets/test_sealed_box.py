"""Secrets open for the nodes that they were sealed to, for one request, and for nobody else."""

import json
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.digests import digest
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Refusal
from p2pool.model.ids import Address, NodeId, PeerKey, PoolRef
from p2pool.model.tasks.secrets import (
    NamedValue,
    SealedKey,
    SecretBlob,
    SecretContents,
    SecretOwner,
)
from p2pool.wire import sealed_box

GOLDEN = Path(__file__).parents[2] / "golden" / "secrets.json"
KEY, OTHER = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
NODE = NodeId(b"\x22" * 20)
OWNER = SecretOwner(
    PoolRef(31337, Address(b"\x11" * 20), 1), Address(b"\x33" * 20), request_id=b"r" * 32
)
VALUE = b"correct horse battery staple"
CONTENTS = SecretContents((NamedValue("db", VALUE),), "user", "word")


def to(key: SigningKey) -> tuple[NodeId, PeerKey]:
    return NODE, PeerKey(bytes(key.verify_key))


def sealed(contents: SecretContents = CONTENTS) -> SecretBlob:
    return sealed_box.encrypt(contents, OWNER, sealed_box.new_data_key(), [to(KEY)])


def test_who_it_was_sealed_to_reads_it() -> None:
    """By the bytes that lie beside the log, with the peer key alone."""
    blob = sealed_box.read_blob(sealed_box.blob_bytes(sealed()))
    key = blob.key_for(*to(KEY))
    assert key is not None
    data_key = sealed_box.open_key(key, blob, OWNER, KEY)
    assert sealed_box.decrypt(blob, OWNER, data_key) == CONTENTS


def test_another_key_opens_nothing() -> None:
    """Not even with what was sealed to somebody else."""
    blob = sealed()
    with pytest.raises(BadSignature):
        sealed_box.open_key(blob.keys[0], blob, OWNER, OTHER)
    assert blob.key_for(*to(OTHER)) is None


@pytest.mark.parametrize(
    "owner",
    [
        attrs.evolve(OWNER, request_id=b"x" * 32),
        attrs.evolve(OWNER, account=Address(b"\x44" * 20)),
        attrs.evolve(OWNER, pool=attrs.evolve(OWNER.pool, pool_id=2)),
    ],
)
def test_a_copied_blob_opens_for_no_other_request(owner: SecretOwner) -> None:
    """Another request, account or pool: neither the key nor, by whoever has that, the contents."""
    blob = sealed()
    with pytest.raises(NotForUs):
        sealed_box.open_key(blob.keys[0], blob, owner, KEY)
    data_key = sealed_box.open_key(blob.keys[0], blob, OWNER, KEY)
    with pytest.raises(BadSignature):
        sealed_box.decrypt(blob, owner, data_key)


def test_a_key_opens_no_other_ciphertext() -> None:
    """Of two blobs of one request, each has its own."""
    first, second = sealed(), sealed()
    with pytest.raises(NotForUs):
        sealed_box.open_key(first.keys[0], second, OWNER, KEY)


def test_one_bit_makes_it_void() -> None:
    """Of the ciphertext, the nonce, or the sealed key."""
    blob = sealed()
    data_key = sealed_box.open_key(blob.keys[0], blob, OWNER, KEY)

    def turned(data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:]

    for bad in (
        attrs.evolve(blob, ciphertext=turned(blob.ciphertext)),
        attrs.evolve(blob, nonce=turned(blob.nonce)),
    ):
        with pytest.raises(BadSignature):
            sealed_box.decrypt(bad, OWNER, data_key)
        with pytest.raises(NotForUs):
            sealed_box.open_key(blob.keys[0], bad, OWNER, KEY)
    bad_key = attrs.evolve(blob.keys[0], sealed=turned(blob.keys[0].sealed))
    with pytest.raises(BadSignature):
        sealed_box.open_key(bad_key, blob, OWNER, KEY)


def test_lengths_are_hidden_in_steps() -> None:
    """A password of 8 bytes and one of 80 look alike."""
    lengths = {
        len(sealed(SecretContents((NamedValue("db", b"x" * size),))).ciphertext)
        for size in (0, 8, 80)
    }
    assert len(lengths) == 1


def test_no_value_stands_in_a_text_or_in_the_blob() -> None:
    """What logs and errors show of them, and what lies on disks."""
    blob = sealed()
    shown = repr((CONTENTS, blob, blob.keys)) + str(CONTENTS)
    assert "horse" not in shown
    assert "word" not in shown
    assert VALUE not in encode_struct(blob)


def test_a_peer_key_that_is_no_point_gets_nothing() -> None:
    """A refusal, and no crash of whoever seals."""
    blob = sealed()
    with pytest.raises(BadSignature):
        sealed_box.seal_key(blob, OWNER, b"k" * 32, (NODE, PeerKey(b"\0" * 32)))


def test_what_is_too_long_is_no_blob() -> None:
    """Before anything in it is looked at."""
    with pytest.raises(Malformed):
        sealed_box.read_blob(bytes(limits.SECRET_BLOB_MAX_BYTES + 1))


def test_the_largest_fits() -> None:
    """All bounds at once."""
    half = limits.SECRETS_TOTAL_MAX_BYTES // 2
    contents = SecretContents(
        (NamedValue("a" * 64, bytes(half)), NamedValue("b" * 64, bytes(half))),
        "u" * limits.REGISTRY_AUTH_MAX_BYTES,
        "p" * limits.REGISTRY_AUTH_MAX_BYTES,
    )
    recipients = [to(KEY)] * limits.SECRET_RECIPIENTS_MAX
    blob = sealed_box.encrypt(contents, OWNER, sealed_box.new_data_key(), recipients)
    assert sealed_box.read_blob(sealed_box.blob_bytes(blob)) == blob


@settings(max_examples=200)
@given(st.binary(max_size=600))
def test_any_bytes_are_a_refusal(data: bytes) -> None:
    """As a blob, and as a sealed key."""
    blob = sealed()
    with pytest.raises(Refusal):
        sealed_box.read_blob(data)
    key = SealedKey(*to(KEY), data[: limits.SEALED_KEY_MAX_BYTES])
    with pytest.raises(Refusal):
        sealed_box.open_key(key, blob, OWNER, KEY)


def test_what_an_earlier_version_sealed_still_opens() -> None:
    """The blob of the file was made once, and lies beside logs: its form does not change."""
    golden = json.loads(GOLDEN.read_text())
    data = bytes.fromhex(golden["blob"])
    assert digest(data).hex() == golden["digest"]
    blob = sealed_box.read_blob(data)
    assert sealed_box.blob_bytes(blob) == data
    key = blob.key_for(*to(KEY))
    assert key is not None
    data_key = sealed_box.open_key(key, blob, OWNER, SigningKey(bytes.fromhex(golden["peer_seed"])))
    assert data_key.hex() == golden["data_key"]
    assert sealed_box.decrypt(blob, OWNER, data_key) == CONTENTS
