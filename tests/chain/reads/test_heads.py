"""New blocks that an endpoint tells of by itself, over a websocket; without it all goes on."""

import pytest
import trio

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.endpoints.heads import Heads
from p2pool.drivers.config.validators import websocket_url
from p2pool.model import limits
from tests.chain.conftest import World
from tests.chain.endpoints import endpoint, proxy
from tests.chain.reads.modes import follower, mine
from tests.chain.rosters import ids

pytestmark = pytest.mark.chain


def websocket(anvil: Anvil) -> str:
    return anvil.url.replace("http://", "ws://")


async def until_connected(heads: Heads) -> None:
    while not heads.connected:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def test_a_head_that_is_told_is_not_asked_for(
    world: World, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block costs one call then: that for its events."""
    monkeypatch.setattr(limits, "CHAIN_CHANGE_WATCH_MS", 0)
    monkeypatch.setattr(limits, "CHAIN_FINAL_LOOK_MS", 10**9)
    monkeypatch.setattr(limits, "CHAIN_MEMBER_READ_MS", 10**9)
    heads = Heads(websocket(anvil), 31337)
    async with proxy(anvil) as made, trio.open_nursery() as nursery:
        following = follower(world, made.url, heads=heads)
        nursery.start_soon(heads.run)
        with trio.fail_after(60):
            await until_connected(heads)
            await mine(anvil, 5)
            for _ in range(4):
                await following.observe()
                await mine(anvil, 1)
                await heads.news()
            await following.observe()
            made.asked.clear()
            for _ in range(5):
                await mine(anvil, 1)
                await heads.news()
                await following.observe()
            assert set(made.asked) == {"eth_getLogs"}
            assert len(made.asked) == 5
            _, node_id = await world.member()
            await heads.news()
            while node_id not in ids((await following.observe()).latest):
                await heads.news()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["no websocket", "nobody", "another chain"])
async def test_an_endpoint_that_tells_nothing_costs_nothing(
    world: World, anvil: Anvil, kind: str
) -> None:
    """The newest block is asked for as before; the endpoint is dialled again later."""
    _, node_id = await world.member()
    async with endpoint(b"<html>") as other, trio.open_nursery() as nursery:
        url = {
            "no websocket": other.replace("http", "ws"),
            "nobody": "ws://127.0.0.1:9",
            "another chain": websocket(anvil),
        }[kind]
        heads = Heads(url, 1 if kind == "another chain" else 31337)
        nursery.start_soon(heads.run)
        following = follower(world, anvil.url, heads=heads)
        with trio.fail_after(60):
            seen = following.observations()
            told = await anext(seen)
            assert ids(told.latest) == {node_id}  # type: ignore[union-attr]
            await mine(anvil, 1)
            await anext(seen)
        assert not heads.connected
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["http://h.example", "ws://", "h.example", "wss://h:0", "ws://h#x"])
def test_what_is_no_websocket_is_refused(url: str) -> None:
    """With what to write in its place, and without the key that may be in it."""
    with pytest.raises(ValueError, match="websocket"):
        websocket_url(None, None, url)


def test_no_websocket_is_fine_and_so_is_one() -> None:
    """It is an option."""
    for url in ("", "ws://h.example", "wss://h.example/v2/key"):
        websocket_url(None, None, url)
