"""Rounds of judging: what is read and judged when, and what the policy's turns hear of it."""

from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.validator.work_since import WorkPart
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, Misconfigured, StoreFailed
from p2pool.model.ids import Address
from p2pool.validator.judging import rounds
from p2pool.validator.judging.judge import WorkVerdict
from p2pool.validator.judging.judged_work import JudgedWork
from p2pool.validator.judging.rounds import WorkChain, WorkJudging
from p2pool.validator.judging.trial import Trials
from p2pool.validator.policy.findings import WrongPiece
from p2pool.validator.policy.rules import WorkRule
from tests.validator.judging.cases import POOL, Judge, piece, work

ME = Address(b"m" * 20)
NOW_MS = 5_000


@attrs.define
class FakeChain:
    """A chain with a final block, and pieces by the block that has them."""

    last: int = 10_000
    pieces: dict[int, int] = attrs.field(factory=dict)
    asked: list[tuple[int, int]] = attrs.field(factory=list)
    away: bool = False

    async def final(self, chain: object, depth: int | None) -> int:
        """Its number."""
        if self.away:
            raise ChainUnavailable("Nobody answers.")
        return self.last

    async def since(self, chain: object, pool_id: int, first: int, last: int) -> WorkPart:
        """The pieces of some blocks."""
        assert pool_id == POOL.pool_id
        self.asked.append((first, last))
        found = [piece(number) for at, number in self.pieces.items() if first <= at <= last]
        return WorkPart(last + 1, tuple(found))


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> FakeChain:
    """In place of the real one."""
    made = FakeChain(pieces={9_000: 1, 9_500: 2, 9_900: 3})
    monkeypatch.setattr(rounds, "final_number", made.final)
    monkeypatch.setattr(rounds, "work_since", made.since)
    return made


def judging(tmp_path: Path, judge: Judge, pieces: int = 2) -> WorkJudging:
    """A validator's judging with this judge."""
    return WorkJudging(
        rule=WorkRule(judge="ours", pieces=pieces),
        chain=WorkChain(cast(PoolContracts, None)),
        directory=tmp_path,
        pool=POOL,
        trials=Trials(judge, 10),
    )


def rights(_: object) -> WorkVerdict:
    """Everything is right."""
    return WorkVerdict.right("seen")


def wrongs(asked: Any) -> WorkVerdict:
    """The second piece is wrong, for half of it."""
    return WorkVerdict.wrong("half", 500) if asked == work(2) else rights(asked)


async def test_a_round_goes_on_where_the_last_one_stopped(tmp_path: Path, chain: FakeChain) -> None:
    """The first begins some thousand blocks back; no block is read twice, and no piece judged
    twice, whatever was restarted in between."""
    judge = Judge(rights)
    first, _ = await judging(tmp_path, judge).round(ME, lambda: NOW_MS)
    assert [one.work for one in first.judged] == [work(1), work(2)]
    assert (first.waiting, first.unread) == (1, "")
    chain.last = 10_100
    chain.pieces[10_050] = 4
    second, _ = await judging(tmp_path, judge).round(ME, lambda: NOW_MS)
    assert [one.work for one in second.judged] == [work(3), work(4)]
    assert chain.asked == [(10_001 - limits.PAST_SPAN_MAX_BLOCKS, 10_000), (10_001, 10_100)]
    assert judge.asked == [work(number).key for number in (1, 2, 3, 4)]


async def test_without_a_chain_what_waits_is_judged(tmp_path: Path, chain: FakeChain) -> None:
    """And why nothing was read is told."""
    await judging(tmp_path, Judge(rights)).round(ME, lambda: NOW_MS)
    chain.away = True
    done, _ = await judging(tmp_path, Judge(rights)).round(ME, lambda: NOW_MS)
    assert ([one.work for one in done.judged], done.unread) == ([work(3)], "Nobody answers.")


async def test_one_that_is_unknown_makes_room_for_the_next(
    tmp_path: Path, chain: FakeChain
) -> None:
    """It goes to the end, so that one piece never stands in the way of all."""
    judge = Judge(lambda asked: WorkVerdict.unknown("away") if asked == work(1) else rights(asked))
    one = judging(tmp_path, judge, pieces=1)
    assert (await one.round(ME, lambda: NOW_MS))[0].postponed == (WorkVerdict.unknown("away"),)
    for _ in range(4):
        await one.round(ME, lambda: NOW_MS)
    assert judge.asked == [work(number).key for number in (1, 2, 3, 1, 1)]
    with JudgedWork.opened(tmp_path, POOL) as kept:
        assert kept.waiting == []


async def test_nothing_is_read_while_there_is_no_room(
    tmp_path: Path, chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is judged first: the chain keeps the rest."""
    monkeypatch.setattr(limits, "WORK_WAITING_MAX", limits.WORK_PART_EVENTS + 1)
    one = judging(tmp_path, Judge(rights), pieces=1)
    await one.round(ME, lambda: NOW_MS)
    chain.last = 10_100
    await one.round(ME, lambda: NOW_MS)
    assert len(chain.asked) == 1
    await one.round(ME, lambda: NOW_MS)
    assert len(chain.asked) == 2


async def test_a_round_tells_all_that_was_found_so_far(tmp_path: Path, chain: FakeChain) -> None:
    """Of this round and of earlier ones, so that a process that starts anew knows it again."""
    one = judging(tmp_path, Judge(wrongs))
    done, found = await one.round(ME, lambda: NOW_MS)
    assert [finding.piece for finding in found] == [WrongPiece(POOL.pool_id, work(2).key, 6)]
    assert done.waiting == 1
    _, again = await judging(tmp_path, Judge(wrongs)).round(ME, lambda: NOW_MS + 1)
    assert again == found


async def test_a_full_disk_costs_a_round_and_no_piece(
    tmp_path: Path, chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be kept is read and judged again."""
    judge = Judge(rights)
    with monkeypatch.context() as full:
        full.setattr(JudgedWork, "take_in", failing)
        with pytest.raises(StoreFailed):
            await judging(tmp_path, judge).round(ME, lambda: NOW_MS)
    await judging(tmp_path, judge, pieces=3).round(ME, lambda: NOW_MS)
    assert judge.asked == [work(number).key for number in (1, 2, 3)]


async def test_a_policy_without_a_judge_asks_for_none(tmp_path: Path) -> None:
    """And one whose judge is not there is told so, before anything is read."""
    where = WorkChain(cast(PoolContracts, None))
    assert WorkJudging.of(WorkRule(), where, tmp_path, POOL) is None
    with pytest.raises(Misconfigured, match="No judge of work is called 'absent'"):
        WorkJudging.of(WorkRule(judge="absent"), where, tmp_path, POOL)


def failing(*_: object) -> None:
    """In place of a write to a disk that is full."""
    raise StoreFailed("full")
