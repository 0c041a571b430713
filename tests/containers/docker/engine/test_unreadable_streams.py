"""Streams of an engine that are not what its API says."""

import json
from collections.abc import Iterator

import pytest
import trio

from p2pool.drivers.containers.docker.engine.streams import _lines, iterate
from p2pool.model.errors import RuntimeUnavailable

PIECE = bytes(64 * 1024)


def test_a_line_that_no_engine_writes_is_not_waited_for() -> None:
    """What a header announces is kept until it has come: so it has a bound, or a stream without
    headers (a terminal's output, a proxy's page) would be kept for as long as it goes on."""
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        yield b"\x01\0\0\0\xff\xff\xff\xff"
        while taken < 100:
            taken += 1
            yield PIECE

    with pytest.raises(RuntimeUnavailable, match="4294967295 bytes"):
        list(_lines(pieces()))
    assert taken == 0


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, AttributeError])
async def test_what_cannot_be_read_ends_its_reader_alone(error: type[Exception]) -> None:
    """An event that is no JSON, or another JSON, is an engine that does not answer. Any other error
    would leave the task of the stream, and take the whole agent along."""

    def opened() -> tuple[Iterator[object], object]:
        def items() -> Iterator[object]:
            yield "one"
            raise error("not an engine's")

        return items(), lambda: None

    limiter = trio.CapacityLimiter(1)
    with pytest.raises(RuntimeUnavailable, match="cannot be read"):
        async for _ in iterate(opened, limiter):  # type: ignore[arg-type]
            pass


async def test_an_event_that_is_cut_off_is_no_engine() -> None:
    """The same with the error that broken JSON raises."""

    def opened() -> tuple[Iterator[object], object]:
        return (json.loads(text) for text in ('{"a": 1}', '{"a"')), lambda: None

    with pytest.raises(RuntimeUnavailable, match="cannot be read"):
        async for _ in iterate(opened, trio.CapacityLimiter(1)):  # type: ignore[arg-type]
            pass
