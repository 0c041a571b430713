"""EIP-712 typed data for p2pool: digests, signatures by accounts, and signer recovery.

The domain is {name "p2pool", version "1", chain id, pool contract}; the pool's number is a field of
each type. A signature is r, s, v with v 27 or 28 and the lower s (EIP-2), so that nobody can derive
a second signature from a first.

Digests, signatures and recoveries are computed here and not by eth-account, which costs a second to
import, and whose general encoder takes three times as long: each write to the pool waits for one.
Tests compare every digest and signature with eth-account's.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from p2pool.model.errors import BadSignature, Malformed
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Address, Digest, PoolRef
from p2pool.wire.account import HasKey, sign_hash
from p2pool.wire.keccak import keccak, load

NAME = "p2pool"
VERSION = "1"
UINT64_MAX = 2**64 - 1

Fields = Sequence[tuple[str, str]]
"""(Solidity type, name) of each field of a typed struct."""

_DOMAIN: Fields = (
    ("string", "name"),
    ("string", "version"),
    ("uint256", "chainId"),
    ("address", "verifyingContract"),
)
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def full_message(
    pool: PoolRef, primary: str, fields: Fields, data: Mapping[str, Any]
) -> dict[str, Any]:
    """The typed data in the form that wallets take (`eth_signTypedData_v4`)."""
    return {
        "types": {"EIP712Domain": _members(_DOMAIN), primary: _members(fields)},
        "primaryType": primary,
        "domain": {
            "name": NAME,
            "version": VERSION,
            "chainId": pool.chain_id,
            "verifyingContract": "0x" + pool.contract.hex(),
        },
        "message": dict(data),
    }


def _members(fields: Fields) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for kind, name in fields]


def typed_digest(message: dict[str, Any]) -> Digest:
    """The 32 bytes to sign (EIP-712, `hashStruct` under the domain); `Malformed`: a value does
    not fit its type."""
    types, primary = message["types"], message["primaryType"]
    domain = message["domain"]
    separator = _separator(domain["chainId"], domain["verifyingContract"])
    try:
        hashed = _hash_struct(primary, types[primary], message["message"])
    except (ValueError, OverflowError) as error:
        raise Malformed(f"The {primary} has a value out of range.") from error
    return Digest(keccak(b"\x19\x01" + separator + hashed))


def _hash_struct(primary: str, members: list[dict[str, str]], data: Mapping[str, Any]) -> bytes:
    """Type hash and one word for each member: none of our types nests another, or a list."""
    kinds = ",".join(f"{member['type']} {member['name']}" for member in members)
    words = [_word(member["type"], data[member["name"]]) for member in members]
    return keccak(_type_hash(f"{primary}({kinds})") + b"".join(words))


def _word(kind: str, value: Any) -> bytes:
    """A value as 32 bytes; ValueError, OverflowError if it does not fit."""
    if kind == "string":
        return keccak(str(value).encode())
    if kind == "address":
        return bytes.fromhex(value[2:]).rjust(32, b"\0")
    if kind == "bytes32":
        if len(value) != 32:
            raise ValueError("not 32 bytes")
        return bytes(value)
    assert kind.startswith("uint"), kind
    number = int(value).to_bytes(int(kind[4:]) // 8, "big")
    return number.rjust(32, b"\0")


@cache
def _type_hash(text: str) -> bytes:
    return keccak(text.encode())


@lru_cache(maxsize=16)
def _separator(chain_id: int, contract: str) -> bytes:
    """The domain's hash: the same for everything that is signed in a pool."""
    data = {
        "name": NAME,
        "version": VERSION,
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    try:
        return _hash_struct("EIP712Domain", _members(_DOMAIN), data)
    except OverflowError as error:
        raise Malformed("The chain's id is out of range.") from error


def sign_digest(account: HasKey, digest: Digest) -> bytes:
    """65 bytes r, s, v. Only for digests of typed data made here: see `typed_digest`."""
    return sign_hash(account, digest)


def recover(digest: Digest, signature: bytes) -> Address:
    """The account that signed; `BadSignature` if the bytes are not a signature in the one form.

    Any well-formed signature recovers to *some* account: the caller compares it with the right one.
    """
    from coincurve import PublicKey

    load()
    if len(signature) != ETH_SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise BadSignature(
            "An account's signature has 65 bytes and ends with 27 or 28.",
            hint="Of a contract account, name the contract as well: --contract ADDRESS.",
        )
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise BadSignature("The signature has the upper of its two s values (EIP-2).")
    compact = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError as error:
        raise BadSignature("The signature recovers to no account.") from error
    return Address(keccak(key.format(compressed=False)[1:])[-20:])
