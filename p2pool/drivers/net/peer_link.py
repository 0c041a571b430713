"""Everything about one connected peer: its standing, send queues, and the streams either way.

Each channel has one long-lived stream that only we write. It opens when there is something to send,
and again, after a growing wait, when it breaks; the peer has its own streams to us. So frames keep
their order while a stream lives; the frames being written when it breaks are lost and counted, and
their sender tries again (Raft, orders and reports all do).
Invariants: only hello is opened before the standing is decided and our own hello is sent; streams
that a lowered standing no longer permits are closed; a link's tasks end with it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.peer.id import ID

from p2pool.drivers.net.events import BYSTANDER_CHANNELS, PERMITTED
from p2pool.drivers.net.patience import wait_awake
from p2pool.drivers.net.transport.frames import (
    STREAM_ERRORS,
    FrameReader,
    FrameStream,
    SendQueue,
    close_stream,
    encode_frame,
    reset_stream,
)
from p2pool.drivers.net.transport.muxer import PoolYamux
from p2pool.drivers.net.transport.room import Account, Overrun
from p2pool.model import limits
from p2pool.model.errors import Malformed, NotAllowed, Unavailable
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    DIAL_TIMEOUT_MS,
    HELLO_MAX_BYTES,
    HELLO_TIMEOUT_MS,
    PEER_INPUTS_MAX,
    PEER_SEND_QUEUE_MAX_BYTES,
    STREAM_FRAME_MAX_BYTES,
    STREAM_REOPEN_MAX_MS,
    STREAM_REOPEN_MIN_MS,
    STREAM_WRITE_TIMEOUT_MS,
)
from p2pool.model.messages.registry import DEDICATED_CHANNELS, GOSSIP_CHANNELS, Channel
from p2pool.model.states import Standing

PROTOCOLS = {
    channel: f"/p2pool/{channel.value}/1" for channel in Channel if channel not in GOSSIP_CHANNELS
}
"""The protocol of each channel that has streams of its own."""
FRAME_CHANNELS = tuple(channel for channel in PROTOCOLS if channel not in DEDICATED_CHANNELS)
FRAME_MAX_BYTES = {Channel.HELLO: HELLO_MAX_BYTES}
"""How long a frame may be, where that is less than STREAM_FRAME_MAX_BYTES: anybody says hello."""
AHEAD = PEER_INPUTS_MAX // 2
"""How many frames of a member may wait for the agent while more are read."""
SENDABLE = tuple(channel for channel in FRAME_CHANNELS if channel is not Channel.HELLO)
OWED_MAX_BYTES = len(SENDABLE) * (PEER_SEND_QUEUE_MAX_BYTES + 2 * STREAM_FRAME_MAX_BYTES)
"""More than a member is ever owed: full queues, and what is being written of each."""


class PeerLink:
    """One connected peer, however many connections it has."""

    def __init__(
        self,
        peer_key: PeerKey,
        peer_id: ID,
        *,
        host: Any,
        nursery: trio.Nursery,
        counters: Counter[str],
        gossip: bool,
    ) -> None:
        """A link with no standing yet; `gossip` False: this node is a bystander (bootstrap)."""
        self.peer_key = peer_key
        self.peer_id = peer_id
        self.standing: Standing | None = None
        self.closed = False
        self._decided = trio.Event()
        self._hello_sent = trio.Event()
        self._host = host
        self._nursery = nursery
        self._counters = counters
        self._gossip = gossip
        self._scopes: set[trio.CancelScope] = set()
        self._readers: dict[Channel, trio.CancelScope] = {}
        self._queues: dict[Channel, SendQueue] = {}
        self._owed = Account(host.room, limits.GUEST_HELD_MAX_BYTES, self._cut)
        self._owes = trio.Event()
        self._written = 0

    def spawn(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run a task that is cancelled when the link closes."""
        self._nursery.start_soon(self._run_task, task, arguments)

    async def _run_task(
        self, task: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]
    ) -> None:
        """The body of `spawn`."""
        if self.closed:
            return
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await task(*arguments)
            finally:
                self._scopes.discard(scope)

    def close(self) -> None:
        """The last connection is gone: end all tasks; drop and count the queued frames."""
        self.closed = True
        for scope in [*self._scopes, *self._readers.values()]:
            scope.cancel()
        for channel, queue in self._queues.items():
            self._counters[f"send_dropped_disconnected_{channel.value}"] += queue.clear()
        self._owed.close()
        self._decided.set()

    def permits(self, channel: Channel) -> bool:
        """Whether the standing, and this node's own part, open a channel."""
        if self.closed or self.standing is None:
            return False
        if not self._gossip and channel not in BYSTANDER_CHANNELS:
            return False
        return channel in PERMITTED[self.standing]

    def set_standing(self, standing: Standing) -> None:
        """Take a decision, first or changed; close streams that it no longer permits."""
        self.standing = standing
        self.trust_connections()
        self._decided.set()
        for channel, scope in self._readers.items():
            if channel is not Channel.HELLO and not self.permits(channel):
                scope.cancel()
        for channel, queue in self._queues.items():
            if not self.permits(channel):
                self._owed.give(queue.waiting_bytes)
                self._counters[f"send_dropped_standing_{channel.value}"] += queue.clear()

    def trust_connections(self) -> None:
        """Let the muxer know whose connections these are: members have bounds of their own."""
        member = self.standing is Standing.MEMBER
        if self._owed.closed and not self.closed:
            # It was cut off, and has another connection before the last one's end was told.
            self._owed = Account(self._host.room, limits.GUEST_HELD_MAX_BYTES, self._cut)
        if member:
            self._owed.leave(OWED_MAX_BYTES)
        elif not self._owed.shared:
            self._owed.enter(self._host.room, limits.GUEST_HELD_MAX_BYTES)
        for connection in self._host.get_network().get_connections(self.peer_id):
            if isinstance(connection.muxed_conn, PoolYamux):
                connection.muxed_conn.trust(member)

    async def wait_permitted(self, channel: Channel) -> bool:
        """Wait for the first decision, HELLO_TIMEOUT_MS at most; whether it opens `channel`."""
        with trio.move_on_after(HELLO_TIMEOUT_MS / 1000):
            await self._decided.wait()
        return self.permits(channel)

    async def wait_open(self) -> None:
        """Wait until both hellos are through: the peer's was judged, ours was written."""
        await self._decided.wait()
        await self._hello_sent.wait()

    # --- sending ---------------------------------------------------------------------------------

    async def send_hello(self, hello_bytes: Callable[[], bytes]) -> None:
        """Write our hello on a stream of its own; retry until it is written or the peer is gone.

        Until then nothing else is opened, and the peer, if it got the hello all the same, would
        wait.
        """
        self.trust_connections()
        wait_ms = STREAM_REOPEN_MIN_MS
        while True:
            try:
                stream = await self.open(Channel.HELLO)
                with trio.fail_after(STREAM_WRITE_TIMEOUT_MS / 1000):
                    await stream.write(encode_frame(hello_bytes()))
            except STREAM_ERRORS:
                self._counters["hello_failed"] += 1
                await trio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, STREAM_REOPEN_MAX_MS)
                continue
            self._hello_sent.set()
            await close_stream(stream)
            return

    async def open(self, channel: Channel) -> Any:
        """A new stream of `channel`, within DIAL_TIMEOUT_MS; STREAM_ERRORS if it fails."""
        with trio.fail_after(DIAL_TIMEOUT_MS / 1000):
            return await self._host.new_stream(self.peer_id, [PROTOCOLS[channel]])

    async def open_frames(self, channel: Channel, deadline_ms: int) -> FrameStream:
        """A dedicated stream of frames. NotAllowed: not with this standing. Unavailable: failed."""
        try:
            with trio.fail_after(deadline_ms / 1000):
                await self.wait_open()
                if not self.permits(channel):
                    raise NotAllowed(f"The peer's standing does not open {channel.value} streams.")
                return FrameStream(await self.open(channel))
        except STREAM_ERRORS as error:
            raise Unavailable(
                f"No {channel.value} stream could be opened to the peer.", hint="Try again."
            ) from error

    def send(self, channel: Channel, encoded: bytes) -> bool:
        """Queue an encoded frame; False, and counted, if not permitted or the queue is full."""
        if not self.permits(channel):
            self._counters[f"send_dropped_standing_{channel.value}"] += 1
            return False
        queue = self._queues.get(channel)
        if queue is None:
            if not self._queues:
                self.spawn(self._watch_taken)
            queue = self._queues[channel] = SendQueue()
            self.spawn(self._write_channel, channel, queue)
        full = self._owed.closed or self._is_full(queue, len(encoded))
        if full or not queue.put(encoded):
            self._counters[f"send_dropped_full_{channel.value}"] += 1
            return False
        try:
            self._owed.take(len(encoded))
        except Overrun:
            # All guests together are owed too much, and this one most: it is cut off.
            self._counters[f"send_dropped_full_{channel.value}"] += 1
            return False
        self._owes.set()
        return True

    def _is_full(self, queue: SendQueue, size: int) -> bool:
        """Whether a guest is owed enough: frames, and bytes of all channels together. Who is owed
        nothing gets an answer of any length."""
        if not (self._owed.shared and self._owed.held):
            return False
        return (
            len(queue) >= limits.GUEST_SEND_QUEUE_MAX
            or self._owed.held + size > limits.GUEST_SEND_QUEUE_MAX_BYTES
        )

    async def _watch_taken(self) -> None:
        """Disconnect a guest that takes nothing of what it asked for, for as long as it is owed it:
        the time begins anew with each thing that it takes."""
        while True:
            if not self._owed.held:
                self._owes = trio.Event()
                await self._owes.wait()
            written = self._written
            await wait_awake(limits.GUEST_TAKES_MS)
            if self._owed.shared and self._owed.held and self._written == written:
                self._counters["guests_not_taking"] += 1
                self._cut()

    def _cut(self) -> None:
        """End all connections to this peer, at once; nothing waits for the next one."""
        for channel, queue in self._queues.items():
            self._owed.give(queue.waiting_bytes)
            self._counters[f"send_dropped_full_{channel.value}"] += queue.clear()
        for connection in self._host.get_network().get_connections(self.peer_id):
            if isinstance(connection.muxed_conn, PoolYamux):
                connection.muxed_conn.cut()

    async def _write_channel(self, channel: Channel, queue: SendQueue) -> None:
        """Write queued frames, over one stream for as long as it lives, then over the next."""
        await self.wait_open()
        wait_ms = STREAM_REOPEN_MIN_MS
        while True:
            await queue.wait_filled()
            stream = None
            try:
                stream = await self.open(channel)
                while True:
                    await queue.wait_filled()
                    if not self.permits(channel):
                        break
                    await self._write_batch(stream, channel, queue)
                    wait_ms = STREAM_REOPEN_MIN_MS
            except STREAM_ERRORS:
                self._counters[f"send_streams_broken_{channel.value}"] += 1
            finally:
                if stream is not None:
                    await reset_stream(stream)
            await trio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, STREAM_REOPEN_MAX_MS)

    async def _write_batch(self, stream: Any, channel: Channel, queue: SendQueue) -> None:
        """Write the next frames; count them as sent or lost."""
        owed, (count, joined) = self._owed, queue.take()
        outcome = "lost"
        try:
            with trio.fail_after(STREAM_WRITE_TIMEOUT_MS / 1000):
                await stream.write(joined)
            outcome = "frames"
            self._written += 1
        finally:
            owed.give(len(joined))
            self._counters[f"send_{outcome}_{channel.value}"] += count

    # --- receiving -------------------------------------------------------------------------------

    async def read_frames(
        self,
        channel: Channel,
        stream: Any,
        take: Callable[[PeerKey, Channel, bytes, int], Awaitable[None]],
    ) -> None:
        """Read an inbound stream to its end; a newer one of the same channel replaces it.

        A hello stream carries one frame. A frame that is too long ends the stream. `take` waits
        while more frames of this peer than it is told wait for the agent: of a guest, any.
        """
        if channel is not Channel.HELLO and not await self.wait_permitted(channel):
            self._counters[f"streams_refused_{channel.value}"] += 1
            await reset_stream(stream)
            return
        reader = FrameReader(stream, FRAME_MAX_BYTES.get(channel, STREAM_FRAME_MAX_BYTES))
        with trio.CancelScope() as scope:
            older = self._readers.get(channel)
            if older is not None:
                older.cancel()
            self._readers[channel] = scope
            try:
                while (frame := await reader.receive()) is not None:
                    ahead = AHEAD if self.standing is Standing.MEMBER else 0
                    await take(self.peer_key, channel, frame, ahead)
                    if channel is Channel.HELLO:
                        break
            except Malformed:
                self._counters[f"frames_malformed_{channel.value}"] += 1
                await reset_stream(stream)
            except STREAM_ERRORS:
                self._counters[f"streams_broken_{channel.value}"] += 1
            finally:
                if self._readers.get(channel) is scope:
                    del self._readers[channel]
        if scope.cancelled_caught:
            await reset_stream(stream)
        else:
            await close_stream(stream)
