"""Transactions of an EVM chain: the digest to sign, and the whole with its signature.

Two kinds: legacy with a chain id (EIP-155), and EIP-1559. They are encoded here and not by
eth-account, which costs a second to import; tests compare with it, byte for byte. What another
program signed is put together anew from the signature alone, so that nothing it may have changed
gets through: a changed field recovers to another account.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pool.model.ids import ADDRESS_BYTES, Digest
from p2pool.model.ports.signer import SignedTransaction
from p2pool.wire.evm import rlp
from p2pool.wire.keccak import keccak

_DYNAMIC = b"\x02"
_COMMON = {"chainId", "nonce", "gas", "value"}
_LEGACY = _COMMON | {"gasPrice"}
_FEE_MARKET = _COMMON | {"maxFeePerGas", "maxPriorityFeePerGas"}
_ALSO = {"to", "data", "type", "from"}


def is_dynamic(transaction: Mapping[str, Any]) -> bool:
    """Whether it is an EIP-1559 transaction."""
    return "maxFeePerGas" in transaction


def transaction_digest(transaction: Mapping[str, Any]) -> Digest:
    """The 32 bytes that the sender signs."""
    fields, chain_id = _fields(transaction), int(transaction["chainId"])
    if is_dynamic(transaction):
        return Digest(keccak(_DYNAMIC + rlp.encode(fields)))
    return Digest(keccak(rlp.encode([*fields, rlp.number(chain_id), b"", b""])))


def with_signature(transaction: Mapping[str, Any], signature: bytes) -> SignedTransaction:
    """The transaction with a signature of 65 bytes, r, s and 27 or 28."""
    odd = signature[64] - 27
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    fields = _fields(transaction)
    if is_dynamic(transaction):
        raw = _DYNAMIC + rlp.encode([*fields, *map(rlp.number, (odd, r, s))])
    else:
        v = 35 + 2 * int(transaction["chainId"]) + odd
        raw = rlp.encode([*fields, *map(rlp.number, (v, r, s))])
    return SignedTransaction(raw, keccak(raw))


def signature_in(raw: bytes) -> bytes:
    """The signature of a signed transaction of either kind, 65 bytes; ValueError if there is
    none."""
    body = raw[1:] if raw[:1] == _DYNAMIC else raw
    items = rlp.decode(body)
    last = [] if isinstance(items, bytes) else [one for one in items[-3:] if isinstance(one, bytes)]
    if len(last) != 3 or len(items) < 9:
        raise ValueError("it is no signed transaction")
    v, r, s = (int.from_bytes(item, "big") for item in last)
    if max(r, s).bit_length() > 256:
        raise ValueError("its signature is too long")
    # Legacy: 35 + 2 * chain id + y, or 27 + y without a chain; EIP-1559: y itself.
    odd = v if v in (0, 1) else (v - 27 if v in (27, 28) else (v - 35) % 2)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + odd])


def _fields(transaction: Mapping[str, Any]) -> list[rlp.Item]:
    """All fields before the signature, in their order."""
    dynamic = is_dynamic(transaction)
    needed, given = _FEE_MARKET if dynamic else _LEGACY, set(transaction)
    assert needed <= given <= needed | _ALSO | {"accessList"}, sorted(given ^ needed)
    assert not transaction.get("accessList"), "no transaction of ours has one"
    fees = ("maxPriorityFeePerGas", "maxFeePerGas") if dynamic else ("gasPrice",)
    head = ("nonce", *fees, "gas")
    fields: list[rlp.Item] = [rlp.number(int(transaction[name])) for name in head]
    to = as_bytes(transaction.get("to"))
    assert len(to) in (0, ADDRESS_BYTES)
    fields += [to, rlp.number(int(transaction["value"])), as_bytes(transaction.get("data"))]
    if dynamic:
        nothing: Sequence[rlp.Item] = []
        return [rlp.number(int(transaction["chainId"])), *fields, nothing]
    return fields


def as_bytes(value: Any) -> bytes:
    """Bytes, or what 0x and hex digits stand for; empty for None."""
    if value is None:
        return b""
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value)
