"""Attacks on the local API: by whoever is on the machine, and by who holds the token."""

import socket
from urllib.parse import urlsplit

import trio

from tests.attacks.attacker.stage import Stage, attack

IDLE = 300
PIPELINES = 16
LITTLE = 4096


async def _api(stage: Stage) -> trio.SocketStream:
    at = urlsplit(stage.api)
    assert at.hostname is not None
    assert at.port is not None
    return await trio.open_tcp_stream(at.hostname, at.port)


def _head(stage: Stage, asked: str) -> bytes:
    """The head of a request, but for its end."""
    return f"{asked} HTTP/1.1\r\nHost: {urlsplit(stage.api).netloc}\r\n".encode()


@attack("api-idle")
async def api_idle(stage: Stage) -> None:
    """300 connections that ask for nothing and show no token, each replaced when it is gone."""

    async def body() -> None:
        async with await _api(stage) as stream:
            stage.counts["connections"] += 1
            while await stream.receive_some():
                pass

    await stage.crowd(IDLE, body)


@attack("api-slow")
async def api_slow(stage: Stage) -> None:
    """300 requests whose headers never end, a line each second."""

    async def body() -> None:
        async with await _api(stage) as stream:
            await stream.send_all(_head(stage, "GET /v1/nodes"))
            stage.counts["connections"] += 1
            while True:
                await trio.sleep(1)
                await stream.send_all(b"X-More: yes\r\n")

    await stage.crowd(IDLE, body)


@attack("api-half-body")
async def api_half_body(stage: Stage) -> None:
    """300 requests without a token whose bodies never end."""

    async def body() -> None:
        async with await _api(stage) as stream:
            head = _head(stage, "POST /v1/requests") + b"Content-Length: 100000\r\n"
            await stream.send_all(head + b"Content-Type: application/json\r\n\r\n{")
            stage.counts["connections"] += 1
            while await stream.receive_some():
                pass

    await stage.crowd(IDLE, body)


@attack("api-pipeline")
async def api_pipeline(stage: Stage) -> None:
    """Who holds the token asks and asks on some connections, and reads nothing."""
    token = f"Authorization: Bearer {stage.token}\r\n\r\n"
    asked = ("GET /v1/nodes", "GET /v1/openapi.json")

    async def body() -> None:
        made = trio.socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        at = urlsplit(stage.api)
        await made.connect((at.hostname, at.port))
        async with trio.SocketStream(made) as stream:
            while True:
                for one in asked:
                    await stream.send_all(100 * (_head(stage, one) + token.encode()))
                    stage.counts["questions"] += 100

    await stage.crowd(PIPELINES, body)
