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
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.messages.raft import TimeoutNow
from p2pool.model.timing import Now


def begin(s: RaftState, number: int) -> bool:
    """Remember a read; True when nothing is on its way that other reads wait for.

    Reads that come while a round is out wait for the next one, so any number of them costs two
    rounds at most.
    """
    s.reads.append(PendingRead(number, s.round))
    return len(s.reads) == 1


def confirm(s: RaftState) -> bool:
    """Answer the reads that a majority has confirmed; True when others need a round of theirs."""
    if not s.reads or s.log.term_at(s.commit_index) != s.hard.term:
        return False
    answered = 0
    while answered < len(s.reads) and _confirmed(s, s.reads[answered]):
        s.out.readable.append((s.reads[answered].number, s.commit_index))
        answered += 1
    del s.reads[:answered]
    return answered > 0 and bool(s.reads) and s.reads[-1].after_round > s.swept_round


def _confirmed(s: RaftState, read: PendingRead) -> bool:
    heard: dict[StoreId, bool] = {s.me.store_id: True}
    for store, progress in s.progress.items():
        if progress.answered_round > read.after_round:
            heard[store] = True
    return quorum.tally(s.configuration, heard) is quorum.VoteResult.WON


def transfer(s: RaftState, to: Voter, now: Now) -> None:
    """Begin to hand leadership to a voter. Raises `Conflict` where that cannot be."""
    if to == s.me or to not in s.configuration.voters:
        raise Conflict("Leadership goes to another voter only.")
    if s.transfer is not None:
        raise Conflict("Leadership is being handed on already.", hint="Retry in a few seconds.")
    s.transfer = Transfer(to, now.mono_ms + s.timing.election_timeout_max_ms)
    push(s)


def push(s: RaftState, again: bool = False) -> None:
    """Tell the voter to campaign once it holds all that we hold; `again` if that may be lost.

    It acts on it in our term only, so it campaigns once however often it is told.
    """
    wanted = s.transfer
    if wanted is None or (wanted.told and not again):
        return
    progress = s.progress_of(wanted.to)
    if progress is not None and progress.match_index == s.log.last_index:
        s.tell(wanted.to, TimeoutNow(s.log_id, s.hard.term, s.me, wanted.to))
        s.transfer = attrs.evolve(wanted, told=True)


def give_up(s: RaftState, now: Now) -> None:
    """A transfer that took too long is off: this leader goes on."""
    if s.transfer is not None and now.mono_ms >= s.transfer.deadline_ms:
        s.transfer = None
