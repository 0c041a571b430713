"""Every message between agents, as attrs classes whose field order is their wire order.

On the wire a message is the CBOR array
    [type, version, node_id, incarnation, sequence, sent_at_ms, fields..., ext]
inside a COSE_Sign1 envelope (`wire.envelope`). `TYPES` gives each class its number; a number, once
given, is never used again, and a changed field list is a new version. Which channel and purpose a
message has is in `channel_of`: the purpose is signed, so a vote is a vote wherever it travels.
"""

from enum import StrEnum

import attrs

from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.certificates import (
    CertificatesAnswered,
    CertificateSigned,
    CertificatesRequested,
    ConfigurationSigned,
    EquivocationProven,
)
from p2pool.model.messages.gossip import (
    AllocationStatus,
    Announcement,
    Heartbeat,
    Hello,
    PeerBinding,
)
from p2pool.model.messages.queries import (
    BeatsAnswered,
    BeatsRequested,
    BindingsAnswered,
    BindingsRequested,
    ForwardAnswered,
    HardwareAnswered,
    HardwareRequested,
    InviteAnswered,
    InviteRequested,
    LogEndAnswered,
    LogEndRequested,
    PeerKnown,
    Ping,
    Pong,
    ProbeAnswered,
    ProbeRequested,
    ReadIndexAnswered,
    ReadIndexRequested,
    RemovalConfirmed,
    RemovalConfirmRequested,
    RequestForwarded,
    SnapshotRequested,
    StateAnswered,
    StateRequested,
    StoreSeenAnswered,
    StoreSeenRequested,
    SuspicionHinted,
)
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.messages.task_streams import (
    LogChunk,
    LogChunks,
    LogsClosed,
    LogsOpened,
    LogsRead,
    LogStream,
    MetricsAsked,
    MetricsTold,
)
from p2pool.model.messages.work import (
    Desired,
    Order,
    OrderAnswered,
    Report,
    ReportAnswered,
)

__all__ = [
    "LOGS_TYPES",
    "QUERY_TYPES",
    "RAFT_TYPES",
    "TYPES",
    "WORK_TYPES",
    "AllocationStatus",
    "Announcement",
    "AppendAnswered",
    "AppendRequested",
    "BeatsAnswered",
    "BeatsRequested",
    "BindingsAnswered",
    "BindingsRequested",
    "CertificateSigned",
    "CertificatesAnswered",
    "CertificatesRequested",
    "Channel",
    "ConfigurationSigned",
    "Desired",
    "EquivocationProven",
    "ForwardAnswered",
    "HardwareAnswered",
    "HardwareRequested",
    "Header",
    "Heartbeat",
    "Hello",
    "InviteAnswered",
    "InviteRequested",
    "LogChunk",
    "LogChunks",
    "LogEndAnswered",
    "LogEndRequested",
    "LogStream",
    "LogsClosed",
    "LogsOpened",
    "LogsRead",
    "Message",
    "MetricsAsked",
    "MetricsTold",
    "Order",
    "OrderAnswered",
    "PeerBinding",
    "PeerKnown",
    "Ping",
    "Pong",
    "ProbeAnswered",
    "ProbeRequested",
    "ReadIndexAnswered",
    "ReadIndexRequested",
    "RemovalConfirmRequested",
    "RemovalConfirmed",
    "Report",
    "ReportAnswered",
    "RequestForwarded",
    "SnapshotAnswered",
    "SnapshotRequested",
    "SnapshotSent",
    "StateAnswered",
    "StateRequested",
    "StoreSeenAnswered",
    "StoreSeenRequested",
    "SuspicionHinted",
    "TimeoutNow",
    "Verified",
    "VoteAnswered",
    "VoteRequested",
    "channel_of",
]


class Channel(StrEnum):
    """Where a message travels (design, section 5)."""

    BEAT = "beat"
    ANNOUNCE = "announce"
    HELLO = "hello"
    RAFT = "raft"
    WORK = "work"
    QUERY = "query"
    LOGS = "logs"


