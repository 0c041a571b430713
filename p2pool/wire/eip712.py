"""EIP-712 typed data for p2pool: digests, signatures by accounts, and who made a signature.

The domain is {name "p2pool", version "1", chain id, pool contract}; the pool's number is a field of
each type. A signature is r, s, v with v 27 or 28 and the lower s (EIP-2), so that nobody can make a
second signature out of a first. eth-account costs a second to import, hence only inside functions.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from p2pool.model.errors import BadSignature, Malformed
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Address, Digest, PoolRef

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

NAME = "p2pool"
VERSION = "1"
UINT64_MAX = 2**64 - 1

Fields = Sequence[tuple[str, str]]
"""(Solidity type, name) of each field of a typed struct."""

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def full_message(
    pool: PoolRef, primary: str, fields: Fields, data: Mapping[str, Any]
) -> dict[str, Any]:
    """The typed data as a wallet takes them (`eth_signTypedData_v4`)."""
    domain = [("string", "name"), ("string", "version"), ("uint256", "chainId")]
    domain.append(("address", "verifyingContract"))
    return {
        "types": {"EIP712Domain": _members(domain), primary: _members(fields)},
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
    """The 32 bytes that are signed (EIP-712, `hashStruct` under the domain); `Malformed` when a
    value does not fit its type."""
    from eth_abi.exceptions import EncodingError
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    try:
        signable = encode_typed_data(full_message=message)
    except (EncodingError, ValueError, TypeError) as error:
        raise Malformed(f"The {message['primaryType']} has a value out of range.") from error
    return Digest(keccak(b"\x19" + signable.version + signable.header + signable.body))


def sign_digest(account: "LocalAccount", digest: Digest) -> bytes:
    """65 bytes r, s, v. Only for digests made here of typed data: see `typed_digest`."""
    from eth_typing import Hash32

    return bytes(account.unsafe_sign_hash(Hash32(digest)).signature)


def recover(digest: Digest, signature: bytes) -> Address:
    """The account that signed; `BadSignature` when the bytes are no signature in the one form.

    Any well-formed signature recovers to *some* account: the caller compares it with the right one.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature as NoSuchKey
    from eth_utils.exceptions import ValidationError

    if len(signature) != ETH_SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise BadSignature(
            "An account's signature has 65 bytes and ends with 27 or 28.",
            hint="Managers that are contracts cannot sign requests yet.",
        )
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if s > _HALF_ORDER:
        raise BadSignature("The signature has the upper of its two s values (EIP-2).")
    try:
        key = Signature(vrs=(signature[64] - 27, r, s)).recover_public_key_from_msg_hash(digest)
    except (NoSuchKey, ValidationError, ValueError) as error:
        raise BadSignature("The signature is not one of any account.") from error
    return Address(key.to_canonical_address())


def address_text(address: bytes) -> str:
    """An address as typed data take it."""
    return "0x" + address.hex()
