"""Figure 2 of the Raft paper, rule by rule: each test quotes the rule that it holds us to.

One participant of three (or five) is given frames by hand. Where this program does more than the
figure (PreVote, stickiness, fast back-up), the docstring says what that changes.
"""

import pytest

from p2pool.core.raft.raft import Frame
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import HardState
from p2pool.model.messages.raft import AppendAnswered
from p2pool.model.ports.store import AppendEntries, SaveHardState, TruncateFrom
from p2pool.model.states import RaftRole
from tests.raft.harness.cluster import LOG_ID
from tests.raft.harness.figure2 import (
    ME,
    TIMING,
    A,
    B,
    append,
    appended,
    ask,
    at,
    elected,
    entry,
    give,
    made,
    requests,
    voted,
)

# --- AppendEntries, receiver --------------------------------------------------------------------


def test_append_1_old_term() -> None:
    """'1. Reply false if term < currentTerm (5.1).'"""
    raft = made(1, 2, term=3)
    out = give(raft, append(2, (2, 2), 2))
    answer = appended(out)
    assert (answer.ok, answer.term) == (False, 3)
    assert (raft.state.log.last_index, raft.state.leader, out.persist) == (2, None, [])


@pytest.mark.parametrize(("after", "conflict"), [((3, 2), (3, 0)), ((2, 3), (2, 2))])
def test_append_2_no_such_entry(after: tuple[int, int], conflict: tuple[int, int]) -> None:
    """'2. Reply false if log doesn't contain an entry at prevLogIndex whose term matches
    prevLogTerm (5.3).' The answer says where to go on: where the log ends, or where the
    conflicting term begins."""
    raft = made(1, 2, term=3)
    answer = appended(give(raft, append(3, after, 3)))
    assert not answer.ok
    assert (answer.conflict_index, answer.conflict_term) == conflict
    assert raft.state.log.last_index == 2


def test_append_3_conflict() -> None:
    """'3. If an existing entry conflicts with a new one (same index but different terms), delete
    the existing entry and all that follow it (5.3).'"""
    raft = made(1, 2, 2, 2, term=3)
    out = give(raft, append(3, (1, 1), 3))
    assert [e.term for e in raft.state.log.entries] == [1, 3]
    assert out.persist == [TruncateFrom(2), AppendEntries((entry(2, 3),))]


def test_append_4_new_entries() -> None:
    """'4. Append any new entries not already in the log.' Those that are there are not written
    again, and what lies behind them stays."""
    raft = made(1, 2, 2, term=3)
    out = give(raft, append(3, (1, 1), 2))
    assert (out.persist, raft.state.log.last_index) == ([], 3)
    out = give(raft, append(3, (1, 1), 2, 2, 3))
    assert out.persist == [AppendEntries((entry(4, 3),))]
    assert appended(out).match_index == 4


@pytest.mark.parametrize(("commit", "wanted"), [(1, 1), (2, 2), (9, 2)])
def test_append_5_commit(commit: int, wanted: int) -> None:
    """'5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new
    entry).' What the log holds beyond the frame may be another leader's."""
    raft = made(1, 2, 2, term=3)
    give(raft, append(3, (1, 1), 2, commit=commit))
    assert raft.state.commit_index == wanted
    give(raft, append(3, (1, 1), 2, commit=0))
    assert raft.state.commit_index == wanted


# --- RequestVote, receiver ----------------------------------------------------------------------


def test_vote_1_old_term() -> None:
    """'1. Reply false if term < currentTerm (5.1).'"""
    raft = made(1, term=3)
    answer = voted(give(raft, ask(2, (9, 2))))
    assert (answer.granted, answer.term) == (False, 3)
    assert raft.state.hard == HardState(3)


@pytest.mark.parametrize(
    ("last", "good"),
    [((2, 2), True), ((1, 3), True), ((9, 2), True), ((1, 2), False), ((9, 1), False)],
)
def test_vote_2_up_to_date(last: tuple[int, int], good: bool) -> None:
    """'2. If votedFor is null or candidateId, and candidate's log is at least as up-to-date as
    receiver's log, grant vote (5.2, 5.4).' The later last term wins, then the longer log."""
    raft = made(1, 2, term=3)
    out = give(raft, ask(4, last))
    assert voted(out).granted is good
    assert raft.state.hard == HardState(4, A.store_id if good else None)
    assert any(isinstance(op, SaveHardState) for op in out.persist)


