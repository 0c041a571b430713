"""The journal of acts: golden bytes, a restart at every byte, damage, and one process at a time."""

from pathlib import Path

import attrs
import pytest

from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, TooMany, Unavailable
from p2pool.model.ids import Address, NodeId
from p2pool.validator.journal.act_journal import FILE_NAME, KEPT_MS, ActJournal
from p2pool.validator.journal.act_record import Owner, act_line, owner_line, read_act, read_owner
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct
from p2pool.validator.policy.findings import WrongPiece

GOLDEN = Path(__file__).parent / "acts.journal"
OWNER = Owner(31337, Address(b"\x11" * 20), Address(b"\x22" * 20))


def act(number: int = 1, kind: ActKind = ActKind.SLASH, at_ms: int = 1_700_000_000_000) -> Act:
    """An act because of two findings."""
    return Act(
        kind=kind,
        node_id=NodeId(bytes([number % 256]) * 20),
        provider=Address(b"\x33" * 20),
        findings=(number.to_bytes(32, "big"), b"\xff" * 32),
        at_ms=at_ms,
        reserve_wei=3 * 10**14,
        amount_wei=5 * 10**17 if kind is ActKind.SLASH else 0,
    )


def done(made: Act) -> TakenAct:
    """An act that came to its end."""
    return TakenAct(
        act=made,
        state=ActState.DONE,
        spent_wei=10**14,
        transaction="0x" + "ab" * 32,
        why='a "quoted" word – and é',
    )


def fill(directory: Path) -> None:
    """The journal of the golden file."""
    with ActJournal.opened(directory, OWNER) as journal:
        journal.plan([act(1), act(2, ActKind.REMOVE)], dry_run=False)
        journal.settle(done(act(1)))
        journal.plan([act(3, ActKind.VALIDATE)], dry_run=True)
        journal.settle(attrs.evolve(done(act(2, ActKind.REMOVE)), state=ActState.REFUSED))
        journal.plan([act(4, ActKind.INVALIDATE)], dry_run=False)


def test_work_that_is_taken_back_is_kept_with_its_piece(tmp_path: Path) -> None:
    """And an act of another kind has none; a piece without its act, or an act without its piece, is
    damage."""
    piece = WrongPiece(7, b"k" * 32, 2**70)
    wanted = attrs.evolve(act(1, ActKind.TAKE_BACK), piece=piece)
    line = act_line(TakenAct(act=wanted, state=ActState.PLANNED))
    assert read_act(line).act == wanted
    for bad in (attrs.evolve(wanted, piece=None), attrs.evolve(act(1), piece=piece)):
        with pytest.raises(Malformed, match="by its piece"):
            read_act(act_line(TakenAct(act=bad, state=ActState.PLANNED)))


