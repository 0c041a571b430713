"""Reads one copy's log line by line, across agents that go and containers that begin again.

Intuition: a stream of lines ends with its container, or with the agent that hands it through. So
who reads asks how the copy is, reads, and asks again, until the copy has ended for good and all of
it was read; where a stream broke off, it goes on at the time of the last line, through whichever
agent answers.

Invariants: within an attempt no chunk is given twice (those of the last time are counted and passed
over); an attempt is read from its beginning, but for the first where a part was asked for; where
what was read last is kept no more, the next line says that some may be missing.
Source: docs/design/api.md, "Log lines and metrics"; `cli.task.follow` does so for people.
"""

import base64
import binascii
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import attrs

from p2pool.client.errors import error_of, not_an_agent
from p2pool.client.library.agents import name_of
from p2pool.client.library.answers import LIVING, Allocation, LogLine, Task
from p2pool.client.library.documents import document
from p2pool.client.library.questions import Questions, Search
from p2pool.client.library.steps import Clock, Close, Flow, Give, Open, Pause, Read
from p2pool.codec.json import requests as forms
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, NotAllowed, NotFound, P2poolError, Unavailable
from p2pool.model.ports.agent import LogOptions

PLACELESS = ("pending", "assigned", "pulling")
_STREAMS = ("stdout", "stderr")


@attrs.define
class _Place:
    """How far an attempt was read: all before `at_ms`, and `count` chunks of that time."""

    attempt: int
    at_ms: int = 0
    count: int = 0

    def note(self, at_ms: int) -> None:
        same = at_ms == self.at_ms
        self.at_ms, self.count = at_ms, self.count + 1 if same else 1


@attrs.define
class LogReader:
    """`options`: where to begin, and whether to go on with lines as they come. `_seen`: how the
    copy was when a stream of it was read to its end; `_useless`: which agents, asked since a stream
    began, are none or take no token."""

    questions: Questions
    name: str
    replica: int
    options: LogOptions
    patience_s: float
    _place: _Place | None = None
    _fresh: bool = True
    _seen: tuple[int, str, int] | None = None
    _lines: "_Lines" = attrs.field(factory=lambda: _Lines())
    _useless: set[int] = attrs.field(factory=set)

    def flow(self) -> Flow[None]:
        """Lines until the copy has ended for good, or, where none are followed, to the end of what
        is there. Raises when nobody gives them for `patience_s`."""
        search = Search((yield Clock()) + self.patience_s)
        task_id = ""
        while True:
            task = yield from self._task(task_id)
            if task is None:
                return
            task_id = task.task_id
            copy = self._copy(task)
            over = copy is not None and _over(task, copy)
            if copy is None or copy.node_id is None or copy.state in PLACELESS:
                if not self.options.follow and not over:
                    raise NotFound(
                        f"Copy {self.replica} of {task.name} has no log yet: it has not started.",
                        hint="Follow it, or wait until it runs.",
                    )
                done = over
            elif (copy.attempt, copy.state, copy.changed_at_ms) == self._seen:
                done = copy.state != "starting"  # Else it waits for its restart.
            else:
                done = yield from self._attempt(task_id, copy, search, over=over)
                if done:
                    self._seen = (copy.attempt, copy.state, copy.changed_at_ms)
                    search = Search((yield Clock()) + self.patience_s)
            if done and (over or not self.options.follow):
                return
            yield Pause(limits.CLIENT_POLL_MS / 1000)

    def _task(self, task_id: str) -> Flow[Task | None]:
        """The task; None where it was forgotten since it was found."""
        try:
            return (yield from self.questions.task(task_id or self.name))
        except NotFound:
            if task_id:
                return None
            raise

    def _copy(self, task: Task) -> Allocation | None:
        found = [one for one in task.allocations if one.replica == self.replica]
        if not found and self.replica >= max(1, task.replicas):
            raise NotFound(f"The task {task.name} has no copy {self.replica}.")
        return found[0] if found else None

    def _attempt(self, task_id: str, copy: Allocation, search: Search, *, over: bool) -> Flow[bool]:
        """Read on in an attempt to the end of its stream; whether it came to that."""
        if self._place is None or self._place.attempt != copy.attempt:
            yield from _given(self._lines.rest())
            self._place = _Place(copy.attempt)
        grant = yield from self.questions.grant(task_id)
        options = LogOptions(
            follow=self.options.follow and not over,
            # Where some of the last lines came, what is behind those is wanted, and all of it.
            tail_lines=self.options.tail_lines if self._fresh else -1,
            since_ms=max(self.options.since_ms, self._place.at_ms),
        )
        agent, begun_ms = self.questions.rotation.at, time.time_ns() // 1_000_000
        before = (self._place.at_ms, self._place.count)
        try:
            yield from self.questions.check(agent)
            path = f"/v1/allocations/{quote(copy.id, safe='')}/logs"
            body = forms.logs_json(grant, options)
            yield Open(agent, "POST", path, body=body, kind="application/x-ndjson")
            yield from self._stream(agent, self._place, copy)
        except (Unavailable, Misconfigured, NotFound, NotAllowed) as failed:
            yield Close()
            error = yield from self.questions.settle(agent, failed)
            if (self._place.at_ms, self._place.count) != before:
                search.end = (yield Clock()) + self.patience_s
            if isinstance(error, NotAllowed) or (isinstance(error, NotFound) and over):
                raise error from None
            if isinstance(error, Misconfigured):
                self._useless.add(agent)
                if len(self._useless) == len(self.questions.agents):
                    raise error from None  # No time mends that.
            if self.options.follow and not over:
                # The copy may come back, or move: how long that takes is for the pool to say.
                self.questions.rotation.leave(agent)
            else:
                yield from self.questions.turn_away(search, agent, error)
            return False
        yield Close()
        if self._place.at_ms == 0 and options.tail_lines >= 0:
            self._place.at_ms = begun_ms  # Nothing came: what comes from now on is new.
        self._fresh = False
        yield from _given(self._lines.rest())
        return True

    def _stream(self, agent: int, place: _Place, copy: Allocation) -> Flow[None]:
        """The chunks of a stream that are new; raises where it breaks off before its end."""
        url = name_of(self.questions.agents[agent])
        skip_ms, skip = place.at_ms, place.count
        lost = skip > 0
        while (lines := (yield Read())) is not None:
            self._useless.clear()
            for line in lines:
                if not line.strip():
                    continue  # A ping.
                value = document(line)
                if "error" in value:
                    raise _problem(value["error"], url)
                if value.get("end"):
                    return
                chunk = _chunk(value, url)
                if skip and chunk.at_ms == skip_ms:
                    skip, lost = skip - 1, False
                    continue
                place.note(chunk.at_ms)
                self._fresh = False
                self._lines.gap |= lost
                lost = False
                yield from _given(self._lines.add(chunk, copy))
        raise Unavailable("The log broke off before its end.")


