"""Keys come out of what geth, foundry and MetaMask write, and out of nothing else."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from Crypto.Cipher import AES
from eth_account import Account as EthAccount
from eth_keyfile.keyfile import create_keyfile_json

from p2pool.drivers.keys.key_import import imported_account
from p2pool.model import limits
from p2pool.model.errors import BadKey, Misconfigured
from p2pool.model.ids import Address
from p2pool.wire.keystore.exports import Export, accounts_in, derived_key, export_kind

KEY, SECRET = bytes(range(1, 33)), "pässword"
ADDRESS = EthAccount.from_key(KEY).address.lower()
PHRASE = "test test test test test test test test test test test junk"


def vault(
    rings: Any, password: str = SECRET, rounds: int | None = 600, nonce_bytes: int = 16
) -> dict[str, Any]:
    """A vault as MetaMask's browser-passworder makes one; without `rounds` an old one."""
    salt, nonce = os.urandom(32), os.urandom(nonce_bytes)
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds or 10_000, 32)
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
    hidden, tag = cipher.encrypt_and_digest(json.dumps(rings).encode())
    made: dict[str, Any] = {
        name: base64.b64encode(data).decode()
        for name, data in (("data", hidden + tag), ("iv", nonce), ("salt", salt))
    }
    if rounds is not None:
        made["keyMetadata"] = {"algorithm": "PBKDF2", "params": {"iterations": rounds}}
    return made


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
@pytest.mark.parametrize("with_address", [True, False])
def test_keystores_of_geth_and_foundry(kdf: Any, with_address: bool) -> None:
    """geth names the address, foundry's `cast wallet import` leaves it out."""
    made = create_keyfile_json(KEY, SECRET.encode(), kdf=kdf, iterations=1024)
    if not with_address:
        del made["address"]
    data = json.dumps(made).encode()
    assert export_kind(data, "f") is Export.KEYSTORE
    (found,) = accounts_in(data, SECRET, "f")
    assert (found.key, found.address) == (KEY, ADDRESS)
    with pytest.raises(BadKey, match="Wrong passphrase"):
        accounts_in(data, "wrong", "f")


@pytest.mark.parametrize("text", [KEY.hex(), "0x" + KEY.hex(), f"  {KEY.hex().upper()}\r\n"])
def test_a_private_key_as_metamask_shows_it(text: str) -> None:
    """With and without 0x, as it was copied."""
    assert export_kind(text.encode(), "f") is Export.PRIVATE_KEY
    (found,) = accounts_in(text.encode(), "", "f")
    assert found.address == ADDRESS


def test_a_vault_of_metamask_old_and_new() -> None:
    """Its phrase's accounts in their order, then single keys; hardware has none."""
    codes = list(PHRASE.encode())
    rings = [
        {"type": "HD Key Tree", "data": {"mnemonic": codes, "numberOfAccounts": 3}},
        {"type": "Simple Key Pair", "data": [KEY.hex()]},
        {"type": "Ledger Hardware", "data": {"hdPath": "m/44'/60'/0'", "accounts": []}},
    ]
    EthAccount.enable_unaudited_hdwallet_features()
    derived = [
        EthAccount.from_mnemonic(PHRASE, account_path=f"m/44'/60'/0'/0/{number}").address.lower()
        for number in range(3)
    ]
    for rounds in (600, None):
        data = json.dumps(vault(rings, rounds=rounds)).encode()
        assert export_kind(data, "f") is Export.VAULT
        assert [one.address for one in accounts_in(data, SECRET, "f")] == [*derived, ADDRESS]
        with pytest.raises(BadKey, match="Wrong passphrase for the vault"):
            accounts_in(data, "wrong", "f")
    rings[0]["data"]["mnemonic"] = PHRASE  # type: ignore[index]
    again = accounts_in(json.dumps(vault(rings)).encode(), SECRET, "f")
    assert again[0].address == derived[0] == "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"


def test_a_phrase_derives_as_the_standard_says() -> None:
    """For numbers beyond the first, and for other phrases."""
    phrase = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon"
    phrase += " abandon about"
    EthAccount.enable_unaudited_hdwallet_features()
    for number in (0, 1, 77):
        theirs = EthAccount.from_mnemonic(phrase, account_path=f"m/44'/60'/0'/0/{number}")
        assert derived_key(phrase, number) == bytes(theirs.key)


@pytest.mark.parametrize(
    ("rings", "said"),
    [
        ([], "no key of its own"),
        ([{"type": "Trezor Hardware", "data": {}}], "no key of its own"),
        ([{"type": "Simple Key Pair", "data": ["12"]}], "cannot be read"),
        ({"no": "list"}, "cannot be read"),
        ([{"type": "HD Key Tree", "data": {"mnemonic": 7}}], "cannot be read"),
        (
            [{"type": "HD Key Tree", "data": {"mnemonic": PHRASE, "hdPath": "m/44'/1'/0'/0"}}],
            "another path",
        ),
    ],
)
def test_a_vault_without_a_usable_key_says_why(rings: Any, said: str) -> None:
    """Instead of another account than the wallet shows."""
    with pytest.raises(BadKey, match=said):
        accounts_in(json.dumps(vault(rings)).encode(), SECRET, "f")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"hello", b"\xff", b"[" * 3000, KEY.hex()[:-2].encode()]
)
def test_other_files_are_none(data: bytes) -> None:
    """With a hint of what to export."""
    with pytest.raises(BadKey) as told:
        export_kind(data, "f")
    assert told.value.hint


def test_a_vault_cannot_ask_for_all_of_a_machine() -> None:
    """The rounds are the file's to say, within a bound; damage is damage."""
    made = vault([])
    made["keyMetadata"]["params"]["iterations"] = limits.KEYSTORE_ROUNDS_MAX + 1
    for wrong in (made, {**made, "keyMetadata": {"params": {"iterations": "many"}}}):
        with pytest.raises(BadKey, match="longer than any wallet"):
            accounts_in(json.dumps(wrong).encode(), SECRET, "f")
    for wrong in ({**vault([]), "iv": "???"}, {**vault([]), "iv": ""}):
        with pytest.raises(BadKey, match="damaged"):
            accounts_in(json.dumps(wrong).encode(), SECRET, "f")


def test_of_several_accounts_one_is_named(tmp_path: Path) -> None:
    """And a passphrase that nothing needs is a mistake."""
    rings = [{"type": "Simple Key Pair", "data": [KEY.hex(), (b"k" * 32).hex()]}]
    (source := tmp_path / "vault").write_text(json.dumps(vault(rings)))
    (secret := tmp_path / "secret").write_text(SECRET)
    wanted = Address(bytes.fromhex(ADDRESS[2:]))
    assert imported_account(source, secret, wanted).key == KEY
    with pytest.raises(BadKey, match="several keys") as told:
        imported_account(source, secret, None)
    assert ADDRESS in told.value.message
    with pytest.raises(BadKey, match="does not hold the key of"):
        imported_account(source, secret, Address(bytes(20)))
    (plain := tmp_path / "plain").write_text(KEY.hex())
    with pytest.raises(Misconfigured, match="needs no passphrase"):
        imported_account(plain, secret, None)
    plain.write_text("x" * (limits.KEY_EXPORT_MAX_BYTES + 1))
    with pytest.raises(BadKey, match="longer than"):
        imported_account(plain, None, None)
    with pytest.raises(BadKey, match="cannot be read"):
        imported_account(tmp_path / "none", None, None)
