"""Whatever signs for one account: a key in this process, or another program that holds it.

Intuition: the pool needs three kinds of signatures of an account: typed data (requests,
delegations, peer bindings), personal messages (a node's consent, a manager's invite) and
transactions. A signer is told in full what it signs, so that one with a person behind it can show
it.

Invariants: each call may block for as long as that person takes (`limits.SIGNER_PATIENCE_MS`), so
trio code calls it in a thread; what comes back was checked to be this account's signature of
exactly what was asked.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs


@attrs.frozen
class SignedTransaction:
    """A transaction as an endpoint takes it, and its hash."""

    raw_transaction: bytes
    hash: bytes


class Signer(Protocol):
    """Signs for one account; see the module. Raises `NotAllowed` if it refuses, `Unavailable` if it
    does not answer, `BadSignature` if it answers with something else."""

    @property
    def address(self) -> str:
        """The account: 0x and 40 hex digits."""
        ...

    def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """65 bytes r, s, v over typed data in the form that wallets take (EIP-712)."""
        ...

    def sign_personal(self, data: bytes) -> bytes:
        """65 bytes r, s, v over a personal message (EIP-191, version 0x45)."""
        ...

    def sign_transaction(self, transaction: Mapping[str, Any]) -> SignedTransaction:
        """A transaction, by the names of `eth_signTransaction`: legacy with `gasPrice`, or with
        `maxFeePerGas` and `maxPriorityFeePerGas` (EIP-1559)."""
        ...