def test_the_bytes_are_as_they_were(tmp_path: Path) -> None:
    """What an earlier version wrote is what this one writes, and reads to the same acts."""
    fill(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == GOLDEN.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    (other / FILE_NAME).write_bytes(GOLDEN.read_bytes())
    with ActJournal.opened(other, OWNER) as journal:
        states = [one.state for one in journal.taken]
        assert states == [ActState.DONE, ActState.REFUSED, ActState.SHOWN, ActState.PLANNED]
        assert journal.taken[0] == done(act(1))
        assert journal.open_acts == (act(4, ActKind.INVALIDATE),)


def test_an_act_has_the_id_that_it_had() -> None:
    """The chain knows slashes by it: another form would slash twice."""
    assert act(1).act_id.hex() == ID
    later = attrs.evolve(act(1), at_ms=5, reserve_wei=7, amount_wei=9)
    assert later.act_id == act(1).act_id
    assert len({act(1).act_id, act(2).act_id, act(1, ActKind.REMOVE).act_id}) == 3


def test_a_restart_after_any_byte_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Cut at every byte: what was whole is there, the torn line is gone, and one can go on."""
    data = GOLDEN.read_bytes()
    lines = data.count(b"\n")
    place = tmp_path / FILE_NAME
    for end in range(0, len(data), 3):
        place.write_bytes(data[:end])
        whole = data[:end].count(b"\n")
        with ActJournal.opened(tmp_path, OWNER) as journal:
            assert journal.lines == max(0, whole - 1)
            if end % 97 == 0:
                journal.plan([act(9)], dry_run=False)
                journal.settle(done(act(9)))
        if end % 97 == 0:
            with ActJournal.opened(tmp_path, OWNER) as journal:
                assert journal.acts[act(9).act_id].state is ActState.DONE
    assert lines == 7


def test_any_other_damage_is_told(tmp_path: Path) -> None:
    """A flipped bit, a line too many, another account: never taken for an empty journal."""
    data = GOLDEN.read_bytes()
    place = tmp_path / FILE_NAME
    for at in range(0, data.rindex(b"\n", 0, -1), 41):
        flipped = bytearray(data)
        flipped[at] ^= 1
        place.write_bytes(bytes(flipped))
        with pytest.raises(Misconfigured, match="damaged"), ActJournal.opened(tmp_path, OWNER):
            pass
    place.write_bytes(data)
    other = attrs.evolve(OWNER, account=Address(b"\x23" * 20))
    with (
        pytest.raises(Misconfigured, match="is the journal of"),
        ActJournal.opened(tmp_path, other),
    ):
        pass
    place.write_bytes(data + data.splitlines(keepends=True)[1])
    with pytest.raises(Misconfigured, match="after its end"), ActJournal.opened(tmp_path, OWNER):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Two would each think the other's acts their own."""
    with ActJournal.opened(tmp_path, OWNER):
        with pytest.raises(Unavailable), ActJournal.opened(tmp_path, OWNER):
            pass
    with ActJournal.opened(tmp_path, OWNER):
        pass


def test_an_act_is_planned_once_and_after_it_was_shown(tmp_path: Path) -> None:
    """The same decision again adds nothing; a dry run's act may be done later, in its new place."""
    with ActJournal.opened(tmp_path, OWNER) as journal:
        journal.plan([act(1)], dry_run=True)
        journal.plan([act(2)], dry_run=False)
        journal.plan([act(1)], dry_run=False)
        journal.plan([act(1), act(2)], dry_run=False)
        assert [one.state for one in journal.taken] == [ActState.PLANNED, ActState.PLANNED]
        assert journal.open_acts == (act(2), act(1))
        assert journal.lines == 3
        taken = journal.taken
    with ActJournal.opened(tmp_path, OWNER) as journal:
        assert journal.taken == taken


def test_a_full_disk_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is not planned, and the journal goes on where it was."""
    import os

    with ActJournal.opened(tmp_path, OWNER) as journal:
        journal.plan([act(1)], dry_run=False)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(StoreFailed, match="No space"):
                journal.plan([act(2)], dry_run=False)
        assert journal.open_acts == (act(1),)
        journal.plan([act(3)], dry_run=False)
    with ActJournal.opened(tmp_path, OWNER) as journal:
        assert journal.open_acts == (act(1), act(3))


def test_old_acts_are_forgotten_and_open_ones_kept(tmp_path: Path) -> None:
    """Once that halves the file, and never one whose findings may still count."""
    now_ms = 1_700_000_000_000 + KEPT_MS
    with ActJournal.opened(tmp_path, OWNER) as journal:
        for number in range(limits.POLICY_ACTS_MAX):
            made = act(number, at_ms=1_700_000_000_000)
            journal.plan([made], dry_run=False)
            if number:
                journal.settle(done(made))
        fresh = act(300, at_ms=now_ms)
        journal.plan([fresh], dry_run=False)
        journal.compact(now_ms - 1)
        assert len(journal.acts) == limits.POLICY_ACTS_MAX + 1
        journal.compact(now_ms)
        assert journal.open_acts == (act(0), fresh)
    with ActJournal.opened(tmp_path, OWNER) as journal:
        assert journal.open_acts == (act(0), fresh)
        assert len(journal.taken) == 2


def test_a_journal_that_is_full_plans_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than forget what still counts."""
    monkeypatch.setattr(limits, "JOURNAL_ACTS_MAX", 2)
    with ActJournal.opened(tmp_path, OWNER) as journal:
        journal.plan([act(1), act(2)], dry_run=False)
        with pytest.raises(TooMany):
            journal.plan([act(3)], dry_run=False)
        assert journal.lines == 2


@pytest.mark.parametrize("line", [b"", b"\n", b"abc {}\n", owner_line(OWNER)])
def test_what_is_no_act_is_malformed(line: bytes) -> None:
    """And an act is no owner."""
    with pytest.raises(Malformed):
        read_act(line)
    with pytest.raises(Malformed):
        read_owner(act_line(done(act(1))))


ID = "3428a403ff5ad51e4252bc9262f00729b42aa6f5475ac355c8ef7f17d98d9c71"
