"""Lines of JSON, each with a check of its own: the form of all that a validator keeps in files.

Invariants: a line is `CHECK JSON`, where CHECK is the first 16 hex digits of the SHA-256 of the
JSON's bytes; keys are sorted, so the same record has the same bytes. Anything else is `Malformed`.
"""

import hashlib
import json
from typing import Any

from p2pool.codec.json.depth import too_deep
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, Address

CHECK_DIGITS = 16


def line_of(told: dict[str, Any]) -> bytes:
    """A record as a line."""
    body = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    line = _check(body) + b" " + body + b"\n"
    if len(line) > limits.JOURNAL_LINE_MAX_BYTES:
        raise Malformed("A record is too long to be kept.")
    return line


def told_by(line: bytes) -> dict[str, Any]:
    """The record in a line; `Malformed` for any other bytes."""
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


def number_in(value: object) -> int:
    """A number; `ValueError` for anything else."""
    if type(value) is not int or not 0 <= value <= limits.CHAIN_NUMBER_MAX:
        raise ValueError("a number is none")
    return value


def text_in(value: object) -> str:
    """A text; `ValueError` for anything else."""
    if not isinstance(value, str):
        raise ValueError("a text is none")
    return value


def address_in(value: object) -> Address:
    """An address; `ValueError` for anything else."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("an address is none")
    found = bytes.fromhex(value[2:])
    if len(found) != ADDRESS_BYTES:
        raise ValueError("an address is none")
    return Address(found)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:CHECK_DIGITS].encode()
