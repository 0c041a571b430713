"""Keystores are those of other wallets, and a file cannot ask for all of a machine."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account as EthAccount
from eth_keyfile.keyfile import create_keyfile_json

from p2pool.drivers.keys import keystore
from p2pool.model.errors import BadKey
from p2pool.model.ids import Address
from p2pool.wire.keystore import ciphers

KEY, SECRET = bytes(range(1, 33)), "pässword"
ADDRESS = Address(bytes.fromhex(EthAccount.from_key(KEY).address[2:]))

# From the definition of the format.
VECTOR = {
    "cipher": "aes-128-ctr",
    "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
    "kdf": "pbkdf2",
    "kdfparams": {
        "c": 262144,
        "dklen": 32,
        "prf": "hmac-sha256",
        "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
    },
    "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
}


def test_the_published_vector_opens() -> None:
    """PBKDF2, which others write."""
    key = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
    assert ciphers.decrypt(VECTOR, "testpassword").hex() == key
    with pytest.raises(ciphers.WrongPassphrase):
        ciphers.decrypt(VECTOR, "testpasswore")


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_theirs_open_here(kdf: Any, tmp_path: Path) -> None:
    """Of both kinds, as eth-account writes them."""
    made = create_keyfile_json(KEY, SECRET.encode(), kdf=kdf, iterations=1024)
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(made))
    opened = keystore.open_key_file(path, SECRET, note=lambda text: None)
    assert (opened.key, opened.address) == (KEY, "0x" + ADDRESS.hex())


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_a_longer_key_than_is_used_opens(kdf: Any) -> None:
    """The rest of it costs nothing: a file may ask for much more than 32 bytes."""
    made = create_keyfile_json(KEY, SECRET.encode(), kdf=kdf, iterations=1024)
    made["crypto"]["kdfparams"]["dklen"] = 1024
    assert bytes(EthAccount.decrypt(made, SECRET)) == KEY
    assert ciphers.decrypt(made["crypto"], SECRET) == KEY


def test_what_takes_more_than_the_first_library_allows_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound of a keystore's memory is a little above that of `hashlib`."""
    made = ciphers.encrypt(KEY, ADDRESS, SECRET, n=1024)
    monkeypatch.setattr(ciphers, "_HASHLIB_MEMORY_MAX_BYTES", 0)
    assert ciphers.decrypt(made["crypto"], SECRET) == KEY


def test_ours_open_there() -> None:
    """And each has its own salt and vector."""
    made = ciphers.encrypt(KEY, ADDRESS, SECRET, n=1024)
    assert bytes(EthAccount.decrypt(made, SECRET)) == KEY
    again = ciphers.encrypt(KEY, ADDRESS, SECRET, n=1024)
    assert made["crypto"]["ciphertext"] != again["crypto"]["ciphertext"]


@pytest.mark.parametrize(
    "change",
    [
        {"kdfparams": {"n": 2**24, "r": 8, "p": 1, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": 2**20, "r": 2**20, "p": 1, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": 1024, "r": 8, "p": 2**29, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": 1000, "r": 8, "p": 1, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": "1024", "r": 8, "p": 1, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": True, "r": 8, "p": 1, "dklen": 32, "salt": "00"}},
        {"kdfparams": {"n": 1024, "r": 8, "p": 1, "dklen": 16, "salt": "00"}},
        {"kdfparams": {"n": 1024, "r": 8, "p": 1, "dklen": 32, "salt": 7}},
        {"kdfparams": None},
        {"kdf": "md5"},
        {"kdf": "pbkdf2", "kdfparams": {"c": 2**40, "prf": "hmac-sha256", "dklen": 32, "salt": ""}},
        {"kdf": "pbkdf2", "kdfparams": {"c": 1, "prf": "hmac-md5", "dklen": 32, "salt": ""}},
        {"cipher": "aes-256-ctr"},
        {"cipherparams": {"iv": "00"}},
        {"cipherparams": []},
        {"ciphertext": "xyz"},
        {"ciphertext": ""},
        {"mac": None},
    ],
)
def test_a_hostile_file_is_refused_at_once(change: dict[str, Any], tmp_path: Path) -> None:
    """With a sentence, before it takes memory or time."""
    made = ciphers.encrypt(KEY, ADDRESS, SECRET, n=1024)
    made["crypto"] |= change
    path = tmp_path / "key.json"
    path.write_text(json.dumps(made))
    began = time.process_time()
    with pytest.raises(BadKey):
        keystore.open_key_file(path, SECRET, note=lambda text: None)
    assert time.process_time() - began < 1
