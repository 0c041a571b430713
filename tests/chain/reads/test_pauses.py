"""An endpoint that gets too many calls is left alone for as long as it says, then asked again."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.endpoints.failures import retry_after_s, wants_pause
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from tests.chain.conftest import World
from tests.chain.endpoints import proxy
from tests.chain.reads.modes import follower, refusing, turns
from tests.chain.rosters import ids

pytestmark = pytest.mark.chain


async def test_a_reading_goes_on_through_status_429(
    world: World, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three calls, two are one too many: the whole roster comes together all the same."""
    monkeypatch.setattr(limits, "CHAIN_PAUSE_MIN_MS", 10)
    _, node_id = await world.member()
    async with proxy(anvil) as made:
        made.limit = turns(None, "0", "")
        with trio.fail_after(120):
            seen = await follower(world, made.url).observe()
        assert ids(seen.latest) == {node_id}
        assert made.limited >= 4


async def test_nobody_is_asked_before_its_pause_is_over(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it says, a call fails without being sent; another endpoint is asked at once."""
    monkeypatch.setattr(limits, "CHAIN_PAUSE_WAIT_MAX_MS", 0)
    async with proxy(anvil) as made:
        made.limit = turns("90")
        rpc = Rpc.to(31337, [made.url])
        for _ in range(3):
            with pytest.raises(ChainUnavailable, match="too many calls"):
                await rpc.quantity("eth_blockNumber")
        assert made.limited == 1
        assert 60 < rpc.endpoints[0].pause_left_s() <= 90
        two = Rpc.to(31337, [made.url, anvil.url])
        assert await two.quantity("eth_blockNumber") >= 0
        assert two.first == 1


async def test_without_a_word_on_how_long_each_pause_is_longer(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By status 429, and by the JSON-RPC errors that providers have for it; once it answers, the
    next is short again."""
    monkeypatch.setattr(limits, "CHAIN_PAUSE_WAIT_MAX_MS", 0)
    async with proxy(anvil) as made:
        rpc = Rpc.to(31337, [made.url])
        endpoint, strikes = rpc.endpoints[0], []
        for way in ("http", "json", "json"):
            made.limit = turns("" if way == "http" else None)
            made.refuse = refusing(lambda m, p: True, -32005, "daily request count exceeded")
            endpoint.paused_until_s = 0.0
            with pytest.raises(ChainUnavailable):
                await rpc.quantity("eth_blockNumber")
            strikes.append(endpoint.strikes)
        assert strikes == [1, 2, 3]
        endpoint.paused_until_s = 0.0
        made.refuse = lambda ask, method, params: None
        await rpc.quantity("eth_blockNumber")
        assert endpoint.strikes == 0


async def test_the_pauses_themselves(autojump_clock: trio.testing.MockClock) -> None:
    """One second, two, four, up to two minutes; what an endpoint asks for, up to the same."""
    endpoint = Rpc.to(1, ["http://h.example"]).endpoints[0]
    found = []
    for _ in range(9):
        found.append(endpoint.pause(None))
        await trio.sleep(200)
    assert found == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert endpoint.pause(3600) == 120


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("0", 0), ("999999", 120), ("", None), ("soon", None), ("-1", None)],
)
def test_what_retry_after_says(said: str, seconds: float | None) -> None:
    """Seconds or a date, within our bounds; anything else says nothing."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert retry_after_s(said, now) == seconds
    date = (now + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_s(date, now) == 30


@pytest.mark.parametrize(
    ("code", "message", "pause"),
    [
        (-32005, "limit exceeded", True),
        (-32005, "query returned more than 10000 results", False),
        (-32005, "block range too large, max range: 1000", False),
        (429, "Your app has exceeded its compute units per second capacity", True),
        (-32000, "Too Many Requests", True),
        (-32602, "range 1000000 exceeds limit of 10000", False),
        (-32000, "header not found", False),
        (-32000, "insufficient funds for gas * price + value", False),
    ],
)
def test_too_many_calls_and_too_much_in_one_are_two_things(
    code: int, message: str, pause: bool
) -> None:
    """Providers have one code for both."""
    assert wants_pause(code, message) is pause
