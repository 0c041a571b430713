"""Receivers get each event at least once, in order, across restarts, and never slow the agent."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from p2pool.agent.notify.message import Origin, message_body, message_id
from p2pool.agent.notify.notifier import Notifier
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.model import limits
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.ports.store import WEBHOOKS_TABLE
from p2pool.model.ports.view import Event
from tests.agent.lone_voter import Agent, running
from tests.core.log.founded_log import POOL
from tests.drivers.webhooks.stand_in import Got, StandIn, receiving, webhook

ORIGIN = Origin(POOL, NodeId(b"n" * 20))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that nobody notices."""
    monkeypatch.setattr(limits, "WEBHOOK_PAUSE_MIN_MS", 2)
    monkeypatch.setattr(limits, "WEBHOOK_PAUSE_MAX_MS", 4)
    monkeypatch.setattr(limits, "WEBHOOK_PLACE_INTERVAL_MS", 1)
    monkeypatch.setattr(limits, "WEBHOOK_AHEAD_PAUSE_MS", 1)
    monkeypatch.setattr(limits, "EVENTS_AHEAD_WAIT_MS", 20)


def notifier_of(agent: Agent, *receivers: Receiver) -> Notifier:
    """A notifier of an agent, which does not run yet."""
    return Notifier(receivers, agent.api.event_hub, agent.store, ORIGIN, Random(1))


@asynccontextmanager
async def notifying(agent: Agent, *receivers: Receiver) -> AsyncIterator[Notifier]:
    """It runs, and every receiver listens."""
    async with trio.open_nursery() as nursery:
        notifier = notifier_of(agent, *receivers)
        nursery.start_soon(notifier.run)
        await trio.testing.wait_all_tasks_blocked()
        yield notifier
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that nothing tells of."""
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.002)


def to(directory: Path, stand_in: StandIn, **more: Any) -> Receiver:
    """A receiver at a stand-in."""
    url = f"http://127.0.0.1:{stand_in.port}/hook"
    return Receiver.of(webhook(directory, url, allow_private=True, **more))


def ids(got: list[Got]) -> list[str]:
    """The ids of the events in messages."""
    return [json.loads(one.body)["data"]["id"] for one in got]


async def written(agent: Agent, name: str, index: int) -> None:
    """Wait until a place is on the disk."""
    with trio.fail_after(10):
        while True:
            rows = await agent.store._db.execute(
                "SELECT value FROM rows WHERE tbl = ? AND key = ?", (WEBHOOKS_TABLE, name.encode())
            )
            found = [row[0] async for row in rows]
            if found and int.from_bytes(found[0][8:16], "big") >= index:
                return
            await trio.sleep(0.005)


async def test_each_event_is_delivered_in_order_and_signed(tmp_path: Path) -> None:
    """From the moment on at which the receiver was named; the body says what happened, where, and
    who says so."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        await agent.happen(2)
        async with notifying(agent, to(tmp_path, hook)) as notifier:
            await agent.happen(3)
            got = await hook.wait(3)
            assert ids(got) == ["1.5.0", "1.6.0", "1.7.0"]
            # The receiver has a message before its answer is counted here.
            await until(lambda: notifier.statuses[0].delivered == 3)
            (status,) = notifier.statuses
            assert (status.delivered, status.failed, status.problem) == (3, 0, "")
    told = json.loads(got[0].body)
    assert told["type"] == "setting"
    assert told["timestamp"].endswith("Z")
    assert told["data"]["pool"]["contract"] == "0x" + POOL.contract.hex()
    assert told["data"]["sent_by"] == "0x" + b"n".hex() * 20
    assert got[0].headers["webhook-id"] == "evt_31337_63636363_1_1_5_0"
    assert got[0].headers["webhook-signature"].startswith("v1,")


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """Also of what happened while nobody listened; only what was not written down comes again."""
    async with receiving() as hook:
        receiver = to(tmp_path, hook)
        async with running(tmp_path / "data") as agent:
            async with notifying(agent, receiver):
                await agent.happen(2)
                await hook.wait(2)
                await written(agent, "test", 4)
            await agent.happen(2)
        async with running(tmp_path / "data") as agent:
            async with notifying(agent, receiver):
                await agent.happen(1)
                await hook.wait(6)
    # The election of the second run is one too.
    found = [tuple(map(int, one.split("."))) for one in ids(hook.got)]
    assert found == [(1, index, 0) for index in range(3, 9)]