@pytest.mark.parametrize(
    ("before", "good"), [(None, True), (A.store_id, True), (B.store_id, False)]
)
def test_vote_2_once_in_a_term(before: StoreId | None, good: bool) -> None:
    """'If votedFor is null or candidateId': a vote may be told again, and is never changed."""
    raft = made(1, term=3, voted_for=before)
    answer = voted(give(raft, ask(3, (1, 1))))
    assert answer.granted is good
    assert raft.state.hard.voted_for == (before or A.store_id)


# --- Rules for all servers ----------------------------------------------------------------------


def test_all_1_apply_in_order() -> None:
    """'If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied].' Each entry is
    handed out once, in order."""
    raft = made(1, 1, 1, 1, term=1)
    first = give(raft, append(1, (4, 1), commit=2)).committed
    second = give(raft, append(1, (4, 1), commit=4)).committed
    assert [e.index for e in (*first, *second)] == [1, 2, 3, 4]
    assert give(raft, append(1, (4, 1), commit=4)).committed == []


def test_all_2_higher_term_in_a_request() -> None:
    """'If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to
    follower (5.1).' A request of an append, to a leader, by one who shows that it was elected."""
    raft, _ = elected(1, term=1)
    out = give(raft, append(7, (1, 1)), proven=True)
    assert (raft.state.role, raft.state.hard.term) == (RaftRole.FOLLOWER, 7)
    assert raft.state.leader == A
    assert any(isinstance(op, SaveHardState) for op in out.persist)


def test_all_2_higher_term_in_an_answer() -> None:
    """The same, for the answer to an append."""
    raft, _ = elected(1, term=1)
    give(raft, AppendAnswered(LOG_ID, 7, ME, A, 1, False, 0, 0, 0))
    assert (raft.state.role, raft.state.hard.term) == (RaftRole.FOLLOWER, 7)


def test_all_2_higher_term_in_a_vote_request() -> None:
    """The same, for a candidate's request, where no leader is heard. Who leads, or hears a leader,
    answers no and keeps its term (thesis, 4.2.3)."""
    raft = made(1, term=1)
    give(raft, ask(7, (0, 0)))
    assert raft.state.hard.term == 7
    leader, _ = elected(1, term=1)
    assert not voted(give(leader, ask(7, (9, 6)))).granted
    assert (leader.state.leads, leader.state.hard.term) == (True, 2)
    follower = made(1, term=1)
    give(follower, append(1, (1, 1)), 5_000)
    assert not voted(give(follower, ask(7, (9, 6)), 5_999)).granted
    assert follower.state.hard.term == 1
    assert voted(give(follower, ask(7, (9, 6)), 6_000)).granted


# --- Followers ----------------------------------------------------------------------------------


def test_followers_1_respond() -> None:
    """'Respond to RPCs from candidates and leaders.' Each request has exactly one answer."""
    raft = made(1, term=1)
    assert len(give(raft, append(1, (1, 1))).send) == 1
    assert len(give(raft, ask(2, (1, 1))).send) == 1


def test_followers_2_election_timeout() -> None:
    """'If election timeout elapses without receiving AppendEntries RPC from current leader or
    granting vote to candidate: convert to candidate.' It asks first whether it could win."""
    raft = made(1, term=1)
    due = raft.next_wakeup_ms
    assert due is not None
    assert TIMING.election_timeout_min_ms <= due < TIMING.election_timeout_max_ms
    assert raft.tick(at(due - 1)).send == []
    assert [m.pre for m in requests(raft.tick(at(due)))] == [True, True]
    assert raft.state.role is RaftRole.PRE_CANDIDATE


@pytest.mark.parametrize("frame", [append(1, (1, 1)), ask(2, (1, 1))], ids=["append", "vote"])
def test_followers_2_patience_begins_anew(frame: Frame) -> None:
    """An append of its leader, or a vote that it gave, begins the timeout anew."""
    raft = made(1, term=1)
    give(raft, frame, 900)
    due = raft.next_wakeup_ms
    assert due is not None
    assert due >= 900 + TIMING.election_timeout_min_ms


def test_followers_2_a_refused_vote_does_not() -> None:
    """Only a vote that was granted."""
    raft = made(1, 2, term=2)
    before = raft.next_wakeup_ms
    assert not voted(give(raft, ask(2, (1, 1)), 900)).granted
    assert raft.next_wakeup_ms == before
