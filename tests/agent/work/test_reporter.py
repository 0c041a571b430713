"""What copies did is found once, kept before anything is sent, and sent at a bounded rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from p2pool.agent.work import reporter as module
from p2pool.agent.work.journal import Piece, PieceState
from p2pool.agent.work.pieces import Source
from p2pool.agent.work.reporter import HOUR_MS, NO_KEY, OFF, WorkReporter
from p2pool.agent.work.submission import Found
from p2pool.codec.digests import digest
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, NotFound, RuntimeUnavailable
from p2pool.model.tasks.spec import WorkRequest
from tests.agent.work.scene import COPY, Files, ended, reporter

FILE = WorkRequest(file="/out/work.json")
LINES = WorkRequest(metric="steps")


@attrs.define
class FakeChain:
    """Takes every piece, once, or fails as it is told."""

    taken: list[bytes] = attrs.field(factory=list)
    failures: list[Exception] = attrs.field(factory=list)

    async def submit(self, piece: Piece, writer: object) -> tuple[Found, Piece]:
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        assert piece.key not in self.taken
        self.taken.append(piece.key)
        over = attrs.evolve(piece, state=PieceState.SUBMITTED, transaction="0x11")
        return Found(False, None, None), over

    async def taken_back(self, pieces: Sequence[Piece]) -> list[Piece]:
        return []


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> FakeChain:
    """In the place of whoever submits."""
    made = FakeChain()
    monkeypatch.setattr(module, "Submitter", lambda *_: made)
    return made


async def lives(nursery: trio.Nursery, made: WorkReporter) -> None:
    """Its journal is read, and it submits."""
    nursery.start_soon(made.run, cast(Any, None), cast(Any, object()))
    with trio.fail_after(5):
        await made._ready.wait()


async def settle(made: WorkReporter, chain: FakeChain, count: int) -> None:
    """Until the chain has taken so many, and the journal knows."""
    with trio.fail_after(5):
        while len(chain.taken) < count or made.journal.open:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_file_is_submitted_once_over_restarts(tmp_path: Path, chain: FakeChain) -> None:
    """However often the same end is listed; another end that left the same is the same piece."""
    files = Files()
    for _ in range(2):
        made = reporter(tmp_path, files, FILE)
        async with trio.open_nursery() as nursery:
            await lives(nursery, made)
            await made.take_end(ended())
            await made.take_end(ended())
            await settle(made, chain, 1)
            await made.take_end(ended(2_000))
            nursery.cancel_scope.cancel()
    assert (files.reads, chain.taken) == (2, [digest(b'{"units": 12}')])
    told = made.status
    assert (told.submitted, told.waiting, told.units, told.problem) == (1, 0, 12, "")
    assert (told.refused, told.pieces[1].transaction) == (1, "0x11")
    assert "the same piece as that of" in told.pieces[0].why


async def test_what_was_found_before_the_end_of_an_agent_is_submitted_after(
    tmp_path: Path, chain: FakeChain
) -> None:
    """The journal holds it while no endpoint answers; its file is read no more."""
    files, made = Files(), None
    chain.failures = [ChainUnavailable("Nobody answers.")]
    for count in (0, 1):
        made = reporter(tmp_path, files, FILE)
        async with trio.open_nursery() as nursery:
            await lives(nursery, made)
            await made.take_end(ended())
            if count:
                await settle(made, chain, count)
            else:
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert made.status.problem == "Nobody answers."
                assert made.status.waiting == 1
            nursery.cancel_scope.cancel()
    assert (files.reads, len(chain.taken)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "The file is empty. Write it before"),
        (b"{}", "It says no number of units"),
        (b'{"units": 1.5}', "It says no number of units"),
        (b"[" * 100_000, "It says no number of units"),
        (NotFound("The copy left no file /out/work.json."), "left no file"),
    ],
)
async def test_a_file_that_is_no_work_is_refused_once(
    tmp_path: Path, chain: FakeChain, content: Any, why: str
) -> None:
    """With what to do about it, and nothing is sent."""
    files = Files(content)
    made = reporter(tmp_path, files, FILE)
    async with trio.open_nursery() as nursery:
        await lives(nursery, made)
        await made.take_end(ended())
        await made.take_end(ended())
        nursery.cancel_scope.cancel()
    assert (files.reads, chain.taken) == (1, [])
    assert made.status.refused == 1
    assert why in made.status.pieces[0].why


async def test_an_engine_that_is_away_is_asked_again(tmp_path: Path, chain: FakeChain) -> None:
    """Unknown is not gone: the next listing reads the file."""
    files = Files(RuntimeUnavailable("It is away."))
    made = reporter(tmp_path, files, attrs.evolve(FILE, units=3))
    async with trio.open_nursery() as nursery:
        await lives(nursery, made)
        await made.take_end(ended())
        assert made.status.problem == "It is away."
        files.content = b"result"
        await made.take_end(ended())
        await settle(made, chain, 1)
        nursery.cancel_scope.cancel()
    assert (files.reads, made.status.units, made.status.problem) == (2, 3, "")


async def test_a_copy_that_failed_has_done_no_work(tmp_path: Path, chain: FakeChain) -> None:
    """Nor has one whose end nobody knows."""
    files = Files()
    made = reporter(tmp_path, files, FILE)
    async with trio.open_nursery() as nursery:
        await lives(nursery, made)
        await made.take_end(ended(exit_code=1))
        await made.take_end(attrs.evolve(ended(), exit_code=None))
        nursery.cancel_scope.cancel()
    assert files.reads == 0


@pytest.mark.parametrize(("submit", "key", "why"), [(False, True, OFF), (True, False, NO_KEY)])
async def test_nothing_is_done_unless_the_owner_says_so(
    tmp_path: Path, submit: bool, key: bool, why: str
) -> None:
    """A task that asks is told of in the agent's status; nothing of the copy is read."""
    files = Files()
    made = reporter(tmp_path, files, FILE, submit=submit, key=key)
    await made.run(cast(Any, None), None)
    await made.take_end(ended())
    assert (files.reads, made.status.problem) == (0, why)
    assert list(tmp_path.iterdir()) == []


