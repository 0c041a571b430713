"""The JSON in which signed things travel between a client and an agent's API.

    {"request": {"action": "submit", "pool_id": 1, "target": "", "spec_json": "{...}",
                 "request_id": "<64 hex>", "not_before_s": 1, "not_after_s": 2},
     "signature": "0x...", "delegation": {"delegation": {...}, "signature": "0x..."},
     "secrets": "<base64>"}

Where a contract account signed, `contract` beside the signature names it. What is inside a
delegation: `codec.json.delegations`. Bytes are hex, with or without `0x`. Reading is strict and
finds every problem at once; what is signed is the typed data (`wire.typed_data`), never this form,
so it may be laid out in any way.
"""

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from p2pool.codec.json.delegations import (
    UINT64_MAX,
    UINT256_MAX,
    account_signature,
    contract_account,
    contract_json,
    hex_bytes,
    signed_delegation,
    signed_delegation_json,
)
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.duplicates import repeated
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.json.reader import Reader
from p2pool.model import limits
from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.access.grants import LogGrant, SignedGrant
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Malformed
from p2pool.model.ids import (
    ADDRESS_BYTES,
    DIGEST_BYTES,
    TASK_ID_BYTES,
    Address,
    AllocationId,
    NodeId,
    TaskId,
)

if TYPE_CHECKING:
    # Imports every message: too much for a client that sends one request.
    from p2pool.model.ports.agent import LogOptions


def read_allocation(text: str) -> AllocationId | None:
    """`<32 hex digits>.<replica>`, or None if the text has another form."""
    head, dot, tail = text.partition(".")
    task = unhex(head, TASK_ID_BYTES)
    if task is None or not dot or not re.fullmatch(r"0|[1-9][0-9]{0,8}", tail):
        return None
    return AllocationId(TaskId(task), int(tail))