Message = (
    Hello | Heartbeat | Announcement | EquivocationProven
    | VoteRequested | VoteAnswered | AppendRequested | AppendAnswered
    | SnapshotSent | SnapshotAnswered | TimeoutNow
    | CertificateSigned | ConfigurationSigned
    | Order | OrderAnswered | Report | ReportAnswered
    | Ping | Pong | ProbeRequested | ProbeAnswered | SuspicionHinted
    | StateRequested | StateAnswered | SnapshotRequested
    | BindingsRequested | BindingsAnswered | BeatsRequested | BeatsAnswered
    | HardwareRequested | HardwareAnswered | RequestForwarded | ForwardAnswered
    | ReadIndexRequested | ReadIndexAnswered | InviteRequested | InviteAnswered
    | RemovalConfirmRequested | RemovalConfirmed
    | CertificatesRequested | CertificatesAnswered
    | LogEndRequested | LogEndAnswered | StoreSeenRequested | StoreSeenAnswered
    | LogsOpened | LogsRead | LogsClosed | MetricsAsked | MetricsTold
)  # fmt: skip
"""Any message."""

TYPES: dict[int, type] = {
    1: Hello,
    2: Heartbeat,
    3: Announcement,
    4: EquivocationProven,
    10: VoteRequested,
    11: VoteAnswered,
    12: AppendRequested,
    13: AppendAnswered,
    14: SnapshotSent,
    15: SnapshotAnswered,
    16: TimeoutNow,
    17: CertificateSigned,
    18: ConfigurationSigned,
    20: Order,
    21: OrderAnswered,
    22: Report,
    23: ReportAnswered,
    30: Ping,
    31: Pong,
    32: ProbeRequested,
    33: ProbeAnswered,
    34: SuspicionHinted,
    35: StateRequested,
    36: StateAnswered,
    37: SnapshotRequested,
    38: BindingsRequested,
    39: BindingsAnswered,
    40: BeatsRequested,
    41: BeatsAnswered,
    42: HardwareRequested,
    43: HardwareAnswered,
    44: RequestForwarded,
    45: ForwardAnswered,
    46: ReadIndexRequested,
    47: ReadIndexAnswered,
    48: InviteRequested,
    49: InviteAnswered,
    50: CertificatesRequested,
    51: CertificatesAnswered,
    52: RemovalConfirmRequested,
    53: RemovalConfirmed,
    56: LogEndRequested,
    57: LogEndAnswered,
    58: StoreSeenRequested,
    59: StoreSeenAnswered,
    60: LogsOpened,
    61: LogsRead,
    62: LogsClosed,
    63: MetricsAsked,
    64: MetricsTold,
}
"""Number of each message on the wire."""

RAFT_TYPES = frozenset(range(10, 20))
WORK_TYPES = frozenset(range(20, 30))
QUERY_TYPES = frozenset(range(30, 60))
LOGS_TYPES = frozenset(range(60, 70))


def channel_of(message_type: int) -> Channel:
    """The channel that a message of this type belongs to."""
    fixed = {1: Channel.HELLO, 2: Channel.BEAT, 3: Channel.ANNOUNCE, 4: Channel.ANNOUNCE}
    if message_type in fixed:
        return fixed[message_type]
    for types, channel in (
        (RAFT_TYPES, Channel.RAFT),
        (WORK_TYPES, Channel.WORK),
        (QUERY_TYPES, Channel.QUERY),
    ):
        if message_type in types:
            return channel
    assert message_type in LOGS_TYPES, message_type
    return Channel.LOGS


@attrs.frozen
class Header:
    """What every envelope states about its sender: bound into the signature."""

    node_id: NodeId
    peer_key: PeerKey
    incarnation: int
    sequence: int
    sent_at_ms: int


@attrs.frozen
class Verified:
    """A message whose bytes, form, signature and purpose are good. `sealed` are those bytes.

    What is not said here: whether the sender belongs, and whether it is new (core decides both).
    """

    header: Header
    channel: Channel
    message: Message
    sealed: bytes
