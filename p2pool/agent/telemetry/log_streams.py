"""Log lines and metrics of any allocation, from any peer; lines need a grant that the serving node
checks itself.

Intuition: a reader signs a grant. The agent it asks finds the node where the copy runs; if that is
another node, the agent opens a stream to it, passes the grant on and relays the lines. Relaying
gives the agent no rights.

Invariants: the node that has the lines judges the grant, from its own roster and state, before it
reads a single line; every frame is sealed; a reader that goes away ends the engine's stream too.
Metrics are as public within the pool as task specifications: any member, and nobody else, may ask.
Source: docs/design/api.md, "Log lines and metrics".
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.contract_judge import ContractJudge
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.agent.wire.sealer import Sealer
from p2pool.codec.text.clip import clipped
from p2pool.core.feature_levels import pool_level
from p2pool.core.fsm.permissions import Submission, may_read
from p2pool.core.node import Node
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.transport.frames import FrameStream
from p2pool.model import limits
from p2pool.model.access.grants import SignedGrant
from p2pool.model.errors import (
    BadSignature,
    Malformed,
    NotAllowed,
    NotFound,
    P2poolError,
    Refusal,
    Unavailable,
    error_for_code,
)
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, NodeId, PeerKey, TaskId
from p2pool.model.messages.registry import Channel, Message, since_of
from p2pool.model.messages.task_streams import (
    FullReason,
    LogChunk,
    LogChunks,
    LogsClosed,
    LogsOpened,
    LogsRead,
    MetricsAnswered,
    MetricsRequested,
    ReasonsAnswered,
    ReasonsRequested,
)
from p2pool.model.ports.agent import LogOptions
from p2pool.model.ports.runtime import ContainerRuntime
from p2pool.wire.envelope import open_sealed
from p2pool.wire.typed_data import check_times, delegation_bytes, grant_of, recover_signers

log = get_logger(__name__)

OURS = b""
"""On whose account this agent's own readers have the chain asked."""

PULSE = LogsRead(())
"""Sent on an idle stream, so that a silent log does not look like a dead peer."""


