"""Questions and answers between any two agents, correlated by `request`.

The asker keeps a deadline for each; an answer to nothing that was asked is dropped.
Source: design, sections 5 and 8.
"""

import attrs

from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId, TaskId
from p2pool.model.log.raft import Entry, LogEnd
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.gossip import PeerBinding
from p2pool.model.states import ChainStanding


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


@attrs.frozen
class RemovalConfirmRequested:
    """Asks a voter what it read itself of another one, which is to go because the chain says so.

    `block`: the finalized block at which the asker first read that.
    """

    request: int
    node_id: NodeId
    block: int


@attrs.frozen
class RemovalConfirmed:
    """What it read: `OUT`, `IN`, or `UNKNOWN` where it has not read as far as that block."""

    request: int
    node_id: NodeId
    standing: ChainStanding
    block: int


@attrs.frozen
class LogEndRequested:
    """Which log does a node hold, and how far? Asked before a recovery."""

    request: int


@attrs.frozen
class LogEndAnswered:
    """The log that it holds."""

    request: int
    end: LogEnd


@attrs.frozen
class StoreSeenRequested:
    """A node that started asks what is remembered of its store in a log."""

    request: int
    log_id: Digest
    store_id: StoreId


@attrs.frozen
class StoreSeenAnswered:
    """What the store said when it was furthest, as it sealed it: a vote, an acknowledgement, a
    heartbeat. `log_id` is of the log that the answering node holds, None for none."""

    request: int
    log_id: Digest | None
    shown: tuple[bytes, ...]
