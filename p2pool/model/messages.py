"""Every message between agents, as attrs classes whose field order is their wire order.

On the wire a message is the CBOR array
    [type, version, node_id, incarnation, sequence, sent_at_ms, fields..., ext]
inside a COSE_Sign1 envelope (`wire.envelope`). `TYPES` gives each class its number; a number, once
given, is never used again, and a changed field list is a new version. Which channel and purpose a
message has is in `CHANNEL_OF`: the purpose is signed, so a vote is a vote wherever it travels.
"""

from enum import Enum, StrEnum

import attrs

from p2pool.model.chain import Invite
from p2pool.model.entries import Outcome
from p2pool.model.hardware import FreeResources, Hardware, Load
from p2pool.model.ids import (
    Address,
    AllocationId,
    Digest,
    NodeId,
    PeerKey,
    StoreId,
    TaskId,
    Token,
)
from p2pool.model.raft import Entry, Voter
from p2pool.model.states import AllocationState, Intent, RaftRole
from p2pool.model.tasks import SignedRequest


class Channel(StrEnum):
    """Where a message travels (design, section 5)."""

    BEAT = "beat"
    ANNOUNCE = "announce"
    HELLO = "hello"
    RAFT = "raft"
    WORK = "work"
    QUERY = "query"
    LOGS = "logs"


# --- bindings and hello ------------------------------------------------------------------------


@attrs.frozen
class PeerBinding:
    """Node key and peer key, each vouching for the other (EIP-712, `wire.binding`).

    Times are Unix seconds; `node_signature` is 65 bytes over the typed data, `peer_signature` 64
    bytes Ed25519 over its digest.
    """

    chain_id: int
    contract: Address
    pool_id: int
    node_id: NodeId
    peer_key: PeerKey
    not_before_s: int
    not_after_s: int
    node_signature: bytes
    peer_signature: bytes


@attrs.frozen
class Hello:
    """First frame both ways on a connection. A bootstrap node has no binding (None)."""

    agent_version: str
    binding: PeerBinding | None
    store_id: StoreId
    addresses: tuple[str, ...]
    challenge: bytes = b""


# --- gossip ------------------------------------------------------------------------------------


@attrs.frozen
class AllocationStatus:
    """One allocation in a heartbeat: state, attempt, and the token of the order it obeys."""

    allocation: AllocationId
    attempt: int
    state: AllocationState
    token: Token


@attrs.frozen
class Heartbeat:
    """A member's gossiped state. `hardware` is sent when it changed; its digest always."""

    agent_version: str
    addresses: tuple[str, ...]
    store_id: StoreId
    intent: Intent
    role: RaftRole
    leader: NodeId | None
    epoch: int
    term: int
    applied_index: int
    hardware_digest: Digest
    hardware: Hardware | None
    free: FreeResources
    allocations: tuple[AllocationStatus, ...]
    load: Load
    healthy: bool
    reason: str


@attrs.frozen
class Announcement:
    """A leader says that it leads, and how far the committed state is."""

    log_id: Digest
    epoch: int
    term: int
    commit_index: int
    state_digest: Digest


# --- Raft: every frame names the log, the term and both voters ----------------------------------


@attrs.frozen
class VoteRequested:
    """RequestVote, or PreVote when `pre` (thesis, 9.6). `transfer`: the leader asked for it."""

    log_id: Digest
    term: int
    candidate: Voter
    voter: Voter
    last_index: int
    last_term: int
    configuration_hash: Digest
    pre: bool
    transfer: bool


@attrs.frozen
class VoteAnswered:
    """Answer to VoteRequested. A granted one is the signed vote that certificates are made of."""

    log_id: Digest
    term: int
    candidate: Voter
    voter: Voter
    last_index: int
    last_term: int
    configuration_hash: Digest
    pre: bool
    granted: bool
    reason: str