async def test_a_place_that_was_not_written_gives_doubles_by_the_same_id(tmp_path: Path) -> None:
    """After a crash the last messages come again: the receiver can tell."""
    async with receiving() as hook:
        receiver = to(tmp_path, hook)
        async with running(tmp_path / "data") as agent, notifying(agent, receiver):
            await written(agent, "test", 2)
        async with running(tmp_path / "data") as agent:
            events = await agent.read((1, 2, 0), 1)
            notifier = notifier_of(agent, receiver)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(notifier.deliveries[0].run)  # Nothing writes places down.
                await hook.wait(1)
                nursery.cancel_scope.cancel()
            again = notifier_of(agent, receiver)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(again.run)
                await hook.wait(2)
                nursery.cancel_scope.cancel()
    first, second = (one.headers["webhook-id"] for one in hook.got[:2])
    assert first == second == message_id(events[0], ORIGIN)


async def test_only_wanted_kinds_come_and_gaps_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver of tasks is not told of settings, but of what it missed."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        async with notifying(agent, to(tmp_path, hook, kinds=("task",))):
            await agent.happen(3)
            await written(agent, "test", 5)
            missed = agent.pool_log.window.lose("a test says so")
            agent.pool_log.events.append(missed)
            await agent.settle()
            (got,) = await hook.wait(1)
    told = json.loads(got.body)
    assert (told["type"], told["data"]["kind"]) == ("gap", "gap")
    assert got.headers["webhook-id"].startswith("gap_")
    assert got.headers["webhook-id"].endswith("_" + b"n".hex() * 4)


async def test_who_is_away_gets_all_when_it_is_back(tmp_path: Path) -> None:
    """In order, first the one that failed; meanwhile the agent says why, and works on."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        hook.answers = [503, 429, 500]
        async with notifying(agent, to(tmp_path, hook)) as notifier:
            await agent.happen(3)
            got = await hook.wait(6)
            assert ids(got) == ["1.3.0"] * 4 + ["1.4.0", "1.5.0"]
            assert len({one.headers["webhook-id"] for one in got[:4]}) == 1
            await until(lambda: notifier.statuses[0].delivered == 3)
            (status,) = notifier.statuses
    assert (status.failed, status.given_up, status.problem) == (3, 0, "")
    assert status.failing_since_ms == 0
    assert notifier.counters == {"failed": 3, "delivered": 3}


async def test_what_is_refused_is_given_up_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """One message that its receiver never takes does not hold the next ones up."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        hook.answers = [400] * limits.WEBHOOK_REFUSALS_MAX
        async with notifying(agent, to(tmp_path, hook)) as notifier:
            await agent.happen(2)
            got = await hook.wait(limits.WEBHOOK_REFUSALS_MAX + 1)
            assert ids(got)[-2:] == ["1.3.0", "1.4.0"]
            assert notifier.counters["given_up"] == 1
            assert notifier.statuses[0].given_up == 1
    said = caplog.text + "".join(capfd.readouterr())
    assert "webhook message given up" in said
    assert "1.3.0" in said


