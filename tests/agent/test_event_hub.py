"""Who reads events goes on after a restart of the agent, and is told where some are lost."""

from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from p2pool.agent.event_hub import EventHub
from p2pool.core.log.event_window import EventWindow
from p2pool.model import limits
from p2pool.model.errors import Stale
from p2pool.model.ports.agent import EventStream
from p2pool.model.ports.view import Event
from tests.agent.lone_voter import STEP, running
from tests.core.log.founded_log import setting


async def test_after_a_restart_the_same_id_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though snapshots took the place of the entries: not one event is missing, and none comes
    twice."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 20)
    monkeypatch.setattr(limits, "SNAPSHOT_KEEP_ENTRIES", 5)
    async with running(tmp_path) as agent:
        await agent.happen(70)
        before = await agent.read((1, 2, 0), 68)
    async with running(tmp_path) as agent:
        assert agent.pool_log.raft is not None
        assert agent.pool_log.raft.state.log.base_index > 40
        await agent.happen(1)
        after = await agent.read((1, 2, 0), 72)
    assert after[: len(before)] == before
    # The election of the next run, then what happened in it.
    assert [one.index for one in after] == list(range(3, 75))
    assert not [one for one in after if one.kind == "gap"]


async def test_what_is_kept_no_more_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes first, says what is the oldest, and its id is one to go on from; after a restart it
    is the same."""
    monkeypatch.setattr(limits, "EVENTS_KEPT_MAX", 10)
    async with running(tmp_path) as agent:
        await agent.happen(30)
        first, second = await agent.read((1, 2, 0), 2)
        assert (first.kind, dict(first.details)) == ("gap", {"oldest": "1.23.0"})
        assert second.id == (1, 23, 0)
        assert (await agent.read(first.id, 1))[0] == second
        last = await agent.read((1, 30, 0), 1)
    async with running(tmp_path) as agent:
        gap, third = await agent.read((1, 2, 0), 2)
        assert (gap.kind, gap.id, third.id) == ("gap", (1, 23, 0), (1, 24, 0))
        assert await agent.read((1, 30, 0), 1) == last


async def test_who_reads_from_now_on_has_missed_nothing() -> None:
    """Also where the agent knows nothing of the epochs before, and has told nothing yet; who names
    an event of those has missed what followed it."""
    window = EventWindow()
    hub = EventHub(window, lambda: (3, 1), trio.lowlevel.checkpoint)
    window.begin(3)
    now = await hub.listen(None)
    early = await hub.listen((1, 5, 0))
    event = Event(3, 1, 0, 7, "task", "t", "happened")
    found: list[Event] = []

    async def read(stream: EventStream) -> None:
        found.append(await anext(stream.events))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, now)
            await trio.testing.wait_all_tasks_blocked()
            hub.emit(event)
    assert found == [event]
    gap = await anext(early.events)
    assert (gap.kind, gap.id) == ("gap", (3, 0, 0))


async def test_an_id_of_the_future_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this epoch or another: the refusal says how far the agent is."""
    monkeypatch.setattr(limits, "EVENTS_AHEAD_WAIT_MS", 20)
    async with running(tmp_path) as agent:
        await agent.happen(3)
        for ahead in ((1, 6, 0), (2, 1, 0)):
            with pytest.raises(Stale, match=r"of the future .* up to entry 1\.5"):
                await agent.api.events(ahead)


async def test_an_id_that_is_reached_in_a_moment_is_not_refused(tmp_path: Path) -> None:
    """An agent that has just started, or is a step behind the one that told it, catches up."""
    async with running(tmp_path) as agent, trio.open_nursery() as nursery:
        found: list[Event] = []

        async def read() -> None:
            found.extend(await agent.read((1, 3, 0), 1))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await agent.happen(3)
    assert [one.id for one in found] == [(1, 4, 0)]


async def test_who_listens_is_told_of_a_gap(tmp_path: Path) -> None:
    """Where the state jumps while somebody reads, the stream says so at its place; and between
    the answer and the first read nothing is lost."""
    async with running(tmp_path) as agent:
        events = cast(Any, (await agent.api.events(None)).events)
        await agent.happen(1)
        async with aclosing(events):
            assert (await anext(events)).id == (1, 3, 0)
            missed = agent.pool_log.window.skip(1, 90)
            assert missed is not None
            agent.pool_log.events.append(missed)
            await agent.settle()
            assert (await anext(events)).kind == "gap"


async def test_an_event_is_told_once(tmp_path: Path) -> None:
    """Whoever names an id that is applied and not told yet does not get it again."""
    async with running(tmp_path) as agent:
        agent.pool_log.propose(*setting("quiet"), STEP)
        events = cast(Any, (await agent.api.events((1, 2, 0))).events)
        async with trio.open_nursery() as nursery:
            found: list[Event] = []

            async def read() -> None:
                found.append(await anext(events))

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await agent.settle()
            await agent.happen(1)
        await events.aclose()
    assert [one.id for one in found] == [(1, 3, 0)]


async def test_who_reads_a_log_that_is_void_is_told(tmp_path: Path) -> None:
    """Where its root record was withdrawn or replaced, the ids begin below those that were told:
    who listens, or was about to, hears that, and who comes then reads what comes."""
    async with running(tmp_path) as agent:
        await agent.happen(3)
        listens = cast(Any, (await agent.api.events(None)).events)
        await agent.happen(1)
        assert (await anext(listens)).id == (1, 6, 0)
        about_to = cast(Any, (await agent.api.events(None)).events)
        agent.pool_log.window.begin(1)
        later = await agent.api.events(None)
        first = Event(1, 1, 0, 7, "committee", "committee", "has 1 voter")
        agent.pool_log.events += agent.pool_log.window.take(1, 1, (first,))
        await agent.settle()
        with trio.fail_after(5):
            for one in (listens, about_to):
                with pytest.raises(Stale, match="is void"):
                    await anext(one)
            assert await anext(cast(Any, later.events)) == first
            await cast(Any, later.events).aclose()