@attrs.frozen
class AppendRequested:
    """AppendEntries; empty `entries` keep the leader's authority alive. `round` grows by one with
    each frame to a follower, and comes back in the answer (ReadIndex, flow control)."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    previous_index: int
    previous_term: int
    commit_index: int
    round: int
    entries: tuple[Entry, ...]


@attrs.frozen
class AppendAnswered:
    """Answer: `match_index` when ok; otherwise where to go on (fast back-up on conflict)."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    round: int
    ok: bool
    match_index: int
    conflict_index: int
    conflict_term: int


@attrs.frozen
class SnapshotSent:
    """A chunk of an encoded snapshot; `last_index`, `last_term` name the snapshot."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    last_index: int
    last_term: int
    offset: int
    total_bytes: int
    data: bytes


@attrs.frozen
class SnapshotAnswered:
    """Answer: how many bytes of it are there; equal to the total once it is installed."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    last_index: int
    received_bytes: int


@attrs.frozen
class TimeoutNow:
    """The leader asks a caught-up voter to campaign at once (thesis, 3.10)."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter


# --- work: leader and nodes --------------------------------------------------------------------


@attrs.frozen
class Desired:
    """One allocation that the node is to run: the signed submission itself, so that the node can
    check the account's right, the attempt and the GPUs leased to it."""

    allocation: AllocationId
    attempt: int
    signed: SignedRequest
    gpus: tuple[str, ...]


@attrs.frozen
class Order:
    """The node's complete desired set, and what is to be stopped by name, under one token."""

    node_id: NodeId
    token: Token
    desired: tuple[Desired, ...]
    stops: tuple[AllocationId, ...]


@attrs.frozen
class OrderAnswered:
    """The node took the order (ok) or refused it, with its high-water token."""

    token: Token
    high_water: Token
    ok: bool
    reason: str


@attrs.frozen
class Report:
    """What became of allocations, sent until the leader answers. `token` is the order obeyed."""

    token: Token
    outcomes: tuple[Outcome, ...]


@attrs.frozen
class ReportAnswered:
    """These outcomes are in the log, or not wanted: they need not be reported again."""

    token: Token
    allocations: tuple[AllocationId, ...]


# --- query: correlated by `request` ------------------------------------------------------------


@attrs.frozen
class Ping:
    """A probe through the core."""

    request: int


@attrs.frozen
class Pong:
    """Answer to a probe. `busy`: the answering loop lags, so silence elsewhere proves nothing."""

    request: int
    busy: bool


@attrs.frozen
class ProbeRequested:
    """The leader asks a witness to probe a node."""

    request: int
    node_id: NodeId


@attrs.frozen
class ProbeAnswered:
    """What the witness saw: reachable, or not; `known` is False when it has no connection."""

    request: int
    node_id: NodeId
    reachable: bool
    known: bool


@attrs.frozen
class SuspicionHinted:
    """A peer that missed probes tells the leader; a hint, never a verdict."""

    node_id: NodeId
    reason: str


@attrs.frozen
class StateRequested:
    """A follower replica asks for committed entries after `from_index`."""

    request: int
    log_id: Digest
    from_index: int


@attrs.frozen
class StateAnswered:
    """Committed entries from `from_index` + 1 on, or a chunk of a snapshot where compacted."""

    request: int
    log_id: Digest
    commit_index: int
    entries: tuple[Entry, ...]
    snapshot_total_bytes: int
    snapshot_offset: int
    snapshot: bytes


@attrs.frozen
class SnapshotRequested:
    """Next chunk of the snapshot that a StateAnswered began."""

    request: int
    log_id: Digest
    offset: int


@attrs.frozen
class BindingsRequested:
    """Which bindings belong to these peer keys (empty: all known, up to a bound)."""

    request: int
    peer_keys: tuple[PeerKey, ...]


@attrs.frozen
class PeerKnown:
    """A peer as another knows it: its binding and the addresses it was seen at."""

    binding: PeerBinding
    addresses: tuple[str, ...]


@attrs.frozen
class BindingsAnswered:
    """Known bindings with addresses: also how peers are exchanged."""

    request: int
    peers: tuple[PeerKnown, ...]


@attrs.frozen
class BeatsRequested:
    """A newcomer asks for the last heartbeat that a peer heard from each member, and for
    hardware records (digest -> record) that it lacks."""

    request: int


