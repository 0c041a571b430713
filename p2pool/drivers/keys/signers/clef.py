"""A signer that speaks clef's external JSON-RPC: the key never comes to this process.

`account_signTypedData`, `account_signData` and `account_signTransaction` may each wait for a person
who reads in clef what is signed, or for its rules. clef rejects what it finds odd: an
address without its checksum, calldata whose function it does not know. So addresses are written
with it, and the function's signature, which our ABI knows, goes along.

Invariants: an answer counts only if its signature is the account's over exactly what we asked. A
transaction that was changed over there (its window lets people do that) is refused, not sent.
Source: go-ethereum, the external API of clef (version 6) and its change log.
"""

from collections.abc import Mapping
from typing import Any

from p2pool.codec.json.hex import address_text, unhex
from p2pool.drivers.chain.abi import signature_of
from p2pool.drivers.keys.signers import json_rpc
from p2pool.drivers.keys.signers.place import ExternalSigner
from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Misconfigured
from p2pool.model.ids import ADDRESS_BYTES, ETH_SIGNATURE_BYTES, Address, Digest
from p2pool.model.ports.signer import SignedTransaction
from p2pool.wire import eip712
from p2pool.wire.account import checksummed
from p2pool.wire.evm import transactions
from p2pool.wire.evm.key_signer import personal_digest

VERSIONS = range(5, 8)
"""The major versions of the external API that say what we ask in these words."""
_TEXT = "text/plain"


class ClefSigner:
    """One account of an external signer."""

    def __init__(self, place: ExternalSigner, account: Address) -> None:
        """See `open_clef`, which finds the account."""
        self._place, self._account = place, account

    @property
    def address(self) -> str:
        """See the port."""
        return address_text(self._account)

    def __repr__(self) -> str:
        return f"ClefSigner({self._place.shown}, {self.address})"

    def sign_typed(self, message: Mapping[str, Any]) -> bytes:
        """See the port."""
        digest = eip712.typed_digest(dict(message))
        given = self._ask("account_signTypedData", [self._named, _typed_json(message)])
        return self._checked(given, digest)

    def sign_personal(self, data: bytes) -> bytes:
        """See the port."""
        given = self._ask("account_signData", [_TEXT, self._named, "0x" + data.hex()])
        return self._checked(given, Digest(personal_digest(data)))

    def sign_transaction(self, transaction: Mapping[str, Any]) -> SignedTransaction:
        """See the port."""
        asked: list[Any] = [_transaction_json(transaction, self._named)]
        if transaction.get("to") and (called := signature_of(_data(transaction))) is not None:
            asked.append(called)
        given = self._ask("account_signTransaction", asked)
        raw = given.get("raw") if isinstance(given, dict) else given
        try:
            signature = transactions.signature_in(bytes.fromhex(str(raw).removeprefix("0x")))
        except ValueError as error:
            raise self._nonsense("no signed transaction") from error
        digest = transactions.transaction_digest(transaction)
        return transactions.with_signature(transaction, self._checked(signature, digest))

    @property
    def _named(self) -> str:
        return checksummed(self._account)

    def _ask(self, method: str, params: list[Any]) -> Any:
        place = self._place
        return json_rpc.ask(place.endpoint, place.shown, method, params, limits.SIGNER_PATIENCE_MS)

    def _checked(self, given: Any, digest: Digest) -> bytes:
        """A signature with v 27 or 28, if it is the account's over this digest."""
        made = unhex(given, ETH_SIGNATURE_BYTES) if isinstance(given, str) else given
        if not isinstance(made, bytes) or len(made) != ETH_SIGNATURE_BYTES:
            raise self._nonsense("no signature of 65 bytes")
        if made[64] < 27:
            made = made[:64] + bytes([made[64] + 27])
        if (signer := eip712.recover(digest, made)) != self._account:
            raise BadSignature(
                f"The signer at {self._place.shown} signed something else than was asked, or not as"
                f" {self.address}: the signature is that of {address_text(signer)}.",
                hint="It was changed over there. Approve what is shown as it is.",
            )
        return made

    def _nonsense(self, what: str) -> BadSignature:
        return BadSignature(
            f"The signer at {self._place.shown} answered with {what}.",
            hint="Check that it is clef, or speaks its external API.",
        )


def open_clef(place: ExternalSigner) -> ClefSigner:
    """The signer of the account that a place names, else of the only one that it has.
    `Misconfigured`: it speaks another protocol, or has none or several accounts."""
    told = _quick(place, "account_version", limits.SIGNER_CONNECT_MS)
    if str(told).partition(".")[0] not in map(str, VERSIONS):
        raise Misconfigured(
            f"The signer at {place.shown} has version {safe_text(str(told)[:80])!r} of its"
            " interface.",
            hint=f"This program knows versions {VERSIONS[0]} to {VERSIONS[-1]} of clef's.",
        )
    return ClefSigner(place, place.address or _only_account(place))


def _only_account(place: ExternalSigner) -> Address:
    told = _quick(place, "account_list", limits.SIGNER_PATIENCE_MS)
    found = [unhex(str(one), ADDRESS_BYTES) for one in told] if isinstance(told, list) else [None]
    accounts = [Address(one) for one in found[: limits.SIGNER_ACCOUNTS_MAX] if one is not None]
    if len(accounts) == len(found) == 1:
        return accounts[0]
    if not found:
        raise Misconfigured(
            f"The signer at {place.shown} has no account.", hint="Make one: clef newaccount."
        )
    if None in found:
        raise Misconfigured(f"The signer at {place.shown} lists something else than accounts.")
    named = ", ".join(address_text(one) for one in accounts)
    raise Misconfigured(
        f"The signer at {place.shown} has several accounts: {named}.",
        hint=f"Name one: clef:{place.shown}#{address_text(accounts[0])}",
    )


def _quick(place: ExternalSigner, method: str, patience_ms: int) -> Any:
    return json_rpc.ask(place.endpoint, place.shown, method, [], patience_ms)


def _data(transaction: Mapping[str, Any]) -> bytes:
    return transactions.as_bytes(transaction.get("data"))


def _transaction_json(transaction: Mapping[str, Any], sender: str) -> dict[str, Any]:
    """A transaction by clef's `SendTxArgs`: numbers as hex, addresses with their checksum."""
    told: dict[str, Any] = {"from": sender, "data": "0x" + _data(transaction).hex()}
    if transaction.get("to"):
        told["to"] = checksummed(transactions.as_bytes(transaction["to"]))
    names = ("nonce", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "value", "chainId")
    return told | {name: hex(int(transaction[name])) for name in names if name in transaction}


def _typed_json(message: Mapping[str, Any]) -> dict[str, Any]:
    """Typed data as clef reads it: numbers as text, since its JSON has no large ones."""
    domain = {**message["domain"], "chainId": hex(message["domain"]["chainId"])}
    kept = {name: _value(value) for name, value in message["message"].items()}
    return {**message, "domain": domain, "message": kept}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
