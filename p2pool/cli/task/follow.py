"""Follows the log of one copy for as long as the copy goes on, wherever that is.

Intuition: a stream of lines ends with its container, but a copy may run on: its policy restarts it,
or the pool places it elsewhere. So whoever follows asks how the copy is, reads, and asks again,
until the copy has ended for good and all that it wrote was read.

Invariants: within one attempt no line is written twice (reading goes on at the time of the last
line, less those of that time that were written); the next attempt is read from its beginning; the
last read begins after the copy had ended; where the line read last is gone, so may be those after
it, and it says so.
Source: docs/design/api.md, "Log lines and metrics".
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import attrs

from p2pool.cli.shared.lookup import LIVING
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.errors import NotFound, Unavailable
from p2pool.model.ports.agent import LogOptions

if TYPE_CHECKING:
    from p2pool.model.access.grants import SignedGrant

PLACELESS = ("pending", "assigned", "pulling")


@attrs.define
class Place:
    """How far one attempt's log was read: all before `at_ms`, and `count` chunks of that time."""

    attempt: int
    at_ms: int = 0
    count: int = 0

    def note(self, chunk: Answer) -> None:
        """A chunk was read."""
        same = chunk["at_ms"] == self.at_ms
        self.at_ms, self.count = chunk["at_ms"], self.count + 1 if same else 1


@attrs.define
class Follower:
    """Reads one copy. `grants` gives a grant that is valid now; `say` tells people what is awaited;
    `fresh`: nothing was read yet, so it begins where it was asked to."""

    client: AgentClient
    task_id: str
    copy_id: str
    grants: Callable[[], "SignedGrant"]
    options: LogOptions
    say: Callable[[str], None]
    place: Place | None = None
    fresh: bool = True
    said: str = ""
    seen: tuple[int, str, int] | None = None
    """Attempt, state and its time, at the last read that came to an end."""

    def chunks(self) -> Iterator[list[Answer]]:
        """All chunks until the copy has ended for good; an empty batch where a stream ended."""
        while True:
            of, copy = self._look()
            if copy is None:
                self._tell("is gone: its task was forgotten")
                return
            over = _over(of, copy)
            how = (copy["attempt"], copy["state"], copy["changed_at_ms"])
            if copy["node_id"] is None or copy["state"] in PLACELESS:
                done = over
            elif how == self.seen and copy["state"] == "starting":
                done = False  # It waits for its restart, and what it wrote before was read.
            else:
                done = yield from self._read(copy, over=over)
                self.seen = how if done else None
            if copy["state"] != "running":
                self._tell(_how(copy))
            if done and over:
                return
            time.sleep(limits.CLIENT_POLL_MS / 1000)

    def _read(self, copy: Answer, *, over: bool) -> Generator[list[Answer], None, bool]:
        """Read on in an attempt to the end of its stream; whether it came to that."""
        if self.place is None or self.place.attempt != copy["attempt"]:
            self.place = Place(copy["attempt"])
        options = self.options
        if not self.fresh:
            since_ms = max(options.since_ms, self.place.at_ms)
            options = LogOptions(since_ms=since_ms)
        return (yield from self._stream(self.place, options, over=over))

    def _stream(
        self, place: Place, options: LogOptions, *, over: bool
    ) -> Generator[list[Answer], None, bool]:
        begun_ms, skip_ms, skip = time.time_ns() // 1_000_000, place.at_ms, place.count
        read = skip > 0
        options = attrs.evolve(options, follow=not over)
        try:
            for chunks in self.client.logs(self.copy_id, self.grants(), options):
                new: list[Answer] = []
                for chunk in chunks:
                    if skip and chunk["at_ms"] == skip_ms:
                        skip, read = skip - 1, False
                        continue
                    if read:
                        self.say("lines may be missing: those read last are kept there no more")
                        read = False
                    place.note(chunk)
                    new.append(chunk)
                if new:
                    self.said, self.fresh = "", False
                    yield new
        except (Unavailable, NotFound) as error:
            if over:
                raise
            self._tell(f"cannot be read now: {error.message}")
            return False
        if place.at_ms == 0 and options.tail_lines >= 0:
            place.at_ms = begun_ms  # Nothing came: what comes from now on is new.
        self.fresh = False
        yield []
        return True

    def _look(self) -> tuple[Answer, Answer | None]:
        """The task and this copy; an agent that does not answer may be restarting."""
        end = time.monotonic() + limits.CLIENT_FOLLOW_PATIENCE_MS / 1000
        while True:
            try:
                of = self.client.task(self.task_id)
            except NotFound:
                return {}, None
            except Unavailable as error:
                if time.monotonic() >= end:
                    raise
                self._tell(f"waits for the agent: {error.message}")
                time.sleep(limits.CLIENT_RETRY_PAUSE_MS / 1000)
                continue
            return of, next((c for c in of["allocations"] if c["id"] == self.copy_id), None)

    def _tell(self, text: str) -> None:
        """Say what is awaited, or why it is over, once."""
        if text != self.said:
            self.said = text
            self.say(text)


def _over(of: Answer, copy: Answer) -> bool:
    """Whether a copy has ended and none comes after it."""
    if of["state"] not in LIVING:
        return True
    return copy["state"] in ("succeeded", "failed") and not of["spec"].get("gang", False)


def _how(copy: Answer) -> str:
    code = "" if copy["exit_code"] is None else f", exit code {copy['exit_code']}"
    why = f": {copy['reason']}" if copy["reason"] else ""
    return f"is {copy['state']}{code}{why}"
