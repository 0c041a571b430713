"""Who shows no token cannot keep out who has it: places, handshakes and file descriptors."""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from p2pool.api.http.places import EVICTED, EVICTED_IDLE, NO_FILES, REFUSED, Place, Places
from p2pool.api.server import ApiSettings
from p2pool.drivers.redaction import is_secret_name
from p2pool.model import limits
from tests.api.conftest import Served, serving
from tests.api.http.strangers import answer, connect, idle, until_closed

thread = trio.to_thread.run_sync
TOKEN = "t" * 43


def request(served: Served, path: str = "/v1/nodes", *, kept: bool = False) -> bytes:
    """The owner's."""
    ends = "" if kept else "Connection: close\r\n"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{ends}"
    return f"{head}Authorization: Bearer {served.token}\r\n\r\n".encode()


async def test_idle_sockets_do_not_lock_the_owner_out(served: Served) -> None:
    """However many there are and however often they come back, the owner is served, and its
    connection stays."""

    def attack() -> list[bytes]:
        found = []
        with closing(connect(served.address)) as owner, ExitStack() as held:
            owner.sendall(request(served, kept=True))
            found.append(owner.recv(1 << 16))
            for _ in range(3):
                held.enter_context(idle(served.address, limits.API_CONNECTIONS_MAX + 44))
                found.append(answer(served.address, request(served)))
            owner.sendall(request(served))
            found.append(until_closed(owner))
        return found

    with trio.fail_after(60):
        found = await thread(attack)
    assert [one[:12] for one in found] == [b"HTTP/1.1 200"] * 5


async def test_status_and_counters_say_that_strangers_were_cut(tmp_path: Path) -> None:
    """What was closed to make room is counted for `/metrics`, and told by the agent's status."""
    counters: Counter[str] = Counter()
    async with serving(tmp_path, ApiSettings("127.0.0.1:0"), counters=counters) as served:
        assert (await thread(served.client.get, "/v1/agent"))["agent"]["warnings"] == []

        def attack() -> None:
            with idle(served.address, limits.API_STRANGERS_MAX + 5):
                answer(served.address, request(served))

        await thread(attack)
        (warning,) = (await thread(served.client.get, "/v1/agent"))["agent"]["warnings"]
    assert "show no token" in warning
    assert counters[EVICTED] >= 6


