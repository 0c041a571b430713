"""Figure 2 of the Raft paper, rule by rule: the rules for candidates and for leaders."""

from p2pool.model.log.raft import Configuration, EntryKind, HardState
from p2pool.model.messages.raft import AppendAnswered, AppendRequested
from p2pool.model.ports.store import AppendEntries, SaveHardState
from p2pool.model.states import RaftRole
from tests.raft.harness.cluster import LOG_ID, voter
from tests.raft.harness.figure2 import (
    ME,
    TIMING,
    A,
    B,
    acknowledge,
    append,
    at,
    elected,
    give,
    granted,
    made,
    requests,
)

# --- Candidates ---------------------------------------------------------------------------------


def test_candidates_1_start_election() -> None:
    """'On conversion to candidate, start election: increment currentTerm, vote for self, reset
    election timer, send RequestVote RPCs to all other servers.'"""
    raft = made(1, 2, term=3)
    (first, _) = requests(raft.tick(at(5_000)))
    out = give(raft, granted(raft, first))
    assert raft.state.role is RaftRole.CANDIDATE
    assert out.persist == [SaveHardState(LOG_ID, HardState(4, ME.store_id))]
    asked = requests(out)
    assert [(m.voter, m.term, m.last_index, m.last_term) for m in asked] == [
        (A, 4, 2, 2),
        (B, 4, 2, 2),
    ]
    due = raft.next_wakeup_ms
    assert due is not None
    assert due >= 5_000 + TIMING.election_timeout_min_ms


def test_candidates_2_majority() -> None:
    """'If votes received from majority of servers: become leader.' Its own is one of them; two of
    five are not enough, and a voter counts once."""
    group = Configuration(tuple(voter(i) for i in range(5)))
    raft = made(1, term=1, group=group)
    pre = requests(raft.tick(at(5_000)))
    give(raft, granted(raft, pre[0]))
    asked = requests(give(raft, granted(raft, pre[1])))
    give(raft, granted(raft, asked[0]))
    give(raft, granted(raft, asked[0]))
    assert raft.state.role is RaftRole.CANDIDATE
    give(raft, granted(raft, asked[1]))
    assert raft.state.leads


def test_candidates_3_new_leader() -> None:
    """'If AppendEntries RPC received from new leader: convert to follower.'"""
    raft = made(1, term=1)
    (first, _) = requests(raft.tick(at(5_000)))
    give(raft, granted(raft, first))
    give(raft, append(2, (1, 1)))
    assert (raft.state.role, raft.state.leader) == (RaftRole.FOLLOWER, A)


def test_candidates_4_election_timeout() -> None:
    """'If election timeout elapses: start new election.'"""
    raft = made(1, term=1)
    (first, _) = requests(raft.tick(at(5_000)))
    give(raft, granted(raft, first))
    due = raft.next_wakeup_ms
    assert due is not None
    (again, _) = requests(raft.tick(at(due)))
    give(raft, granted(raft, again), due)
    assert (raft.state.role, raft.state.hard.term) == (RaftRole.CANDIDATE, 3)


# --- Leaders ------------------------------------------------------------------------------------


def test_leaders_1_authority() -> None:
    """'Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server; repeat
    during idle periods to prevent election timeouts (5.2).' The first one carries the leader's
    no-op, which commits what went before it (8)."""
    raft, out = elected(1, term=1)
    first = [m for _, m in out.send if isinstance(m, AppendRequested)]
    assert [(m.follower, [e.kind for e in m.entries]) for m in first] == [
        (A, [EntryKind.NOOP]),
        (B, [EntryKind.NOOP]),
    ]
    acknowledge(raft, 1, 2)
    acknowledge(raft, 2, 2)
    due = raft.next_wakeup_ms
    assert due == 5_000 + TIMING.append_interval_ms
    idle = [m for _, m in raft.tick(at(due)).send if isinstance(m, AppendRequested)]
    assert [(m.follower, m.entries) for m in idle] == [(A, ()), (B, ())]


def test_leaders_2_command() -> None:
    """'If command received from client: append entry to local log, respond after entry applied to
    state machine (5.3).'"""
    raft, _ = elected(1, term=1)
    out, new = raft.propose(EntryKind.NODE, b"x", at(5_001))
    assert raft.state.log.at(new.index) == new
    assert AppendEntries((new,)) in out.persist
    assert out.committed == []
    assert new in acknowledge(raft, 1, new.index).committed


def test_leaders_3_send() -> None:
    """'If last log index >= nextIndex for a follower: send AppendEntries RPC with log entries
    starting at nextIndex.'"""
    raft, _ = elected(1, term=1)
    acknowledge(raft, 1, 2)
    raft.propose(EntryKind.NODE, b"x", at(5_001))
    out, _ = raft.propose(EntryKind.NODE, b"y", at(5_001))
    (sent,) = [m for _, m in out.send if isinstance(m, AppendRequested)]
    assert (sent.follower, sent.previous_index, [e.index for e in sent.entries]) == (A, 3, [4])


def test_leaders_3_success() -> None:
    """'If successful: update nextIndex and matchIndex for follower (5.3).'"""
    raft, _ = elected(1, term=1)
    acknowledge(raft, 1, 2)
    progress = raft.state.progress[A.store_id]
    assert (progress.match_index, progress.next_index) == (2, 3)
    acknowledge(raft, 1, 1)
    assert progress.match_index == 2


def test_leaders_3_inconsistency() -> None:
    """'If AppendEntries fails because of log inconsistency: decrement nextIndex and retry (5.3).'
    By as much as the refusal allows, not one at a time."""
    raft, _ = elected(1, 1, 3, 3, term=3)
    s = raft.state
    refusal = AppendAnswered(LOG_ID, 4, ME, A, s.round, False, 0, 3, 2)
    (sent,) = [m for _, m in give(raft, refusal).send if isinstance(m, AppendRequested)]
    assert (sent.previous_index, sent.previous_term, sent.entries[0].index) == (2, 1, 3)


def test_leaders_4_commit() -> None:
    """'If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and
    log[N].term == currentTerm: set commitIndex = N (5.3, 5.4).' A majority that ends in an entry of
    an old term commits nothing."""
    group = Configuration(tuple(voter(i) for i in range(5)))
    raft, _ = elected(1, 2, term=2, group=group)
    for who in (1, 2):
        acknowledge(raft, who, 2)
    assert raft.state.commit_index == 0
    acknowledge(raft, 1, 3)
    assert raft.state.commit_index == 0
    acknowledge(raft, 2, 3)
    assert raft.state.commit_index == 3
