"""The chain as one agent sees it: an RPC proxy of its own that can lag, be stuck, or be silent.

`stuck` shows the chain as it was at one block: names such as `latest` and `finalized` stand for
blocks that do not move, and a later block is not there yet. `lag` shows it some blocks late, and
moving. Everything that is asked by a block's hash is passed on: a proxy lies by omission alone.
"""

import json
from collections.abc import Callable
from typing import Any

import attrs
import trio

NAMED = ("latest", "pending", "safe", "finalized")
FINAL_DEPTH = 2
ANSWER_MAX_BYTES = 16 * 1024 * 1024


@attrs.define
class View:
    """What one agent is shown. `kind`: pass, stuck, lag, silent, down; `blocks`: where or lag."""

    name: str
    kind: str = "pass"
    blocks: int = 0
    asked: int = 0

    def show(self, kind: str, blocks: int = 0) -> None:
        """From the next question on."""
        self.kind, self.blocks = kind, blocks


async def serve(
    view: View, chain_port: int, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer one agent's questions until cancelled; started with the port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await _handle(view, chain_port, stream)
        except (trio.BrokenResourceError, OSError, ValueError):
            return  # The chain or the agent hung up.

    task_status.started(int(listeners[0].socket.getsockname()[1]))
    await trio.serve_listeners(handle, listeners)


async def _handle(view: View, chain_port: int, stream: trio.SocketStream) -> None:
    while True:
        body = await _read_body(stream)
        if body is None or view.kind == "down":
            return
        view.asked += 1
        if view.kind == "silent":
            await trio.sleep_forever()
        request = json.loads(body)
        told = json.dumps(await answer(view, request, lambda r: _ask(chain_port, r))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(told)}"
        await stream.send_all(head.encode() + b"\r\n\r\n" + told)


async def answer(view: View, request: Any, ask: Callable[[Any], Any]) -> Any:
    """The answer to one JSON-RPC request, as this view has it."""
    if view.kind not in ("stuck", "lag"):
        return await ask(request)
    newest = view.blocks
    if view.kind == "lag":
        latest = await ask({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []})
        newest = max(0, int(latest["result"], 16) - view.blocks)
    if request["method"] == "eth_blockNumber":
        return {"jsonrpc": "2.0", "id": request["id"], "result": hex(newest)}
    parameters = [_moved(one, newest) for one in request.get("params", [])]
    if request["method"] == "eth_getBlockByNumber" and int(parameters[0], 16) > newest:
        return {"jsonrpc": "2.0", "id": request["id"], "result": None}
    return await ask({**request, "params": parameters})


def _moved(parameter: Any, newest: int) -> Any:
    if parameter not in NAMED:
        return parameter
    return hex(max(0, newest - FINAL_DEPTH) if parameter in ("safe", "finalized") else newest)


async def _ask(port: int, request: Any) -> Any:
    body = json.dumps(request).encode()
    head = (
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as chain:
        await chain.send_all(head.encode() + body)
        answered = await _read_body(chain)
    if answered is None:
        raise ValueError("the chain hung up")
    return json.loads(answered)


async def _read_body(stream: trio.SocketStream) -> bytes | None:
    """The body of the next message; None at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [h for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")]
    wanted = int(lengths[0].partition(b":")[2])
    if wanted > ANSWER_MAX_BYTES:
        raise ValueError("an answer without an end")
    while len(body) < wanted:
        more = await stream.receive_some()
        if not more:
            return None
        body += more
    return body
