"""Metrics over HTTP: what a scraper gets, and what anybody else gets."""

import pytest
import trio

from p2pool.model import limits
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.validator.process.metrics import Metrics
from p2pool.validator.process.scrapes import bind_of, serve_metrics

REQUEST = b"GET /metrics HTTP/1.1\r\n\r\n"


async def asked(where: str, request: bytes) -> bytes:
    """All that comes back."""
    return await answer(await trio.open_tcp_stream(*bind_of(where)), request)


async def answer(stream: trio.SocketStream, request: bytes) -> bytes:
    """All that comes back on a connection."""
    async with stream:
        await stream.send_all(request)
        found = b""
        while more := await stream.receive_some(4096):
            found += more
        return found


async def test_a_scraper_gets_the_metrics_and_nobody_anything_else() -> None:
    """`GET /metrics` alone is answered; what is no request is refused, and so is a second server
    at the same place."""
    metrics = Metrics(lambda: {"nodes": ("Nodes that are followed.", 7)})
    metrics.failed("chain")
    async with trio.open_nursery() as nursery:
        where = await nursery.start(serve_metrics, "127.0.0.1:0", metrics.render)
        found = await asked(where, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert b"p2pool_validator_nodes 7.0" in found
        assert b'p2pool_validator_failures_total{part="chain"} 1.0' in found
        assert b'p2pool_validator_findings_total{kind="wrong_product"} 0.0' in found
        for request, status in (
            (b"GET / HTTP/1.1\r\n\r\n", b"404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
            (b"nonsense\r\n\r\n", b"400"),
            (b"x" * limits.VALIDATOR_SCRAPE_MAX_BYTES, b"400"),
        ):
            assert (await asked(where, request)).split(b" ")[1] == status
        with pytest.raises(PortTaken, match="--metrics-bind"):
            await serve_metrics(where, metrics.render)
        nursery.cancel_scope.cancel()


async def test_there_is_room_for_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when it is full is hung up on, and who says nothing is not waited for."""
    monkeypatch.setattr(limits, "VALIDATOR_SCRAPES_MAX", 1)
    monkeypatch.setattr(limits, "VALIDATOR_SCRAPE_MS", 600_000)
    async with trio.open_nursery() as nursery:
        where = await nursery.start(serve_metrics, "127.0.0.1:0", Metrics().render)
        first = await trio.open_tcp_stream(*bind_of(where))
        try:
            found = await asked(where, REQUEST)
        except trio.BrokenResourceError:
            found = b""
        assert found == b""
        assert (await answer(first, REQUEST)).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(limits, "VALIDATOR_SCRAPE_MS", 100)
        silent = await trio.open_tcp_stream(*bind_of(where))
        assert await silent.receive_some(1) == b""
        monkeypatch.setattr(limits, "VALIDATOR_SCRAPE_MS", 600_000)
        assert (await asked(where, REQUEST)).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("wrong", ["", "9470", ":9470", "127.0.0.1:", "127.0.0.1:99999", "a:b"])
def test_an_address_that_is_none_is_told(wrong: str) -> None:
    """Before anything is started."""
    with pytest.raises(Misconfigured):
        bind_of(wrong)
