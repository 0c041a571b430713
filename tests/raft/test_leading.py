"""What a leader is asked for: reads, handing leadership on, learners and votes kept as proof."""

import pytest

from p2pool.core.raft import confchange
from p2pool.model import limits
from p2pool.model.errors import Conflict, Overloaded
from p2pool.model.log.raft import Configuration, EntryKind
from p2pool.model.messages.raft import AppendAnswered, AppendRequested, TimeoutNow, VoteRequested
from p2pool.model.ports.store import SaveHardState
from p2pool.model.states import RaftRole
from tests.raft.harness.cluster import voter
from tests.raft.harness.elected import led

# --- reads --------------------------------------------------------------------------------------


def test_a_read_waits_for_a_round_of_a_majority() -> None:
    """ReadIndex (thesis, 6.4): answers to frames from before it do not count."""
    cluster, leader, raft = led()
    other = cluster.voters[(leader + 1) % 3]
    before = raft.state.round
    out = raft.read(7, cluster.now())
    assert (out.readable, out.unreadable) == ([], [])
    asked = [m for _, m in out.send if isinstance(m, AppendRequested)]
    assert len(asked) == 2

    def answer(number: int) -> list[tuple[int, int]]:
        s = raft.state
        frame = AppendAnswered(
            s.log_id, s.hard.term, s.me, other, number, True, s.log.last_index, 0, 0
        )
        return raft.receive(frame, other.peer_key, cluster.now()).readable

    assert answer(before) == []
    assert answer(before + 99) == []
    assert answer(asked[1].round) == [(7, raft.state.commit_index)]


def test_many_reads_share_their_rounds() -> None:
    """A hundred cost two rounds, not a hundred."""
    cluster, leader, raft = led()
    before = raft.state.round
    for _ in range(100):
        cluster.read(leader)
    cluster.run(100)
    assert cluster.checks.reads_answered == 100
    assert raft.state.round - before <= 2 * 2 + 2


def test_a_single_voter_reads_at_once() -> None:
    """It is its own majority."""
    cluster, _, raft = led(size=1)
    assert raft.read(1, cluster.now()).readable == [(1, raft.state.commit_index)]


def test_a_new_leader_answers_no_read_before_its_own_entry_is_committed() -> None:
    """Section 8: until then it does not know what is committed."""
    cluster, leader, raft = led()
    others = [i for i in range(3) if i != leader]
    cluster.transfer(others[0])
    new = cluster.rafts[others[0]]
    assert new is not None
    while not new.state.leads:
        cluster.run(1)
    cluster.cut = {(i, others[0]) for i in range(3)}
    assert new.state.log.term_at(new.state.commit_index) != new.state.hard.term
    cluster.read(others[0])
    cluster.run(500)
    assert cluster.checks.reads_answered == 0
    cluster.cut = set()
    cluster.run(500)
    assert cluster.checks.reads_answered == 1
    assert not raft.state.leads


def test_reads_are_dropped_and_told_by_a_leader_that_steps_down() -> None:
    """CheckQuorum ends them; who asked hears of it."""
    cluster, leader, _ = led()
    cluster.cut = {(i, leader) for i in range(3)}
    cluster.read(leader)
    cluster.run(5_000)
    assert (cluster.checks.reads_answered, cluster.checks.reads_dropped) == (0, 1)


def test_a_follower_and_a_full_queue_refuse_reads() -> None:
    """Told at once."""
    cluster, leader, raft = led()
    follower = cluster.rafts[(leader + 1) % 3]
    assert follower is not None
    assert follower.read(1, cluster.now()).unreadable == [1]
    for number in range(limits.READS_PENDING_MAX):
        raft.read(number, cluster.now())
    assert raft.read(5_000, cluster.now()).unreadable == [5_000]


# --- transfer -----------------------------------------------------------------------------------


def test_leadership_is_handed_on_within_a_few_round_trips() -> None:
    """Thesis, 3.10: no election timeout passes, though the others hear their leader."""
    cluster, leader, raft = led(size=5)
    to = (leader + 1) % 5
    assert cluster.transfer(to)
    cluster.run(100)
    assert cluster.leader() == to
    assert not raft.state.leads


def test_nothing_is_proposed_or_changed_while_leadership_is_handed_on() -> None:
    """And no second transfer begins; when it is given up, the leader goes on."""
    cluster, leader, raft = led()
    to = (leader + 1) % 3
    cluster.crash(to)
    cluster.transfer(to)
    with pytest.raises(Overloaded, match="under way"):
        raft.propose(EntryKind.NODE, b"x", cluster.now())
    with pytest.raises(Conflict, match="under way"):
        raft.change(Configuration(tuple(cluster.voters[:2])), cluster.now())
    with pytest.raises(Conflict, match="under way"):
        raft.transfer(cluster.voters[(leader + 2) % 3], cluster.now())
    cluster.run(raft.state.timing.election_timeout_max_ms + 10)
    assert cluster.leader() == leader
    assert cluster.propose(b"x")


