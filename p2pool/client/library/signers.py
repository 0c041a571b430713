"""Who signs: a key that is here, or whatever else a program has: a wallet, a KMS, another process.

A signer gets EIP-712 typed data as `eth_signTypedData_v4` takes it, so it sees in words what it
signs and for which pool, and gives back a signature. No agent chooses what is signed: the typed
data is made here.
"""

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from p2pool.codec.json.hex import _HEX, unhex
from p2pool.model import limits
from p2pool.model.access.delegations import DelegationFile
from p2pool.model.errors import BadKey, BadSignature, Malformed, Misconfigured, P2poolError
from p2pool.model.ids import ETH_SIGNATURE_BYTES

TypedData: TypeAlias = dict[str, Any]
"""Plain JSON values; bytes are `0x` hex."""

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Signer(Protocol):
    """Signs typed data: 65 bytes r, s, v, or the same in hex. A contract account's may be longer.
    For `AsyncClient` it may be an async function; one that blocks stops everything else there."""

    def __call__(self, typed_data: TypedData, /) -> bytes | str | Awaitable[bytes | str]:
        """The signature. What it raises, the caller of the client gets."""
        ...


class KeySigner:
    """A private key that signs here. Nothing shows it."""

    __slots__ = ("_account",)

    def __init__(self, private_key: bytes | str) -> None:
        """32 bytes, or 64 hex digits. `BadKey`: it is no key."""
        from p2pool.wire.account import Account

        raw = unhex(private_key.strip(), 32) if isinstance(private_key, str) else private_key
        try:
            self._account = Account(raw or b"")
        except ValueError as error:
            raise BadKey(
                "The private key is none: it has 32 bytes, written as 64 hex digits."
            ) from error

    @classmethod
    def from_keystore(cls, path: str | Path, passphrase: str) -> "KeySigner":
        """The key in a version 3 keystore, as `p2pool wallet new`, geth and MetaMask write it.
        `BadKey`: no such file, none of these, or another passphrase."""
        from p2pool.wire.keystore import contents

        data = read_file(path, limits.KEYSTORE_MAX_BYTES, "key file", BadKey)
        return cls(contents.open_keystore(contents.keystore_of(data, path), passphrase, path).key)

    @property
    def address(self) -> str:
        """The account: 0x and 40 hex digits."""
        return self._account.address

    def __call__(self, typed_data: TypedData, /) -> bytes:
        """The signature."""
        from p2pool.wire import eip712

        return eip712.sign_digest(self._account, eip712.typed_digest(raw_of(typed_data)))

    def __repr__(self) -> str:
        return f"KeySigner({self.address})"


def plain(value: Any) -> Any:
    """Typed data with bytes as `0x` hex, as wallets take it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def raw_of(typed_data: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse, for who signs here: `bytes32` as bytes."""
    members = typed_data["types"][typed_data["primaryType"]]
    kinds = {member["name"]: member["type"] for member in members}
    message = {
        name: bytes.fromhex(value[2:]) if kinds[name].startswith("bytes") else value
        for name, value in typed_data["message"].items()
    }
    return {**typed_data, "message": message}


def signature_of(given: object, *, contract: bool = False) -> bytes:
    """What a signer gave, in the one form that pools take: v 27 or 28, and the lower s. Wallets
    give v as 0 or 1 too, and services that know no chain either s (EIP-2). What a `contract` takes
    for its own stays as it is."""
    if isinstance(given, str) and (found := _HEX.fullmatch(given)) is not None:
        given = bytes.fromhex(found[1])
    if not isinstance(given, bytes | bytearray | memoryview) or not len(given):
        raise BadSignature(
            f"The signer gave no signature, but {type(given).__name__}.",
            hint="It has to return 65 bytes r, s, v, or these in hex.",
        )
    signature = bytes(given)
    if len(signature) > limits.ACCOUNT_SIGNATURE_MAX_BYTES:
        raise BadSignature(
            f"The signature is longer than {limits.ACCOUNT_SIGNATURE_MAX_BYTES} bytes."
        )
    if contract or len(signature) != ETH_SIGNATURE_BYTES:
        return signature
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    v += 27 if v < 27 else 0
    if s > _ORDER // 2 and v in (27, 28):
        s, v = _ORDER - s, 55 - v
    return signature[:32] + s.to_bytes(32, "big") + bytes([v])


def delegation_of(given: DelegationFile | str | Path) -> DelegationFile:
    """A delegation, or the one in a file that `p2pool access grant` wrote. `Misconfigured`: there
    is none in it; `BadSignature`: it is not its grantor's."""
    from p2pool.codec.json.delegations import read_delegation_file
    from p2pool.wire import typed_data

    if not isinstance(given, DelegationFile):
        data = read_file(given, limits.DELEGATION_FILE_MAX_BYTES, "delegation", Misconfigured)
        try:
            given = read_delegation_file(data)
        except Malformed as error:
            raise Misconfigured(f"{given}: {error.message}", hint=error.hint) from error
    typed_data.check_delegation_file(given)
    return given


def read_file(path: str | Path, most: int, what: str, kind: type[P2poolError]) -> bytes:
    """What is in a file, of which one byte more than `most` is read at most."""
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(most + 1)
    except (OSError, RuntimeError) as error:
        raise kind(f"The {what} {path} cannot be read: {error}.") from error
