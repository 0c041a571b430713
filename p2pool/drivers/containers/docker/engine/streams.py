"""The engine's streams (events, log lines) as async iterators, each over a thread.

The SDK blocks while it waits for the next item. Closing its socket from another thread ends the
wait at once; so a departing reader frees the thread. The bounded queue between thread and reader
lets a slow reader slow down only the engine's writer.
"""

import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from functools import lru_cache
from typing import Any, NamedTuple

import trio
from docker.errors import APIError

from p2pool.drivers.containers.docker.engine.errors import engine_errors, other_error
from p2pool.drivers.containers.docker.engine.handover import Gone, Handover
from p2pool.drivers.containers.docker.engine.timestamps import at_ms
from p2pool.model import limits
from p2pool.model.errors import P2poolError, RuntimeUnavailable
from p2pool.model.messages.task_streams import LogChunk, LogChunks

Client = Callable[[], Any]
Opened = tuple[Iterator[Any], Callable[[], None]]
HEADER = struct.Struct(">BxxxL")
READ_BYTES = 64 * 1024


class _Stream:
    """One blocking stream; `open` returns (items, close)."""

    def __init__(self, open_it: Callable[[], Opened]) -> None:
        self._open = open_it
        self._close: Callable[[], None] | None = None
        self._cancelled = False

    def pump(self, put: Callable[[Any], None]) -> None:
        """In a thread: pass every item on until the stream ends or is cancelled."""
        try:
            with engine_errors():
                items, self._close = self._open()
                if self._cancelled:
                    self.cancel()
                for item in items:
                    put(item)
        except APIError as error:
            raise other_error(error) from error
        except RuntimeUnavailable:
            if not self._cancelled:
                raise
        # A socket that is closed under the SDK fails in many ways, and so does reading what is no
        # engine's: nothing but our own errors may leave the task that waits for this thread.
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            if not self._cancelled:
                raise RuntimeUnavailable(
                    "What the engine sends cannot be read.", hint="See its log for why."
                ) from error
        except Gone:
            return

    def cancel(self) -> None:
        """From trio's thread: end the wait for the next item."""
        self._cancelled = True
        if self._close is not None:
            with suppress(OSError, ValueError, AttributeError):
                self._close()


async def iterate(
    open_it: Callable[[], Opened],
    limiter: trio.CapacityLimiter,
    size: Callable[[Any], int] = lambda item: 0,
) -> AsyncGenerator[list[Any], None]:
    """Yields the items of a blocking stream, as many at a time as have arrived. `open_it` runs in
    the thread; it returns the items, and a function that ends the wait for the next one."""
    stream = _Stream(open_it)
    handover = Handover[Any](size)
    failed: list[P2poolError] = []

    async def work() -> None:
        try:
            await trio.to_thread.run_sync(
                stream.pump, handover.put, limiter=limiter, abandon_on_cancel=True
            )
        except P2poolError as error:
            failed.append(error)
        finally:
            handover.end()

    # No nursery: a generator that its reader leaves halfway must not hold one open. The task
    # ends with its thread, which ends when the stream is cancelled.
    trio.lowlevel.spawn_system_task(work)
    try:
        while taken := await handover.take():
            yield taken
    finally:
        handover.leave()
        stream.cancel()
    if failed:
        raise failed[0]


