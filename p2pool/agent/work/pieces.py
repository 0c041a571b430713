"""Pieces of work: how a file or a line of a copy becomes a key and a number of units.

Intuition: a judge of work takes each key once and counts its units. A file is its own name: its
SHA-256 digest, which a validator who runs the task again can compare. A line has no such name, so
its place is digested: pool, copy, attempt, and the how manieth of that attempt it is.

Invariants: pure; the same file or line gives the same piece, on whatever day it is read.
Source: `model.tasks.spec.WorkRequest`; docs/containers.md, "Work".
"""

import json
from typing import Any

import attrs

from p2pool.codec.digests import digest
from p2pool.codec.json.depth import too_deep
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import AllocationId, PoolRef
from p2pool.model.tasks.spec import WorkRequest


@attrs.frozen
class Source:
    """Where a piece comes from. `number`: of a file the time at which its copy ended, of a line
    how many that attempt had written with it."""

    allocation: AllocationId
    attempt: int
    number: int

    def __str__(self) -> str:
        """As the journal and people name it."""
        return f"{self.allocation}.{self.attempt}.{self.number}"


def of_file(work: WorkRequest, content: bytes) -> tuple[bytes, int]:
    """Key and units of a file; `Malformed` says what it should have said."""
    if not content:
        raise Malformed("The file is empty.", hint="Write it before the task ends.")
    key = bytes.fromhex(work.key[2:]) if work.key else digest(content)
    return key, work.units or _checked(_units_in(content))


def of_line(work: WorkRequest, pool: PoolRef, source: Source, value: float) -> tuple[bytes, int]:
    """Key and units of a line, which no other line of any pool has."""
    place = f"{pool.chain_id} {pool.contract.hex()} {pool.pool_id}"
    key = digest(f"p2pool work {place} {source}".encode())
    return key, work.units or _checked(int(value) if value.is_integer() else None)


def _units_in(content: bytes) -> Any:
    try:
        text = content.decode()
        value = None if too_deep(text) else json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value.get("units") if isinstance(value, dict) else None


def _checked(units: Any) -> int:
    if type(units) is not int or not 0 < units <= limits.WORK_UNITS_MAX:
        raise Malformed(
            f"It says no number of units, a whole one from 1 to {limits.WORK_UNITS_MAX}.",
            hint='Write {"units": 12} into the file, or {"NAME": 12} as a line; or state work.units'
            " in the specification.",
        )
    return units
