"""Frames of the dedicated streams for log lines.

The serving node checks the grant itself; a node that relays the lines has no rights of its own.
"""

from enum import Enum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import since
from p2pool.model.field_bounds import AccountSignature, Name, bounded
from p2pool.model.ids import Address, AllocationId, TaskId
from p2pool.model.messages.registry import Channel, Message, message

DELEGATION_MAX_BYTES = limits.ACCOUNT_SIGNATURE_MAX_BYTES + limits.TEXT_MAX_BYTES
"""The limit for an encoded signed delegation."""


@message(60, Channel.LOGS)
@attrs.frozen
class LogsOpened(Message):
    """The first frame of a log stream: which allocation, under which grant, from where.

    `tail_lines` -1: all; `since_ms` 0: from the start. The serving node checks the grant.
    `grant_contract`: the contract account that is said to have signed it.
    """

    allocation: AllocationId
    grant_pool_id: int
    grant_task: str
    grant_not_before_s: int
    grant_not_after_s: int
    grant_signature: AccountSignature
    grant_delegation: Annotated[bytes, bounded(bytes=DELEGATION_MAX_BYTES)]
    follow: bool
    tail_lines: int
    since_ms: int
    grant_contract: Address | None = since(2, default=None)


class LogStream(int, Enum):
    """Which of a container's streams a chunk came from."""

    STDOUT = 1
    STDERR = 2


@attrs.frozen
class LogChunk:
    """Bytes of one stream, at the time the runtime recorded."""

    stream: int
    at_ms: int
    data: Annotated[bytes, bounded(bytes=limits.LOG_LINE_MAX_BYTES)]


LogChunks = Annotated[tuple[LogChunk, ...], bounded(items=limits.LOG_BATCH_MAX_CHUNKS)]
"""Consecutive chunks: as many as were available at the read."""


@message(61, Channel.LOGS)
@attrs.frozen
class LogsRead(Message):
    """The next chunks; empty if there are none for now."""

    chunks: LogChunks


@message(62, Channel.LOGS)
@attrs.frozen
class LogsClosed(Message):
    """The last frame: `code` empty at the end of the log, else why it stopped."""

    code: str
    message: str


@message(63, Channel.LOGS, purpose="MetricsAsked")
@attrs.frozen
class MetricsRequested(Message):
    """The only frame of a stream that asks a node for the metrics of a copy."""

    allocation: AllocationId


@attrs.frozen
class TaskMetric:
    """The last value of one metric of a task: a decimal number as text, and when it arrived."""

    name: Name
    value: Name
    at_ms: int


@message(64, Channel.LOGS, purpose="MetricsTold")
@attrs.frozen
class MetricsAnswered(Message):
    """The answer. `refused_lines`: lines that were refused (not JSON, too many, too fast)."""

    allocation: AllocationId
    metrics: Annotated[tuple[TaskMetric, ...], bounded(items=limits.METRICS_PER_TASK_MAX)]
    refused_lines: int


@message(65, Channel.LOGS, since=2)
@attrs.frozen
class ReasonsRequested(Message):
    """The only frame of a stream that asks a node why its copies of a task ended, or did not start:
    the log has room for the beginning of a reason alone."""

    task_id: TaskId


@attrs.frozen
class FullReason:
    """Why an attempt of a copy is in its state, in full."""

    allocation: AllocationId
    attempt: int
    reason: Annotated[str, bounded(text=limits.ENGINE_TEXT_MAX_BYTES)]


@message(66, Channel.LOGS, since=2)
@attrs.frozen
class ReasonsAnswered(Message):
    """The answer: the newest that the node knows."""

    task_id: TaskId
    reasons: Annotated[tuple[FullReason, ...], bounded(items=limits.FULL_REASONS_TOLD_MAX)]
