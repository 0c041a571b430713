"""An account's key that signs: what commands need of `eth_account`, without its second of imports.

A signature is that of `eth_account`, byte for byte: deterministic (RFC 6979), with the lower s.
"""

from collections.abc import Callable
from typing import Protocol

from p2pool.wire.keccak import keccak


class HasKey(Protocol):
    """An account of ours, or of `eth_account`."""

    @property
    def address(self) -> str:
        """0x and 40 hex digits."""
        ...

    @property
    def key(self) -> bytes:
        """The private key, 32 bytes."""
        ...


class Account:
    """A private key with its address. Raises ValueError for a number that is no key."""

    __slots__ = ("_key", "address")

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes."""
        from coincurve import PrivateKey

        if len(key) != 32:
            raise ValueError("a key has 32 bytes")
        public = PrivateKey(key).public_key.format(compressed=False)
        self._key = bytes(key)
        self.address = "0x" + keccak(public[1:])[-20:].hex()

    @property
    def key(self) -> bytes:
        """The private key."""
        return self._key

    def __repr__(self) -> str:
        return f"Account({self.address})"


def checksummed(address: bytes) -> str:
    """An address whose capitals are its checksum (EIP-55), as wallets show it."""
    digits = address.hex()
    hashed = keccak(digits.encode()).hex()
    return "0x" + "".join(
        one.upper() if int(by, 16) >= 8 else one for one, by in zip(digits, hashed, strict=False)
    )


def sign_hash(account: HasKey, hashed: bytes) -> bytes:
    """65 bytes r, s, v with v 27 or 28."""
    from coincurve import PrivateKey

    no_hash: Callable[[bytes], bytes] | None = None
    made = PrivateKey(bytes(account.key)).sign_recoverable(hashed, hasher=no_hash)
    return made[:64] + bytes([made[64] + 27])
