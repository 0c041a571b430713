"""Raft's frames: each names the log, the term and both participants.

Frames with other participants than these are ignored, so a replaced disk is never taken for the old
voter. Source: Raft, figures 2 and 13; thesis, 3.10, 4.2 and 9.6.
"""

import attrs

from p2pool.model.features import DISTRUST_LEVEL, since
from p2pool.model.field_bounds import Index, SealedSignatures, Term
from p2pool.model.ids import Digest
from p2pool.model.log.raft import Entries, SnapshotChunk, Voter
from p2pool.model.messages.registry import Channel, Message, message


@message(10, Channel.RAFT)
@attrs.frozen
class VoteRequested(Message):
    """RequestVote, or PreVote when `pre` (thesis, 9.6). `transfer`: it campaigns over a leader.

    `shown`: what speaks for the candidate, sealed: the votes of this kind that it has so far, for a
    voter that does not know it; the leader's TimeoutNow, for a voter that hears that leader.
    """

    log_id: Digest
    term: Term
    candidate: Voter
    voter: Voter
    last_index: Index
    last_term: Term
    configuration_hash: Digest
    pre: bool
    transfer: bool
    shown: SealedSignatures = since(DISTRUST_LEVEL, default=())


@message(11, Channel.RAFT)
@attrs.frozen
class VoteAnswered(Message):
    """Answer to VoteRequested. Granted ones are the signed votes that certificates contain."""

    log_id: Digest
    term: Term
    candidate: Voter
    voter: Voter
    last_index: Index
    last_term: Term
    configuration_hash: Digest
    pre: bool
    granted: bool
    reason: str


@message(12, Channel.RAFT)
@attrs.frozen
class AppendRequested(Message):
    """AppendEntries; empty `entries` keep the leader's authority alive. `round` grows with each
    append of a leader in a term, and comes back in the answer (ReadIndex)."""

    log_id: Digest
    term: Term
    leader: Voter
    follower: Voter
    previous_index: Index
    previous_term: Term
    commit_index: Index
    round: int
    entries: Entries


@message(13, Channel.RAFT)
@attrs.frozen
class AppendAnswered(Message):
    """Answer: `match_index` if ok; otherwise where to continue (fast back-up on conflict).

    A refusal with a `match_index` is none of the log, which agrees up to there: the entry at
    `conflict_index` is dated ahead of the follower's clock.
    """

    log_id: Digest
    term: Term
    leader: Voter
    follower: Voter
    round: int
    ok: bool
    match_index: Index
    conflict_index: Index
    conflict_term: Term


@message(14, Channel.RAFT)
@attrs.frozen
class SnapshotSent(Message):
    """A chunk of an encoded snapshot; `last_index`, `last_term` name the snapshot. `certificate`,
    with the last one: a quorum's signatures over the digest of the state at that index."""

    log_id: Digest
    term: Term
    leader: Voter
    follower: Voter
    last_index: Index
    last_term: Term
    offset: int
    total_bytes: int
    data: SnapshotChunk
    certificate: SealedSignatures = since(DISTRUST_LEVEL, default=())


@message(15, Channel.RAFT)
@attrs.frozen
class SnapshotAnswered(Message):
    """Answer: how many bytes have arrived; equal to the total once it is installed."""

    log_id: Digest
    term: Term
    leader: Voter
    follower: Voter
    last_index: Index
    received_bytes: int


@message(16, Channel.RAFT)
@attrs.frozen
class TimeoutNow(Message):
    """The leader asks a caught-up voter to campaign at once (thesis, 3.10)."""

    log_id: Digest
    term: Term
    leader: Voter
    follower: Voter
