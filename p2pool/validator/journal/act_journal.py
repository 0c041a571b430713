"""The journal of acts: appended to before anything is sent, read when the process starts again.

Intuition: the account's own journal (`drivers.chain.transactions.journal`) brings one transaction
home; this one remembers what it was for. An act is written as planned before it is sent, and as
done once its block is known; in between, whoever starts again asks the chain which it was, and
sends the same bytes or nothing.

Invariants: what is planned is on the disk before anybody hears of it; the last line of an act is
what counts; a last line without its end is of a write that nobody acted on, and is cut off; any
other damage is told, and never taken for an empty journal. One process at a time. Old acts are
forgotten only when no finding of theirs can count any more.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, TooMany, Unavailable
from p2pool.validator.journal import disk
from p2pool.validator.journal.act_record import (
    Owner,
    act_line,
    owner_line,
    read_act,
    read_owner,
)
from p2pool.validator.policy.acts import Act, ActState, TakenAct

FILE_NAME = "acts.journal"
KEPT_MS = 91 * 86_400_000
"""Longer than any policy lets a finding count."""


@attrs.define
class ActJournal:
    """Acts and what became of them, in the order in which they were decided. Use `opened`."""

    path: Path
    owner: Owner
    acts: dict[bytes, TakenAct] = attrs.field(factory=dict)
    lines: int = 0

    @classmethod
    @contextmanager
    def opened(cls, directory: Path, owner: Owner) -> Iterator["ActJournal"]:
        """The journal of a directory, which nobody else may use until the block ends.

        `Unavailable`: another process has it; `Misconfigured`: it is damaged, or another account's.
        """
        lock = _locked(directory)
        try:
            journal = cls(directory / FILE_NAME, owner)
            journal._load()
            yield journal
        finally:
            os.close(lock)

    @property
    def taken(self) -> tuple[TakenAct, ...]:
        """All of them, for a decision."""
        return tuple(self.acts.values())

    @property
    def open_acts(self) -> tuple[Act, ...]:
        """Those that may be on their way."""
        return tuple(one.act for one in self.acts.values() if one.is_open)

    def plan(self, acts: Sequence[Act], *, dry_run: bool) -> None:
        """Keep what was decided; from then on it may be sent. Of a dry run: that it was shown."""
        state = ActState.SHOWN if dry_run else ActState.PLANNED
        fresh = [one for one in acts if self._is_new(one)]
        if len(self.acts) + len(fresh) > limits.JOURNAL_ACTS_MAX:
            raise TooMany(
                f"{self.path} holds {len(self.acts)} acts, and none is old enough to be forgotten.",
                hint="Nothing was sent. Look at what fails so often, before more is done about it.",
            )
        self._append([TakenAct(act=one, state=state) for one in fresh])

    def settle(self, taken: TakenAct) -> None:
        """Keep what became of an act that was planned."""
        known = self.acts[taken.act.act_id]
        assert known.is_open, "an act ends once"
        self._append([taken])

    def compact(self, now_ms: int) -> None:
        """Write it anew without what is too old, once that halves it."""
        kept = {
            act_id: one
            for act_id, one in self.acts.items()
            if one.is_open or now_ms - one.act.at_ms < KEPT_MS
        }
        if self.lines <= 2 * len(kept) + limits.POLICY_ACTS_MAX:
            return
        lines = [owner_line(self.owner), *map(act_line, kept.values())]
        try:
            disk.replace_whole(self.path, b"".join(lines))
        except OSError as error:
            raise self._unwritable(error) from error
        self.acts, self.lines = kept, len(kept)

    def _is_new(self, act: Act) -> bool:
        """What was shown in a dry run may be done later."""
        known = self.acts.get(act.act_id)
        return known is None or known.state is ActState.SHOWN

    # --- the disk -------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            with self.path.open("rb") as file:
                data = file.read(limits.JOURNAL_FILE_MAX_BYTES + 1)
        except FileNotFoundError:
            self._write(owner_line(self.owner), new=True)
            return
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read: {error.strerror}.",
                hint="Run this as the user who ran the validator before.",
            ) from error
        try:
            if len(data) > limits.JOURNAL_FILE_MAX_BYTES:
                raise Malformed(f"more than {limits.JOURNAL_FILE_MAX_BYTES} bytes")
            self._take_in(data)
        except Malformed as error:
            raise Misconfigured(
                f"{self.path}, which says what this validator has done, is damaged:"
                f" {error.message}.",
                hint="Without it the same might be done twice. Bring back a copy of it; or, once"
                " the account's last acts are known from the chain, move it away and set a policy"
                " with dry_run = true first.",
            ) from error

    def _take_in(self, data: bytes) -> None:
        *lines, torn = data.split(b"\n")
        if not lines:
            # The first write did not come to its end: nobody has planned anything.
            self._write(owner_line(self.owner), new=True)
            return
        owner = read_owner(lines[0])
        if owner != self.owner:
            raise Misconfigured(
                f"{self.path} is the journal of {address_text(owner.account)} on chain"
                f" {owner.chain_id}, at the network {address_text(owner.network)}.",
                hint="Name another directory for this account: each has a journal of its own.",
            )
        for line in lines[1:]:
            self._remember(read_act(line))
        if len(self.acts) > limits.JOURNAL_ACTS_MAX:
            raise Malformed(f"more than {limits.JOURNAL_ACTS_MAX} acts")
        if torn:
            self._cut(len(data) - len(torn))

    def _remember(self, taken: TakenAct) -> None:
        if (known := self.acts.get(taken.act.act_id)) is not None:
            allowed = known.is_open or known.state is ActState.SHOWN
            if not allowed:
                raise Malformed("an act goes on after its end")
            # Done after it was shown: in its new place.
            if known.state is ActState.SHOWN:
                del self.acts[taken.act.act_id]
        self.acts[taken.act.act_id] = taken
        self.lines += 1

    def _append(self, taken: Sequence[TakenAct]) -> None:
        if not taken:
            return
        self._write(b"".join(map(act_line, taken)))
        for one in taken:
            self._remember(one)

    def _write(self, data: bytes, *, new: bool = False) -> None:
        """At the end of the file, and on the disk when it returns; `new`: instead of all of it."""
        try:
            disk.append_synced(self.path, data, new=new)
        except OSError as error:
            raise self._unwritable(error) from error

    def _cut(self, length: int) -> None:
        try:
            disk.cut_to(self.path, length)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreFailed:
        return StoreFailed(
            f"Acts cannot be kept in {self.path}: {error.strerror}.",
            hint="What was to be done now was not sent. Make room on that disk, or check whose it"
            " is.",
        )


def _locked(directory: Path) -> int:
    path = directory / f"{FILE_NAME}.lock"
    try:
        return disk.locked(path)
    except BlockingIOError as error:
        raise Unavailable(
            f"Another validator runs in {directory}: it holds {path.name}.",
            hint="One process acts for an account; end that one, or name another directory.",
        ) from error
    except OSError as error:
        raise StoreFailed(
            f"Acts cannot be kept in {directory}: {error.strerror}.",
            hint="Name a directory of your own, or make room.",
        ) from error
