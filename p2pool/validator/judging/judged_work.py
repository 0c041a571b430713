"""What a validator has read and judged of a pool's work, in a file of its directory.

    work-POOL.json    the first block that was not read, the pieces that wait, and those judged

Intuition: a judge may take minutes over a piece, and the process may end at any time. So a piece is
on the disk as waiting before the block that has it counts as read, and as judged before anybody
acts on it: nothing is judged twice, and nothing is left out.

Invariants: the file is replaced whole, and is on the disk when a method returns; it is bounded: the
oldest that was judged is forgotten first, right or unknown before wrong. Damage is told, and never
taken for an empty file. One process at a time uses it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from p2pool.codec.digests import digest
from p2pool.codec.json.depth import too_deep
from p2pool.drivers.chain.validator.work import Piece
from p2pool.drivers.chain.validator.work_since import WorkPart
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, Unavailable
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.validator.journal import disk
from p2pool.validator.journal.checked_lines import address_in, number_in, text_in
from p2pool.validator.judging.judge import SubmittedWork, WorkConclusion, WorkVerdict
from p2pool.validator.judging.trial import checked
from p2pool.validator.policy.findings import Finding, FindingKind, WrongPiece

FORMAT = 1
PPM_PER_PERMILLE = 1000


@attrs.frozen(kw_only=True)
class Waiting:
    """A piece that waits for its judge, who was asked `tries` times in vain."""

    work: SubmittedWork
    tries: int = 0


@attrs.frozen(kw_only=True)
class Judged:
    """A piece with its verdict, and when it was given."""

    work: SubmittedWork
    verdict: WorkVerdict
    at_ms: int

    @property
    def wrong_units(self) -> int:
        """How many of its units are to be taken back."""
        units = self.work.units * self.verdict.shortfall_permille
        return max(1, units // 1000) if units else 0

    def finding(self, me: Address) -> Finding | None:
        """What it means to the policy; None: nothing."""
        if self.verdict.conclusion is not WorkConclusion.WRONG:
            return None
        told = json.dumps(_judged_plain(self), sort_keys=True).encode()
        work = self.work
        return Finding(
            finding_id=digest(b"p2pool judged work " + told),
            validator=me,
            provider=work.provider,
            node_id=work.node_id,
            kind=FindingKind.WRONG_WORK,
            at_ms=self.at_ms,
            shortfall_ppm=self.verdict.shortfall_permille * PPM_PER_PERMILLE,
            piece=WrongPiece(work.pool.pool_id, work.key, self.wrong_units),
        )


@attrs.define
class JudgedWork:
    """The file, in memory. Use `opened`."""

    path: Path
    pool: PoolRef
    next_block: int | None = None
    waiting: list[Waiting] = attrs.field(factory=list)
    judged: dict[bytes, Judged] = attrs.field(factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, directory: Path, pool: PoolRef) -> Iterator["JudgedWork"]:
        """The file of a pool, which nobody else may use until the block ends.

        `Unavailable`: another process has it; `Misconfigured`: it is damaged, or another pool's.
        """
        path = directory / f"work-{pool.pool_id}.json"
        lock = _locked(path)
        try:
            kept = cls(path, pool)
            kept._load()
            yield kept
        finally:
            os.close(lock)

    @property
    def room(self) -> int:
        """So many more pieces may wait."""
        return max(0, limits.WORK_WAITING_MAX - len(self.waiting))

    def findings(self, me: Address) -> list[Finding]:
        """What follows of all that was judged, for a decision."""
        return [found for one in self.judged.values() if (found := one.finding(me)) is not None]

    def take_in(self, part: WorkPart) -> None:
        """Keep what was read: from now on it waits. What is known already does not wait again."""
        known = set(self.judged) | {one.work.key for one in self.waiting}
        for piece in part.pieces:
            if piece.key not in known:
                self.waiting.append(Waiting(work=_work_of(self.pool, piece)))
        self.next_block = part.next_block
        self._write()

    def settle(self, waited: Waiting, verdict: WorkVerdict, now_ms: int) -> Judged | None:
        """Keep what a judge said. None: it said nothing, and is asked again in a later round."""
        self.waiting.remove(waited)
        again = waited.tries + 1 < limits.JUDGE_TRIES
        judged = None
        if verdict.conclusion is WorkConclusion.UNKNOWN and again:
            self.waiting.append(attrs.evolve(waited, tries=waited.tries + 1))
        else:
            judged = Judged(work=waited.work, verdict=verdict, at_ms=now_ms)
            self.judged[waited.work.key] = judged
            self._forget()
        self._write()
        return judged

    def _forget(self) -> None:
        while len(self.judged) > limits.WORK_JUDGED_MAX:
            wrong = WorkConclusion.WRONG
            least = min(
                self.judged.values(), key=lambda one: (one.verdict.conclusion is wrong, one.at_ms)
            )
            del self.judged[least.work.key]

    # --- the disk -------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            with self.path.open("rb") as file:
                data = file.read(limits.JUDGED_FILE_MAX_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read: {error.strerror}.",
                hint="Run this as the user who ran the validator before.",
            ) from error
        try:
            if len(data) > limits.JUDGED_FILE_MAX_BYTES:
                raise ValueError(f"more than {limits.JUDGED_FILE_MAX_BYTES} bytes")
            self._read(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Misconfigured(
                f"{self.path}, which says what was judged, is damaged: {error}"[:300] + ".",
                hint="Bring back a copy of it. Or move it away: then work is read anew, from some"
                " thousand blocks back.",
            ) from error

    def _read(self, data: bytes) -> None:
        text = data.decode()
        if too_deep(text):
            raise ValueError("it is nested too deeply")
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError("another version of p2pool wrote it")
        if told["pool"] != _named(self.pool):
            raise ValueError(f"it is of the pool {told['pool']}"[:100])
        self.next_block = number_in(told["next_block"])
        for one in told["waiting"]:
            work = _work_in(one, self.pool)
            self.waiting.append(Waiting(work=work, tries=number_in(one["tries"])))
        for one in told["judged"]:
            judged = _judged_in(one, self.pool)
            self.judged[judged.work.key] = judged

    def _write(self) -> None:
        told = {
            "format": FORMAT,
            "pool": _named(self.pool),
            "next_block": self.next_block,
            "waiting": [{**_work_plain(one.work), "tries": one.tries} for one in self.waiting],
            "judged": [_judged_plain(one) for one in self.judged.values()],
        }
        data = json.dumps(told, sort_keys=True, indent=0).encode()
        if len(data) > limits.JUDGED_FILE_MAX_BYTES:
            raise Malformed(
                f"{self.path} would be longer than {limits.JUDGED_FILE_MAX_BYTES} bytes."
            )
        try:
            disk.replace_whole(self.path, data)
        except OSError as error:
            raise StoreFailed(
                f"What was judged cannot be kept in {self.path}: {error.strerror}.",
                hint="Nothing follows from what cannot be kept. Make room on that disk, or check"
                " whose it is.",
            ) from error


# --- its form -----------------------------------------------------------------------------------


def _work_of(pool: PoolRef, piece: Piece) -> SubmittedWork:
    return SubmittedWork(
        pool=pool,
        node_id=piece.node_id,
        provider=piece.provider,
        key=piece.key,
        units=piece.units,
        block=piece.block,
    )


def _named(pool: PoolRef) -> str:
    return f"{pool.chain_id}/0x{pool.contract.hex()}/{pool.pool_id}"


def _work_plain(work: SubmittedWork) -> dict[str, Any]:
    return {
        "key": work.key.hex(),
        "node": "0x" + work.node_id.hex(),
        "provider": "0x" + work.provider.hex(),
        "units": str(work.units),
        "block": work.block,
    }


def _judged_plain(judged: Judged) -> dict[str, Any]:
    return {
        **_work_plain(judged.work),
        "conclusion": judged.verdict.conclusion.value,
        "evidence": judged.verdict.evidence,
        "shortfall_permille": judged.verdict.shortfall_permille,
        "at_ms": judged.at_ms,
    }


def _work_in(told: Mapping[str, Any], pool: PoolRef) -> SubmittedWork:
    key, units = bytes.fromhex(told["key"]), int(told["units"])
    if len(key) != limits.WORK_KEY_BYTES or not 0 <= units <= limits.CHAIN_WORD_MAX:
        raise ValueError("a piece is none")
    return SubmittedWork(
        pool=pool,
        node_id=NodeId(bytes(address_in(told["node"]))),
        provider=address_in(told["provider"]),
        key=key,
        units=units,
        block=number_in(told["block"]),
    )


def _judged_in(told: Mapping[str, Any], pool: PoolRef) -> Judged:
    conclusion = WorkConclusion(told["conclusion"])
    given = WorkVerdict(conclusion, text_in(told["evidence"]), told["shortfall_permille"])
    if checked(given) != given:
        raise ValueError("a verdict is none")
    return Judged(work=_work_in(told, pool), verdict=given, at_ms=number_in(told["at_ms"]))


def _locked(path: Path) -> int:
    lock = path.with_name(f"{path.name}.lock")
    try:
        return disk.locked(lock)
    except BlockingIOError as error:
        raise Unavailable(
            f"Another process judges work in {path.parent}: it holds {lock.name}.",
            hint="Wait until it is done, or name another directory.",
        ) from error
    except OSError as error:
        raise StoreFailed(
            f"What is judged cannot be kept in {path.parent}: {error.strerror}.",
            hint="Name a directory of your own, or make room.",
        ) from error
