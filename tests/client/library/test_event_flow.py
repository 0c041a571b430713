"""Events across agents: each once, in order, and what no agent has is said."""

from collections.abc import Iterator
from typing import Any

import pytest

from p2pool.client.library.event_flow import EventReader
from p2pool.client.library.steps import Open
from p2pool.model.errors import Malformed, Misconfigured, NotAllowed, Stale, Unavailable
from p2pool.model.ports.view import AFTER_ENTRY
from tests.client.library.scripted import AWAY, Line, Said, Stage, pool_answer, questions

BEHIND = Stale("It is of the future.")
ANSWERED: Said = (200, pool_answer())


def sse(number: int, kind: str = "task", name: str = "") -> bytes:
    """An event as agents send it."""
    name = name or f"1.{number}.0"
    data = f'{{"id":"{name}","at_ms":1,"kind":"{kind}","subject":"t","text":"","details":{{}}}}'
    return f"id: {name}\nevent: {kind}\ndata: {data}\n\n".encode()


def gap(index: int) -> bytes:
    """That events up to an entry are missing."""
    return sse(0, "gap", f"1.{index}.{AFTER_ENTRY}")


def after(opened: Open) -> str:
    return opened.path.partition("after=")[2]


class Kept:
    """Agents that keep events from a place on, and break off after some."""

    def __init__(self, *floors: int, most: int = 2, last: int = 9) -> None:
        self.floors, self.most, self.last = floors, most, last

    def __call__(self, opened: Open) -> Iterator[Line]:
        begun = int((after(opened) or f"1.{self.last}.0").split(".")[1])
        yield f"id: {after(opened) or f'1.{self.last}.0'}\n\n".encode()
        floor = self.floors[opened.agent]
        if begun < floor:
            yield gap(floor)
            begun = floor
        yield b": ping\n\n"
        for number in range(begun + 1, min(begun + self.most, self.last) + 1):
            yield sse(number)
        raise AWAY


def ids(given: list[Any]) -> list[str]:
    return [one.id for one in given]


def test_reading_goes_on_at_another_agent() -> None:
    """After each break, behind the last that was read."""
    stage = Stage(stream=Kept(0, 0, 0))
    given, _ = stage.run(EventReader(questions(), "1.2.0", 60).flow(), most=7)
    assert ids(given) == [f"1.{n}.0" for n in range(3, 10)]
    assert [agent for agent, _ in stage.asked()] == [0, 1, 2, 0]


def test_what_one_agent_lacks_another_tells() -> None:
    """A gap is not given while somebody has the events."""
    stage = Stage(stream=Kept(6, 6, 0))
    given, _ = stage.run(EventReader(questions(), "1.2.0", 60).flow(), most=7)
    assert ids(given) == [f"1.{n}.0" for n in range(3, 10)]
    assert not any(one.is_gap for one in given)


def test_what_no_agent_has_is_said_and_as_little_as_can_be() -> None:
    """The smallest gap is given, once; then it goes on."""
    stage = Stage(stream=Kept(7, 5, 6))
    given, _ = stage.run(EventReader(questions(), "1.2.0", 60).flow(), most=5)
    assert ids(given) == [f"1.5.{AFTER_ENTRY}", "1.6.0", "1.7.0", "1.8.0", "1.9.0"]
    assert given[0].is_gap


def test_one_that_is_away_may_have_them() -> None:
    """It is waited for, though not for ever."""
    seen: list[float] = []

    def stream(opened: Open) -> Iterator[Line]:
        if opened.agent == 1:
            seen.append(stage.now)
            raise AWAY
        return Kept(5, 0)(opened)

    stage = Stage(stream=stream)
    given, _ = stage.run(EventReader(questions(2), "1.2.0", 60).flow(), most=2)
    assert ids(given) == [f"1.5.{AFTER_ENTRY}", "1.6.0"]
    assert len(seen) > 10
    assert 9 < stage.now < 12

    def back(opened: Open) -> Iterator[Line]:
        if opened.agent == 1 and late.now < 4:
            raise AWAY
        return Kept(5, 0)(opened)

    late = Stage(stream=back)
    given, _ = late.run(EventReader(questions(2), "1.2.0", 60).flow(), most=3)
    assert ids(given) == ["1.3.0", "1.4.0", "1.5.0"]


def test_an_agent_that_is_behind_is_waited_for() -> None:
    """A refusal of an id may pass; where all refuse it for long, it is of no log of theirs."""

    def stream(opened: Open) -> Iterator[Line]:
        if opened.agent == 0 or stage.now < 3:
            raise BEHIND
        return Kept(0, 0)(opened)

    stage = Stage(stream=stream)
    given, _ = stage.run(EventReader(questions(2), "1.2.0", 60).flow(), most=1)
    assert ids(given) == ["1.3.0"]

    def never(opened: Open) -> Iterator[Line]:
        raise BEHIND

    with pytest.raises(Stale):
        Stage(stream=never).run(EventReader(questions(2), "9.1.0", 10).flow())


