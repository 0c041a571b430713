"""A container's output as it writes it, for containers that keep no log.

Intuition: the engine hands output only to those who are attached before the container starts. What
is read slowly is written slowly: engine and container wait, and nothing piles up.
Source: Docker Engine API, "Attach to a container" (the stream's format).
"""

import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from socket import SHUT_RDWR
from typing import Any

import trio

from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.streams import READ_BYTES, iterate, shut
from p2pool.model import limits

HEADER = struct.Struct(">BxxxL")
STDOUT, STDERR = 1, 2
Piece = tuple[int, bytes]
Opened = tuple[Iterator[Piece], Callable[[], None]]


async def attach(engine: DockerClient, name: str) -> Opened:
    """Attach to a container that has not started: its pieces, and a function that ends them.
    APIError: the engine refused."""

    def ask(api: Any) -> Opened:
        # The SDK's own `attach` does not say which stream a piece came from.
        params = {"stdout": 1, "stderr": 1, "stream": 1}
        url = api._url("/containers/{0}/attach", name)
        response = api._post(url, params=params, stream=True)
        api._raise_for_status(response)
        api._disable_socket_timeout(api._get_raw_response_socket(response))
        return _pieces(response.raw.stream(READ_BYTES)), lambda: shut(api, response)

    return await engine.ask(ask)


async def follow(
    opened: Opened, limiter: trio.CapacityLimiter
) -> AsyncGenerator[list[Piece], None]:
    """The pieces in order, as many at a time as have arrived, until the container ends."""

    def size(piece: Piece) -> int:
        return len(piece[1])

    async with aclosing(iterate(lambda: opened, limiter, size)) as batches:
        async for pieces in batches:
            yield pieces


async def feed(engine: DockerClient, name: str, data: bytes) -> None:
    """Write to a container's standard input. It stays open: not every transport can close half a
    connection, so the reader has to know how much comes."""

    def ask(api: Any) -> None:
        given = api.attach_socket(name, params={"stdin": 1, "stream": 1})
        # Over a Unix socket the SDK hands out a wrapper that can only be read.
        stream = given if hasattr(given, "sendall") else given._sock
        try:
            # A command that ends early says why by its exit code.
            with suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(data)
        finally:
            given.close()

    await engine.ask(ask)


async def attach_both_ways(
    engine: DockerClient, name: str
) -> tuple[Opened, Callable[[bytes], None]]:
    """As `attach`, for a container that is talked to while it runs: each piece is there as soon as
    it was written. Beside that, what writes to its standard input, in a thread."""

    def ask(api: Any) -> tuple[Opened, Callable[[bytes], None]]:
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        given = api.attach_socket(name, params=params)
        stream = given if hasattr(given, "sendall") else given._sock
        stream.settimeout(None)

        def put(data: bytes) -> None:
            # A command that ends early says why on its errors.
            with suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(data)

        def close() -> None:
            # Reads and writes that wait in other threads are woken by this alone.
            with suppress(OSError, AttributeError):
                stream.shutdown(SHUT_RDWR)
            given.close()

        # A read of the SDK's response would wait until its buffer is full.
        return (_pieces(iter(lambda: stream.recv(READ_BYTES), b"")), close), put

    return await engine.ask(ask)


async def feed_command(engine: DockerClient, command: str, data: bytes) -> None:
    """Start a command that was made in a running container, write to its standard input, and wait
    until it ends: what it says is left unread. APIError: the engine refused."""

    def ask(api: Any) -> None:
        given = api.exec_start(command, socket=True)
        stream = given if hasattr(given, "sendall") else given._sock
        stream.settimeout(limits.ENGINE_CALL_TIMEOUT_MS / 1000)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(data)
                while stream.recv(READ_BYTES):
                    pass
        finally:
            given.close()

    await engine.ask(ask, limits.NETWORK_STEP_DEADLINE_MS)


def _pieces(raw: Iterator[bytes]) -> Iterator[Piece]:
    """The pieces in the engine's multiplexed output: each is given on as it arrives."""
    head, number, left = b"", 0, 0
    for data in raw:
        at = 0
        while at < len(data):
            if left:
                piece = data[at : at + left]
                left -= len(piece)
                at += len(piece)
                yield number, piece
                continue
            missing = HEADER.size - len(head)
            head += data[at : at + missing]
            at += missing
            if len(head) == HEADER.size:
                number, left = HEADER.unpack(head)
                head = b""
