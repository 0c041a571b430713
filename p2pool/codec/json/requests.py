"""The JSON in which signed things travel between a client and an agent's API.

    {"request": {"action": "submit", "pool_id": 1, "target": "", "spec_json": "{...}",
                 "request_id": "<64 hex>", "not_before_s": 1, "not_after_s": 2},
     "signature": "0x...", "delegation": {"delegation": {...}, "signature": "0x..."}}

Bytes are hex, with or without `0x`. Reading is strict and finds every problem at once; what is
signed is the typed data (`wire.typed_data`), never this form, so it may be laid out in any way.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.duplicates import repeated
from p2pool.codec.json.hex import _HEX, address_text, unhex
from p2pool.codec.json.reader import Reader, Rule
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Scope, SignedDelegation
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

UINT64_MAX = 2**64 - 1
UINT256_MAX = 2**256 - 1
_SCOPES = tuple(scope.name.lower() for scope in Scope)


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


def request_json(signed: SignedRequest) -> dict[str, Any]:
    """A signed request as plain JSON values."""
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
    }
    return _with_delegation(plain, signed.delegation)


def read_request(value: Any) -> SignedRequest:
    """The signed request in a JSON value; `Malformed` with all `problems`."""
    problems: list[str] = []
    reader = Reader(value, "body", problems)
    request = reader.table("request", _request, None)
    signature, delegation = _signed(reader)
    if request is None:
        reader.missing("request")
    reader.finish()
    _raise(problems, "The request is not good")
    assert request is not None
    return SignedRequest(request, signature, delegation)


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
        request_id=_bytes(r, "request_id", DIGEST_BYTES),
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
    signature, delegation = _signed(reader)
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
    return SignedGrant(grant, signature, delegation), options


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
        node_id=NodeId(_bytes(r, "node_id", ADDRESS_BYTES)),
        nonce=r.number("nonce", None, 0, UINT256_MAX),
        expiration_s=r.number("expiration_s", None, 0, UINT64_MAX),
        signature=_signature(r),
    )
    r.finish()
    _raise(problems, "The invite is not good")
    return invite


# --- shared -------------------------------------------------------------------------------------


def _with_delegation(plain: dict[str, Any], signed: SignedDelegation | None) -> dict[str, Any]:
    if signed is not None:
        given = signed.delegation
        plain["delegation"] = {
            "delegation": {
                "pool_id": given.pool_id,
                "delegate": address_text(given.delegate),
                "scope": given.scope.name.lower(),
                "not_before_s": given.not_before_s,
                "not_after_s": given.not_after_s,
            },
            "signature": "0x" + signed.signature.hex(),
        }
    return plain


def _signed(r: Reader) -> tuple[bytes, SignedDelegation | None]:
    return _signature(r), r.table("delegation", _signed_delegation, None)


def _signed_delegation(r: Reader) -> SignedDelegation | None:
    given = r.table("delegation", _delegation, None)
    if given is None:
        r.missing("delegation")
    signature = _signature(r)
    return SignedDelegation(given, signature) if given is not None else None


def _delegation(r: Reader) -> Delegation | None:
    return Delegation(
        pool_id=r.number("pool_id", None, 0, UINT256_MAX),
        delegate=Address(_bytes(r, "delegate", ADDRESS_BYTES)),
        scope=Scope[r.word("scope", _SCOPES).upper()],
        not_before_s=r.number("not_before_s", None, 0, UINT64_MAX),
        not_after_s=r.number("not_after_s", None, 0, UINT64_MAX),
    )


def _signature(r: Reader) -> bytes:
    """A signature of bounded length: contract accounts have long ones."""

    def rule(text: str) -> str:
        if (found := _HEX.fullmatch(text)) is None or not found[1]:
            return "is not a signature in hex"
        most = limits.ACCOUNT_SIGNATURE_MAX_BYTES
        return f"is longer than {most} bytes" if len(found[1]) > 2 * most else ""

    found = _HEX.fullmatch(r.text("signature", rule=rule))
    return bytes.fromhex(found[1]) if found else b""


def _bytes(r: Reader, key: str, size: int) -> bytes:
    rule: Rule = lambda text: (  # noqa: E731
        "" if unhex(text, size) is not None else f"is not {size} bytes in hex"
    )
    return unhex(r.text(key, rule=rule), size) or b""


def _any_text(text: str) -> str:
    return "" if len(text) <= limits.TEXT_MAX_BYTES else "is too long"


def _raise(problems: list[str], sentence: str) -> None:
    if problems:
        raise Malformed(f"{sentence}: {'; '.join(problems)}.", problems=tuple(problems))
