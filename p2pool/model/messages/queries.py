"""Questions and answers between any two agents, correlated by `request`.

The asker sets a deadline for each; an answer without a question is dropped, whatever its kind: who
was asked, for what, by which number, and until when is kept in `core.knowledge.awaited_answers`.
Source: docs/design/messages.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.features import DISTRUST_LEVEL, since
from p2pool.model.field_bounds import (
    Addresses,
    Index,
    SealedHeartbeat,
    SealedSignatures,
    bounded,
)
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId, TaskId
from p2pool.model.log.raft import Entries, LogEnd, SnapshotChunk
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.registry import Channel, Message, Senders, message
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.states import ChainStanding


@message(30, Channel.QUERY, senders=Senders.GUESTS)
@attrs.frozen
class Ping(Message):
    """A probe through the core."""

    request: int


@message(31, Channel.QUERY, senders=Senders.GUESTS, answers=(Ping,))
@attrs.frozen
class Pong(Message):
    """Answer to a probe. `busy`: the answering loop lags, so silence elsewhere proves nothing."""

    request: int
    busy: bool


@message(32, Channel.QUERY)
@attrs.frozen
class ProbeRequested(Message):
    """The leader asks a witness to probe a node."""

    request: int
    node_id: NodeId


@message(33, Channel.QUERY, answers=(ProbeRequested,))
@attrs.frozen
class ProbeAnswered(Message):
    """The witness's result: reachable, or not; `known` is False if it has no connection."""

    request: int
    node_id: NodeId
    reachable: bool
    known: bool


@message(34, Channel.QUERY, purpose="SuspicionHinted")
@attrs.frozen
class SuspicionReported(Message):
    """A peer that missed probes tells the leader; a hint, never a verdict."""

    node_id: NodeId
    reason: str


@message(35, Channel.QUERY)
@attrs.frozen
class StateRequested(Message):
    """A follower replica asks for committed entries after `from_index`."""

    request: int
    log_id: Digest
    from_index: Index


@message(37, Channel.QUERY)
@attrs.frozen
class SnapshotRequested(Message):
    """Asks for the next chunk of the snapshot that a StateAnswered began."""

    request: int
    log_id: Digest
    offset: int


@message(36, Channel.QUERY, answers=(StateRequested, SnapshotRequested))
@attrs.frozen
class StateAnswered(Message):
    """Committed entries after `from_index`, or a chunk of a snapshot if they are compacted.
    `certificate`, with the last one: a quorum's signatures over the digest of the state in it."""

    request: int
    log_id: Digest
    commit_index: Index
    entries: Entries
    snapshot_total_bytes: int
    snapshot_offset: int
    snapshot: SnapshotChunk
    certificate: SealedSignatures = since(DISTRUST_LEVEL, default=())


@message(38, Channel.QUERY, senders=Senders.GUESTS)
@attrs.frozen
class BindingsRequested(Message):
    """Asks for the bindings of these peer keys and nodes, those of the nodes first, and besides for
    others up to a bound, unless only keys are named. The nodes: members that the asker found on the
    chain, and does not know how to reach."""

    request: int
    peer_keys: Annotated[tuple[PeerKey, ...], bounded(items=limits.PEER_LIST_MAX)]
    node_ids: Annotated[tuple[NodeId, ...], bounded(items=limits.PEER_LIST_MAX)] = since(
        DISTRUST_LEVEL, default=()
    )


@attrs.frozen
class PeerKnown:
    """A peer as another knows it: its binding and the addresses it was seen at."""

    binding: PeerBinding
    addresses: Addresses


@message(39, Channel.QUERY, senders=Senders.GUESTS, answers=(BindingsRequested,))
@attrs.frozen
class BindingsAnswered(Message):
    """Known bindings with addresses: this is also how peers are exchanged."""

    request: int
    peers: Annotated[tuple[PeerKnown, ...], bounded(items=limits.PEER_LIST_MAX)]


@message(40, Channel.QUERY, purpose="BeatsRequested")
@attrs.frozen
class HeartbeatsRequested(Message):
    """A newcomer asks a peer for the latest heartbeat of each member, and for hardware records
    (digest -> record) that it lacks."""

    request: int


@message(41, Channel.QUERY, purpose="BeatsAnswered", answers=(HeartbeatsRequested,))
@attrs.frozen
class HeartbeatsAnswered(Message):
    """Sealed heartbeats, as received; each carries its own proof."""

    request: int
    sealed: Annotated[tuple[SealedHeartbeat, ...], bounded(items=limits.BEATS_PER_ANSWER_MAX)]


@message(42, Channel.QUERY)
@attrs.frozen
class HardwareRequested(Message):
    """Asks a node for the hardware record behind the digest in its heartbeat."""

    request: int


@message(43, Channel.QUERY, answers=(HardwareRequested,))
@attrs.frozen
class HardwareAnswered(Message):
    """The record."""

    request: int
    hardware: Hardware


