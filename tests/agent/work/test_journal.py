"""The journal of pieces gives back what was kept, and never takes damage for nothing."""

from pathlib import Path

import attrs
import pytest

from p2pool.agent.work.journal import Piece, PieceJournal, PieceState
from p2pool.agent.work.pieces import Source
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, StoreFailed
from tests.agent.work.scene import COPY, NODE


def piece(number: int, state: PieceState = PieceState.WAITING) -> Piece:
    """One of a copy."""
    return Piece(
        source=Source(COPY, 1, number), key=bytes(32), units=2**60, state=state, at_ms=number
    )


async def reopened(directory: Path) -> PieceJournal:
    """As the next agent reads it."""
    made = PieceJournal.of(directory, NODE)
    await made.load()
    return made


async def test_the_last_word_on_a_piece_stands(tmp_path: Path) -> None:
    """In the order in which the pieces were found."""
    journal = await reopened(tmp_path)
    over = attrs.evolve(piece(1), state=PieceState.REFUSED, why="é" * 5_000)
    for one in (piece(1), piece(2), over):
        await journal.keep(one)
    found = await reopened(tmp_path)
    assert [one.source.number for one in found.pieces.values()] == [1, 2]
    assert list(found.open.values()) == [piece(2)]
    assert found.pieces[over.source].why.startswith("éé")


async def test_a_line_that_was_cut_off_never_was(tmp_path: Path) -> None:
    """The next one begins where it began."""
    journal = await reopened(tmp_path)
    await journal.keep(piece(1))
    with journal.path.open("ab") as file:
        file.write(b"0123456789abcdef {")
    journal = await reopened(tmp_path)
    await journal.keep(piece(2))
    assert len((await reopened(tmp_path)).open) == 2


async def test_damage_is_told(tmp_path: Path) -> None:
    """With what to do; nothing is read as if it were empty."""
    journal = await reopened(tmp_path)
    await journal.keep(piece(1))
    data = journal.path.read_bytes()
    for damaged in (data.replace(b"1152", b"1153"), b"\n", b"x" * 20 + b"\n", b"\xff\xfe\n"):
        journal.path.write_bytes(damaged)
        with pytest.raises(Misconfigured, match=r"is damaged.*not submitted twice"):
            await reopened(tmp_path)


async def test_it_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over is forgotten from the oldest on; what waits never."""
    monkeypatch.setattr(limits, "WORK_KEPT_MAX", 3)
    journal = await reopened(tmp_path)
    await journal.keep(piece(0))
    for number in range(1, 40):
        await journal.keep(piece(number, PieceState.SUBMITTED))
    found = await reopened(tmp_path)
    assert (found.pieces, found.open) == (journal.pieces, journal.open)
    assert list(found.open.values()) == [piece(0)]
    assert len(found.pieces) <= 2 * 3 + 2
    assert journal.path.read_bytes().count(b"\n") <= 2 * 3 + 2


async def test_a_disk_that_refuses_keeps_nothing(tmp_path: Path) -> None:
    """Whoever asked is told, so that nothing of it is sent."""
    journal = await reopened(tmp_path)
    (tmp_path / "work").write_bytes(b"")
    with pytest.raises(StoreFailed, match="Make room"):
        await journal.keep(piece(1))
    assert journal.open == {}
