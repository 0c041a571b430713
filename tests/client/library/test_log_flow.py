"""A copy's lines: each once, across agents, restarts and moves; what may be missing is said."""

from collections.abc import Iterator
from typing import Any

import pytest

from p2pool.client.library.log_flow import LogReader
from p2pool.client.library.steps import Ask, Open
from p2pool.model.errors import Misconfigured, NotAllowed, NotFound, P2poolError, Unavailable
from p2pool.model.ports.agent import LogOptions
from tests.client.library.scripted import AWAY, Line, Said, Stage, copy_of, questions, task_answer

END: Line = {"end": True}
OVER = {"state": "succeeded", "exit_code": 0}


def out(at_ms: int, text: str, stream: str = "stdout") -> Line:
    """A chunk of a log."""
    return {"stream": stream, "at_ms": at_ms, "text": text}


class Acts:
    """A copy, read act by act: how it is, and what its log gives then."""

    def __init__(self, *acts: tuple[dict[str, Any], list[Line | P2poolError]]) -> None:
        self.acts, self.at, self.bodies = acts, -1, list[dict[str, Any]]()

    def answer(self, ask: Ask) -> Said:
        self.at = min(self.at + 1, len(self.acts) - 1)
        how = dict(self.acts[self.at][0])
        state = how.pop("task", "running")
        if state == "gone":
            return 404, {"code": "not-found", "detail": "none"}
        return 200, task_answer(copy_of(changed_at_ms=self.at, **how), state=state)

    def stream(self, opened: Open) -> Iterator[Line]:
        self.bodies.append(opened.body)
        for line in self.acts[self.at][1]:
            if isinstance(line, P2poolError):
                raise line
            at_ms = line.get("at_ms") if isinstance(line, dict) else None
            if at_ms is None or at_ms >= opened.body["since_ms"]:
                yield line

    def read(self, follow: bool = True, **options: int) -> tuple[str, list[Any]]:
        """The text of all lines, and the lines."""
        wanted = LogOptions(follow=follow, **options)
        stage = Stage(self.answer, self.stream)
        given, _ = stage.run(LogReader(questions(2), "n", 0, wanted, 20).flow())
        return " ".join(one.text for one in given), given


ONE: list[Line | P2poolError] = [out(5, "a\n"), out(6, "b\n"), out(6, "c\n")]


def test_a_log_is_read_to_its_end() -> None:
    """Lines are whole, however they come; the last may lack its end."""
    acts = Acts((OVER | {"task": "succeeded"}, [out(1, "one\ntw"), out(2, "o\nth"), END]))
    text, lines = acts.read(follow=False)
    assert text == "one two th"
    assert [(one.at_ms, one.whole) for one in lines] == [(1, True), (1, True), (2, False)]
    assert acts.bodies[0]["grant"]["task"] == "t"


def test_streams_and_bytes_are_kept_apart() -> None:
    """Standard error has lines of its own, and what is no UTF-8 is there as bytes."""
    encoded: Line = {"stream": "stdout", "at_ms": 3, "base64": "/2IK"}
    over = OVER | {"task": "succeeded"}
    acts = Acts((over, [out(1, "a"), out(2, "e\n", "stderr"), encoded, END]))
    _, lines = acts.read(follow=False)
    assert [(one.stream, one.data) for one in lines] == [("stderr", b"e"), ("stdout", b"a\xffb")]
    assert lines[1].text == "a\\xffb"


def test_another_agent_goes_on_where_one_broke_off() -> None:
    """Of the lines of one millisecond none is given twice and none left out."""
    more: list[Line | P2poolError] = [*ONE, out(6, "d\n"), out(7, "e\n"), END]
    acts = Acts(({}, [*ONE, AWAY]), ({}, more), (OVER | {"task": "succeeded"}, more))
    text, lines = acts.read()
    assert text == "a b c d e"
    assert not any(one.after_gap for one in lines)
    assert [body["since_ms"] for body in acts.bodies] == [0, 6, 7]


def test_half_a_line_is_joined_across_agents() -> None:
    """What came before the break is kept for the rest."""
    over = OVER | {"task": "succeeded"}
    first, second = out(5, "hal"), out(6, "f\n")
    acts = Acts(({}, [first, AWAY]), (over, [first, second, END]))
    assert acts.read()[0] == "half"


def test_lines_that_are_kept_no_more_are_said() -> None:
    """By the next line."""
    acts = Acts(({}, [*ONE, AWAY]), (OVER | {"task": "succeeded"}, [out(9, "x\n"), END]))
    text, lines = acts.read()
    assert text == "a b c x"
    assert [one.after_gap for one in lines] == [False, False, False, True]


