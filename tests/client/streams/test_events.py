"""`pool events` shows what is kept or follows what happens, and never hides that some is lost."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import trio

from p2pool.cli.pool.events import events, followed
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, NotFound, P2poolError, Stale, Unavailable
from p2pool.model.ports.view import AFTER_ENTRY, Event
from tests.client.conftest import Commands, Served

KEPT = [Event(1, n, 0, 1_800_000_000_000, "task", "t", f"event {n}") for n in (10, 11, 12)]
GAP = Event(1, 9, AFTER_ENTRY, 0, "gap", "events", "events up to this one are missing: old",
            (("oldest", "1.10.0"),))  # fmt: skip


async def test_what_is_kept_is_written_and_then_it_ends(commands: Commands, served: Served) -> None:
    """All of it, or what comes after an id; that there was more before is nothing to warn of."""
    served.port.happened = [GAP, *KEPT]
    done = await commands(events, signs=False)
    assert [line.split("  ")[0] for line in done.output.splitlines()] == [
        "1.10.0", "1.11.0", "1.12.0",
    ]  # fmt: skip
    assert done.stderr == ""
    assert "2027-01-15T08:00:00Z  task t event 10" in done.stdout
    done = await commands(events, "--after", "1.11.0", signs=False)
    assert done.stdout.splitlines() == ["1.12.0  2027-01-15T08:00:00Z  task t event 12"]
    done = await commands(events, "--after", "1.12.0", signs=False)
    assert (done.stdout, done.exit_code) == ("", 0)


async def test_an_event_is_one_line(commands: Commands, served: Served) -> None:
    """A node that has a line end in the reason it gives writes no events of its own."""
    forged = "is failed: no\n1.12.0  2027-01-15T08:00:00Z  pool pool is over\r\x1b[2J"
    served.port.happened = [Event(1, 12, 0, 1_800_000_000_000, "allocation", "t.0", forged)]
    done = await commands(events, signs=False)
    (line,) = done.stdout.splitlines()
    assert line.startswith("1.12.0  2027-01-15T08:00:00Z  allocation t.0 is failed: no")
    assert line.isprintable()


async def test_a_gap_is_told(commands: Commands, served: Served) -> None:
    """To people as a warning, to programs in its place; with --exact it is the end."""
    served.port.happened = [GAP, *KEPT]
    done = await commands(events, "--after", "1.2.0", signs=False)
    assert "warning: 1.9.999999: events up to this one are missing" in done.stderr
    assert "the oldest that is kept is 1.10.0" in done.stderr
    done = await commands(events, "--after", "1.2.0", "--json", signs=False)
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["kind"] for one in documents] == ["event"] * 4
    assert [one["data"]["kind"] for one in documents] == ["gap", "task", "task", "task"]
    assert documents[0]["data"]["details"] == {"oldest": "1.10.0"}
    done = await commands(events, "--after", "1.2.0", "--exact", signs=False)
    assert isinstance(done.exception, NotFound)
    assert "--after 1.9.999999" in done.exception.hint
    done = await commands(events, "--after", "1.10.0", "--exact", signs=False)
    assert (done.exception, len(done.stdout.splitlines())) == (None, 2)


async def test_an_id_that_is_none_or_of_the_future(commands: Commands, served: Served) -> None:
    """The first is wrong usage; the second the agent refuses, and says how far it is."""
    done = await commands(events, "--after", "1.2", signs=False)
    assert done.exit_code == 2
    done = await commands(events, "--exact", signs=False)
    assert done.exit_code == 2

    async def refuse(after: tuple[int, int, int] | None) -> Any:
        if after is None:
            return await type(served.port).events(served.port, None)
        raise Stale("It is of the future.")

    served.port.events = refuse  # type: ignore[method-assign]
    done = await commands(events, "--after", "9.1.0", signs=False)
    assert isinstance(done.exception, Stale)


async def test_where_nothing_is_kept_it_ends(commands: Commands, served: Served) -> None:
    """An agent that has just taken a snapshot has told a gap, and nothing since."""
    served.port.newest, served.port.happened = GAP.id, [GAP]
    done = await commands(events, signs=False)
    assert (done.stdout, done.stderr, done.exit_code) == ("", "", 0)
    done = await commands(events, "--after", "1.2.0", signs=False)
    assert (done.exit_code, "are missing" in done.stderr) == (0, True)


class Restarting:
    """An agent that tells some events and goes away; its next runs go on after an id."""

    def __init__(self, *acts: list[int] | P2poolError) -> None:
        self.acts, self.asked, self.read_up_to = list(acts), list[str | None](), ""

    def events(self, after: str | None) -> Iterator[dict[str, Any]]:
        self.asked.append(after)
        self.read_up_to = ""
        act = self.acts.pop(0)
        if isinstance(act, P2poolError):
            raise act
        self.read_up_to = str(after)
        for number in act:
            self.read_up_to = f"1.{number}.0"
            yield {"id": self.read_up_to, "kind": "task"}
        raise Unavailable("The events broke off.")


def test_following_goes_on_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last event that was read, also where none was read yet; while the agent is away or
    catches up, it says so and waits."""
    monkeypatch.setattr("p2pool.cli.pool.events.time.sleep", lambda s: None)
    away, behind = Unavailable("No agent answers."), Stale("It is of the future.")
    agent = Restarting([], [3, 4], away, away, behind, [5], NotFound("enough"))
    told: list[str] = []
    read = followed(cast(Any, agent), "1.2.0", told.append)
    found = [next(read)["id"] for _ in range(3)]
    with pytest.raises(NotFound):
        next(read)
    assert found == ["1.3.0", "1.4.0", "1.5.0"]
    assert agent.asked == ["1.2.0", "1.2.0", *["1.4.0"] * 4, "1.5.0"]
    assert [text.partition(": ")[2] for text in told] == [
        "The events broke off.", "The events broke off.", "No agent answers.",
        "It is of the future.", "The events broke off.",
    ]  # fmt: skip


def test_the_first_refusal_ends_it() -> None:
    """Nobody waits a minute for an id that the agent never had."""
    with pytest.raises(Stale):
        list(followed(cast(Any, Restarting(Stale("It is of the future."))), "9.1.0", print))


async def test_an_agent_that_never_sends_what_it_names_is_not_waited_for(
    commands: Commands, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which event is its newest, pings, and sends nothing: that ends as every answer
    does."""
    monkeypatch.setattr(limits, "CLIENT_ANSWER_MAX_MS", 500)
    monkeypatch.setattr(limits, "API_FIRST_WAIT_MS", 50)
    monkeypatch.setattr(limits, "API_STREAM_PING_MS", 50)
    served.port.newest = (1, 12, 0)
    with trio.fail_after(20):
        done = await commands(events, signs=False)
    assert isinstance(done.exception, Unavailable)
    assert "has no end after" in done.exception.message


async def test_an_agent_that_sends_more_than_any_keeps_is_told_so(
    commands: Commands, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fills the memory of who asks."""
    monkeypatch.setattr(limits, "CLIENT_EVENTS_MAX", 2)
    served.port.happened = [*KEPT, *KEPT]
    served.port.newest = (1, 99, 0)
    done = await commands(events, signs=False)
    assert isinstance(done.exception, Misconfigured)
    assert "more events than any agent keeps" in done.exception.message
