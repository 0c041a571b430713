"""What was read and judged is kept: nothing is judged twice, nothing is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2pool.drivers.chain.validator.work_since import WorkPart
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, StoreFailed, Unavailable
from p2pool.model.ids import Address
from p2pool.validator.judging.judge import WorkVerdict
from p2pool.validator.judging.judged_work import JudgedWork
from p2pool.validator.policy.findings import FindingKind, WrongPiece
from tests.validator.judging.cases import NODE, POOL, PROVIDER, piece, work

ME = Address(b"m" * 20)
WRONG = WorkVerdict.wrong("half", 500)


def test_what_was_read_and_judged_is_there_after_a_restart(tmp_path: Path) -> None:
    """The place to go on from, what waits in its order, and each verdict with its evidence."""
    with JudgedWork.opened(tmp_path, POOL) as kept:
        assert kept.next_block is None
        kept.take_in(WorkPart(200, (piece(1), piece(2))))
        kept.take_in(WorkPart(300, (piece(2), piece(3))))
        done = kept.settle(kept.waiting[0], WRONG, 5000)
        assert done is not None
        assert kept.settle(kept.waiting[0], WorkVerdict.unknown("away"), 5001) is None
    with JudgedWork.opened(tmp_path, POOL) as again:
        assert again.next_block == 300
        assert [(one.work, one.tries) for one in again.waiting] == [(work(3), 0), (work(2), 1)]
        assert list(again.judged.values()) == [done]
        again.take_in(WorkPart(400, (piece(1),)))
        assert [one.work for one in again.waiting] == [work(3), work(2)]


def test_a_judge_is_asked_again_and_not_for_ever(tmp_path: Path) -> None:
    """Unknown is the word on a piece only after as many tries as the limit says."""
    with JudgedWork.opened(tmp_path, POOL) as kept:
        kept.take_in(WorkPart(200, (piece(1),)))
        for _ in range(limits.JUDGE_TRIES - 1):
            assert kept.settle(kept.waiting[0], WorkVerdict.unknown("away"), 1) is None
        assert kept.settle(kept.waiting[0], WorkVerdict.unknown("away"), 1) is not None
        assert kept.waiting == []
        assert kept.findings(ME) == []


@pytest.mark.parametrize(
    ("units", "permille", "wrong"), [(12, 500, 6), (12, 1000, 12), (12, 1, 1), (3, 999, 2)]
)
def test_a_finding_is_in_proportion(tmp_path: Path, units: int, permille: int, wrong: int) -> None:
    """Wrong work becomes a finding, with the units that were not done; the same one each time."""
    with JudgedWork.opened(tmp_path, POOL) as kept:
        kept.take_in(WorkPart(200, (piece(1, units=units), piece(2))))
        kept.settle(kept.waiting[0], WorkVerdict.wrong("why", permille), 5000)
        kept.settle(kept.waiting[0], WorkVerdict.right("seen"), 5000)
        (found,) = kept.findings(ME)
    assert (found.kind, found.node_id, found.provider) == (FindingKind.WRONG_WORK, NODE, PROVIDER)
    assert (found.shortfall_ppm, found.at_ms, found.validator) == (permille * 1000, 5000, ME)
    assert found.piece == WrongPiece(POOL.pool_id, piece(1).key, wrong)
    with JudgedWork.opened(tmp_path, POOL) as again:
        assert again.findings(ME) == [found]


def test_the_oldest_is_forgotten_first_and_wrong_work_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the file stays bounded."""
    monkeypatch.setattr(limits, "WORK_JUDGED_MAX", 2)
    with JudgedWork.opened(tmp_path, POOL) as kept:
        kept.take_in(WorkPart(200, tuple(piece(number) for number in range(1, 5))))
        for number, verdict in enumerate([WRONG, *[WorkVerdict.right("seen")] * 3]):
            kept.settle(kept.waiting[0], verdict, number)
        assert [one.work.key for one in kept.judged.values()] == [piece(1).key, piece(4).key]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one is told which file stands in its way."""
    with JudgedWork.opened(tmp_path, POOL):
        with pytest.raises(Unavailable, match=r"work-7\.json\.lock"):
            with JudgedWork.opened(tmp_path, POOL):
                pass


def bad_files() -> list[Any]:
    """Changes to a good file, each of which makes it a bad one."""
    return [
        {"format": 2},
        {"pool": "1/0x00/7"},
        {"next_block": -1},
        {"next_block": "5"},
        {"waiting": [{"key": "00"}]},
        {"judged": [{}]},
        {"judged": 5},
        "not JSON",
        "[" * 5000,
    ]


@pytest.mark.parametrize("change", bad_files(), ids=lambda one: str(one)[:20])
def test_damage_is_told_and_never_taken_for_an_empty_file(tmp_path: Path, change: Any) -> None:
    """Whatever is wrong with it; and nothing is written over it."""
    with JudgedWork.opened(tmp_path, POOL) as kept:
        kept.take_in(WorkPart(200, (piece(1),)))
    path = tmp_path / "work-7.json"
    good = json.loads(path.read_text())
    bad = change if isinstance(change, str) else json.dumps({**good, **change})
    path.write_text(bad)
    with pytest.raises(Misconfigured, match=r"work-7.json, which says what was judged"):
        with JudgedWork.opened(tmp_path, POOL):
            pass
    assert path.read_text() == bad


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what could not be kept is not acted on: the caller hears of it."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with JudgedWork.opened(tmp_path, POOL) as kept:
        monkeypatch.setattr("p2pool.validator.journal.disk.replace_whole", full)
        with pytest.raises(StoreFailed, match="No space left"):
            kept.take_in(WorkPart(200, (piece(1),)))
