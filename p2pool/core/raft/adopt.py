"""Taking over what is known to be committed: how a follower replica keeps the same log as voters.

Intuition: a peer that is no voter fetches committed entries from others (`follower.replica`) and
keeps them in the same log that a voter keeps. When the leader makes it a learner one day, it goes
on from there; when it is removed from the committee, it goes on the other way.

Invariants: never done by a voter or learner, who take entries from the leader alone; what was
committed here is never cut; an entry that leaves a gap is not taken.
Source: docs/design/consensus.md, "Follower replicas".
"""

from p2pool.codec.entries import decode_snapshot
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.state import RaftState
from p2pool.model.errors import Malformed
from p2pool.model.log.raft import Entry
from p2pool.model.states import RaftRole


def adopt_entries(s: RaftState, entries: tuple[Entry, ...]) -> None:
    """Take committed entries that follow on what is held; what does not is left."""
    assert s.role is RaftRole.IDLE, "a participant takes entries from its leader"
    for entry in entries:
        if entry.index <= s.commit_index:
            continue
        if entry.index > s.log.last_index + 1:
            return
        held = s.log.term_at(entry.index)
        if held != entry.term:
            if held is not None:
                s.cut_from(entry.index)
            if entry.term < s.log.last_term:
                return
            s.append((entry,))
        s.commit_to(entry.index)
    s.role = s.resting_role()


def adopt_snapshot(s: RaftState, data: bytes) -> None:
    """Let a committed snapshot take the place of a log that ends before it; any other is left."""
    assert s.role is RaftRole.IDLE, "a participant takes snapshots from its leader"
    try:
        snapshot = decode_snapshot(data)
    except Malformed:
        return
    if snapshot.log_id == s.log_id and snapshot.index > s.commit_index:
        snapshots.put_in_place(s, snapshot, data)


def recommit(s: RaftState, index: int) -> None:
    """After a restart: what was known to be committed before it, as far as it is still held."""
    s.commit_to(min(index, s.log.last_index))