def test_patience_is_for_silence_and_not_for_the_whole() -> None:
    """Whoever goes on reading for days is not sent away after a minute."""

    def stream(opened: Open) -> Iterator[Line]:
        stage.now += 50
        return Kept(0, 0, most=1)(opened)

    stage = Stage(stream=stream)
    given, _ = stage.run(EventReader(questions(2), "1.2.0", 60).flow(), most=7)
    assert len(given) == 7

    def away(opened: Open) -> Iterator[Line]:
        raise AWAY

    with pytest.raises(Unavailable):
        Stage(stream=away).run(EventReader(questions(2), "1.2.0", 60).flow())


def test_from_now_on_is_settled_by_the_first_agent() -> None:
    """Its first id is the place: an agent that breaks off before any event loses none."""
    stage = Stage(stream=Kept(0, 0, most=0))
    flow = EventReader(questions(2), "", 2).flow()
    with pytest.raises(Unavailable):
        stage.run(flow)
    assert {path for _, path in stage.asked()[1:]} == {"/v1/events?after=1.9.0"}


def test_what_is_told_twice_is_given_once() -> None:
    """Whatever an agent tells again."""

    def stream(opened: Open) -> Iterator[Line]:
        yield from (sse(3), sse(4), sse(3), sse(5))
        raise AWAY

    given, _ = Stage(stream=stream).run(EventReader(questions(1), "1.3.0", 60).flow(), most=2)
    assert ids(given) == ["1.4.0", "1.5.0"]


@pytest.mark.parametrize(
    "line",
    [
        b"id: x\n\n",
        b"id: 1.3.0\ndata: []\n\n",
        b'id: 1.3.0\ndata: {"id":"1.4.0","at_ms":1,"kind":"","subject":"","text":""}\n\n',
        b'id: 1.3.0\ndata: {"id":"1.3.0"}\n\n',
    ],
)
def test_what_is_no_event_is_told_so(line: bytes) -> None:
    """In a sentence."""

    def stream(opened: Open) -> Iterator[Line]:
        yield line

    with pytest.raises(Misconfigured, match="no agent"):
        Stage(stream=stream).run(EventReader(questions(1), "1.2.0", 60).flow())


def test_an_id_that_is_none_asks_nobody() -> None:
    """It is the caller's fault."""
    stage = Stage()
    with pytest.raises(Malformed):
        stage.run(EventReader(questions(), "1.2", 60).flow())
    assert stage.asked() == []


def test_the_error_of_a_stream_is_no_event() -> None:
    """A reader that was too slow for one agent goes on where it was."""
    problem = b'event: error\ndata: {"code":"overloaded","status":503,"detail":"too slow"}\n\n'

    def stream(opened: Open) -> Iterator[Line]:
        yield sse(3) if opened.agent == 0 else sse(4)
        yield problem

    given, _ = Stage(stream=stream).run(EventReader(questions(2), "1.2.0", 60).flow(), most=2)
    assert ids(given) == ["1.3.0", "1.4.0"]


def test_a_stream_that_was_quiet_for_long_was_there() -> None:
    """Patience counts from when it broke off, and not from its beginning: in a quiet pool an agent
    that is restarted, hours later, is waited for as in any other."""

    def quiet(opened: Open) -> Iterator[Line]:
        if len(breaks) % 2:  # It is back, but not at once.
            breaks.append(stage.now)
            raise AWAY
        yield b"id: 1.2.0\n\n"
        for _ in range(400):
            stage.now += 15
            yield b": ping\n\n"
        if len(breaks) > 9:
            yield sse(3)
        breaks.append(stage.now)
        raise AWAY

    for count in (1, 3):
        breaks, stage = list[float](), Stage(stream=quiet)
        given, _ = stage.run(EventReader(questions(count), "1.2.0", 60).flow(), most=1)
        assert ids(given) == ["1.3.0"]


REVOKED: Said = (401, {"code": "not-allowed", "detail": "The token 'ci' was revoked."})


@pytest.mark.parametrize("midway", [False, True])
def test_a_token_that_one_agent_takes_no_more(midway: bool) -> None:
    """Revoked while its stream was open, or before it: others may take theirs. Where none does, it
    says so."""

    def stream(opened: Open) -> Iterator[Line]:
        if opened.agent == 0 or everywhere:
            for one in range(2):
                stage.pools[one] = REVOKED if one == opened.agent or everywhere else ANSWERED
            if midway:
                yield sse(3)
                yield b'event: error\ndata: {"code":"not-allowed","status":403,"detail":"x"}\n\n'
            raise NotAllowed("The token 'ci' was revoked.")
        yield sse(4)

    everywhere, stage = False, Stage(stream=stream)
    given, _ = stage.run(EventReader(questions(2), "1.2.0", 60).flow(), most=1 + midway)
    assert ids(given) == (["1.3.0", "1.4.0"] if midway else ["1.4.0"])
    everywhere, stage = True, Stage(stream=stream)
    with pytest.raises(Misconfigured, match="was revoked"):
        stage.run(EventReader(questions(2), "1.2.0", 60).flow())


def test_what_a_token_does_not_open_is_a_refusal() -> None:
    """The agent takes the token, and it is too narrow: no other agent is asked."""

    def stream(opened: Open) -> Iterator[Line]:
        raise NotAllowed("The token has the scope metrics, and this needs read.")

    stage = Stage(stream=stream)
    with pytest.raises(NotAllowed, match="needs read"):
        stage.run(EventReader(questions(2), "1.2.0", 60).flow())
    assert len(stage.asked()) == 1
