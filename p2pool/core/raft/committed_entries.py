"""Adopting committed entries: how a follower replica keeps the same log as the voters.

Intuition: a node without a seat fetches committed entries from its peers (`follower.replica`) and
appends them to the same log that a voter keeps. If the leader makes it a learner one day, it goes
on from there; a voter that leaves the committee goes on the other way.

Invariants: a voter or learner never adopts, it accepts entries from the leader alone; nothing
committed here is ever cut, and what is held beyond counts for nothing against what is adopted; an
entry that would leave a gap is ignored; the term is never below that
of an entry.
Source: docs/design/consensus.md, "Follower replicas".
"""

from p2pool.codec.entries import decode_snapshot
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.state import RaftState
from p2pool.model.errors import Malformed
from p2pool.model.log.raft import Entry
from p2pool.model.states import RaftRole


def adopt_entries(s: RaftState, entries: tuple[Entry, ...]) -> None:
    """Append committed entries that extend the log; ignore the rest."""
    assert s.role is RaftRole.IDLE, "a participant accepts entries from its leader"
    for entry in entries:
        if entry.index <= s.commit_index:
            continue
        if entry.index > s.log.last_index + 1:
            return
        held = s.log.at(entry.index) if entry.index <= s.log.last_index else None
        # By what it holds, not by its term: a leader may have given us another one.
        if held != entry:
            if held is not None:
                s.cut_from(entry.index)
            if entry.term < s.log.last_term:
                return
            _reach(s, entry.term)
            s.append((entry,))
        s.commit_to(entry.index)
    s.role = s.resting_role()


def adopt_snapshot(s: RaftState, data: bytes) -> None:
    """Replace a log that ends before a committed snapshot by it; ignore any other snapshot."""
    assert s.role is RaftRole.IDLE, "a participant accepts snapshots from its leader"
    try:
        snapshot = decode_snapshot(data)
    except Malformed:
        return
    if snapshot.log_id == s.log_id and snapshot.index > s.commit_index:
        _reach(s, snapshot.term)
        snapshots.put_in_place(s, snapshot, data)


def _reach(s: RaftState, term: int) -> None:
    """Never be in an earlier term than our own log: a candidate from there would ask for votes in a
    term that its voters have left, and as a leader append entries whose terms fall."""
    if term > s.hard.term:
        s.save_hard(term, None)


def recommit(s: RaftState, index: int) -> None:
    """After a restart: commit what was committed before it, as far as the log still reaches."""
    s.commit_to(min(index, s.log.last_index))
    s.role = s.resting_role()
