"""RPC endpoints that behave badly on purpose, where wanted with a real chain behind them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from p2pool.dev.chain.anvil import Anvil

Twist = Callable[[str, list[Any], Any], Any]
"""From a method, its parameters and the chain's result to the result that is told."""


@asynccontextmanager
async def endpoint(answer: bytes | None, packed: bool = False) -> AsyncIterator[str]:
    """A server that answers everything alike; None: takes the request and is silent. `packed`: it
    says that its answer is."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer is None:
                await trio.sleep_forever()
            how = "Content-Encoding: gzip\r\n" if packed else ""
            head = f"HTTP/1.1 200 OK\r\n{how}Content-Length: {len(answer)}\r\n\r\n".encode()
            await stream.send_all(head + answer)

    async with _listening(serve) as url:
        yield url


@asynccontextmanager
async def dripping(pause_s: float = 0.05) -> AsyncIterator[str]:
    """A server that sends one byte at a time and never ends: no read of it is silent for long."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            try:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    await stream.send_all(b" ")
                    await trio.sleep(pause_s)
            except trio.BrokenResourceError:
                return

    async with _listening(serve) as url:
        yield url


Ask = Callable[[str, list[Any]], Any]
"""Asks the chain behind a proxy: from a method and its parameters to the result."""
Refuse = Callable[[Ask, str, list[Any]], "dict[str, Any] | None"]
"""From a call to the error of JSON-RPC that is told in place of an answer, if there is one."""
Limit = Callable[[], "str | None"]
"""Tells at each call whether it is one too many: then the Retry-After to answer, or nothing."""


@attrs.define
class Proxy:
    """A second endpoint of a development chain. `twist` may change what it answers, `refuse` answer
    with errors in its place, `limit` with HTTP status 429."""

    url: str = ""
    twist: Twist = lambda method, params, result: result
    refuse: Refuse = lambda ask, method, params: None
    limit: Limit = lambda: None
    silent: bool = False
    asked: list[str] = attrs.field(factory=list)
    limited: int = 0


@asynccontextmanager
async def proxy(anvil: Anvil) -> AsyncIterator[Proxy]:
    """A server that asks the chain and passes the answer on."""
    made = Proxy()
    provider = anvil.rpc().endpoints[0].provider

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = json.loads(await _body(stream))
            made.asked.append(request["method"])
            if made.silent:
                await trio.sleep_forever()
            method, params = request["method"], request.get("params", [])
            after = made.limit()
            if after is not None:
                made.limited += 1
                header = f"Retry-After: {after}\r\n" if after else ""
                head = f"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n{header}"
                await stream.send_all(f"{head}Content-Length: 0\r\n\r\n".encode())
                return
            answer: Any = await trio.to_thread.run_sync(_answer, made, provider, method, params)
            if "result" in answer:
                answer["result"] = made.twist(method, params, answer["result"])
            told = json.dumps({**answer, "id": request["id"]}).encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(told)}\r\n\r\n"
            await stream.send_all(head.encode() + told)

    async with _listening(serve) as url:
        made.url = url
        yield made


def _answer(made: Proxy, provider: Any, method: str, params: list[Any]) -> Any:
    """What the chain says, or the error that the proxy has in its place. Called in a thread."""

    def ask(method: str, params: list[Any]) -> Any:
        return provider.make_request(method, params).get("result")

    error = made.refuse(ask, method, params)
    return {"error": error} if error is not None else provider.make_request(method, params)


@asynccontextmanager
async def serving(ask: Callable[[str, list[Any]], Any]) -> AsyncIterator[str]:
    """A server that answers as this function does, with whole JSON-RPC answers."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = json.loads(await _body(stream))
            told = json.dumps({**ask(request["method"], request["params"]), "id": request["id"]})
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(told)}\r\n\r\n"
            await stream.send_all((head + told).encode())

    async with _listening(serve) as url:
        yield url


async def _body(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [h for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0].partition(b":")[2]):
        body += await stream.receive_some()
    return body


@asynccontextmanager
async def _listening(serve: Callable[[trio.SocketStream], Any]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()
