"""What is in a version 3 keystore: read however wallets write it, and opened within bounds.

Whoever has the bytes may open them: a command that read a file, or a program that has them from
somewhere else. `name` is what errors call the file.
Source: "Web3 Secret Storage Definition", version 3.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from p2pool.model import limits
from p2pool.model.errors import BadKey
from p2pool.model.ids import ADDRESS_BYTES, Address
from p2pool.wire.account import Account
from p2pool.wire.keystore import ciphers

KEY_BYTES = 32
_DERIVED_MAX_BYTES = 1024


def open_keystore(keystore: Mapping[str, Any], passphrase: str, name: object) -> Account:
    """The account in a keystore. `BadKey`: wrong passphrase, or the key of another address than it
    says. Asks `work` first, for who is to be told that it takes a while."""
    work(keystore["crypto"], name)
    try:
        key = ciphers.decrypt(keystore["crypto"], passphrase)
    except ciphers.WrongPassphrase as error:
        raise BadKey(
            f"Wrong passphrase for the key file {name}.",
            hint="Try again; the file was not changed.",
        ) from error
    except ValueError as error:
        raise _not_keystore(name) from error
    try:
        account = Account(key)
    except ValueError as error:
        raise BadKey(f"What is in the key file {name} is no key of an account.") from error
    said = address_in(keystore, name)
    if said is not None and said != bytes.fromhex(account.address[2:]):
        raise BadKey(
            f"The key in {name} belongs to {account.address.lower()}, and the file says"
            f" 0x{said.hex()}.",
            hint="Somebody changed one of them: take the file from its backup.",
        )
    return account


def address_in(keystore: Mapping[str, Any], name: object) -> Address | None:
    """The address in a keystore, None where there is none. `BadKey`: it is no address."""
    said = keystore.get("address")
    if said in (None, ""):
        return None
    try:
        address = bytes.fromhex(str(said).lower().removeprefix("0x"))
    except ValueError:
        address = b""
    if len(address) != ADDRESS_BYTES:
        raise BadKey(f"The address in the key file {name} is none: 40 hex digits.")
    return Address(address)


def work(crypto: Mapping[str, Any], name: object) -> int:
    """The bytes that deriving the key takes, 0 if few. `BadKey`: so much memory or time that the
    file would stop this machine, or no numbers."""
    parameters, kdf = crypto["kdfparams"], crypto.get("kdf")
    if kdf not in ("scrypt", "pbkdf2"):
        raise _not_keystore(name)
    names = ("n", "r", "p", "dklen") if kdf == "scrypt" else ("c", "dklen")
    *numbers, length = (parameters.get(one) for one in names)
    if not all(type(number) is int and number > 0 for number in (*numbers, length)):
        raise _not_keystore(name)
    if not KEY_BYTES <= length <= _DERIVED_MAX_BYTES:
        raise _not_keystore(name)
    needed = math.prod(numbers) * (128 if kdf == "scrypt" else 1)
    most = limits.KEYSTORE_WORK_MAX_BYTES if kdf == "scrypt" else limits.KEYSTORE_ROUNDS_MAX
    if needed > most:
        raise BadKey(
            f"Opening the key file {name} would take more memory or time than any wallet asks for.",
            hint="It is damaged, or made to stop this machine.",
        )
    return needed if kdf == "scrypt" else 0


def keystore_of(data: bytes, name: object) -> dict[str, Any]:
    """A version 3 keystore with its names in lower case and its hex without 0x: wallets differ.
    `BadKey`: it is none."""
    if len(data) > limits.KEYSTORE_MAX_BYTES:
        raise BadKey(f"The key file {name} is longer than {limits.KEYSTORE_MAX_BYTES} bytes.")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_keystore(name) from error
    keystore = _plain(value)
    if not isinstance(keystore, dict):
        raise _not_keystore(name)
    crypto = keystore.get("crypto")
    if str(keystore.get("version")) != "3" or not isinstance(crypto, dict):
        raise _not_keystore(name)
    if not all(isinstance(crypto.get(part), dict) for part in ("kdfparams", "cipherparams")):
        raise _not_keystore(name)
    if str(crypto.get("cipher")).lower() != ciphers.CIPHER:  # Another would give another key.
        raise _not_keystore(name)
    kdf = crypto.get("kdf")
    crypto["kdf"] = kdf.lower() if isinstance(kdf, str) else kdf
    return keystore


def _plain(value: Any) -> Any:
    """A part of a keystore as most wallets write it."""
    if isinstance(value, dict):
        return {str(key).lower(): _plain(item) for key, item in value.items()}
    if isinstance(value, str) and value[:2] in ("0x", "0X"):
        return value[2:]
    return value


def _not_keystore(name: object) -> BadKey:
    return BadKey(
        f"The key file {name} is not a version 3 keystore.",
        hint="Name a keystore as geth, MetaMask and other wallets write them.",
    )
