"""What is signed elsewhere: a file that says what to sign, and goes on once the signature is there.

Intuition: a wallet on another machine, or the owners of a contract account, cannot sign in the
middle of a command. So the command writes down the request as it is, the typed data that a wallet
shows, and the digest that a contract is asked about. `p2pool wallet send` puts the signature to it.

Invariants: the file holds nothing secret; what is sent is what was written, and the digest in it is
computed anew, for the pool of the agent that is asked.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from p2pool.cli.documents import json_text
from p2pool.codec.json.envelope import enveloped, unwrapped
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.requests import invite_json, read_invite, read_request, request_json
from p2pool.drivers.input_files import is_stdin, read_input
from p2pool.drivers.paths import absolute_path
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.errors import Malformed, Misconfigured

if TYPE_CHECKING:
    from p2pool.model.chain.invite import Invite
    from p2pool.model.ids import Address, PoolRef

UNSIGNED = "unsigned"
_REQUEST_KEYS = ("request", "contract", "delegation")


def write_request(
    path: Path, pool: "PoolRef", signed: SignedRequest, plain: Callable[[Any], Any]
) -> dict[str, Any]:
    """Write a request whose signature is yet to come; what was written. `plain`: gives typed data
    the form in which wallets take it."""
    from p2pool.wire.eip712 import typed_digest
    from p2pool.wire.typed_data import request_typed_data

    typed = request_typed_data(pool, signed.request)
    told = request_json(signed)
    del told["signature"]
    return _write(
        path, {**told, "digest": "0x" + typed_digest(typed).hex(), "typed_data": plain(typed)}
    )


def write_invite(path: Path, invite: "Invite", contract: "Address | None") -> dict[str, Any]:
    """Write an invite whose signature is yet to come; what was written. `message` is what wallets
    sign as a personal message, and `digest` what a contract is asked about."""
    from p2pool.drivers.chain.consent import invite_digest, personal_hash

    message = invite_digest(
        invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
    )
    plain = invite_json(invite)
    del plain["signature"]
    named = {} if contract is None else {"contract": address_text(contract)}
    told = {"message": "0x" + message.hex(), "digest": "0x" + personal_hash(message).hex()}
    return _write(path, {"invite": plain, **named, **told})


@attrs.frozen
class Unsigned:
    """What such a file holds."""

    data: dict[str, Any]

    @property
    def is_invite(self) -> bool:
        """Whether it is an invite, and no request."""
        return "invite" in self.data

    def request(self, pool: "PoolRef", signature: bytes) -> SignedRequest:
        """The request with its signature. `Malformed` if it is not what was to be signed, for this
        pool."""
        from p2pool.wire.eip712 import typed_digest
        from p2pool.wire.typed_data import request_typed_data

        told = {key: self.data[key] for key in _REQUEST_KEYS if key in self.data}
        signed = read_request({**told, "signature": "0x" + signature.hex()})
        digest = typed_digest(request_typed_data(pool, signed.request))
        if self.data.get("digest") != "0x" + digest.hex():
            raise Malformed(
                "The request is not the one whose digest the file names, for this agent's pool.",
                hint="Write it anew with --unsigned, and ask an agent of the same pool.",
            )
        return signed

    def invite(self, signature: bytes) -> "Invite":
        """The invite with its signature."""
        return read_invite({**self.data["invite"], "signature": "0x" + signature.hex()})


def read_unsigned(path: Path) -> Unsigned:
    """What `--unsigned` wrote; `Malformed` for any other file."""
    hint = "Name a file that --unsigned wrote."
    most = 4 * limits.SPEC_JSON_MAX_BYTES
    try:
        body = read_input(path, most, "unsigned request")
        found = unwrapped(json.loads(body.decode()))
    except OSError as error:
        raise Misconfigured(f"Cannot read {path}: {error.strerror}.", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{path} is not JSON.", hint=hint) from error
    if len(body) > most or not isinstance(found, dict):
        raise Malformed(f"{path} holds nothing that could be signed.", hint=hint)
    if not isinstance(found.get("invite", found.get("request")), dict):
        raise Malformed(f"{path} holds neither a request nor an invite.", hint=hint)
    return Unsigned(found)


def read_signature(given: str) -> bytes:
    """A signature in hex, or the first line of the file of that name that holds one."""
    text = given.strip()
    if not text.lower().startswith("0x"):
        path = Path("-") if text == "-" else absolute_path(text)
        try:
            text = read_input(path, 4 * limits.ACCOUNT_SIGNATURE_MAX_BYTES, "signature").decode()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{given!r} is neither a signature nor a file that holds one.",
                hint="Write it as 0x and hex digits, or name its file.",
            ) from error
    try:
        signature = bytes.fromhex(text.strip().lower().removeprefix("0x"))
    except ValueError:
        signature = b""
    if not 0 < len(signature) <= limits.ACCOUNT_SIGNATURE_MAX_BYTES:
        raise Malformed(
            f"A signature is 1 to {limits.ACCOUNT_SIGNATURE_MAX_BYTES} bytes in hex.",
            hint="Write it as 0x and hex digits, or name its file.",
        )
    return signature


def _write(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    text = json_text(enveloped(UNSIGNED, data, ()), indent=2) + "\n"
    if is_stdin(path):
        raise Misconfigured("What has to be signed goes into a file.", hint="Name one.")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Misconfigured(f"The file {path} already exists.", hint="Name another.") from error
    except OSError as error:
        raise Misconfigured(
            f"Cannot write {path}: {error.strerror}.", hint="Name another."
        ) from error
    return data
