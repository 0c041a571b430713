"""Raft's frames: each names the log, the term and both participants.

Frames with other participants than these are ignored, so a replaced disk is never taken for the old
voter. Source: Raft, figures 2 and 13; thesis, 3.10, 4.2 and 9.6.
"""

import attrs

from p2pool.model.ids import Digest
from p2pool.model.log.raft import Entries, SnapshotChunk, Voter
from p2pool.model.messages.registry import Channel, Message, message


@message(10, Channel.RAFT)
@attrs.frozen
class VoteRequested(Message):
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


@message(11, Channel.RAFT)
@attrs.frozen
class VoteAnswered(Message):
    """Answer to VoteRequested. Granted ones are the signed votes that certificates contain."""

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


@message(12, Channel.RAFT)
@attrs.frozen
class AppendRequested(Message):
    """AppendEntries; empty `entries` keep the leader's authority alive. `round` grows with each
    append of a leader in a term, and comes back in the answer (ReadIndex)."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    previous_index: int
    previous_term: int
    commit_index: int
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
    term: int
    leader: Voter
    follower: Voter
    round: int
    ok: bool
    match_index: int
    conflict_index: int
    conflict_term: int


@message(14, Channel.RAFT)
@attrs.frozen
class SnapshotSent(Message):
    """A chunk of an encoded snapshot; `last_index`, `last_term` name the snapshot."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    last_index: int
    last_term: int
    offset: int
    total_bytes: int
    data: SnapshotChunk


@message(15, Channel.RAFT)
@attrs.frozen
class SnapshotAnswered(Message):
    """Answer: how many bytes have arrived; equal to the total once it is installed."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
    last_index: int
    received_bytes: int


@message(16, Channel.RAFT)
@attrs.frozen
class TimeoutNow(Message):
    """The leader asks a caught-up voter to campaign at once (thesis, 3.10)."""

    log_id: Digest
    term: int
    leader: Voter
    follower: Voter
