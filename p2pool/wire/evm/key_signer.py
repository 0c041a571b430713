"""The signer of a key that is in this process.

Each digest that it signs is computed here from what is signed, never given.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from p2pool.model.ports.signer import SignedTransaction, Signer
from p2pool.wire import eip712
from p2pool.wire.account import HasKey, sign_hash
from p2pool.wire.keccak import keccak

AnySigner: TypeAlias = HasKey | Signer
"""An account's key, or whatever signs for the account."""


def signer_of(account: AnySigner) -> Signer:
    """The signer itself, or that of the key."""
    return KeySigner(cast(HasKey, account)) if hasattr(account, "key") else account


def personal_digest(data: bytes) -> bytes:
    """What a personal message is hashed to (EIP-191, version 0x45)."""
    return keccak(b"\x19Ethereum Signed Message:\n%d" % len(data) + data)


class KeySigner:
    """Signs with a key of ours, at once."""

    __slots__ = ("_account",)

    def __init__(self, account: HasKey) -> None:
        """Keep the account; its key does not leave this object."""
        self._account = account

    @property
    def address(self) -> str:
        """See the port."""
        return self._account.address.lower()

    def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """See the port."""
        return eip712.sign_digest(self._account, eip712.typed_digest(dict(message)))

    def sign_personal(self, data: bytes) -> bytes:
        """See the port."""
        return sign_hash(self._account, personal_digest(data))

    def sign_transaction(self, transaction: Mapping[str, Any]) -> SignedTransaction:
        """See the port."""
        from p2pool.wire.evm import transactions  # Only who sends one needs it.

        digest = transactions.transaction_digest(transaction)
        return transactions.with_signature(transaction, sign_hash(self._account, digest))

    def __repr__(self) -> str:
        return f"KeySigner({self.address})"
