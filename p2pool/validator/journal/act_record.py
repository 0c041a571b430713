"""The form of the journal of acts: lines of JSON, each with a check of its own.

Intuition: a line is a whole act with its state, so the last line of an act is what is true of it,
and a reader needs nothing but the file and a text viewer. The first line says whose journal it is.

Invariants: a line is `CHECK JSON`, where CHECK is the first 16 hex digits of the SHA-256 of the
JSON's bytes; keys are sorted, so the same act has the same bytes. Anything else is `Malformed`.
"""

import hashlib
import json
from typing import Any

import attrs

from p2pool.codec.json.depth import too_deep
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct

FORMAT = 1
CHECK_DIGITS = 16


@attrs.frozen
class Owner:
    """Whose acts they are: an account, on a network of a chain."""

    chain_id: int
    network: Address
    account: Address


def owner_line(owner: Owner) -> bytes:
    """The first line of a journal."""
    return _line(
        {
            "format": FORMAT,
            "chain_id": owner.chain_id,
            "network": "0x" + owner.network.hex(),
            "account": "0x" + owner.account.hex(),
        }
    )


def act_line(taken: TakenAct) -> bytes:
    """An act and its state, as a line."""
    act = taken.act
    return _line(
        {
            "act_id": act.act_id.hex(),
            "kind": act.kind.value,
            "node": "0x" + act.node_id.hex(),
            "provider": "0x" + act.provider.hex(),
            "findings": [one.hex() for one in act.findings],
            "at_ms": act.at_ms,
            "reserve_wei": str(act.reserve_wei),
            "amount_wei": str(act.amount_wei),
            "state": taken.state.value,
            "spent_wei": str(taken.spent_wei),
            "transaction": taken.transaction,
            "why": taken.why,
        }
    )


def read_owner(line: bytes) -> Owner:
    """What `owner_line` wrote; `Malformed` for anything else."""
    told = _told(line)
    try:
        if told["format"] != FORMAT:
            raise Malformed("another version of p2pool wrote it")
        return Owner(
            _number(told["chain_id"]), _address(told["network"]), _address(told["account"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"its first line says no owner: {error}"[:200]) from error


def read_act(line: bytes) -> TakenAct:
    """What `act_line` wrote; `Malformed` for anything else."""
    told = _told(line)
    try:
        findings = tuple(bytes.fromhex(one) for one in told["findings"])
        if not 0 < len(findings) <= limits.ACT_FINDINGS_MAX:
            raise ValueError("an act answers no findings, or too many")
        act = Act(
            kind=ActKind(told["kind"]),
            node_id=NodeId(_address(told["node"])),
            provider=_address(told["provider"]),
            findings=findings,
            at_ms=_number(told["at_ms"]),
            reserve_wei=_wei(told["reserve_wei"]),
            amount_wei=_wei(told["amount_wei"]),
        )
        if act.act_id.hex() != told["act_id"]:
            raise ValueError("the id of an act is another act's")
        return TakenAct(
            act=act,
            state=ActState(told["state"]),
            spent_wei=_wei(told["spent_wei"]),
            transaction=_text(told["transaction"]),
            why=_text(told["why"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error


def _line(told: dict[str, Any]) -> bytes:
    body = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    line = _check(body) + b" " + body + b"\n"
    if len(line) > limits.JOURNAL_LINE_MAX_BYTES:
        raise Malformed("An act is too long to be kept.")
    return line


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:CHECK_DIGITS].encode()


def _told(line: bytes) -> dict[str, Any]:
    check, space, body = line.partition(b" ")
    body = body.removesuffix(b"\n")
    if not space or check != _check(body):
        raise Malformed("a line does not agree with its check")
    try:
        text = body.decode("ascii")
        if too_deep(text):
            raise ValueError("it is nested too deeply")
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a line is no JSON: {error}"[:200]) from error
    if not isinstance(told, dict):
        raise Malformed("a line is no record")
    return told


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= limits.CHAIN_NUMBER_MAX:
        raise ValueError("a number is none")
    return value


def _wei(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 78:
        raise ValueError("an amount is none")
    return int(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is none")
    return value


def _address(value: object) -> Address:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("an address is none")
    found = bytes.fromhex(value[2:])
    if len(found) != ADDRESS_BYTES:
        raise ValueError("an address is none")
    return Address(found)
