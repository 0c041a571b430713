"""Keys as other wallets hand them out: geth, foundry and MetaMask.

    keystore     geth, foundry (`cast wallet`), MyEtherWallet: version 3, scrypt or PBKDF2
    private key  MetaMask ("Show private key"), foundry (`cast wallet private-key`): 64 hex digits
    vault        MetaMask's own store of all accounts, as its vault decryptor takes it

A vault holds phrases and single keys. Of a phrase, the accounts that the wallet showed are derived
as it derives them (BIP-39 without a passphrase, BIP-32 along m/44'/60'/0'/0).
Source: MetaMask's browser-passworder; BIP-32, BIP-39, BIP-44.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.hex import unhex
from p2pool.model import limits
from p2pool.model.errors import BadKey
from p2pool.wire.account import Account
from p2pool.wire.keystore import contents

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_VAULT_ROUNDS = 10_000
"""Of a vault that does not say: as MetaMask had it before it said."""
_TAG_BYTES = 16
_HARDENED = 0x8000_0000
_PATH = (44 | _HARDENED, 60 | _HARDENED, _HARDENED, 0)
_PATH_TEXT = "m/44'/60'/0'/0"
_PHRASE_ROUNDS = 2048


class Export(StrEnum):
    """In which form a key is."""

    KEYSTORE = "keystore"
    PRIVATE_KEY = "private key"
    VAULT = "vault"


def export_kind(data: bytes, name: object) -> Export:
    """The form of a file. `BadKey`: it is none of these."""
    if _plain_key(data) is not None:
        return Export.PRIVATE_KEY
    if _vault(data) is not None:
        return Export.VAULT
    try:
        contents.keystore_of(data, name)
    except BadKey as error:
        raise BadKey(
            f"{name} holds no key: no keystore, no private key in 64 hex digits, no vault.",
            hint="Export it again: a keystore of geth or foundry, or a private key of MetaMask.",
        ) from error
    return Export.KEYSTORE


def accounts_in(data: bytes, passphrase: str, name: object) -> tuple[Account, ...]:
    """Every account in a file, in the order of the wallet. `BadKey`: wrong passphrase, or none."""
    kind = export_kind(data, name)
    if kind is Export.PRIVATE_KEY:
        key = _plain_key(data)
        assert key is not None
        return (_account(key, name),)
    if kind is Export.KEYSTORE:
        return (contents.open_keystore(contents.keystore_of(data, name), passphrase, name),)
    vault = _vault(data)
    assert vault is not None
    try:
        rings = json.loads(_opened(vault, passphrase, name))
        found = {one.address: one for ring in rings for one in _in_ring(ring, name)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadKey(f"The vault {name} opens, and what is in it cannot be read.") from error
    if not found:
        raise BadKey(
            f"The vault {name} holds no key of its own: its accounts are a hardware wallet's.",
            hint="Use that wallet through clef: --node-key clef:PATH.",
        )
    return tuple(found.values())


def _plain_key(data: bytes) -> bytes | None:
    try:
        return unhex(data.decode("ascii").strip(), contents.KEY_BYTES)
    except UnicodeDecodeError:
        return None


def _account(key: bytes, name: object) -> Account:
    try:
        return Account(key)
    except ValueError as error:
        raise BadKey(f"{name} holds no key that secp256k1 allows.") from error


# --- a vault ------------------------------------------------------------------------------------


def _vault(data: bytes) -> Mapping[str, Any] | None:
    """What a vault is made of, None if it is none."""
    try:
        text = data.decode()
        told = None if too_deep(text) else json.loads(text)
    except (UnicodeDecodeError, ValueError):
        return None
    if isinstance(told, dict) and all(isinstance(told.get(n), str) for n in ("data", "iv", "salt")):
        return told
    return None


def _opened(vault: Mapping[str, Any], passphrase: str, name: object) -> bytes:
    from Crypto.Cipher import AES

    meta = vault.get("keyMetadata")
    parameters = meta.get("params") if isinstance(meta, dict) else {}
    rounds = parameters.get("iterations") if isinstance(parameters, dict) else None
    rounds = _VAULT_ROUNDS if rounds is None else rounds
    if type(rounds) is not int or not 0 < rounds <= limits.KEYSTORE_ROUNDS_MAX:
        raise BadKey(
            f"Opening the vault {name} would take longer than any wallet asks for.",
            hint="It is damaged, or made to stop this machine.",
        )
    try:
        hidden, vector, salt = (
            base64.b64decode(vault[part], validate=True) for part in ("data", "iv", "salt")
        )
        key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, rounds, 32)
        cipher = AES.new(key, AES.MODE_GCM, nonce=vector, mac_len=_TAG_BYTES)
    except ValueError as error:
        raise BadKey(f"The vault {name} is damaged.") from error
    try:
        return bytes(cipher.decrypt_and_verify(hidden[:-_TAG_BYTES], hidden[-_TAG_BYTES:]))
    except ValueError as error:
        raise BadKey(
            f"Wrong passphrase for the vault {name}.",
            hint="It is the password of the wallet. The file was not changed.",
        ) from error


def _in_ring(ring: Mapping[str, Any], name: object) -> Iterator[Account]:
    """The accounts of one of a vault's keyrings; of hardware there are none."""
    told = ring["data"]
    if ring["type"] == "Simple Key Pair":
        for text in told:
            key = unhex(str(text), contents.KEY_BYTES)
            if key is None:
                raise ValueError("a key that is none")
            yield _account(key, name)
    elif ring["type"] == "HD Key Tree":
        if told.get("hdPath", _PATH_TEXT) != _PATH_TEXT:
            raise BadKey(
                f"The accounts in the vault {name} are on another path than {_PATH_TEXT}.",
                hint="Show the private key of the one you want in that wallet, and import that.",
            )
        phrase = told["mnemonic"]
        if not isinstance(phrase, str | list):
            raise ValueError("a phrase that is none")
        phrase = phrase if isinstance(phrase, str) else bytes(phrase).decode()
        count = min(int(told.get("numberOfAccounts", 1)), limits.SIGNER_ACCOUNTS_MAX)
        for number in range(count):
            yield _account(derived_key(phrase, number), name)


# --- a phrase -----------------------------------------------------------------------------------


def derived_key(phrase: str, number: int) -> bytes:
    """The private key of an account of a phrase (BIP-39, BIP-44 of Ethereum)."""
    seed = hashlib.pbkdf2_hmac("sha512", phrase.encode(), b"mnemonic", _PHRASE_ROUNDS)
    made = hmac.digest(b"Bitcoin seed", seed, "sha512")
    key, chain = made[:32], made[32:]
    for index in (*_PATH, number):
        key, chain = _child(key, chain, index)
    return key


def _child(key: bytes, chain: bytes, index: int) -> tuple[bytes, bytes]:
    """A step along the path (BIP-32); one in 2^127 has no key, and raises ValueError."""
    from coincurve import PrivateKey

    head = b"\0" + key if index & _HARDENED else PrivateKey(key).public_key.format(compressed=True)
    made = hmac.digest(chain, head + index.to_bytes(4, "big"), "sha512")
    added = int.from_bytes(made[:32], "big")
    total = (added + int.from_bytes(key, "big")) % _ORDER
    if added >= _ORDER or not total:
        raise ValueError("this step has no key")
    return total.to_bytes(32, "big"), made[32:]