async def follow_events(
    client: Client, filters: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[dict[str, Any], None]:
    """The engine's events as it writes them. RuntimeUnavailable when the engine goes away."""

    def open_it() -> Opened:
        stream = client().events(decode=True, filters=filters)
        return iter(stream), stream.close

    async with aclosing(iterate(open_it, limiter)) as events:
        async for taken in events:
            for event in taken:
                yield event
    raise RuntimeUnavailable("The engine's events ended.")


async def follow_logs(
    client: Client, name: str, params: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[LogChunks, None]:
    """A container's log lines, each with its stream and time.

    When a container ends, the engine cuts off everyone who follows its log, however far they
    have read (seen with 20.10: a slow reader lost the last 4,000 of 20,000 lines). So whatever
    comes after the last delivered line is read once more, without following.
    """
    last, given = b"", 0
    async with aclosing(_stamped(client, name, params, limiter)) as batches:
        async for lines in batches:
            for line in lines:
                given = given + 1 if line.stamp == last else 1
                last = line.stamp
            yield tuple(line.chunk() for line in lines)
    if not int(params.get("follow", 0)):
        return
    rest = {**params, "follow": 0, "tail": "all" if last else params["tail"]}
    if last:
        rest["since"] = _unix_time(last)
    async with aclosing(_stamped(client, name, rest, limiter)) as batches:
        async for lines in batches:
            new = []
            for line in lines:
                if line.stamp == last and given:
                    given -= 1  # Already delivered.
                else:
                    new.append(line.chunk())
            if new:
                yield tuple(new)


def _unix_time(stamp: bytes) -> str:
    """An engine timestamp, to the nanosecond, in the form its API takes: seconds.fraction."""
    text = stamp.decode("ascii", "replace")
    whole, _, fraction = text.rstrip("Z").partition(".")
    digits = fraction if fraction.isdigit() else "0"
    return f"{at_ms(whole + 'Z') // 1000}.{digits}"


class _Line(NamedTuple):
    """A line as the engine sends it: its stream's number, its time, its bytes."""

    stream: int
    stamp: bytes
    data: bytes

    def chunk(self) -> LogChunk:
        return LogChunk(self.stream, _line_ms(self.stamp), self.data)


def _line_ms(stamp: bytes) -> int:
    """Unix milliseconds of a line's time; many lines share the same second."""
    text = stamp.decode("ascii", "replace")
    whole, _, fraction = text.partition(".")
    if not text.endswith("Z") or not fraction[:-1].isdigit():
        return at_ms(text)
    return _second_ms(whole.rstrip("Z") + "Z") + int((fraction[:-1] + "000")[:3])


@lru_cache(maxsize=limits.LOG_SECONDS_CACHED_MAX)
def _second_ms(text: str) -> int:
    return at_ms(text)


async def _stamped(
    client: Client, name: str, params: dict[str, Any], limiter: trio.CapacityLimiter
) -> AsyncGenerator[list[_Line], None]:
    """Lines, as many at a time as have arrived."""

    def open_it() -> Opened:
        # The SDK's own `logs` does not say which stream a line came from.
        api = client()
        response = api._get(
            api._url("/containers/{0}/logs", name), params=params, stream=True, timeout=None
        )
        api._raise_for_status(response)
        api._disable_socket_timeout(api._get_raw_response_socket(response))
        return _lines(response.raw.stream(READ_BYTES)), lambda: shut(api, response)

    def size(line: _Line) -> int:
        return len(line.data)

    async with aclosing(iterate(open_it, limiter, size)) as batches:
        async for lines in batches:
            yield lines


def _lines(pieces: Iterator[bytes]) -> Iterator[_Line]:
    """Lines in the engine's multiplexed output: 1 byte stream, 3 bytes unused, 4 bytes length, then
    the line. The engine writes one frame at a time, so a piece is usually a whole line.
    RuntimeUnavailable: a line longer than an engine's, to be kept until all of it has come."""
    rest = b""
    for piece in pieces:
        data, at = rest + piece if rest else piece, 0
        while len(data) - at >= HEADER.size:
            number, length = HEADER.unpack_from(data, at)
            if length > limits.ENGINE_LOG_LINE_MAX_BYTES:
                raise RuntimeUnavailable(
                    f"The engine's log has a line of {length} bytes, which is none.",
                    hint="A proxy in between may have changed it.",
                )
            end = at + HEADER.size + length
            if end > len(data):
                break
            stamp, _, line = data[at + HEADER.size : end].partition(b" ")
            yield _Line(number, stamp, line)
            at = end
        rest = data[at:]


def shut(api: Any, response: Any) -> None:
    """End a read that waits in another thread: closing alone does not wake it."""
    # A stream that ended by itself no longer has a socket.
    with suppress(OSError, AttributeError, ValueError):
        _socket_of(api._get_raw_response_socket(response)).shutdown(socket.SHUT_RDWR)
    response.close()


def _socket_of(wrapped: Any) -> Any:
    """The socket inside the SDK's object, which differs by transport."""
    return wrapped if hasattr(wrapped, "shutdown") else wrapped._sock
