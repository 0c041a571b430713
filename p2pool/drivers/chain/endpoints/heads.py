"""New blocks as an endpoint tells of them by itself, over a websocket.

Intuition: where an endpoint offers it, one subscription replaces the question for the newest
block, and a block is known at once. It is a convenience and no more: what it says is what an
endpoint says, and while it is silent or gone, the newest block is asked for as before.

Invariants: one connection at a time, each step with a deadline; an endpoint of another chain is not
listened to; what is kept of its news is bounded.
Source: https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub, "newHeads".
"""

import json
from collections import deque

import attrs
import trio
import trio_websocket

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.answers import Block
from p2pool.drivers.redaction import register_url, shown_url
from p2pool.model import limits

log = get_logger(__name__)

Failed = (
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    OSError,
    trio.TooSlowError,
)


class NoHeads(Exception):
    """The endpoint does not tell of new blocks of our chain."""


@attrs.define
class Heads:
    """The new blocks of one endpoint. `connected`: it is telling of them."""

    url: str
    chain_id: int
    connected: bool = False
    _told: deque[Block] = attrs.field(
        factory=lambda: deque[Block](maxlen=limits.CHAIN_HEADS_KEPT_MAX)
    )
    _news: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        """Never print what stands in the URL."""
        register_url(self.url)

    def taken(self) -> list[Block]:
        """The blocks told of since the last look, in that order."""
        found = [*self._told]
        self._told.clear()
        return found

    async def news(self) -> None:
        """Wait until a block was told of, or nobody tells of any."""
        if not self._told and self.connected:
            self._news = trio.Event()
            await self._news.wait()

    async def run(self) -> None:
        """Listen for good; an endpoint that fails is dialled again, ever later."""
        pause_s, said = limits.CHAIN_PAUSE_MIN_MS / 1000, ""
        while True:
            began_s = trio.current_time()
            why = await self._listen()
            self.connected = False
            self._news.set()
            if why != said:
                log.warning("new blocks are asked for", endpoint=shown_url(self.url), reason=why)
            said = why
            if trio.current_time() - began_s > limits.CHAIN_HALTED_MS / 1000:
                pause_s = limits.CHAIN_PAUSE_MIN_MS / 1000
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.CHAIN_PAUSE_MAX_MS / 1000)

    async def _listen(self) -> str:
        """Listen until that ends, and say why it did."""
        timeout_s = limits.CHAIN_CALL_TIMEOUT_MS / 1000
        try:
            async with trio_websocket.open_websocket_url(
                self.url,
                max_message_size=limits.CHAIN_HEAD_MAX_BYTES,
                connect_timeout=timeout_s,
                disconnect_timeout=1,
            ) as connection:
                with trio.fail_after(timeout_s):
                    await self._subscribe(connection)
                self.connected = True
                while True:
                    with trio.fail_after(limits.CHAIN_HALTED_MS / 1000):
                        message = _read(await connection.get_message())
                    self._hear(message)
        except NoHeads as error:
            return str(error)
        except Failed as error:
            return type(error).__name__
        except BaseExceptionGroup as group:
            errors, others = group.split((*Failed, NoHeads))
            if others is not None:
                raise others from None
            return type((errors or group).exceptions[0]).__name__

    async def _subscribe(self, connection: trio_websocket.WebSocketConnection) -> None:
        """`NoHeads` unless it is on our chain and takes a subscription."""
        for number, (method, params) in enumerate(
            (("eth_chainId", list[str]()), ("eth_subscribe", ["newHeads"]))
        ):
            asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await connection.send_message(json.dumps(asked))
            answer = _read(await connection.get_message())
            while answer.get("id") != number:
                answer = _read(await connection.get_message())
            if method == "eth_chainId":
                try:
                    found = answers.quantity(answer.get("result"))
                except answers.Nonsense as nonsense:
                    raise NoHeads(f"it answers {method} with {nonsense}") from nonsense
                if found != self.chain_id:
                    raise NoHeads(f"it is on chain {found}, not {self.chain_id}")
            elif not isinstance(answer.get("result"), str):
                raise NoHeads("it takes no subscription to new blocks")

    def _hear(self, message: dict[str, object]) -> None:
        params = message.get("params")
        if message.get("method") != "eth_subscription" or not isinstance(params, dict):
            return
        try:
            block = answers.block(params.get("result"))
        except answers.Nonsense as nonsense:
            raise NoHeads(f"it tells of {nonsense}") from nonsense
        if block is not None:
            self._told.append(block)
            self._news.set()


def _read(message: str | bytes) -> dict[str, object]:
    text = message.decode("latin-1") if isinstance(message, bytes) else message
    try:
        found = None if too_deep(text) else json.loads(text)
    except ValueError as error:
        raise NoHeads("it does not speak JSON-RPC") from error
    if not isinstance(found, dict):
        raise NoHeads("it does not speak JSON-RPC")
    return found