def load(body: bytes) -> Any:
    """The JSON value of a body; `Malformed` if the text is not JSON."""
    try:
        text = body.decode("utf-8")
        if too_deep(text):
            raise Malformed("The body is nested too deeply.", hint="Send a plain JSON object.")
        return json.loads(text, object_pairs_hook=_once, parse_float=_number, parse_constant=_none)
    except ValueError as error:  # of the text, or of its encoding
        raise Malformed(f"The body is not JSON: {error}", hint="Send a JSON object.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys come once: of two values one would be passed over in silence."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = min(repeated(key for key, _ in pairs))
        raise Malformed(f"The body has the key {twice[:64]!r} twice.", hint="Send it once.")
    return made


def _number(text: str) -> int | float:
    """JSON knows no whole numbers: 5.0 is 5."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _none(text: str) -> float:
    """Python reads these words; JSON does not have them."""
    raise Malformed(f"The body is not JSON: {text} is no value.", hint="Send a JSON object.")


# --- requests -----------------------------------------------------------------------------------


def request_json(signed: SignedRequest, secrets: bytes | None = None) -> dict[str, Any]:
    """A signed request as plain JSON values, with the blob of its secrets, if it has any."""
    request = signed.request
    plain: dict[str, Any] = {
        "request": {
            "action": request.action.value,
            "pool_id": request.pool_id,
            "target": request.target,
            "spec_json": request.spec_json,
            "request_id": request.request_id.hex(),
            "not_before_s": request.not_before_s,
            "not_after_s": request.not_after_s,
        },
        "signature": "0x" + signed.signature.hex(),
        **contract_json(signed.contract),
    }
    if secrets is not None:
        plain["secrets"] = base64.b64encode(secrets).decode()
    return _with_delegation(plain, signed.delegation)


def read_request(value: Any) -> SignedRequest:
    """The signed request in a JSON value; `Malformed` with all `problems`."""
    problems: list[str] = []
    reader = Reader(value, "body", problems)
    request = reader.table("request", _request, None)
    signature, contract, delegation = _signed(reader)
    if request is None:
        reader.missing("request")
    reader.finish()
    _raise(problems, "The request is not good")
    assert request is not None
    return SignedRequest(request, signature, delegation, contract)


def take_secrets(value: Any) -> bytes | None:
    """Take the blob of encrypted secrets out of the JSON value of a request, if it has one;
    `Malformed` if it is none."""
    if not isinstance(value, dict) or "secrets" not in value:
        return None
    text = value.pop("secrets")
    most = 4 * -(-limits.SECRET_BLOB_MAX_BYTES // 3)
    if not isinstance(text, str) or len(text) > most:
        raise Malformed(f"The body's secrets are not text of at most {most} characters.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("The body's secrets are not in Base64.") from error


def _request(r: Reader) -> TaskRequest:
    action = r.choice("action", Action, None)
    pool_id = r.number("pool_id", None, 0, UINT256_MAX)
    target = r.text("target", "", rule=_any_text)
    spec_json = r.take("spec_json")
    if spec_json is not None and not isinstance(spec_json, str):
        r.problem("spec_json", "is not text: it is the specification as it was signed")
    elif isinstance(spec_json, str) and len(spec_json) > limits.SPEC_JSON_MAX_BYTES:
        r.problem("spec_json", f"is longer than {limits.SPEC_JSON_MAX_BYTES} bytes")
    return TaskRequest(
        action=action,
        pool_id=pool_id,
        target=target,
        spec_json=spec_json if isinstance(spec_json, str) else "",
        request_id=hex_bytes(r, "request_id", DIGEST_BYTES),
        not_before_s=r.number("not_before_s", None, 0, UINT64_MAX),
        not_after_s=r.number("not_after_s", None, 0, UINT64_MAX),
    )


# --- log grants ---------------------------------------------------------------------------------


def grant_json(signed: SignedGrant) -> dict[str, Any]:
    """A signed log grant as plain JSON values."""
    grant = signed.grant
    plain: dict[str, Any] = {
        "grant": {
            "pool_id": grant.pool_id,
            "task": grant.task,
            "not_before_s": grant.not_before_s,
            "not_after_s": grant.not_after_s,
        },
        "signature": "0x" + signed.signature.hex(),
        **contract_json(signed.contract),
    }
    return _with_delegation(plain, signed.delegation)


def logs_json(signed: SignedGrant, options: "LogOptions") -> dict[str, Any]:
    """What is posted to read a log: the grant, and which part of the log to read."""
    return grant_json(signed) | {
        "follow": options.follow,
        "tail_lines": options.tail_lines,
        "since_ms": options.since_ms,
    }


def read_logs(value: Any) -> tuple[SignedGrant, "LogOptions"]:
    """The grant and options of a log request; `Malformed` with all `problems`."""
    from p2pool.model.ports.agent import LogOptions

    problems: list[str] = []
    reader = Reader(value, "body", problems)
    grant = reader.table("grant", _grant, None)
    signature, contract, delegation = _signed(reader)
    if grant is None:
        reader.missing("grant")
    options = LogOptions(
        reader.flag("follow", False),
        reader.number("tail_lines", -1, -1, limits.LOG_TAIL_MAX_LINES),
        reader.number("since_ms", 0, 0, UINT64_MAX),
    )
    reader.finish()
    _raise(problems, "The log request is not good")
    assert grant is not None
    return SignedGrant(grant, signature, delegation, contract), options


def _grant(r: Reader) -> LogGrant:
    return LogGrant(
        r.number("pool_id", None, 0, UINT256_MAX),
        r.text("task", rule=_any_text),
        r.number("not_before_s", None, 0, UINT64_MAX),
        r.number("not_after_s", None, 0, UINT64_MAX),
    )


# --- invites ------------------------------------------------------------------------------------


def invite_json(invite: Invite) -> dict[str, Any]:
    """An invite as plain JSON values: what a manager hands to a future member."""
    return {
        "domain_id": invite.domain_id,
        "pool_id": invite.pool_id,
        "node_id": address_text(invite.node_id),
        "nonce": str(invite.nonce),
        "expiration_s": invite.expiration_s,
        "signature": "0x" + invite.signature.hex(),
    }


def read_invite(value: Any) -> Invite:
    """The invite in a JSON value; `Malformed` with all `problems`. `nonce` may be text, because
    JavaScript's numbers cannot hold it."""
    problems: list[str] = []
    r = Reader(value, "invite", problems)
    nonce = r.left.get("nonce")
    if isinstance(nonce, str) and re.fullmatch(r"[0-9]{1,78}", nonce):
        r.left["nonce"] = int(nonce)
    invite = Invite(
        domain_id=r.number("domain_id", None, 0, UINT256_MAX),
        pool_id=r.number("pool_id", None, 0, UINT256_MAX),
        node_id=NodeId(hex_bytes(r, "node_id", ADDRESS_BYTES)),
        nonce=r.number("nonce", None, 0, UINT256_MAX),
        expiration_s=r.number("expiration_s", None, 0, UINT64_MAX),
        signature=account_signature(r),
    )
    r.finish()
    _raise(problems, "The invite is not good")
    return invite


# --- shared -------------------------------------------------------------------------------------


def _with_delegation(plain: dict[str, Any], signed: SignedDelegation | None) -> dict[str, Any]:
    if signed is not None:
        plain["delegation"] = signed_delegation_json(signed)
    return plain


def _signed(r: Reader) -> tuple[bytes, Address | None, SignedDelegation | None]:
    """The signature, the contract account that is said to have made it, and the delegation."""
    signature, contract = account_signature(r), contract_account(r)
    return signature, contract, r.table("delegation", signed_delegation, None)


def _any_text(text: str) -> str:
    return "" if len(text) <= limits.TEXT_MAX_BYTES else "is too long"


def _raise(problems: list[str], sentence: str) -> None:
    if problems:
        raise Malformed(f"{sentence}: {'; '.join(problems)}.", problems=tuple(problems))
