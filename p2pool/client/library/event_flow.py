"""Reads the pool's events, across agents that come and go: none lost, none twice.

Intuition: events follow from the log's entries, so each agent makes the same ones under the same
ids. Whoever knows the last id that was read can therefore go on at any agent. An agent that lacks
some of what comes next says so by a `gap`; another may have them, so the others are asked before
the reader is given one.

Invariants: ids that are given rise; between two of them nothing is missing that any agent in reach
had, or a `gap` stands there; an agent that is behind is waited for, and not believed to be the end.
Source: docs/design/api.md, "Events" and "The client library".
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlencode

import attrs

from p2pool.client.agent_client import is_event_id
from p2pool.client.errors import error_of, not_an_agent
from p2pool.client.library.agents import name_of
from p2pool.client.library.answers import Event, read
from p2pool.client.library.documents import document
from p2pool.client.library.questions import Questions, Search
from p2pool.client.library.steps import Clock, Close, Flow, Give, Open, Read
from p2pool.model import limits
from p2pool.model.errors import (
    Malformed,
    Misconfigured,
    NotAllowed,
    P2poolError,
    Stale,
    Unavailable,
)

Place: TypeAlias = tuple[int, ...]


@attrs.define
class EventReader:
    """`after`: the id up to which everything was given; empty: from now on, whatever the first
    agent takes for that. `_gaps`: what agents lack behind it, `_taken`: whose gap is given;
    `_lasted_s`: for how long the last stream said something."""

    questions: Questions
    after: str
    patience_s: float
    _gaps: dict[int, Event] = attrs.field(factory=dict)
    _taken: int | None = None
    _gaps_since: float | None = None
    _lasted_s: float = 0.0

    def flow(self) -> Flow[None]:
        """Events, without an end. Raises when no agent goes on for `patience_s`."""
        if self.after and not is_event_id(self.after):
            raise Malformed(
                f"{self.after[:64]!r} is not the id of an event.",
                hint="Give back the id of the last one that was read: EPOCH.INDEX.NUMBER.",
            )
        asked = self.questions
        search = Search((yield Clock()) + self.patience_s)
        while True:
            agent, before, self._lasted_s = asked.rotation.at, self.after, 0.0
            error: P2poolError = Unavailable(
                f"The events of {name_of(asked.agents[agent])} broke off."
            )
            try:
                yield from asked.check(agent)
                yield from self._read(agent)
            except (Unavailable, Misconfigured, Stale, NotAllowed) as failed:
                error = failed
            yield Close()
            error = yield from asked.settle(agent, error)
            if isinstance(error, NotAllowed):
                raise error
            if self._taken == agent:  # It went away with its gap.
                self._taken = None
                self._gaps.pop(agent, None)
            # One that went on for a while, be it without an event, was there.
            if self.after != before or self._lasted_s > limits.CLIENT_RETRY_PAUSE_MS / 1000:
                search = Search((yield Clock()) + self.patience_s)
            if not (yield from self._choose()):
                yield from asked.turn_away(search, agent, error)

    def _choose(self) -> Flow[bool]:
        """Whether it is settled whose gap is given: where all agents have one, or those that have
        none stayed away, the smallest."""
        if not self._gaps or self._taken is not None:
            return False
        now: float = yield Clock()
        self._gaps_since = now if self._gaps_since is None else self._gaps_since
        wait_s = min(limits.CLIENT_GAP_WAIT_MS / 1000, self.patience_s / 2)
        waited = now - self._gaps_since >= wait_s
        if len(self._gaps) < len(self.questions.agents) and not waited:
            return False
        self._taken = min(self._gaps, key=lambda agent: place_of(self._gaps[agent].id))
        self.questions.rotation.at = self._taken
        return True

    def _read(self, agent: int) -> Flow[None]:
        """What one agent tells, until its stream ends or there is a gap that is not to be given."""
        path = "/v1/events" + (f"?{urlencode({'after': self.after})}" if self.after else "")
        begun_s: float = yield Clock()
        yield Open(agent, "GET", path, body=None, kind="text/event-stream")
        parser = _Parser(name_of(self.questions.agents[agent]))
        while (lines := (yield Read())) is not None:
            self._lasted_s = (yield Clock()) - begun_s
            for kind, place, data in parser.feed(lines):
                if kind == "error":
                    raise error_of(_status(data), data)
                if not data:
                    self.after = self.after or place
                    continue
                event = read(Event, data, parser.url)
                if place != event.id:
                    raise not_an_agent("an event has another id than its place", parser.url)
                if self.after and place_of(place) <= place_of(self.after):
                    continue
                if event.is_gap and self._taken != agent:
                    self._gaps[agent] = event
                    return
                self.after, self._taken, self._gaps_since = place, None, None
                self._gaps.clear()
                yield Give(event)


class _Parser:
    """Lines of server-sent events, as far as agents use them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._kind = self._place = ""
        self._data: dict[str, Any] = {}

    def feed(self, lines: Sequence[bytes]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Kind, id and data of each event, as they become whole; an id alone has no data."""
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r\n")
            name, _, value = text.partition(": ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data = document(value.encode())
                if not self._data:
                    raise not_an_agent("the data of an event is no object", self.url)
            elif name == "id":
                if not is_event_id(value):
                    raise not_an_agent(f"{value[:64]!r} is not the id of an event", self.url)
                self._place = value
            elif not text and (self._place or self._data):
                whole = (self._kind, self._place, self._data)
                self._kind, self._place, self._data = "", "", {}
                yield whole


def place_of(text: str) -> Place:
    """An id as something that can be compared."""
    return tuple(map(int, text.split(".")))


def _status(data: dict[str, Any]) -> int:
    status = data.get("status")
    return status if isinstance(status, int) else 500
