"""The harness itself: its proxies do what they are told, and its checks notice what is wrong."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults.rpc_proxy import View, answer
from tests.chaos.faults.tcp_proxy import Proxies, apart, direct, owner, running_proxies
from tests.chaos.history import checks
from tests.chaos.history.events import NOT_SENT, Event, History, operations, read, unanswered
from tests.chaos.history.models import DONE, REFUSED
from tests.chaos.history.timeline import write_timeline
from tests.chaos.observer import doubles
from tests.chaos.run import Report

MOMENT_S = 0.3
DEADLINE_S = 10


@pytest.fixture
def echo() -> Iterator[int]:
    """A port where every line is sent back."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1000):
            connection.sendall(data)


@pytest.fixture
def proxies(echo: int) -> Iterator[tuple[Proxies, int]]:
    """This process is `a`; `b` is the echo, behind a proxy at the port given."""
    with running_proxies() as running:
        running.pids["a"] = os.getpid()
        yield running, running.front("b", echo).port


def _silent(connection: socket.socket) -> bool:
    connection.settimeout(MOMENT_S)
    try:
        return not connection.recv(1000)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(DEADLINE_S)


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a")], ids=["there", "back"])
def test_a_blocked_direction_waits_and_loses_nothing(
    proxies: tuple[Proxies, int], way: tuple[str, str]
) -> None:
    """Nothing passes while it is blocked, and all of it in order afterwards."""
    running, port = proxies
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"one ")
        assert connection.recv(4) == b"one "
        running.links.block([way])
        connection.sendall(b"two ")
        assert _silent(connection)
        running.links.mend([way])
        connection.sendall(b"three")
        got = b""
        while len(got) < 9:
            got += connection.recv(9)
        assert got == b"two three"
        assert running.links.counters["a dials b"] == 1


def test_a_cut_link_resets_and_takes_no_new_connection(proxies: tuple[Proxies, int]) -> None:
    """Old connections end, new ones end at once; mended, they stand again."""
    running, port = proxies
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"one")
        assert connection.recv(3) == b"one"
        running.links.sever([("a", "b")])
        assert _ended(connection)
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        assert _ended(connection)
    running.links.mend()
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"two")
        assert connection.recv(3) == b"two"


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_a_slow_link_keeps_order(proxies: tuple[Proxies, int]) -> None:
    """Bytes come late, and in the order in which they were sent."""
    running, port = proxies
    running.links.slow([("a", "b")], 600)
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"late")
        assert _silent(connection)
        assert connection.recv(4) == b"late"


def test_whose_a_connection_is(echo: int) -> None:
    """The system knows; a connection that passes by the proxies is found."""
    with socket.create_connection(("127.0.0.1", echo)) as connection:
        port = connection.getsockname()[1]
        assert owner(port, {"me": os.getpid()}) == "me"
        assert owner(port, {"init": 1}) is None
        assert ("me", "b") in direct({echo: "b"}, {"me": os.getpid()})
    assert apart(["x"], ["y", "z"]) == [("x", "y"), ("x", "z"), ("y", "x"), ("z", "x")]


# --- the chain as it is shown ---------------------------------------------------------------------


async def _chain(request: Any) -> Any:
    """A chain of twenty blocks."""
    if request["method"] == "eth_blockNumber":
        return {"id": request["id"], "result": "0x14"}
    return {"id": request["id"], "result": request["params"][0]}


@pytest.mark.parametrize(
    ("kind", "blocks", "asked", "told"),
    [
        ("pass", 0, "latest", "latest"),
        ("stuck", 9, "latest", "0x9"),
        ("stuck", 9, "finalized", "0x7"),
        ("stuck", 9, "0xa", None),
        ("stuck", 9, "0x8", "0x8"),
        ("lag", 5, "latest", "0xf"),
        ("lag", 5, "0x10", None),
    ],
)
async def test_a_view_of_the_chain(kind: str, blocks: int, asked: str, told: str | None) -> None:
    """What is shown is older, and otherwise true."""
    view = View("agent-1", kind, blocks)
    request = {"id": 4, "method": "eth_getBlockByNumber", "params": [asked, False]}
    assert (await answer(view, request, _chain))["result"] == told


# --- the history and the checks -------------------------------------------------------------------


