"""The form of the journal of acts: lines of JSON, each with a check of its own.

Intuition: a line is a whole act with its state, so the last line of an act is what is true of it,
and a reader needs nothing but the file and a text viewer. The first line says whose journal it is.

Invariant: a line is one of `checked_lines`, so the same act has the same bytes; anything else is
`Malformed`.
"""

from typing import Any

import attrs

from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, NodeId
from p2pool.validator.journal.checked_lines import (
    address_in,
    line_of,
    number_in,
    text_in,
    told_by,
)
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct
from p2pool.validator.policy.findings import WrongPiece

FORMAT = 1


@attrs.frozen
class Owner:
    """Whose acts they are: an account, on a network of a chain."""

    chain_id: int
    network: Address
    account: Address


def owner_line(owner: Owner) -> bytes:
    """The first line of a journal."""
    return line_of(
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
    return line_of(
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
            **({} if act.piece is None else {"piece": _piece_plain(act.piece)}),
        }
    )


def read_owner(line: bytes) -> Owner:
    """What `owner_line` wrote; `Malformed` for anything else."""
    told = told_by(line)
    try:
        if told["format"] != FORMAT:
            raise Malformed("another version of p2pool wrote it")
        return Owner(
            number_in(told["chain_id"]), address_in(told["network"]), address_in(told["account"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"its first line says no owner: {error}"[:200]) from error


def read_act(line: bytes) -> TakenAct:
    """What `act_line` wrote; `Malformed` for anything else."""
    told = told_by(line)
    try:
        findings = tuple(bytes.fromhex(one) for one in told["findings"])
        if not 0 < len(findings) <= limits.ACT_FINDINGS_MAX:
            raise ValueError("an act answers no findings, or too many")
        act = Act(
            kind=ActKind(told["kind"]),
            node_id=NodeId(address_in(told["node"])),
            provider=address_in(told["provider"]),
            findings=findings,
            at_ms=number_in(told["at_ms"]),
            reserve_wei=_wei(told["reserve_wei"]),
            amount_wei=_wei(told["amount_wei"]),
            piece=_piece_in(told["piece"]) if "piece" in told else None,
        )
        if (act.kind is ActKind.TAKE_BACK) is not (act.piece is not None):
            raise ValueError("work is taken back, and no other act, by its piece")
        if act.act_id.hex() != told["act_id"]:
            raise ValueError("the id of an act is another act's")
        return TakenAct(
            act=act,
            state=ActState(told["state"]),
            spent_wei=_wei(told["spent_wei"]),
            transaction=text_in(told["transaction"]),
            why=text_in(told["why"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error


def _piece_plain(piece: WrongPiece) -> dict[str, Any]:
    return {"pool": piece.pool_id, "key": piece.key.hex(), "units": str(piece.units)}


def _piece_in(told: dict[str, Any]) -> WrongPiece:
    key = bytes.fromhex(told["key"])
    if len(key) != limits.WORK_KEY_BYTES:
        raise ValueError("a key of work is none")
    return WrongPiece(number_in(told["pool"]), key, _wei(told["units"]))


def _wei(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 78:
        raise ValueError("an amount is none")
    return int(value)