class LogStreams:
    """Serves and fetches log lines for one agent."""

    def __init__(
        self,
        node: Node,
        runtime: ContainerRuntime,
        sealer: Sealer,
        network: Network,
        metrics: TaskMetrics,
        contract_judge: ContractJudge,
    ) -> None:
        """`metrics`: of the copies that run here; `contract_judge`: whether contract accounts
        signed a grant."""
        self._contract_judge = contract_judge
        self._node = node
        self._metrics = metrics
        self._runtime = runtime
        self._sealer = sealer
        self._network = network

    # --- for the local API ------------------------------------------------------------------------

    async def open(
        self, allocation: AllocationId, options: LogOptions, grant: SignedGrant
    ) -> AsyncIterator[LogChunks]:
        """Chunks in order, from wherever the copy runs; see `model.ports.agent.Logs`."""
        where, attempt = self._find(allocation)
        if where == self._node.context.me:
            await self._judge(allocation, grant, OURS)
            batches = self._read(allocation, attempt, options)
        else:
            batches = self._fetch(where, allocation, options, grant)
        async with aclosing(batches):  # type: ignore[type-var]
            async for chunks in batches:
                yield chunks

    def _find(self, allocation: AllocationId) -> tuple[NodeId, int]:
        """A copy's node and attempt, from the committed state."""
        state = self._node.context.pool_log.state
        copy = state.allocation(allocation) if state is not None else None
        if copy is None:
            raise NotFound(f"There is no allocation {allocation}.", hint="See `p2pool task show`.")
        if copy.node_id is None:
            raise NotFound(
                f"{allocation} is not placed yet: {copy.reason}", hint="Read again once it runs."
            )
        return copy.node_id, copy.attempt

    async def _judge(self, allocation: AllocationId, grant: SignedGrant, origin: bytes) -> None:
        """Raise unless a grant lets its signer read this task's lines here and now. The chain is
        asked last, at the cost of `origin`."""
        context = self._node.context
        now_s = read_clock().wall_ms // 1000
        signers = recover_signers(context.config.pool, grant)
        check_times(grant, now_s)
        if grant.grant.task.removeprefix("0x") != allocation.task_id.hex():
            raise NotAllowed("The grant is for another task.", hint="Sign one for this task.")
        roster = context.roster.latest
        if roster is None:
            raise Unavailable("This node has not read the pool's roster yet.", hint="Retry.")
        delegation = grant.delegation.delegation if grant.delegation is not None else None
        submission = self._submission(allocation)
        denied = may_read(roster, context.pool_log.state, signers, delegation, submission, now_s)
        if denied is not None:
            raise denied
        if grant.by_contract:
            reading, now_ms = context.roster.reading, read_clock().mono_ms
            final = reading.final if reading is not None else None
            await self._contract_judge.check_grant(grant, final, origin, now_ms)

    def _submission(self, allocation: AllocationId) -> Submission | None:
        """Who submitted a copy that runs here: what this node verified before it started it."""
        found = self._node.parts.worker.submitted(allocation)
        if found is None:
            return None
        signed, by = found
        under = signed.delegation.delegation if signed.delegation is not None else None
        return Submission(by.signer, under)

    async def _read(
        self, allocation: AllocationId, attempt: int, options: LogOptions
    ) -> AsyncIterator[LogChunks]:
        """Lines of a local container; when following, waits for one that is about to start."""
        batches = self._runtime.logs(
            allocation,
            attempt,
            follow=options.follow,
            tail_lines=options.tail_lines,
            since_ms=options.since_ms,
        )
        async with aclosing(batches):  # type: ignore[type-var]
            async for chunks in batches:
                for batch in in_messages(chunks):
                    yield batch

    # --- from another node ------------------------------------------------------------------------

    async def _fetch(
        self, where: NodeId, allocation: AllocationId, options: LogOptions, grant: SignedGrant
    ) -> AsyncIterator[LogChunks]:
        key = self._node.context.bindings.key_of(where)
        if key is None:
            raise Unavailable("The node that has these lines is not known yet.", hint="Retry.")
        if grant.by_contract and pool_level(self._node.context) < DISTRUST_LEVEL:
            raise Unavailable("In a pool of feature level 1 no contract account signs.")
        stream = await self._dial(key)
        try:
            given = grant.grant
            await self._send(
                stream,
                LogsOpened(
                    allocation=allocation,
                    grant_pool_id=given.pool_id,
                    grant_task=given.task,
                    grant_not_before_s=given.not_before_s,
                    grant_not_after_s=given.not_after_s,
                    grant_signature=grant.signature,
                    grant_delegation=delegation_bytes(grant.delegation),
                    follow=options.follow,
                    tail_lines=options.tail_lines,
                    since_ms=options.since_ms,
                    grant_contract=grant.contract,
                ),
            )
            while True:
                message = await self._receive(stream, key)
                if isinstance(message, LogsClosed):
                    if message.code:
                        raise error_for_code(message.code, message.message)
                    return
                if not isinstance(message, LogsRead):
                    raise Unavailable("The node that has these lines sent an unexpected answer.")
                if message.chunks:
                    yield message.chunks
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def _dial(self, key: PeerKey) -> FrameStream:
        """A stream to a node; a peer that is not connected is dialled, for a while."""
        deadline = trio.current_time() + limits.LOG_DIAL_PATIENCE_MS / 1000
        while True:
            try:
                return await self._network.open_stream(key, Channel.LOGS)
            except (NotFound, NotAllowed) as error:
                if trio.current_time() >= deadline:
                    raise Unavailable(
                        "The node that has these lines cannot be reached.", hint="Retry later."
                    ) from error
            await trio.sleep(limits.LOG_DIAL_PAUSE_MS / 1000)

    async def metrics_of(self, allocation: AllocationId) -> MetricsAnswered:
        """The latest metrics of a copy, from wherever it runs. NotFound: it runs nowhere;
        Unavailable: its node does not answer in time."""
        where, attempt = self._find(allocation)
        if where == self._node.context.me:
            return self._metrics.told(allocation, attempt)
        key = self._node.context.bindings.key_of(where)
        if key is None:
            raise Unavailable("The node that runs the copy is not known yet.", hint="Retry.")
        with trio.move_on_after(limits.METRICS_ASK_DEADLINE_MS / 1000):
            stream = await self._dial(key)
            try:
                await self._send(stream, MetricsRequested(allocation))
                told = await self._receive(stream, key)
            finally:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
            if isinstance(told, MetricsAnswered) and told.allocation == allocation:
                return told
            if isinstance(told, LogsClosed) and told.code:
                raise error_for_code(told.code, told.message)
        raise Unavailable("The node that runs the copy did not answer in time.", hint="Retry.")

    async def reasons_of(self, task_id: TaskId, where: NodeId) -> tuple[FullReason, ...]:
        """Why a node's copies of a task ended or did not start, in full. Unavailable: it does not
        answer in time, or its version of the program does not tell."""
        if where == self._node.context.me:
            return self._node.parts.worker.reasons_of(task_id)
        level = pool_level(self._node.context)
        if level < since_of(ReasonsRequested):
            raise Unavailable(f"The pool is at feature level {level}, which has no such question.")
        key = self._node.context.bindings.key_of(where)
        if key is None:
            raise Unavailable("The node is not known yet.", hint="Retry.")
        with trio.move_on_after(limits.METRICS_ASK_DEADLINE_MS / 1000):
            stream = await self._dial(key)
            try:
                await self._send(stream, ReasonsRequested(task_id))
                told = await self._receive(stream, key)
            finally:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
            if isinstance(told, ReasonsAnswered) and told.task_id == task_id:
                return told.reasons
            raise Unavailable("The node does not tell reasons in full.", hint="Upgrade it.")
        raise Unavailable("The node did not answer in time.", hint="Retry.")

    # --- for other agents -------------------------------------------------------------------------

    async def serve(self, peer_key: PeerKey, stream: FrameStream) -> None:
        """Answer one log stream of a member."""
        closed = LogsClosed("", "")
        try:
            try:
                await self._serve(peer_key, stream)
            except* P2poolError as group:
                error = first_error(group)
                text = clipped(str(error), limits.TEXT_MAX_BYTES)
                closed = LogsClosed(error.code, text)
            await self._send(stream, closed)
            await stream.end()
        except (Unavailable, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a reader of log lines went away")

    async def _serve(self, peer_key: PeerKey, stream: FrameStream) -> None:
        opened = await self._receive(stream, peer_key)
        if isinstance(opened, MetricsRequested):
            where, attempt = self._find(opened.allocation)
            if where != self._node.context.me:
                raise NotFound("The copy is not on this node (any longer).", hint="Ask again.")
            await self._send(stream, self._metrics.told(opened.allocation, attempt))
            return
        if isinstance(opened, ReasonsRequested):
            told = self._node.parts.worker.reasons_of(opened.task_id)
            await self._send(stream, ReasonsAnswered(opened.task_id, told))
            return
        if not isinstance(opened, LogsOpened):
            raise Malformed("A log stream must start with a request to read.")
        await self._judge(opened.allocation, grant_of(opened), peer_key)
        where, attempt = self._find(opened.allocation)
        if where != self._node.context.me:
            raise NotFound("The copy is not on this node (any longer).", hint="Ask again.")
        options = LogOptions(opened.follow, opened.tail_lines, opened.since_ms)
        # Reads one batch while another is being sent.
        send, receive = trio.open_memory_channel[LogsRead](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, opened.allocation, attempt, options, send)
            while True:
                read: LogsRead | None = PULSE
                with trio.move_on_after(limits.LOG_PULSE_MS / 1000):
                    read = await _next(receive)
                if read is None:
                    return
                await self._send(stream, read)

    async def _pump(
        self,
        allocation: AllocationId,
        attempt: int,
        options: LogOptions,
        send: trio.MemorySendChannel[LogsRead],
    ) -> None:
        batches = self._read(allocation, attempt, options)
        async with send, aclosing(batches):  # type: ignore[type-var]
            async for chunks in batches:
                await send.send(LogsRead(chunks))

    # --- frames -----------------------------------------------------------------------------------

    async def _send(self, stream: FrameStream, message: Message) -> None:
        _, data = self._sealer.seal(message, read_clock())
        await stream.send_frame(data)

    async def _receive(self, stream: FrameStream, key: PeerKey) -> Message:
        """The next message, sealed by the peer at the other end."""
        data = await stream.receive_frame(3 * limits.LOG_PULSE_MS)
        if data is None:
            raise Unavailable("The node that has these lines hung up.", hint="Read again.")
        try:
            verified = open_sealed(
                data,
                self._node.context.config.pool,
                max_bytes=limits.STREAM_FRAME_MAX_BYTES,
                channel=Channel.LOGS,
            )
        except Refusal as error:
            raise Unavailable(f"A frame of log lines is bad: {error.message}") from error
        if verified.header.peer_key != key:
            raise BadSignature("Another peer sealed this frame of log lines.")
        return verified.message


def in_messages(chunks: Iterable[LogChunk]) -> Iterator[LogChunks]:
    """A runtime's chunks as messages take them: what a container writes is cut, not refused.

    An engine cuts a long line itself, but where that cuts a character in two it puts others in its
    place, so that a part of 16 KiB gets longer.
    """
    most, batch, size = limits.LOG_LINE_MAX_BYTES, list[LogChunk](), 0
    for chunk in chunks:
        for at in range(0, max(1, len(chunk.data)), most):
            whole = len(chunk.data) <= most
            piece = chunk if whole else attrs.evolve(chunk, data=chunk.data[at : at + most])
            size += len(piece.data)
            if len(batch) >= limits.LOG_BATCH_MAX_CHUNKS or size > limits.LOG_BATCH_MAX_BYTES:
                yield tuple(batch)
                batch, size = [], len(piece.data)
            batch.append(piece)
    if batch:
        yield tuple(batch)


async def _next(receive: trio.MemoryReceiveChannel[LogsRead]) -> LogsRead | None:
    """The next chunks, None at the end."""
    try:
        return await receive.receive()
    except trio.EndOfChannel:
        return None


def first_error(group: BaseExceptionGroup[P2poolError]) -> P2poolError:
    """The first error of a group; a nursery wraps even a single error in one."""
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first
