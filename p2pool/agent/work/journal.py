"""The journal of pieces: what was found to submit, and what became of it, on the agent's disk.

Intuition: between finding a piece and its block lie an agent that may die and a chain that may not
answer. So a piece is on disk before anything of it is sent, and its end is on disk before the next
one is looked at; whoever starts again asks the chain for what is open, and for nothing else.

Invariants: a line of JSON for each word on a piece, with a check; the last line of a source is what
is true of it, and one that is over stays over. A last line without its end is a write that nobody
acted on, and is cut off; any other damage is told, and never taken for an empty journal.
"""

import hashlib
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.agent.work.pieces import Source
from p2pool.codec.text.clip import clipped
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, StoreFailed
from p2pool.model.ids import AllocationId, NodeId, TaskId

FOLDER = "work"
"""In a data directory."""
_CHECK_DIGITS = 16


class PieceState(StrEnum):
    """Where a piece is."""

    WAITING = "waiting"
    SUBMITTED = "submitted"
    REFUSED = "refused"
    INVALIDATED = "invalidated"


@attrs.frozen(kw_only=True)
class Piece:
    """A piece of a copy here. `key` empty: the source names none, and `why` says why."""

    source: Source
    key: bytes
    units: int
    state: PieceState
    at_ms: int
    transaction: str = ""
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is to be submitted still."""
        return self.state is PieceState.WAITING


@attrs.define
class PieceJournal:
    """The pieces of one node, oldest first. Call `load` before anything else."""

    path: Path
    pieces: dict[Source, Piece] = attrs.field(factory=dict)
    open: dict[Source, Piece] = attrs.field(factory=dict)
    """Those that are to be submitted, in the order in which they were found."""
    lines: int = 0
    _torn_at: int | None = None
    _order: trio.Lock = attrs.field(factory=trio.Lock)

    @classmethod
    def of(cls, directory: Path, node_id: NodeId) -> "PieceJournal":
        """A node's, in a data directory: one that gets another key begins with none."""
        return cls(directory / FOLDER / f"{node_id.hex()}.journal")

    async def load(self) -> None:
        """Read it. `Misconfigured`: it is damaged, or cannot be read."""
        async with self._order:
            await trio.to_thread.run_sync(self.read)

    async def keep(self, piece: Piece) -> None:
        """Keep a word on a piece; on the disk when it returns. `StoreFailed`: it is not."""
        async with self._order:
            anew = self.lines > 2 * limits.WORK_KEPT_MAX
            kept = _latest(self.pieces | {piece.source: piece}) if anew else self.pieces
            lines = [_line(one) for one in (kept.values() if anew else (piece,))]
            await trio.to_thread.run_sync(self._write, b"".join(lines), anew)
            self.pieces, self.lines = kept, len(lines) + (0 if anew else self.lines)
            self.pieces[piece.source] = piece
            self.open.pop(piece.source, None)
            if piece.is_open:
                self.open[piece.source] = piece

    def read(self) -> None:
        """As `load`, for whoever has no loop. Blocks."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read: {error.strerror}.",
                hint="Run this as the user who runs the agent.",
            ) from error
        *lines, torn = data.split(b"\n")
        try:
            found = [_piece(line) for line in lines]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Misconfigured(
                f"{self.path}, which says what work this agent has submitted, is damaged: {error}.",
                hint="Move it away: what containers still hold is read again, and what the chain"
                " has is not submitted twice.",
            ) from error
        self.pieces = {one.source: one for one in found}
        self.open = {source: one for source, one in self.pieces.items() if one.is_open}
        self.lines = len(found)
        self._torn_at = len(data) - len(torn) if torn else None

    def _write(self, data: bytes, anew: bool) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if anew:
                aside = self.path.with_name(f".{self.path.name}.new")
                _append(aside, data, 0)
                aside.replace(self.path)
            else:
                _append(self.path, data, self._torn_at)
            self._torn_at = None
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreFailed(
                f"Work cannot be kept in {self.path}: {error.strerror}.",
                hint="Nothing of it is submitted. Make room on that disk, or check whose it is.",
            ) from error


def _append(path: Path, data: bytes, cut_at: int | None) -> None:
    """At the end of a file, or at `cut_at`; a write that fails half-way is taken back."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb", buffering=0) as file:
        if cut_at is not None:
            file.truncate(cut_at)
        before = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def _latest(pieces: dict[Source, Piece]) -> dict[Source, Piece]:
    """Those that wait, and of the others the latest."""
    over = [source for source, one in pieces.items() if not one.is_open]
    gone = dict.fromkeys(over[: max(0, len(over) - limits.WORK_KEPT_MAX)])
    return {source: one for source, one in pieces.items() if source not in gone}


def _line(piece: Piece) -> bytes:
    source = piece.source
    told = {
        "task": source.allocation.task_id.hex(),
        "replica": source.allocation.replica,
        "attempt": source.attempt,
        "number": source.number,
        "key": piece.key.hex(),
        "units": piece.units,
        "state": piece.state.value,
        "at_ms": piece.at_ms,
        "transaction": piece.transaction,
        "why": clipped(piece.why, limits.TEXT_MAX_BYTES),
    }
    body = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return _check(body) + b" " + body + b"\n"


def _piece(line: bytes) -> Piece:
    check, _, body = line.partition(b" ")
    if check != _check(body):
        raise ValueError("a line does not agree with its check")
    told: dict[str, Any] = json.loads(body)
    copy = AllocationId(TaskId(bytes.fromhex(told["task"])), told["replica"])
    return Piece(
        source=Source(copy, told["attempt"], told["number"]),
        key=bytes.fromhex(told["key"]),
        units=told["units"],
        state=PieceState(told["state"]),
        at_ms=told["at_ms"],
        transaction=told["transaction"],
        why=told["why"],
    )


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_CHECK_DIGITS].encode()