@attrs.frozen
class _Chunk:
    stream: str
    at_ms: int
    data: bytes


@attrs.define
class _Lines:
    """Joins chunks to lines. A line that is longer than what is kept comes in parts."""

    gap: bool = False
    _open: dict[str, LogLine] = attrs.field(factory=dict)

    def add(self, chunk: _Chunk, copy: Allocation) -> Iterator[LogLine]:
        """The lines that a chunk completes."""
        begun = self._open.pop(chunk.stream, None)
        data = (begun.data if begun is not None else b"") + chunk.data
        at_ms = begun.at_ms if begun is not None else chunk.at_ms
        *whole, rest = data.split(b"\n")
        for text in whole:
            yield self._line(chunk.stream, at_ms, text, copy)
            at_ms = chunk.at_ms
        if not rest:
            return
        line = self._line(chunk.stream, at_ms, rest, copy, whole=False)
        if len(rest) >= limits.CLIENT_LOG_LINE_MAX_BYTES:
            yield line
        else:
            self._open[chunk.stream] = line

    def rest(self) -> Iterator[LogLine]:
        """What has no line end and will get none."""
        for stream in _STREAMS:
            if (line := self._open.pop(stream, None)) is not None:
                yield line

    def _line(
        self, stream: str, at_ms: int, data: bytes, copy: Allocation, *, whole: bool = True
    ) -> LogLine:
        gap, self.gap = self.gap, False
        return LogLine(
            replica=copy.replica,
            attempt=copy.attempt,
            stream=stream,
            at_ms=at_ms,
            data=data,
            whole=whole,
            after_gap=gap,
        )


def _given(lines: Iterator[LogLine]) -> Flow[None]:
    for line in lines:
        yield Give(line)


def _over(task: Task, copy: Allocation) -> bool:
    """Whether a copy has ended and none comes after it."""
    if task.state not in LIVING:
        return True
    return copy.state in ("succeeded", "failed") and not task.spec.get("gang", False)


def _problem(said: Any, url: str) -> P2poolError:
    if not isinstance(said, dict):
        return not_an_agent("the error in its answer is none", url)
    status = said.get("status")
    return error_of(status if isinstance(status, int) else 500, said)


def _chunk(value: dict[str, Any], url: str) -> _Chunk:
    stream, at_ms = value.get("stream"), value.get("at_ms")
    text, encoded = value.get("text"), value.get("base64")
    if stream not in _STREAMS or type(at_ms) is not int:
        raise not_an_agent("a line of its log is none", url)
    if isinstance(text, str):
        return _Chunk(stream, at_ms, text.encode())
    try:
        return _Chunk(stream, at_ms, base64.b64decode(str(encoded), validate=True))
    except binascii.Error as error:
        raise not_an_agent("a line of its log is none", url) from error