def _history(*rows: tuple[str, str, str, Any]) -> list[Event]:
    """A history of one task from (kind, request, end, value), one after the other."""
    history = History(StringIO())
    for kind, request, end, value in rows:
        begun = history.invoke("client", kind, "task/ab", request)
        history.end(begun, end, value)
    return history.events


def _done(index: int) -> dict[str, Any]:
    return {"result": DONE, "index": index}


def test_one_request_is_one_operation() -> None:
    """What was sent again after a time-out has one effect, from the first try to the answer."""
    events = _history(
        ("submit", "r", "info", None),
        ("submit", "r", "ok", _done(5)),
        ("submit", "r", "ok", _done(5)),
        ("stop", "s", "fail", NOT_SENT),
        ("stop", "t", "fail", REFUSED),
        ("read", "", "ok", "live"),
        ("read", "", "fail", NOT_SENT),
    )
    found = operations(events)["task/ab"]
    assert [(o.call.kind, o.result) for o in sorted(found, key=lambda o: o.invoked)] == [
        ("submit", DONE),
        ("stop", REFUSED),
        ("read", "live"),
    ]
    submit = min(found, key=lambda o: o.invoked)
    assert (submit.invoked, submit.returned) == (events[0].at_ns, events[3].at_ns)
    assert unanswered(events) == {}


def test_what_nobody_knows_stays_open(tmp_path: Path) -> None:
    """No answer at all: it may have its effect at any time; the file says the same."""
    history = History.to(tmp_path / "history.jsonl")
    begun = history.invoke("client", "submit", "task/ab", "r", "agent-1")
    history.end(begun, "info", error="silent")
    history.invoke("client", "stop", "task/ab", "s", "agent-2")
    history.close()
    events = read(tmp_path / "history.jsonl")
    assert events == history.events
    assert {o.returned for o in operations(events)["task/ab"]} == {None}
    assert set(unanswered(events)) == {"r"}
    write_timeline(tmp_path / "timeline.html", events, "a <run>")
    assert "a &lt;run&gt;" in (tmp_path / "timeline.html").read_text()


def test_a_stale_read_is_found() -> None:
    """The whole way, from events to a sentence."""
    good = _history(("submit", "r", "ok", _done(5)), ("read", "", "ok", "live"))
    bad = _history(("submit", "r", "ok", _done(5)), ("read", "", "ok", "absent"))
    assert checks.not_linearizable(good) == []
    assert "task/ab" in checks.not_linearizable(bad)[0]


def test_what_is_lost_or_twice_is_found() -> None:
    """Acknowledged and gone, there twice, there unasked, applied at two indices."""
    events = _history(("submit", "r", "ok", _done(5)))
    there = {"task_id": "ab", "name": "a"}
    assert checks.miscounted(events, [there]) == []
    assert "is gone" in checks.miscounted(events, [])[0]
    assert "2 times" in checks.miscounted(events, [there, there])[0]
    stranger = {"task_id": "cd", "name": "b"}
    assert "never asked for" in checks.miscounted(events, [there, stranger])[0]
    again = _history(("submit", "r", "ok", _done(5)), ("submit", "r", "ok", _done(6)))
    assert "more than one index" in checks.miscounted(again, [there])[0]


def test_copies_that_run_twice_are_found() -> None:
    """One copy in two places, whichever attempts they are."""
    assert doubles({"a": {"t.0": (1, 5)}, "b": {"t.1": (1, 5)}}) == {}
    assert set(doubles({"a": {"t.0": (1, 5)}, "b": {"t.0": (2, 9)}})) == {"t.0"}


def test_complaints_in_logs_are_found(tmp_path: Path) -> None:
    """Tracebacks and errors; other lines, JSON or not, are none."""
    log = tmp_path / "agent-1.log"
    log.write_text("SIGTERM: stopping\n" + json.dumps({"level": "info", "event": "x"}) + "\n")
    assert checks.complaints([log]) == []
    log.write_text(
        json.dumps({"level": "error", "event": "x"}) + "\nTraceback (most recent call last):\n"
    )
    assert len(checks.complaints([log])) == 2


def test_a_page_of_runs_names_what_went_wrong() -> None:
    """A reader sees at once whether everything held."""
    held = Report(5, 20.0, figures={"ok": 5}).section("abc1234")
    assert "commit abc1234. **Everything held.**" in held
    assert "| ok | 5 |" in held
    failed = Report(5, 20.0, ["a lost write"]).section("abc1234")
    assert "- a lost write" in failed
    assert "held" not in failed