async def test_a_stranger_has_little_time_for_its_head(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has begun one is told, who has said nothing is closed; who has shown the token has the
    time of an idle connection for the next."""
    monkeypatch.setattr(limits, "API_HEAD_TIMEOUT_MS", 300)

    def attack() -> list[bytes]:
        found = [answer(served.address, b""), answer(served.address, b"GET /v1/he")]
        with closing(connect(served.address)) as owner:
            owner.sendall(request(served, kept=True))
            found.append(owner.recv(1 << 16))
            time.sleep(0.6)
            owner.sendall(request(served))
            found.append(until_closed(owner))
        return found

    with trio.fail_after(20):
        nothing, half, first, second = await thread(attack)
    assert nothing == b""
    assert half.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in half
    assert (first[:12], second[:12]) == (b"HTTP/1.1 200", b"HTTP/1.1 200")


async def test_handshakes_are_strangers_too(
    certificate: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With TLS, those that never begin one go, by number and by time."""
    monkeypatch.setattr(limits, "API_HEAD_TIMEOUT_MS", 500)
    monkeypatch.setattr(limits, "API_STRANGERS_MAX", 8)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    counters: Counter[str] = Counter()
    settings = ApiSettings("127.0.0.1:0", certificate=certificate[0], private_key=certificate[1])
    async with serving(tmp_path, settings, counters=counters) as served:

        def attack() -> None:
            with idle(served.address, 12) as held:
                assert len(served.client.nodes()) == 2
                assert [until_closed(one) for one in held] == [b""] * 12

        with trio.fail_after(20):
            await thread(attack)
    assert counters[EVICTED] >= 4
    assert counters["slow_handshake"] >= 7


async def test_where_everybody_is_being_answered_a_newcomer_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never in silence."""
    monkeypatch.setattr(limits, "API_CONNECTIONS_MAX", 2)

    def ask() -> bytes:
        with closing(connect(served.address)) as one, closing(connect(served.address)) as other:
            for opened in (one, other):
                opened.sendall(request(served, "/v1/events", kept=True))
                opened.recv(1 << 16)
            return answer(served.address, b"")

    with trio.fail_after(20):
        head, _, body = (await thread(ask)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(body)["code"] == "overloaded"


_HOARD = """
import socket, sys
address, sent = ("127.0.0.1", int(sys.argv[1])), sys.stdin.buffer.read()
held = [socket.create_connection(address) for _ in range(100)]
owner = socket.create_connection(address, timeout=20)
owner.sendall(sent)
print(owner.recv(12).decode())
"""


async def test_without_file_descriptors_strangers_go(tmp_path: Path) -> None:
    """The owner is served although the process may open no more files."""
    counters: Counter[str] = Counter()
    async with serving(tmp_path, ApiSettings("127.0.0.1:0"), counters=counters) as served:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        words = [sys.executable, "-c", _HOARD, str(served.address[1])]
        # Started first, since a start needs descriptors of its own.
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hoarder:
            os.close(free := os.dup(0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 30, before[1]))
            try:
                with trio.fail_after(30):
                    out, _ = await thread(hoarder.communicate, request(served))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert out.strip() == b"HTTP/1.1 200"
    assert counters[NO_FILES] > 0


def _busy(places: Places) -> Place:
    """One that has shown the token and is being answered."""
    place = places.take(known=True)
    assert place
    place.work()
    return place


async def test_who_goes_when_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers first, the one that waits for longest before the others; of those that have shown
    the token only one that asks nothing; nobody who is being answered."""
    monkeypatch.setattr(limits, "API_CONNECTIONS_MAX", 4)
    monkeypatch.setattr(limits, "API_STRANGERS_MAX", 3)
    places = Places()
    idler, answered, later = (places.take() for _ in range(3))
    owner = places.take()
    assert idler
    assert answered
    assert later
    assert owner
    assert idler.scope.cancel_called  # The fourth stranger of three.
    owner.show()
    answered.work()
    places.take()
    places.take()
    assert (later.scope.cancel_called, answered.scope.cancel_called) == (True, False)
    busy = [_busy(places) for _ in range(4)]
    assert answered.scope.cancel_called
    assert owner.scope.cancel_called
    assert places.take() is None
    assert (places.counters[REFUSED], places.counters[EVICTED_IDLE]) == (1, 1)
    busy[0].leave()
    assert places.take() is not None


async def test_a_stranger_that_comes_back_to_rest_waits_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A probe that asks for the health every second goes after sockets that are silent."""
    monkeypatch.setattr(limits, "API_STRANGERS_MAX", 2)
    places = Places()
    probe, silent = places.take(), places.take()
    assert probe
    assert silent
    probe.work()
    probe.rest()
    places.take()
    assert (silent.scope.cancel_called, probe.scope.cancel_called) == (True, False)


async def test_cut_connections_are_logged_once_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With how many there were since the last line, by names that the log does not hide."""
    places = Places()
    with capture_logs() as logged:
        for _ in range(3):
            places.note(EVICTED)
        await trio.sleep(limits.API_TOLD_EVERY_MS / 1000 + 1)
        assert places.warnings() == ()
        places.note(REFUSED)
    cut = [line for line in logged if line["event"] == "api_connections_cut"]
    assert len(cut) == 2
    assert cut[1][EVICTED] == 2
    assert not any(map(is_secret_name, (EVICTED, EVICTED_IDLE, NO_FILES, REFUSED)))
    assert len(places.warnings()) == 1


async def test_a_warning_names_what_took_the_places(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers, file descriptors, or requests of those who may ask; each for a minute, so what
    was short once is not blamed for what comes later."""
    monkeypatch.setattr(limits, "API_CONNECTIONS_MAX", 1)
    places = Places()
    places.note(NO_FILES)
    assert [("ulimit" in one) for one in places.warnings()] == [True]
    await trio.sleep(limits.API_TOLD_EVERY_MS / 1000 + 1)
    assert places.warnings() == ()
    busy = places.take(known=True)
    assert busy is not None
    busy.work()
    assert places.take() is None
    (told,) = places.warnings()
    assert "being answered" in told
    assert "no token" not in told
    await trio.sleep(limits.API_TOLD_EVERY_MS / 1000 + 1)
    places.note(EVICTED)
    (told,) = places.warnings()
    assert "show no token" in told
