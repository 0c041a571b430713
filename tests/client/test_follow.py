"""`task logs -f` goes on as long as the task does, wherever its copy runs, and repeats nothing."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from p2pool.cli.task.follow import Follower
from p2pool.model.errors import NotAllowed, NotFound, P2poolError, Unavailable
from p2pool.model.ports.agent import LogOptions

Line = tuple[int, str]


class Script:
    """An agent that plays one act after the other: how the copy is, and its log then.

    A log is all of an attempt's lines so far, of which those asked for are given, and how the
    stream ends: well, or with an error.
    """

    def __init__(self, *acts: tuple[dict[str, Any], list[Line], P2poolError | None]) -> None:
        self.acts, self.at, self.asked = acts, -1, list[LogOptions]()

    def task(self, task_id: str) -> dict[str, Any]:
        self.at = min(self.at + 1, len(self.acts) - 1)
        how = dict(self.acts[self.at][0])
        if error := how.pop("error", None):
            raise error
        state = how.pop("task", "running")
        copy = {"id": "t.0", "attempt": 1, "state": "running", "node_id": "n", "reason": ""}
        copy |= {"exit_code": None, "changed_at_ms": self.at, **how}
        return {"state": state, "spec": {}, "allocations": [copy]}

    def logs(self, copy: str, grant: object, options: LogOptions) -> Iterator[list[Any]]:
        self.asked.append(options)
        _, lines, error = self.acts[self.at]
        lines = [line for line in lines if line[0] >= options.since_ms]
        if options.tail_lines >= 0:
            lines = lines[len(lines) - options.tail_lines :]
        for at_ms, text in lines:
            yield [{"stream": "stdout", "at_ms": at_ms, "text": text}]
        if error is not None:
            raise error


ONE = [(5, "a"), (6, "b"), (6, "c")]
ENDED = {"task": "succeeded", "state": "succeeded", "exit_code": 0}
AWAY = Unavailable("The node that has these lines cannot be reached.")


def followed(
    monkeypatch: pytest.MonkeyPatch, script: Script, **options: int
) -> tuple[str, list[str]]:
    """All lines that are written, and what people are told."""
    monkeypatch.setattr("p2pool.cli.task.follow.time.sleep", lambda s: None)
    told: list[str] = []
    client = cast(Any, script)
    wanted = LogOptions(follow=True, **options)
    reader = Follower(client, "t", "t.0", cast(Any, lambda: None), wanted, told.append)
    return "".join(c["text"] for batch in reader.chunks() for c in batch), told


def test_after_a_restart_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same container again: what came before is not written twice, and of the lines of one
    millisecond none is left out."""
    more = [*ONE, (6, "d"), (7, "e")]
    script = Script(({}, ONE, None), ({"state": "starting"}, ONE, None), ({}, more, None))
    script.acts += ((ENDED, more, None),)
    text, told = followed(monkeypatch, script)
    assert text == "abcde"
    assert told[-1] == "is succeeded, exit code 0"


def test_lines_that_are_kept_no_more_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has dropped its oldest lines while nobody read: with the last that was read gone,
    nobody knows which were after it. Where that is still there, nothing is missing."""
    dropped = Script(({}, ONE, AWAY), (ENDED, [(9, "x")], None))
    text, told = followed(monkeypatch, dropped)
    assert text == "abcx"
    assert "lines may be missing: those read last are kept there no more" in told
    whole = Script(({}, ONE, AWAY), (ENDED, [*ONE[1:], (9, "x")], None))
    text, told = followed(monkeypatch, whole)
    assert text == "abcx"
    assert not any("missing" in one for one in told)


def test_after_a_move_the_next_attempt_is_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another node, whose clock may be behind; while the copy is lost, it says so and waits."""
    lost = {"state": "lost", "reason": "its node is unreachable"}
    moved = [(1, "x"), (9, "y")]
    script = Script(
        ({}, ONE, AWAY),
        (lost, ONE, AWAY),
        ({"state": "assigned", "attempt": 2}, [], None),
        ({"attempt": 2}, moved, None),
        ({**ENDED, "attempt": 2}, moved, None),
    )
    text, told = followed(monkeypatch, script, tail_lines=2)
    assert text == "bcxy"
    assert "is lost: its node is unreachable" in told


def test_a_copy_that_waits_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is told once; then its image is fetched, then its container begins."""
    waits = {"state": "pending", "node_id": None, "reason": "no node has 8 GPUs"}
    script = Script((waits, [], None), (waits, [], None), ({"state": "pulling"}, [], None))
    script.acts += (({}, [], NotFound("This attempt has no container.")), ({}, ONE, None))
    script.acts += ((ENDED, ONE, None),)
    text, told = followed(monkeypatch, script)
    assert text == "abc"
    assert told.count("is pending: no node has 8 GPUs") == 1


def test_an_agent_that_restarts_is_awaited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on where it was; an agent that stays away is an error."""
    gone = Unavailable("No agent answers.")
    script = Script(({}, ONE, gone), ({"error": gone}, [], None), ({}, ONE, None))
    script.acts += ((ENDED, ONE, None),)
    assert followed(monkeypatch, script)[0] == "abc"
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr("p2pool.cli.task.follow.time.monotonic", lambda: next(clock))
    with pytest.raises(Unavailable):
        followed(monkeypatch, Script(({"error": gone}, [], None)))


def test_a_copy_that_waits_for_its_restart_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote before it ended is all that there is until it starts again."""
    waits = {"state": "starting", "changed_at_ms": 3}
    script = Script(({}, ONE, None), *[(waits, ONE, None)] * 4, (ENDED, ONE, None))
    assert followed(monkeypatch, script)[0] == "abc"
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    "how",
    [
        ENDED,
        {"task": "failed", "state": "failed", "exit_code": 3},
        {"task": "stopped", "state": "stopped"},
        {"task": "stopped", "state": "stopped", "node_id": None},
        {"state": "succeeded"},
    ],
)
def test_it_ends_with_the_copy(monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    """Having read all that was written up to the end, and having said how it ended."""
    late = [*ONE, (8, "last")]
    text, told = followed(monkeypatch, Script(({}, ONE, None), (how, late, None)))
    assert text == ("abc" if how.get("node_id", "n") is None else "abclast")
    assert told[-1].startswith(f"is {how['state']}")


def test_what_can_never_be_read_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal; and lines that are out of reach when the task has ended."""
    with pytest.raises(NotAllowed):
        followed(monkeypatch, Script(({}, [], NotAllowed("No."))))
    with pytest.raises(Unavailable):
        followed(monkeypatch, Script((ENDED, ONE, AWAY)))


def test_lines_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tail 0` leaves out what was there before, and nothing that comes later."""
    monkeypatch.setattr("p2pool.cli.task.follow.time.time_ns", lambda: 7_000_000)
    late = [*ONE, (8, "new")]
    script = Script(({}, ONE, None), ({}, late, None), (ENDED, late, None))
    assert followed(monkeypatch, script, tail_lines=0)[0] == "new"