async def test_who_is_gone_gets_nothing_more(tmp_path: Path) -> None:
    """Until the agent starts again: then it goes on with the message that it did not take."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        hook.answers = [410]
        receiver = to(tmp_path, hook)
        async with notifying(agent, receiver) as notifier:
            await written(agent, "test", 2)
            await agent.happen(2)
            await hook.wait(1)
            await until(lambda: notifier.deliveries[0].ended)
            await trio.testing.wait_all_tasks_blocked()
            assert len(hook.got) == 1
            assert "410" in notifier.statuses[0].problem
    async with receiving() as hook, running(tmp_path / "data") as agent:
        async with notifying(agent, to(tmp_path, hook)):
            assert ids(await hook.wait(1)) == ["1.3.0"]


async def test_a_silent_receiver_slows_nobody(tmp_path: Path) -> None:
    """More events than any queue holds happen while it says nothing: the agent takes none of its
    time, the other receiver gets all, and the silent one the rest when it answers."""
    many = limits.SUBSCRIBER_QUEUE_MAX + 50
    async with receiving() as silent, receiving() as other, running(tmp_path / "data") as agent:
        silent.answers = [None]
        first = to(tmp_path, silent)
        async with notifying(agent, first, to(tmp_path, other, name="other")) as notifier:
            await agent.happen(1)
            await silent.wait(1)
            await agent.happen(many)
            # The hub has dropped the silent one: its place is all that is kept for it.
            assert notifier.deliveries[0].place == (1, 2, 0)
            got = await other.wait(many + 1)
            assert len(set(ids(got))) == many + 1


async def test_what_was_dropped_meanwhile_is_read_again(tmp_path: Path) -> None:
    """A burst that is longer than the queue between loses nothing, as long as it is kept."""
    many = limits.SUBSCRIBER_QUEUE_MAX + 50
    async with receiving() as hook, running(tmp_path / "data") as agent:
        async with notifying(agent, to(tmp_path, hook)):
            await agent.happen(many)
            got = await hook.wait(many)
    assert len(set(ids(got))) == many
    assert hook.connections == 1


async def test_a_void_log_is_told_as_a_gap(tmp_path: Path) -> None:
    """What follows are the events of the next log, whose ids begin anew."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        async with notifying(agent, to(tmp_path, hook)):
            await agent.happen(2)
            await hook.wait(2)
            agent.pool_log.window.begin(1)
            first = Event(1, 1, 0, 7, "committee", "committee", "has 1 voter")
            agent.pool_log.events += agent.pool_log.window.take(1, 1, (first,))
            await agent.settle()
            got = await hook.wait(4)
    gap, after = (json.loads(one.body) for one in got[2:])
    assert gap["type"] == "gap"
    assert "void" in gap["data"]["text"]
    assert after["data"]["id"] == "1.1.0"


async def test_an_agent_that_has_not_caught_up_waits(tmp_path: Path) -> None:
    """A place that its log has not reached again is one to wait for, and it says so."""
    async with receiving() as hook, running(tmp_path / "data") as agent:
        receiver = to(tmp_path, hook)
        notifier = notifier_of(agent, receiver)
        notifier.deliveries[0].place = (1, 6, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            await until(lambda: "of the future" in notifier.statuses[0].problem)
            await agent.happen(6)
            assert ids(await hook.wait(1)) == ["1.7.0"]
            nursery.cancel_scope.cancel()


async def test_who_is_named_no_more_is_forgotten(tmp_path: Path) -> None:
    """Named again later it begins with what happens then."""
    async with receiving() as hook:
        async with running(tmp_path / "data") as agent, notifying(agent, to(tmp_path, hook)):
            await agent.happen(1)
            await written(agent, "test", 3)
        async with running(tmp_path / "data") as agent:
            async with trio.open_nursery() as nursery:
                notifier = notifier_of(agent)
                nursery.start_soon(notifier.run)
                await until(lambda: not notifier._forgotten)
                nursery.cancel_scope.cancel()
        async with running(tmp_path / "data") as agent:
            assert not agent.store.restored.tables[WEBHOOKS_TABLE]


async def test_without_receivers_nothing_runs(tmp_path: Path) -> None:
    """Nobody listens to the hub, and the task ends at once."""
    async with running(tmp_path) as agent:
        with trio.fail_after(1):
            await notifier_of(agent).run()
        assert not agent.api.event_hub._listeners


def test_ids_are_the_same_from_every_agent_but_of_gaps() -> None:
    """And of no two pools or events."""
    event, gap = (Event(1, 2, 3, 7, kind, "s", "t") for kind in ("task", "gap"))
    other = Origin(POOL, NodeId(b"m" * 20))
    assert message_id(event, ORIGIN) == message_id(event, other)
    assert message_id(gap, ORIGIN) != message_id(gap, other)
    assert message_id(event, ORIGIN) != message_id(gap, ORIGIN)
    elsewhere = Origin(PoolRef(31337, Address(b"d" * 20), 1), NodeId(b"n" * 20))
    assert message_id(event, ORIGIN) != message_id(event, elsewhere)
    assert "." not in message_id(event, ORIGIN)


def test_a_moment_that_no_date_can_have_ends_nobody() -> None:
    """A leader's clock stands in each event, and a leader may write what it likes."""
    event = Event(1, 2, 0, at_ms=2**64 - 1, kind="task", subject="t", text="")
    told = json.loads(message_body(event, Origin(POOL, NodeId(b"\1" * 20)), 1))
    assert told["timestamp"] == "9999-12-31T23:59:59.000Z"
    assert told["data"]["at_ms"] == 2**64 - 1