@message(44, Channel.QUERY)
@attrs.frozen
class RequestForwarded(Message):
    """A signed request passed on to the leader; the inner signature alone gives rights."""

    request: int
    signed: SignedRequest
    via: NodeId


@message(45, Channel.QUERY, answers=(RequestForwarded,))
@attrs.frozen
class ForwardAnswered(Message):
    """The result of a forwarded request: `code` empty if accepted, else a code of
    `model.errors`. `duplicate`: it was committed before; `replicated`: others hold it too."""

    request: int
    task_id: TaskId
    accepted_index: int
    code: str
    message: str
    hint: str
    leader: NodeId | None
    duplicate: bool = since(DISTRUST_LEVEL, default=False)
    replicated: bool = since(DISTRUST_LEVEL, default=True)


@message(46, Channel.QUERY)
@attrs.frozen
class ReadIndexRequested(Message):
    """A peer asks the leader for an index at which a read is consistent."""

    request: int


@message(47, Channel.QUERY, answers=(ReadIndexRequested,))
@attrs.frozen
class ReadIndexAnswered(Message):
    """The index, or -1 with the leader that this node knows."""

    request: int
    index: int
    leader: NodeId | None


@message(48, Channel.QUERY, senders=Senders.GUESTS)
@attrs.frozen
class InviteRequested(Message):
    """An applicant asks whether an invite for it is known (/p2pool/admit)."""

    request: int
    node_id: NodeId


@message(49, Channel.QUERY, senders=Senders.GUESTS, answers=(InviteRequested,))
@attrs.frozen
class InviteAnswered(Message):
    """The invite, if there is one."""

    request: int
    invite: Invite | None


@message(52, Channel.QUERY, senders=Senders.VOTERS)
@attrs.frozen
class RemovalConfirmRequested(Message):
    """Asks a voter for its own reading of another voter, which the chain has removed.

    `block`: the finalized block at which the asker first read that.
    """

    request: int
    node_id: NodeId
    block: int


@message(53, Channel.QUERY, senders=Senders.VOTERS, answers=(RemovalConfirmRequested,))
@attrs.frozen
class RemovalConfirmed(Message):
    """Its reading: `OUT`, `IN`, or `UNKNOWN` if it has not read as far as that block."""

    request: int
    node_id: NodeId
    standing: ChainStanding
    block: int


@message(56, Channel.QUERY)
@attrs.frozen
class LogEndRequested(Message):
    """Asks which log a node holds, and its end. Sent before a recovery."""

    request: int


@message(57, Channel.QUERY, version=2, answers=(LogEndRequested,))
@attrs.frozen
class LogEndAnswered(Message):
    """The log that it holds."""

    request: int
    end: LogEnd


@message(58, Channel.QUERY)
@attrs.frozen
class StoreSeenRequested(Message):
    """A node that started asks what peers remember of its store in a log."""

    request: int
    log_id: Digest
    store_id: StoreId


@message(59, Channel.QUERY, answers=(StoreSeenRequested,))
@attrs.frozen
class StoreSeenAnswered(Message):
    """The store's furthest statement, as it sealed it: a vote, an acknowledgement, a heartbeat.
    `log_id` is the log that the answering node holds, None for none."""

    request: int
    log_id: Digest | None
    shown: Annotated[tuple[SealedHeartbeat, ...], bounded(items=limits.SEEN_SHOWN_MAX)]


@message(70, Channel.QUERY, senders=Senders.GUESTS, since=2)
@attrs.frozen
class ChainReadRequested(Message):
    """Asks a voter what it reads itself of the chain: the pool's facts, and these members.

    A node that the chain has put out asks too, so guests may.
    """

    request: int
    nodes: Annotated[tuple[NodeId, ...], bounded(items=limits.CHAIN_FACTS_MAX)]


@message(71, Channel.QUERY, senders=Senders.GUESTS, since=2, answers=(ChainReadRequested,))
@attrs.frozen
class ChainReadAnswered(Message):
    """A digest of each fact as its own endpoints state it, at the blocks that it has read; block 0
    if it has read none since its start. It counts from a voter of the log that the asker holds.

    `final_epoch_max`: the highest epoch of a root record that it has read in a final block.
    """

    request: int
    latest_block: int
    final_block: int
    final_hash: Digest
    final_epoch_max: int
    root: Digest
    rulers: Digest
    status: Digest
    members: Annotated[tuple[Digest, ...], bounded(items=limits.CHAIN_FACTS_MAX)]


@message(72, Channel.QUERY, since=DISTRUST_LEVEL)
@attrs.frozen
class DuplicateShown(Message):
    """Shows an agent, unasked, that another run speaks with its keys: messages of that run, as it
    sealed them. Each carries its own proof. Below level 2 a StoreSeenAnswered of number 0."""

    shown: Annotated[tuple[SealedHeartbeat, ...], bounded(items=limits.SEEN_SHOWN_MAX)]
