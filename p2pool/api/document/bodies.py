"""The schemas of what is sent, and of every refusal. `codec.json.requests` reads bodies by the same
rules; what is signed is the typed data (`wire.typed_data`), whose fields these are."""

from typing import Any

from p2pool.model import limits
from p2pool.model.access.delegations import Scope
from p2pool.model.access.requests import Action
from p2pool.model.access.tokens import MEANINGS
from p2pool.model.ids import ADDRESS_BYTES, PoolRef

Schema = dict[str, Any]
_UINT64 = 2**64 - 1
_UINT256 = 2**256 - 1


def _object(words: str, required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": words,
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(words: str, **more: Any) -> Schema:
    return {"type": "string", "description": words, **more}


def _hex(words: str, size: int) -> Schema:
    return _text(words, pattern=f"^(?:0x)?[0-9a-fA-F]{{{2 * size}}}$")


def _number(words: str, most: int, **more: Any) -> Schema:
    return {"type": "integer", "description": words, "minimum": 0, "maximum": most, **more}


def _ref(name: str, words: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}", "description": words}


def bodies(pool: PoolRef) -> dict[str, Schema]:
    """The schemas by name, for an agent of this pool."""
    own = {
        "pool_id": {
            "type": "integer",
            "description": "The pool's number at its contract: this agent's pool.",
            "const": pool.pool_id,
        }
    }
    span = {
        "not_before_s": _number("In force from then on, Unix seconds.", _UINT64),
        "not_after_s": _number("In force until then, Unix seconds.", _UINT64),
    }
    signature = {
        "signature": _text(
            "The account's signature over the typed data (EIP-712) in hex: r, s and v; of a"
            " contract account, whatever its isValidSignature takes (ERC-1271).",
            pattern="^(?:0x)?(?:[0-9a-fA-F]{2})+$",
            maxLength=2 * limits.ACCOUNT_SIGNATURE_MAX_BYTES,
        )
    }
    contract = {
        "contract": _hex("The contract account that signed. Left out: a key did.", ADDRESS_BYTES)
    }
    delegated = {
        **contract,
        "delegation": _ref("SignedDelegation", "If another account gave the signer its right."),
    }
    return {
        "SignedRequest": _object(
            "A request to the pool, signed by an account that may make it.",
            {"request": _ref("TaskRequest", "What is asked."), **signature},
            {**delegated, **_secrets()},
        ),
        "TaskRequest": _task_request(own, span),
        "SignedDelegation": _object(
            "A right that an account gave another, with its signature.",
            {"delegation": _ref("Delegation", "What was given."), **signature},
            contract,
        ),
        "Delegation": _object(
            "What an account lets another do, and for how long.",
            {
                **own,
                "delegate": _hex("The account that may sign.", 20),
                "scope": _text("For what.", enum=[scope.name.lower() for scope in Scope]),
                **span,
            },
            {"quota": _ref("DelegationQuota", "Left out: nothing but the scope limits it.")},
        ),
        "DelegationQuota": _quota(),
        "LogRequest": _log_request(own, span, signature, delegated),
        "Invite": _invite(signature),
        "TokenRequest": _token_request(),
        "Problem": _problem(),
    }


EVENT: Schema = {
    "type": "object",
    "description": "One server-sent event.",
    "properties": {
        "id": _text("EPOCH.INDEX.NUMBER: go on after it."),
        "event": _text(
            "Its kind. `gap`: events up to this id are lost, and its details name the `oldest` that"
            " the agent has; `error`: the last one, and its data is a problem."
        ),
        "data": _text("JSON: id, at_ms, kind, subject, text and details."),
    },
    "required": ["event", "data"],
}


def _quota() -> Schema:
    most = limits.QUOTA_NUMBER_MAX
    return _object(
        "What the tasks of a delegate may use at once. What is left out is not limited; something"
        " is there.",
        {},
        {
            "max_gpus": _number("GPUs.", most),
            "max_cpu_milli": _number("Processors, in thousandths.", most) | {"minimum": 1},
            "max_replicas": _number("Copies.", most) | {"minimum": 1},
            "max_priority": _number("The highest priority of a task.", limits.PRIORITY_MAX),
            "name_prefix": _text(
                "How the name of each task begins.", pattern="^[a-z0-9][a-z0-9._-]{0,61}$"
            ),
        },
    ) | {"minProperties": 1}


def _secrets() -> dict[str, Schema]:
    words = "The blob of encrypted secrets whose digest the request names, in Base64."
    most = 4 * -(-limits.SECRET_BLOB_MAX_BYTES // 3)
    return {"secrets": _text(words, contentEncoding="base64", maxLength=most)}


def _task_request(own: dict[str, Schema], span: dict[str, Schema]) -> Schema:
    actions = [action.value for action in Action]
    return _object(
        "What an account asks of the pool.",
        {
            "action": _text("What to do.", enum=actions),
            **own,
            "request_id": _hex("32 random bytes: the request is carried out once.", 32),
            **span,
        },
        {
            "target": _text(
                "Of what: a task, a node, a setting or an account; empty for a submission.",
                maxLength=limits.TEXT_MAX_BYTES,
            ),
            "spec_json": _text(
                "The specification of a submission, or the value of a setting, as it was signed.",
                maxLength=limits.SPEC_JSON_MAX_BYTES,
            ),
        },
    )


def _log_request(
    own: dict[str, Schema],
    span: dict[str, Schema],
    signature: dict[str, Schema],
    delegated: dict[str, Schema],
) -> Schema:
    task = _text("The task's id.", maxLength=limits.TEXT_MAX_BYTES)
    grant = _object("A right to read one task's log.", {**own, "task": task, **span}, {})
    return _object(
        "A signed right to read, and which part of the log.",
        {"grant": grant, **signature},
        {
            **delegated,
            "follow": {"type": "boolean", "description": "Go on with lines as they come."},
            "tail_lines": {
                "type": "integer",
                "description": "So many of the last lines; -1: all.",
                "minimum": -1,
                "maximum": limits.LOG_TAIL_MAX_LINES,
            },
            "since_ms": _number("Lines since then, Unix milliseconds.", _UINT64),
        },
    )


def _invite(signature: dict[str, Schema]) -> Schema:
    nonce = {
        "description": "The invite's number; as text where a number would lose digits.",
        "oneOf": [
            {"type": "integer", "minimum": 0, "maximum": _UINT256},
            {"type": "string", "pattern": "^[0-9]{1,77}$"},
        ],
    }
    return _object(
        "A manager's signed word that a node may join.",
        {
            "domain_id": _number("The pool's domain.", _UINT256),
            "pool_id": _number("The pool's number.", _UINT256),
            "node_id": _hex("The node that may join.", 20),
            "nonce": nonce,
            "expiration_s": _number("Good until then, Unix seconds.", _UINT64),
            **signature,
        },
        {},
    )


def _token_request() -> Schema:
    meant = "; ".join(f"{scope}: {meaning}" for scope, meaning in MEANINGS.items())
    most = limits.API_TOKEN_LIFETIME_MAX_S
    return _object(
        "A token to be made.",
        {
            "name": _text(
                "By which it is listed and revoked.",
                pattern="^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
            ),
            "scope": _text(f"What it opens. {meant}.", enum=list(MEANINGS)),
        },
        {
            "lifetime_s": {
                "type": "integer",
                "description": "After so many seconds it ends; without it, when it is revoked.",
                "minimum": 1,
                "maximum": most,
            }
        },
    )


def _problem() -> Schema:
    """RFC 9457."""
    return _object(
        "Why a request was refused (RFC 9457).",
        {
            "type": _text("A URN of the error: `urn:p2pool:error:` and the code."),
            "title": _text("The code as words."),
            "status": {"type": "integer", "description": "The HTTP status."},
            "code": _text("The error's stable name."),
            "detail": _text("What is wrong, in a sentence."),
            "hint": _text("What to do about it; may be empty."),
        },
        {
            "problems": {
                "type": "array",
                "description": "All that is wrong, where several things may be.",
                "items": {"type": "string"},
            }
        },
    )
