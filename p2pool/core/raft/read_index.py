"""ReadIndex: reads that are consistent without a write.

Intuition: a leader that hears from a majority after a read began was still the leader when it
began, so everything committed by then is at or below its commit index. No clock is trusted.

Invariants: the leader answers a read only once an entry of its own term is committed (8); when it
steps down, it reports its open reads as failed. Source: Raft, section 8; thesis, 6.4.
"""

from p2pool.core.raft.state import PendingRead, RaftState
from p2pool.model.ids import StoreId


def begin(s: RaftState, number: int) -> bool:
    """Remember a read; True if no round is out that other reads wait for.

    Reads that come while a round is out wait for the next one, so any number of them costs at most
    two rounds.
    """
    s.reads.append(PendingRead(number, s.round))
    return len(s.reads) == 1


def confirm(s: RaftState) -> bool:
    """Answer the reads that a majority has confirmed; True if others need another round."""
    if not s.reads or s.log.term_at(s.commit_index) != s.hard.term:
        return False
    answered = 0
    while answered < len(s.reads) and _confirmed(s, s.reads[answered]):
        s.out.readable.append((s.reads[answered].number, s.commit_index))
        answered += 1
    del s.reads[:answered]
    return answered > 0 and bool(s.reads) and s.reads[-1].after_round > s.last_read_round


def _confirmed(s: RaftState, read: PendingRead) -> bool:
    heard: list[StoreId] = [s.me.store_id]
    heard += [store for store, p in s.progress.items() if p.answered_round > read.after_round]
    return s.configuration.has_quorum(heard)
