"""The stream of events says from where it tells, and refuses what it cannot tell."""

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from p2pool.client.agent_client import AgentClient
from p2pool.model.errors import Misconfigured, Stale, Unavailable
from p2pool.model.ports.agent import EventStream
from p2pool.model.ports.view import Event, EventId
from tests.api.conftest import Served, exchange

thread = trio.to_thread.run_sync


async def test_a_reader_of_no_event_yet_can_resume(served: Served) -> None:
    """The stream begins with the place from which it tells, as an id without an event."""
    served.port.newest = (1, 75, 3)
    assert await thread(served.client.newest_event) == "1.75.3"
    served.port.happened = [Event(1, 2, 1, 7, "task", "t", "event")]
    events = served.client.events("1.2.0")
    assert (await thread(next, events))["id"] == served.client.read_up_to == "1.2.1"
    await thread(events.close)  # type: ignore[attr-defined]


async def test_an_id_of_the_future_is_refused(served: Served) -> None:
    """Before the stream begins, as a problem."""
    served.port.failures = [Stale("It is of the future.", hint="Wait.")]
    text = "GET /v1/events?after=9.1.0 HTTP/1.1\nHost: localhost\nConnection: close\n"
    code, _, body = await exchange(served, f"{text}Authorization: Bearer {served.token}\n\n")
    assert (code, json.loads(body)["code"], json.loads(body)["hint"]) == (409, "stale", "Wait.")


@pytest.mark.parametrize(
    "wrong", ["1.2", "1.2.x", "-1.2.3", "1.2.3.4", "1" * 20 + ".1.1", "\u0661.1.1"]
)
async def test_an_id_that_is_none_is_refused(served: Served, wrong: str) -> None:
    """In the header as in the query."""
    text = "GET /v1/events HTTP/1.1\nHost: localhost\nConnection: close\n"
    text += f"Authorization: Bearer {served.token}\nLast-Event-ID: {wrong}\n\n"
    code, _, body = await exchange(served, text)
    assert (code, json.loads(body)["code"]) == (400, "malformed")


@pytest.mark.parametrize("line", [b"id: x", b"id: 1.2", b"\xff\xfe: x", b"id: \xff.1.1"])
async def test_what_is_no_stream_of_events_is_told_so(line: bytes) -> None:
    """Whatever listens there: a sentence, and no defect of the reader."""
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(kind + line + b"\n\n")

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), answer, 0)
        port = listener.socket.getsockname()[1]
        client = AgentClient(f"http://127.0.0.1:{port}", "t")
        if line.startswith(b"id"):
            with pytest.raises(Misconfigured, match="is not the id of an event"):
                await thread(client.newest_event)
        with pytest.raises(Misconfigured if line.startswith(b"id") else Unavailable):
            await thread(list, client.events())
        nursery.cancel_scope.cancel()


async def test_a_stream_that_ends_is_no_end(served: Served) -> None:
    """A reader does not take it for the last event, and can go on after that."""

    async def only(*events: Event) -> AsyncIterator[Event]:
        for event in events:
            yield event

    async def ends(after: EventId | None) -> EventStream:
        return EventStream((1, 1, 0), only(Event(1, 2, 0, 7, "task", "t", "the last")))

    served.port.events = ends  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="broke off"):
        await thread(list, served.client.events())
    assert served.client.read_up_to == "1.2.0"