async def test_each_line_is_a_piece_of_its_own(
    tmp_path: Path, chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of one moment; other metrics are none, and so is half a unit."""
    made = reporter(tmp_path, Files(), LINES)
    async with trio.open_nursery() as nursery:
        await lives(nursery, made)
        made.take_line(COPY, 1, [("loss", 0.5), ("steps", 7.0)])
        made.take_line(COPY, 1, [("steps", 7.0)])
        made.take_line(COPY, 1, [("loss", 0.5)])
        made.take_line(COPY, 2, [("steps", 7.0)])
        await settle(made, chain, 2)
        made.take_line(COPY, 1, [("steps", 0.5)])
        assert "It says no number of units" in made.status.problem
        nursery.cancel_scope.cancel()
    assert len(set(chain.taken)) == 2
    assert (made.status.units, made.counters["malformed"]) == (14, 1)
    monkeypatch.setattr(limits, "WORK_OPEN_MAX", 0)
    made.take_line(COPY, 1, [("steps", 7.0)])
    assert made.status.dropped == 1


async def test_no_more_pieces_than_the_owner_allows_go_in_an_hour(
    tmp_path: Path, chain: FakeChain, autojump_clock: object
) -> None:
    """The third waits, also for an agent that starts again."""
    for count in (1, 2, 2):
        made = reporter(tmp_path, Files(b"%d" % len(chain.taken)), attrs.evolve(FILE, units=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run, cast(Any, None), cast(Any, object()))
            await made._ready.wait()
            await made.take_end(ended(1_000 + count + len(chain.taken)))
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        assert len(chain.taken) == count
    assert made.status.waiting == 1


def test_a_clock_that_was_ahead_holds_no_piece_up(tmp_path: Path) -> None:
    """Pieces that were submitted a year ahead count for no hour of today."""
    made, year_ms = reporter(tmp_path, Files(b"x"), FILE), 365 * 24 * HOUR_MS
    for number in range(2):
        source = Source(COPY, 1, number)
        made.journal.pieces[source] = Piece(
            source=source,
            key=b"k" * 32,
            units=1,
            state=PieceState.SUBMITTED,
            at_ms=year_ms,
            transaction="0x1",
        )
    assert made._rest_ms(year_ms) == HOUR_MS
    assert made._rest_ms(0) == 0
