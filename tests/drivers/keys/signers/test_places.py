"""A key is found where its words say, and is read no more often than it can be."""

import json
import os
from pathlib import Path

import pytest
from eth_keyfile.keyfile import create_keyfile_json

from p2pool.drivers.input_files import forget_input
from p2pool.drivers.keys.signers import opener
from p2pool.drivers.keys.signers.place import (
    Descriptor,
    ExternalSigner,
    KeyFile,
    is_there,
    key_place,
    remembered,
)
from p2pool.model.errors import BadKey, Misconfigured
from p2pool.model.ids import Address
from p2pool.wire.account import Account

KEY, SECRET = bytes(range(1, 33)), "a passphrase"
ADDRESS = Account(KEY).address


def descriptor(data: bytes) -> int:
    """The reading end of a pipe that holds this."""
    forget_input()
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


def test_words_name_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, descriptors, programs; and the same words find them again from elsewhere."""
    monkeypatch.chdir(tmp_path)
    account = Address(b"\xab" * 20)
    table = {
        "node.json": KeyFile(tmp_path / "node.json"),
        "./clef:x": KeyFile(tmp_path / "clef:x"),
        "-": KeyFile(Path("-")),
        "fd:3": Descriptor(3),
        "/dev/fd/12": Descriptor(12),
        "/proc/self/fd/4": Descriptor(4),
        "clef:/run/clef.ipc": ExternalSigner("/run/clef.ipc"),
        "clef:clef.ipc": ExternalSigner(str(tmp_path / "clef.ipc")),
        f"clef:/run/clef.ipc#0x{'ab' * 20}": ExternalSigner("/run/clef.ipc", account),
        "clef:http://127.0.0.1:8550": ExternalSigner("http://127.0.0.1:8550"),
        f"clef:https://h/p?q#0x{'AB' * 20}": ExternalSigner("https://h/p?q", account),
    }
    for words, place in table.items():
        assert key_place(words) == place
        assert key_place(place) is place
        kept = remembered(place)
        assert (kept == "") == (words == "-" or isinstance(place, Descriptor))
        assert not kept or key_place(kept) == place
    assert remembered(None) == ""


@pytest.mark.parametrize(
    "words",
    ["fd:0", "fd:2", "/dev/fd/1", "fd:", "fd:x", "fd:-3", "clef:", "clef:#0x12", "clef:/a#b",
     "clef:http://", "clef:http://h:99999"],
)  # fmt: skip
def test_words_that_name_none_are_refused(words: str) -> None:
    """With a hint of the form."""
    with pytest.raises(Misconfigured) as told:
        key_place(words)
    assert told.value.hint


def test_a_descriptor_holds_a_plain_key_or_a_keystore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe is read once, though its address is asked first; then it is closed."""
    monkeypatch.delenv("P2POOL_PASSPHRASE", raising=False)
    for text in (KEY.hex(), f"0x{KEY.hex().upper()}\n"):
        number = descriptor(text.encode())
        place = key_place(f"fd:{number}")
        assert is_there(place)
        assert opener.key_address(place).hex() == ADDRESS[2:]
        assert opener.open_signer(place).address == ADDRESS
        with pytest.raises(OSError):
            os.fstat(number)
    stored = create_keyfile_json(KEY, SECRET.encode(), kdf="pbkdf2", iterations=2)
    (secret := tmp_path / "secret").write_text(SECRET)
    place = key_place(f"fd:{descriptor(json.dumps(stored).encode())}")
    assert opener.key_address(place).hex() == ADDRESS[2:]
    assert opener.open_signer(place, passphrase_file=secret).address == ADDRESS
    stored.pop("address")
    place = key_place(f"fd:{descriptor(json.dumps(stored).encode())}")
    assert opener.address_said(place) is None
    with pytest.raises(BadKey, match="does not say its address"):
        opener.key_address(place)


def test_what_no_key_can_be_made_of_is_refused(tmp_path: Path) -> None:
    """And a passphrase that nothing reads."""
    for data in (b"", b"hello", b"\xff\xfe", bytes(64).hex().encode(), b"{}"):
        with pytest.raises(BadKey):
            opener.open_signer(key_place(f"fd:{descriptor(data)}"))
    with pytest.raises(BadKey, match="secp256k1"):
        opener.open_signer(key_place(f"fd:{descriptor(b'0' * 64)}"))
    (long := tmp_path / "long").write_bytes(b"x" * 70_000)
    forget_input()
    with pytest.raises(BadKey, match="more than"):
        opener.open_signer(Descriptor(os.open(long, os.O_RDONLY)))
    closed = descriptor(b"")
    os.close(closed)
    assert not is_there(Descriptor(closed))
    with pytest.raises(BadKey, match="cannot be read"):
        opener.open_signer(Descriptor(closed))
    (secret := tmp_path / "secret").write_text(SECRET)
    with pytest.raises(Misconfigured, match="needs none"):
        opener.open_signer(
            key_place(f"fd:{descriptor(KEY.hex().encode())}"), passphrase_file=secret
        )
    with pytest.raises(Misconfigured, match="another program holds"):
        opener.open_signer(key_place("clef:/nowhere"), passphrase_file=secret)
    forget_input()