@attrs.frozen
class BeatsAnswered:
    """Sealed heartbeats, as they were received, that carry their own proof."""

    request: int
    sealed: tuple[bytes, ...]


@attrs.frozen
class HardwareRequested:
    """Ask a node for the hardware record behind the digest in its heartbeat."""

    request: int


@attrs.frozen
class HardwareAnswered:
    """The record."""

    request: int
    hardware: Hardware


@attrs.frozen
class RequestForwarded:
    """A signed request passed on to the leader; the inner signature alone gives rights."""

    request: int
    signed: SignedRequest
    via: NodeId


@attrs.frozen
class ForwardAnswered:
    """What became of it: `code` empty when accepted, else the code of `model.errors`."""

    request: int
    task_id: TaskId
    accepted_index: int
    code: str
    message: str
    hint: str
    leader: NodeId | None


@attrs.frozen
class ReadIndexRequested:
    """A peer asks the leader for an index at which a read is consistent."""

    request: int


@attrs.frozen
class ReadIndexAnswered:
    """The index, or -1 with the leader that this node knows."""

    request: int
    index: int
    leader: NodeId | None


@attrs.frozen
class InviteRequested:
    """An applicant asks whether an invite for it is known (/p2pool/admit)."""

    request: int
    node_id: NodeId


@attrs.frozen
class InviteAnswered:
    """The invite, if there is one."""

    request: int
    invite: Invite | None


# --- logs: frames of a dedicated stream ---------------------------------------------------------


@attrs.frozen
class LogsOpened:
    """First frame of a log stream: which allocation, under which grant, from where.

    `tail_lines` -1: all; `since_ms` 0: from the start. The grant is checked by the serving node.
    """

    allocation: AllocationId
    grant_pool_id: int
    grant_task: str
    grant_not_before_s: int
    grant_not_after_s: int
    grant_signature: bytes
    grant_delegation: bytes
    follow: bool
    tail_lines: int
    since_ms: int


class LogStream(int, Enum):
    """Which of a container's streams a chunk came from."""

    STDOUT = 1
    STDERR = 2


@attrs.frozen
class LogChunk:
    """Bytes of one stream, at the time the runtime recorded."""

    stream: int
    at_ms: int
    data: bytes


@attrs.frozen
class LogsClosed:
    """Last frame: `code` empty at the end of the log, else why it stopped."""

    code: str
    message: str


Message = (
    Hello | Heartbeat | Announcement
    | VoteRequested | VoteAnswered | AppendRequested | AppendAnswered
    | SnapshotSent | SnapshotAnswered | TimeoutNow
    | Order | OrderAnswered | Report | ReportAnswered
    | Ping | Pong | ProbeRequested | ProbeAnswered | SuspicionHinted
    | StateRequested | StateAnswered | SnapshotRequested
    | BindingsRequested | BindingsAnswered | BeatsRequested | BeatsAnswered
    | HardwareRequested | HardwareAnswered | RequestForwarded | ForwardAnswered
    | ReadIndexRequested | ReadIndexAnswered | InviteRequested | InviteAnswered
    | LogsOpened | LogChunk | LogsClosed
)  # fmt: skip
"""Any message."""

TYPES: dict[int, type] = {
    1: Hello,
    2: Heartbeat,
    3: Announcement,
    10: VoteRequested,
    11: VoteAnswered,
    12: AppendRequested,
    13: AppendAnswered,
    14: SnapshotSent,
    15: SnapshotAnswered,
    16: TimeoutNow,
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
    60: LogsOpened,
    61: LogChunk,
    62: LogsClosed,
}
"""Number of each message on the wire."""

RAFT_TYPES = frozenset(range(10, 20))
WORK_TYPES = frozenset(range(20, 30))
QUERY_TYPES = frozenset(range(30, 60))
LOGS_TYPES = frozenset(range(60, 70))


def channel_of(message_type: int) -> Channel:
    """The channel that a message of this type belongs to."""
    fixed = {1: Channel.HELLO, 2: Channel.BEAT, 3: Channel.ANNOUNCE}
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
