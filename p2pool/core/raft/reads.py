"""Reads that are consistent without a write, and handing leadership on.

Intuition (ReadIndex): a leader that hears a majority after it was asked was still the leader when
it was asked, so all that was committed then is at or below its commit index. No clock is trusted.
Intuition (transfer): a leader that wants to rest brings one voter up to date and tells it to
campaign at once, without PreVote and past the others' stickiness.

Invariants: a read is answered only once an entry of the leader's own term is committed (8); it is
given up, and said so, when the leader steps down. A transfer has one election timeout to succeed;
while it goes on nothing is proposed. Source: Raft, section 8; thesis, 3.10 and 6.4.
"""

import attrs

from p2pool.core.raft import quorum
from p2pool.core.raft.state import PendingRead, RaftState, Transfer
from p2pool.model.errors import Conflict
from p2pool.model.frames import TimeoutNow
from p2pool.model.ids import StoreId
from p2pool.model.raft import Voter
from p2pool.model.timing import Now


def begin(s: RaftState, number: int) -> None:
    """Remember a read and the rounds that were sent before it; only later ones confirm it."""
    rounds = {store: progress.round for store, progress in s.progress.items()}
    s.reads.append(PendingRead(number, rounds))


def confirm(s: RaftState) -> None:
    """Answer the reads that a majority has confirmed, oldest first."""
    if not s.reads or s.log.term_at(s.commit_index) != s.hard.term:
        return
    while s.reads and _confirmed(s, s.reads[0]):
        s.out.readable.append((s.reads.pop(0).number, s.commit_index))


def _confirmed(s: RaftState, read: PendingRead) -> bool:
    heard: dict[StoreId, bool] = {s.me.store_id: True}
    for store, progress in s.progress.items():
        # A follower that came after the read was asked confirms it by any answer.
        if progress.answered_round > read.rounds.get(store, 0):
            heard[store] = True
    return quorum.tally(s.configuration, heard) is quorum.VoteResult.WON


def transfer(s: RaftState, to: Voter, now: Now) -> None:
    """Begin to hand leadership to a voter. Raises `Conflict` where that cannot be."""
    if to == s.me or to not in s.configuration.voters:
        raise Conflict("Leadership goes to another voter only.")
    s.transfer = Transfer(to, now.mono_ms + s.timing.election_timeout_max_ms)
    push(s)


def push(s: RaftState) -> None:
    """Tell the voter to campaign, once it holds all that we hold."""
    wanted = s.transfer
    if wanted is None or wanted.told:
        return
    progress = s.progress.get(wanted.to.store_id)
    if progress is not None and progress.match_index == s.log.last_index:
        s.tell(wanted.to, TimeoutNow(s.log_id, s.hard.term, s.me, wanted.to))
        s.transfer = attrs.evolve(wanted, told=True)


def give_up(s: RaftState, now: Now) -> None:
    """A transfer that took too long is off: this leader goes on."""
    if s.transfer is not None and now.mono_ms >= s.transfer.deadline_ms:
        s.transfer = None
