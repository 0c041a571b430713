"""Who follows HTTP is not cut off after a refusal or while it reads slowly, and not unsaid."""

import http.client
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pool.api.http.turns import Turns
from p2pool.api.server import ApiSettings, serve_api
from p2pool.model import limits
from tests.api.conftest import Served
from tests.api.fakes import FakePort, FakeVolumes
from tests.api.http.strangers import connect, until_closed

TOKEN = "t" * 64


# --- a body that nobody reads -------------------------------------------------------------------


def asked_thrice(served: Served, method: str, path: str, body: bytes) -> list[int]:
    """The statuses of three requests on one connection, as a client keeps it that is told nothing
    else; their bodies come a moment after their heads."""
    found = []
    with closing(http.client.HTTPConnection(*served.address, timeout=10)) as opened:
        opened.connect()
        for _ in range(3):
            opened.putrequest(method, path)
            opened.putheader("Authorization", f"Bearer {served.token}")
            opened.putheader("Content-Type", "text/plain")
            opened.putheader("Content-Length", str(len(body)))
            opened.endheaders()
            time.sleep(0.1)
            opened.send(body)
            with opened.getresponse() as told:
                found.append(told.status)
                told.read()
            assert opened.sock is not None, "it was told that its connection ends"
    return found


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/pool", 405), ("/v1/nothing", 404), ("/v1/requests", 415)]
)
@pytest.mark.parametrize("size", [2, 100_000], ids=["short", "long"])
async def test_a_refusal_before_the_body_leaves_the_connection(
    served: Served, path: str, status: int, size: int
) -> None:
    """The body comes after the answer, is dropped, and the next request is read behind it."""
    with trio.fail_after(20):
        found = await trio.to_thread.run_sync(
            asked_thrice, served, "POST", path, b"x" * size, abandon_on_cancel=True
        )
    assert found == [status] * 3


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"], ids=["kept", "spent"])
async def test_a_refusal_reaches_who_sends_slowly(
    served: Served, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """The body takes longer than strangers are lingered for, and less than a body may take: nobody
    finds its connection broken before it has read why."""
    monkeypatch.setattr(limits, "API_LINGER_MS", 50)

    def ask() -> bytes:
        with closing(connect(served.address)) as opened:
            head = f"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: 50000"
            opened.sendall(f"{head}\r\n\r\n".encode())
            for _ in range(10):
                time.sleep(0.03)
                opened.sendall(b"x" * 5_000)
            opened.shutdown(socket.SHUT_WR)
            return until_closed(opened)

    with trio.fail_after(20):
        assert (await trio.to_thread.run_sync(ask)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (413, f"Content-Length: {limits.API_BODY_MAX_BYTES + 1}\r\nAuthorization: Bearer {TOKEN}"),
        (405, f"Content-Length: 2\r\nExpect: 100-continue\r\nAuthorization: Bearer {TOKEN}"),
        (401, "Transfer-Encoding: chunked"),
    ],
    ids=["too-long", "waits-for-a-word", "chunks-of-a-stranger"],
)
async def test_where_the_body_is_not_waited_for_the_answer_says_so(
    served: Served, status: int, sent: str
) -> None:
    """A client that keeps its connections learns that this one ends."""

    def ask() -> bytes:
        with closing(connect(served.address)) as opened:
            head = f"POST /v1/pool HTTP/1.1\r\nHost: localhost\r\n{sent}\r\n\r\n"
            opened.sendall(head.replace(TOKEN, served.token).encode())
            return until_closed(opened)

    with trio.fail_after(20):
        told = await trio.to_thread.run_sync(ask)
    assert told.startswith(f"HTTP/1.1 {status}".encode())
    assert b"\r\nconnection: close\r\n" in told.lower()


# --- slow readers -------------------------------------------------------------------------------


async def test_who_reads_slowly_gets_all(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One large piece, of which something is taken all the time, though all of it takes longer than
    who takes nothing is waited for."""
    monkeypatch.setattr(limits, "API_SEND_TIMEOUT_MS", 1_000)
    whole = b"x" * (8 << 20)
    served.port.volumes.kept["v"] = [whole]

    def read() -> int:
        found = 0
        with closing(socket.socket()) as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            opened.settimeout(10)
            opened.connect(served.address)
            head = "GET /v1/volumes/export?id=v HTTP/1.0\r\nHost: localhost"
            opened.sendall(f"{head}\r\nAuthorization: Bearer {served.token}\r\n\r\n".encode())
            while piece := opened.recv(1 << 16):
                found += len(piece)
                time.sleep(0.02)
        return found

    with trio.fail_after(30):
        assert await trio.to_thread.run_sync(read) > len(whole)


# --- the end ------------------------------------------------------------------------------------


class _Stalled(FakeVolumes):
    """An engine that has not begun with an export."""

    asked = trio.Event()

    async def export(self, volume_id: str) -> AsyncGenerator[bytes, None]:
        """Nothing comes."""
        self.asked.set()
        await trio.Event().wait()
        yield volume_id.encode()


async def test_a_stream_that_the_end_overtakes_is_told_that_the_agent_ends(tmp_path: Path) -> None:
    """So its client comes back: it is no bug of the agent's."""
    port, found = FakePort(), bytearray()
    port.volumes = volumes = _Stalled()
    with trio.fail_after(20):
        async with trio.open_nursery() as outer:
            url = await outer.start(_until(port, tmp_path, volumes.asked))
            host, _, number = url.rpartition("/")[2].rpartition(":")
            stream = await trio.open_tcp_stream(host, int(number))
            head = "GET /v1/volumes/export?id=v HTTP/1.1\r\nHost: localhost"
            await stream.send_all(f"{head}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            while piece := await stream.receive_some():
                found += piece
    assert found.startswith(b"HTTP/1.1 503"), bytes(found)
    assert b"The agent ends." in found


def _until(port: FakePort, directory: Path, over: trio.Event) -> Callable[..., Awaitable[None]]:
    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        async with trio.open_nursery() as nursery:
            settings = ApiSettings("127.0.0.1:0")
            url = await nursery.start(
                lambda task_status: serve_api(
                    port, settings, directory, TOKEN, task_status=task_status
                )
            )
            task_status.started(url)
            await over.wait()
            nursery.cancel_scope.cancel()

    return serve


# --- turns --------------------------------------------------------------------------------------


async def test_who_gives_up_its_turn_lets_nobody_past_those_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The third waits for the first, though the second hung up meanwhile, and for as long again."""
    turns, began = Turns(), []

    async def answer(name: str, scope: trio.CancelScope, lasts_s: float) -> None:
        with scope:
            async with turns.next():
                began.append((name, trio.current_time() - start))
                await trio.sleep(lasts_s)

    start = trio.current_time()
    scopes = [trio.CancelScope() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for name, scope in zip("abcd", scopes, strict=True):
            nursery.start_soon(answer, name, scope, 0.1)
            await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()
        scopes[2].cancel()
    assert began == [("a", 0.0), ("d", pytest.approx(0.2))]
