"""A reason that the log had no room for is told in full by the node that has it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from nacl.signing import SigningKey

from p2pool.agent.telemetry.log_streams import LogStreams
from p2pool.agent.wire.sealer import Sealer
from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.errors import Unavailable
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.task_streams import LogsClosed
from p2pool.model.tasks.faults import Fault
from tests.core.worker.workbench import POOL, Bench, desired

ASKER, TELLER = (SigningKey(bytes([number]) * 32) for number in (1, 2))
HERE, THERE = NodeId(b"\x01" * 20), NodeId(b"\x02" * 20)


@attrs.define
class Pipe:
    """One end of a stream of frames."""

    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]

    async def send_frame(self, data: bytes) -> None:
        await self.send.send(data)

    async def receive_frame(self, _: int) -> bytes | None:
        try:
            return await self.receive.receive()
        except trio.EndOfChannel:
            return None

    async def end(self) -> None:
        self.send.close()

    async def aclose(self) -> None:
        self.send.close()


def key_of(key: SigningKey) -> PeerKey:
    return PeerKey(bytes(key.verify_key))


def streams(
    me: NodeId,
    key: SigningKey,
    bench: Bench,
    dial: Callable[[], Pipe],
    level: int = DISTRUST_LEVEL,
) -> LogStreams:
    """The log streams of an agent, with a network that reaches one other."""
    context = SimpleNamespace(
        me=me,
        level=level,
        config=SimpleNamespace(pool=POOL),
        bindings=SimpleNamespace(key_of={HERE: key_of(ASKER), THERE: key_of(TELLER)}.get),
    )
    node: Any = SimpleNamespace(context=context, parts=SimpleNamespace(worker=bench.worker))

    async def open_stream(*_: object) -> Pipe:
        return dial()

    network: Any = SimpleNamespace(open_stream=open_stream)
    nothing: Any = None
    sealer = Sealer(POOL, me, key_of(key), 1, key)
    return LogStreams(node, nothing, sealer, network, nothing, nothing)


def failed(text: str) -> tuple[Bench, ev.StartFailed]:
    """A worker whose copy's start failed for a reason of this text."""
    bench, one = Bench(), desired("a")
    bench.order(one)
    bench.worker.tick(bench.now())
    bench.worker.take()
    event = ev.StartFailed(one.allocation, 1, "cannot-start", text, Fault.TASK)
    bench.worker.step(event, bench.now())
    return bench, event


async def test_the_whole_reason_comes_from_the_node_that_has_it() -> None:
    """Within its own bound; one that was reported whole is not told again."""
    text = "runc create failed: " * 200
    bench, event = failed(text)
    (near, far) = (trio.open_memory_channel[bytes](4) for _ in range(2))
    teller = streams(THERE, TELLER, bench, lambda: pytest.fail("it dials nobody"))
    asker = streams(HERE, ASKER, Bench(), lambda: Pipe(near[0], far[1]))
    async with trio.open_nursery() as nursery:
        served: Any = Pipe(far[0], near[1])
        nursery.start_soon(teller.serve, key_of(ASKER), served)
        (told,) = await asker.reasons_of(event.allocation.task_id, THERE)
    assert (told.allocation, told.attempt) == (event.allocation, 1)
    assert told.reason.startswith(f"cannot-start: {text[:1000]}")
    assert len(told.reason.encode()) == limits.ENGINE_TEXT_MAX_BYTES
    short, event = failed("brief")
    assert short.worker.reasons_of(event.allocation.task_id) == ()


async def test_a_node_that_cannot_tell_is_said_to() -> None:
    """Its program is older, and closes the stream."""
    (near, far) = (trio.open_memory_channel[bytes](4) for _ in range(2))
    asker = streams(HERE, ASKER, Bench(), lambda: Pipe(near[0], far[1]))
    older = Sealer(POOL, THERE, key_of(TELLER), 1, TELLER)
    _, data = older.seal(LogsClosed("malformed", "what is this?"), Bench().now())
    await far[0].send(data)
    with pytest.raises(Unavailable, match="does not tell"):
        await asker.reasons_of(desired("a").allocation.task_id, THERE)
    early = streams(HERE, ASKER, Bench(), lambda: pytest.fail("it dials nobody"), BASE_LEVEL)
    with pytest.raises(Unavailable, match="feature level 1"):
        await early.reasons_of(desired("a").allocation.task_id, THERE)