def test_the_next_attempt_is_read_from_its_beginning() -> None:
    """Wherever it is placed, though its clock may be behind."""
    acts = Acts(
        ({}, [*ONE, END]),
        ({"state": "pending", "node_id": None, "attempt": 2}, []),
        (OVER | {"attempt": 2, "task": "succeeded"}, [out(2, "z\n"), END]),
    )
    text, lines = acts.read(tail_lines=3)
    assert text == "a b c z"
    assert [one.attempt for one in lines] == [1, 1, 1, 2]
    assert [body["tail_lines"] for body in acts.bodies] == [3, -1]


def test_a_tail_of_nothing_replays_nothing() -> None:
    """Where no line came with the tail, what comes from then on is new, and the rest is old."""
    acts = Acts(({}, [END]), (OVER | {"task": "succeeded"}, [*ONE, END]))
    assert acts.read(tail_lines=0)[0] == ""


def test_a_task_that_was_forgotten_is_the_end() -> None:
    """What was read is all there is."""
    acts = Acts(({}, [*ONE, END]), ({"task": "gone"}, []))
    assert acts.read()[0] == "a b c"


def test_a_node_that_is_away_is_waited_for_while_the_copy_may_come_back() -> None:
    """How long that takes is for the pool to say; once it has ended, patience ends."""
    away: tuple[dict[str, Any], list[Line | P2poolError]] = ({}, [AWAY])
    acts = Acts(*[away] * 90, (OVER | {"task": "succeeded"}, [*ONE, END]))
    assert acts.read()[0] == "a b c"
    with pytest.raises(Unavailable):
        Acts((OVER | {"task": "succeeded"}, [AWAY])).read()
    with pytest.raises(Unavailable):
        Acts(({}, [AWAY])).read(follow=False)


def test_what_has_no_log_is_told_so() -> None:
    """A copy that has not started, or is none; and lines that are gone."""
    with pytest.raises(NotFound, match="has not started"):
        Acts(({"state": "pending", "node_id": None}, [])).read(follow=False)
    acts = Acts((OVER | {"task": "succeeded"}, [NotFound("The container is gone.")]))
    with pytest.raises(NotFound, match="is gone"):
        acts.read()
    stage = Stage(acts.answer, acts.stream)
    with pytest.raises(NotFound, match="no copy 7"):
        stage.run(LogReader(questions(), "n", 7, LogOptions(), 20).flow())


def test_a_line_without_end_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's memory fills up."""
    monkeypatch.setattr("p2pool.client.library.log_flow.limits.CLIENT_LOG_LINE_MAX_BYTES", 4)
    over = OVER | {"task": "succeeded"}
    _, lines = Acts((over, [out(1, "aaaa"), out(1, "b\n"), END])).read(follow=False)
    assert [(one.text, one.whole) for one in lines] == [("aaaa", False), ("b", True)]


def test_agents_that_take_no_token_are_left_and_not_for_ever() -> None:
    """One whose token was revoked is left for another; where all are so, following ends with it."""

    def stream(opened: Open) -> Iterator[Line]:
        if opened.agent == 0 or everywhere:
            stage.pools[opened.agent] = (401, {"code": "not-allowed", "detail": "It was revoked."})
            raise NotAllowed("It was revoked.")
        for line in (*ONE, END):
            assert not isinstance(line, P2poolError)
            yield line

    def answer(ask: Ask) -> Said:
        return 200, task_answer(copy_of(**OVER), state="succeeded")

    everywhere, stage = False, Stage(answer, stream)
    given, _ = stage.run(reader(2).flow())
    assert [one.text for one in given] == ["a", "b", "c"]
    everywhere, stage = True, Stage(answer, stream)
    with pytest.raises(Misconfigured, match="was revoked"):
        stage.run(reader(2).flow())


def test_what_no_agent_streams_as_an_agent_does_ends_following() -> None:
    """As behind a proxy that lets reads through and no more: no time mends that."""

    def stream(opened: Open) -> Iterator[Line]:
        raise Misconfigured("It is no agent.")

    stage = Stage(lambda ask: (200, task_answer(copy_of())), stream)
    with pytest.raises(Misconfigured, match="is no agent"):
        stage.run(reader(2).flow())
    assert stage.now < 5


def reader(count: int) -> LogReader:
    """Who follows a copy, at so many agents."""
    return LogReader(questions(count), "n", 0, LogOptions(follow=True), 20)
