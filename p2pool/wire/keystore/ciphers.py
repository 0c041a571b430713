"""The version 3 keystore ("Web3 Secret Storage"): how a passphrase turns into a key, and that into
a cipher with a check.

geth and eth-account write and read the same; tests open theirs here and ours there. How much a file
may ask for, and how differently wallets write it, is for `keystore` to see to first.
"""

import hashlib
import hmac
import os
import uuid
from collections.abc import Mapping
from typing import Any, cast

from p2pool.model.ids import Address
from p2pool.wire.keccak import keccak

CIPHER = "aes-128-ctr"
_DERIVED_BYTES = 32
_HASHLIB_MEMORY_MAX_BYTES = 2**31 - 1


class WrongPassphrase(ValueError):
    """The file is good, and the passphrase is not its own."""


def encrypt(key: bytes, address: Address, passphrase: str, *, n: int) -> dict[str, Any]:
    """A keystore with a fresh salt and vector; `n`: scrypt's cost."""
    salt, vector = os.urandom(32), os.urandom(16)
    parameters = {"dklen": _DERIVED_BYTES, "n": n, "r": 8, "p": 1, "salt": salt.hex()}
    derived = _derive("scrypt", parameters, passphrase)
    hidden = _counter_mode(derived[:16], vector, key)
    return {
        "address": address.hex(),
        "crypto": {
            "cipher": CIPHER,
            "cipherparams": {"iv": vector.hex()},
            "ciphertext": hidden.hex(),
            "kdf": "scrypt",
            "kdfparams": parameters,
            "mac": keccak(derived[16:32] + hidden).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }


def decrypt(crypto: Mapping[str, Any], passphrase: str) -> bytes:
    """The key in the `crypto` of a keystore; `WrongPassphrase`, or ValueError if it is none."""
    try:
        hidden = _hex(crypto["ciphertext"])
        vector = _hex(crypto["cipherparams"]["iv"])
        mac = _hex(crypto["mac"])
        if str(crypto["cipher"]).lower() != CIPHER or len(vector) != 16 or not hidden:
            raise ValueError("another cipher than AES-128 in counter mode")
        derived = _derive(crypto["kdf"], crypto["kdfparams"], passphrase)
    except (KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError("it lacks what a keystore has") from error
    if not hmac.compare_digest(keccak(derived[16:32] + hidden), mac):
        raise WrongPassphrase("the check differs")
    return _counter_mode(derived[:16], vector, hidden)


def _derive(name: Any, parameters: Mapping[str, Any], passphrase: str) -> bytes:
    """The first bytes of what is derived: nothing uses more, however much a file asks for."""
    salt, secret = _hex(parameters["salt"]), passphrase.encode()
    if name == "scrypt":
        return _scrypt(secret, salt, *(parameters[one] for one in ("n", "r", "p")))
    if name == "pbkdf2" and parameters["prf"] == "hmac-sha256":
        return hashlib.pbkdf2_hmac("sha256", secret, salt, parameters["c"], _DERIVED_BYTES)
    raise ValueError("another key derivation than scrypt or PBKDF2")


def _scrypt(secret: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (n + p + 2) + 2**20
    if memory <= _HASHLIB_MEMORY_MAX_BYTES:
        return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, dklen=_DERIVED_BYTES, maxmem=memory)
    from Crypto.Protocol.KDF import scrypt

    return cast(bytes, scrypt(secret, salt, _DERIVED_BYTES, n, r, p))  # type: ignore[arg-type]


def _counter_mode(key: bytes, vector: bytes, data: bytes) -> bytes:
    from Crypto.Cipher import AES

    start = int.from_bytes(vector, "big")
    return bytes(AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=start).encrypt(data))


def _hex(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not hex")
    return bytes.fromhex(value.removeprefix("0x"))
