"""Streams of the engine (events, log lines) as async iterators over a thread each.

The SDK blocks while it waits for the next item. Closing its socket from another thread ends the
wait at once, which is how a reader that goes away frees the thread. A queue of one item between
the two makes a slow reader slow the engine's writer, and nobody else.
"""

import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import trio
from docker.errors import APIError

from p2pool.drivers.containers.dockererrors import engine_errors, other_error
from p2pool.drivers.containers.dockerstate import at_ms
from p2pool.model import limits
from p2pool.model.errors import P2poolError, RuntimeUnavailable
from p2pool.model.streams import LogChunk

Client = Callable[[], Any]
HEADER_BYTES = 8


class _Stream:
    """One blocking stream; `open` gives (items, close)."""

    def __init__(self, open_it: Callable[[], tuple[Iterator[Any], Callable[[], None]]]) -> None:
        self._open = open_it
        self._close: Callable[[], None] | None = None
        self._cancelled = False

    def pump(self, put: Callable[[Any], None]) -> None:
        """In a thread: hand every item on until it ends or is cancelled."""
        try:
            with engine_errors():
                items, self._close = self._open()
                if self._cancelled:
                    self.cancel()
                for item in items:
                    put(item)
        except APIError as error:
            raise other_error(error) from error
        except (RuntimeUnavailable, ValueError, AttributeError):
            # A socket that is closed under the SDK's feet fails in many ways.
            if not self._cancelled:
                raise
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def cancel(self) -> None:
        """From trio's thread: end the wait for the next item."""
        self._cancelled = True
        if self._close is not None:
            with suppress(OSError, ValueError, AttributeError):
                self._close()


async def _iterate(stream: _Stream, limiter: trio.CapacityLimiter) -> AsyncGenerator[Any, None]:
    send, receive = trio.open_memory_channel[Any](limits.LOG_BATCH_MAX_CHUNKS)

    def run() -> None:
        stream.pump(lambda item: trio.from_thread.run(send.send, item))

    failed: list[P2poolError] = []

    async def work() -> None:
        try:
            await trio.to_thread.run_sync(run, limiter=limiter, abandon_on_cancel=True)
        except P2poolError as error:
            failed.append(error)
        finally:
            send.close()

    # No nursery: a generator that its reader leaves in the middle must not hold one open. The
    # task ends with its thread, and that ends when the stream is cancelled.
    trio.lowlevel.spawn_system_task(work)
    try:
        async for item in receive:
            yield item
    finally:
        receive.close()
        stream.cancel()
    if failed:
        raise failed[0]


async def follow_events(
    client: Client, filters: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[dict[str, Any], None]:
    """Events of the engine as it writes them. RuntimeUnavailable when it goes away."""

    def open_it() -> tuple[Iterator[Any], Callable[[], None]]:
        stream = client().events(decode=True, filters=filters)
        return iter(stream), stream.close

    async with aclosing(_iterate(_Stream(open_it), limiter)) as events:
        async for event in events:
            yield event
    raise RuntimeUnavailable("The engine's events ended.")


async def follow_logs(
    client: Client, name: str, params: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[LogChunk, None]:
    """Log lines of a container, each with its stream and time.

    When a container ends, the engine ends the streams of those who follow its log, wherever they
    are in it (seen with 20.10: a slow reader lost the last 4,000 of 20,000 lines). So what comes
    after the last line that was given is read once more, without following.
    """
    last, given = b"", 0
    async with aclosing(_stamped(client, name, params, limiter)) as lines:
        async for number, stamp, line in lines:
            last, given = stamp, given + 1 if stamp == last else 1
            yield LogChunk(number, at_ms(stamp.decode("ascii", "replace")), line)
    if not int(params.get("follow", 0)):
        return
    rest = {**params, "follow": 0, "tail": "all" if last else params["tail"]}
    if last:
        rest["since"] = _unix_time(last)
    async with aclosing(_stamped(client, name, rest, limiter)) as lines:
        async for number, stamp, line in lines:
            if stamp == last and given:
                given -= 1  # Given before.
                continue
            yield LogChunk(number, at_ms(stamp.decode("ascii", "replace")), line)


def _unix_time(stamp: bytes) -> str:
    """A time of the engine's, to the nanosecond, as its API takes it: seconds.fraction."""
    text = stamp.decode("ascii", "replace")
    whole, _, fraction = text.rstrip("Z").partition(".")
    return f"{at_ms(whole + 'Z') // 1000}.{fraction or '0'}"


async def _stamped(
    client: Client, name: str, params: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[tuple[int, bytes, bytes], None]:
    """Stream number, the engine's time as it writes it, and the line."""

    def open_it() -> tuple[Iterator[Any], Callable[[], None]]:
        # The SDK's own `logs` does not say which stream a line came from.
        api = client()
        response = api._get(
            api._url("/containers/{0}/logs", name), params=params, stream=True, timeout=None
        )
        api._raise_for_status(response)
        api._disable_socket_timeout(api._get_raw_response_socket(response))
        return _frames(response.raw), lambda: shut(api, response)

    async with aclosing(_iterate(_Stream(open_it), limiter)) as frames:
        async for number, data in frames:
            stamp, _, line = data.partition(b" ")
            yield number, stamp, line


def _frames(raw: Any) -> Iterator[tuple[int, bytes]]:
    """Stream number and bytes of each frame, as the engine multiplexes them: 1 byte stream,
    3 bytes nothing, 4 bytes length."""
    while len(header := raw.read(HEADER_BYTES)) == HEADER_BYTES:
        number, length = struct.unpack(">BxxxL", header)
        data = raw.read(length)
        if len(data) < length:
            return
        yield number, data


def shut(api: Any, response: Any) -> None:
    """End a read that waits in another thread: closing alone does not wake it."""
    # One that has ended by itself has no socket any more.
    with suppress(OSError, AttributeError, ValueError):
        _socket_of(api._get_raw_response_socket(response)).shutdown(socket.SHUT_RDWR)
    response.close()


def _socket_of(wrapped: Any) -> Any:
    """The socket inside what the SDK hands out, which differs by transport."""
    return wrapped if hasattr(wrapped, "shutdown") else wrapped._sock