def test_a_lost_word_to_campaign_is_said_again() -> None:
    """One frame may be lost; the next interval repeats it."""
    cluster, leader, _ = led()
    to = (leader + 1) % 3
    cluster.cut = {(leader, to)}
    cluster.transfer(to)
    cluster.cut = set()
    cluster.run(500)
    assert cluster.leader() == to


def test_one_that_is_behind_is_brought_up_first() -> None:
    """TimeoutNow goes out only when the voter holds the whole log."""
    cluster, leader, raft = led()
    to = cluster.voters[(leader + 1) % 3]
    out, _ = raft.propose(EntryKind.NODE, b"x", cluster.now())
    told = raft.transfer(to, cluster.now())
    assert not [m for _, m in (*out.send, *told.send) if isinstance(m, TimeoutNow)]
    cluster.do(leader, out)
    cluster.run(100)
    assert cluster.leader() == cluster.voters.index(to)


def test_the_transferee_says_that_the_leader_asked_for_it() -> None:
    """No PreVote, and its requests pass the others' stickiness (thesis, 4.2.3)."""
    cluster, leader, raft = led()
    to = cluster.rafts[(leader + 1) % 3]
    assert to is not None
    s = raft.state
    word = TimeoutNow(s.log_id, s.hard.term, s.me, to.state.me)
    out = to.receive(word, s.me.peer_key, cluster.now())
    asked = [m for _, m in out.send if isinstance(m, VoteRequested)]
    assert [(m.pre, m.transfer, m.term) for m in asked] == [(False, True, s.hard.term + 1)] * 2
    assert isinstance(out.persist[0], SaveHardState)
    stranger = voter(9)
    word = TimeoutNow(s.log_id, s.hard.term + 1, stranger, to.state.me)
    assert to.receive(word, stranger.peer_key, cluster.now()).send == []


# --- learners -----------------------------------------------------------------------------------


def test_a_learner_catches_up_and_becomes_a_voter() -> None:
    """Two changes; between them it counts nowhere."""
    cluster, _, raft = led(spares=1)
    new = cluster.voters[3]
    voters = tuple(cluster.voters[:3])
    promoted = Configuration((*voters, new))
    with pytest.raises(Conflict, match="starts as a learner"):
        raft.change(promoted, cluster.now())
    for _ in range(limits.LEARNER_CAUGHT_UP_ENTRIES + 5):
        cluster.propose(b"x")
        cluster.run(20)
    cluster.crash(3)
    assert cluster.change(Configuration(voters, (new,)))
    cluster.run(500)
    assert not confchange.caught_up(raft.state, new)
    with pytest.raises(Conflict, match="not caught up"):
        raft.change(promoted, cluster.now())
    cluster.start(3)
    cluster.run(500)
    assert confchange.caught_up(raft.state, new)
    seen = {f.voter: f for f in raft.followers()}[new]
    assert (seen.caught_up, seen.installing) == (True, False)
    assert seen.match_index == raft.state.log.last_index
    assert seen.heard_ms is not None
    learner = cluster.rafts[3]
    assert learner is not None
    assert not learner.state.campaigns
    assert cluster.change(promoted)
    cluster.run(500)
    assert learner.state.role is RaftRole.FOLLOWER


def test_a_leader_that_is_removed_leads_until_that_is_committed() -> None:
    """Thesis, 4.2.2: then it rests, and the others elect one of themselves."""
    cluster, leader, raft = led(size=4)
    rest = tuple(v for i, v in enumerate(cluster.voters) if i != leader)
    assert cluster.change(Configuration(rest))
    assert raft.state.leads
    cluster.run(5_000)
    assert raft.state.role is RaftRole.IDLE
    assert cluster.leader() not in (None, leader)


def test_a_store_is_in_the_committee_once() -> None:
    """A cloned disk would be counted twice."""
    cluster, _, raft = led()
    clone = type(voter(9))(voter(9).node_id, voter(9).peer_key, voter(0).store_id)
    with pytest.raises(Conflict, match="store"):
        raft.change(Configuration(tuple(cluster.voters), (clone,)), cluster.now())


# --- votes --------------------------------------------------------------------------------------


def test_the_votes_that_made_a_leader_are_kept_in_their_envelopes() -> None:
    """With its own, a quorum of the configuration, and forgotten when it steps down."""
    cluster, leader, raft = led(size=5)
    grants = raft.state.grants
    voters = [v.store_id for v in cluster.voters if v != raft.state.me]
    assert len(grants) >= 2
    assert [store for store in grants if store not in voters] == []
    assert all(cluster.envelopes.sealed[one].message.granted for one in grants.values())  # type: ignore[attr-defined]
    cluster.transfer((leader + 1) % 5)
    cluster.run(200)
    assert raft.state.grants == {}
