"""Who is removed from the committee learns of it, and who is promoted unawares can vote."""

from p2pool.codec.digests import configuration_hash
from p2pool.core.raft import election
from p2pool.core.raft.election import REMOVED
from p2pool.model.log.raft import Configuration, EntryKind, Voter
from p2pool.model.messages.raft import AppendAnswered, VoteAnswered, VoteRequested
from p2pool.model.states import RaftRole
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.raft.harness.cluster import LOG_ID, Cluster, voter
from tests.raft.harness.elected import led, raft_of
from tests.raft.harness.figure2 import ME, THREE, at, elected, give


def without(cluster: Cluster, *gone: int) -> Configuration:
    return Configuration(tuple(v for i, v in enumerate(cluster.voters) if i not in gone))


def test_a_removed_follower_is_told_so() -> None:
    """It gets the entry that removes it and that it is committed, and rests."""
    cluster, leader, raft = led(size=4)
    gone = (leader + 1) % 4
    assert cluster.change(without(cluster, gone))
    cluster.run(200)
    s = raft_of(cluster, gone).state
    assert (s.role, s.commit_index) == (RaftRole.IDLE, raft.state.commit_index)
    assert raft_of(cluster, gone).next_wakeup_ms is None
    assert (raft.state.leaving, len(raft.state.progress)) == ([], 2)


def test_one_that_cannot_be_told_is_let_go_after_a_while() -> None:
    """A leader does not speak for ever to one that is gone."""
    cluster, leader, raft = led(size=4)
    gone = (leader + 1) % 4
    cluster.crash(gone)
    assert cluster.change(without(cluster, gone))
    cluster.run(200)
    assert [one.voter for one in raft.state.leaving] == [cluster.voters[gone]]
    cluster.run(2 * raft.state.timing.election_timeout_max_ms)
    assert (raft.state.leaving, len(raft.state.progress)) == ([], 2)


def test_one_that_was_removed_while_it_was_down_is_released() -> None:
    """It would campaign in vain for ever; by the word of most others it rests, and reads along."""
    cluster, leader, raft = led(size=4)
    gone = (leader + 1) % 4
    cluster.crash(gone)
    assert cluster.change(without(cluster, gone))
    cluster.run(6_000)
    term = raft.state.hard.term
    cluster.start(gone)
    cluster.run(5_000)
    late = raft_of(cluster, gone)
    assert (late.state.role, late.next_wakeup_ms) == (RaftRole.IDLE, None)
    assert (cluster.leader(), raft.state.hard.term) == (leader, term)
    late.adopt(raft.state.log.between(late.state.commit_index + 1, raft.state.commit_index))
    assert late.state.configuration == raft.state.configuration


def test_one_of_a_joint_committee_is_released_by_both_halves() -> None:
    """Most others say that it was removed, but not most of the old ones: it stays."""
    cluster, _, _ = led(size=5)
    s = raft_of(cluster, 0).state
    s.role, s.leader = RaftRole.FOLLOWER, None
    me, *others = cluster.voters
    s.configuration = Configuration((me, *others[:2]), (), (me, *others[2:]))
    for number, other in enumerate(others):
        said = VoteAnswered(
            log_id=LOG_ID,
            term=s.hard.term,
            candidate=me,
            voter=other,
            last_index=s.log.last_index,
            last_term=s.log.last_term,
            configuration_hash=configuration_hash(s.configuration),
            pre=False,
            granted=False,
            reason=REMOVED,
        )
        election.answered(s, said, Now(0, 0))
        assert (s.role is RaftRole.IDLE) == (number == 3)


def test_one_is_released_where_the_change_was_compacted_away() -> None:
    """Found by a seed: the entry that removed it is in snapshots only, and it is told still."""
    cluster, leader, _ = led(size=4)
    gone = (leader + 1) % 4
    cluster.crash(gone)
    assert cluster.change(without(cluster, gone))
    cluster.run(6_000)
    for _ in range(3):
        assert cluster.propose(b"load")
        cluster.run(500)
    for i in range(4):
        if i != gone:
            s = raft_of(cluster, i).state
            s.keep_entries = 0
            cluster.do(i, raft_of(cluster, i).compact(b"state", s.commit_index))
            assert s.log.term_at(s.configuration_index) is None
    cluster.run(500)
    cluster.start(gone)
    cluster.run(5_000)
    assert raft_of(cluster, gone).state.role is RaftRole.IDLE
    assert cluster.leader() == leader


def test_one_voice_releases_nobody() -> None:
    """Most of the others have to say it."""
    cluster = Cluster(1, size=4)
    late = raft_of(cluster, 0)
    asked = [m for _, m in late.tick(cluster.now()).send if isinstance(m, VoteRequested)]
    while not asked:
        cluster.now_ms += 100
        asked = [m for _, m in late.tick(cluster.now()).send if isinstance(m, VoteRequested)]
    for count, m in enumerate(asked, 1):
        said = VoteAnswered(
            LOG_ID,
            1,
            m.candidate,
            m.voter,
            m.last_index,
            m.last_term,
            m.configuration_hash,
            True,
            False,
            "a committed change removed it",
        )
        late.receive(said, m.voter.peer_key, cluster.now())
        assert (late.state.role is RaftRole.IDLE) == (count >= 2)


def test_a_released_voter_that_a_leader_speaks_to_is_a_voter() -> None:
    """What others said was wrong, or it was taken in again."""
    cluster, leader, _ = led(size=3)
    late = raft_of(cluster, (leader + 1) % 3)
    late.state.released_at = late.state.configuration_index
    late.state.role = late.state.resting_role()
    assert late.next_wakeup_ms is None
    cluster.run(500)
    assert late.state.role is RaftRole.FOLLOWER
    assert late.next_wakeup_ms is not None


def test_a_learner_that_no_leader_speaks_to_looks_for_the_log_elsewhere() -> None:
    """It was removed while it was down; it fetches like any peer from then on."""
    cluster, leader, raft = led(size=3, spares=1)
    three, new = tuple(cluster.voters[:3]), cluster.voters[3]
    assert cluster.change(Configuration(three, (new,)))
    cluster.run(500)
    assert raft_of(cluster, 3).state.role is RaftRole.LEARNER
    cluster.cut = {(i, 3) for i in range(3)}
    assert cluster.change(Configuration(three))
    cluster.run(6 * raft.state.timing.election_timeout_max_ms)
    assert raft_of(cluster, 3).state.role is RaftRole.IDLE
    assert cluster.leader() == leader


def test_a_learner_votes_for_whom_counts_it_a_voter() -> None:
    """The entry that promotes it may not have come: without its vote nobody might win."""
    cluster, leader, raft = led(size=3, spares=1)
    three, new = tuple(cluster.voters[:3]), cluster.voters[3]
    assert cluster.change(Configuration(three, (new,)))
    cluster.run(500)
    cluster.cut = {(i, 3) for i in range(3)}
    assert cluster.change(Configuration((*three, new)))
    cluster.run(20)
    cluster.crash(leader)
    cluster.cut = set()
    other = (leader + 1) % 3
    cluster.crash(other)
    cluster.run(10_000)
    assert cluster.leader() is None
    cluster.start(other)
    cluster.run(10_000)
    assert cluster.leader() in (other, (leader + 2) % 3)
    assert raft_of(cluster, 3).state.role is RaftRole.FOLLOWER
    assert raft.state.log.last_index <= raft_of(cluster, 3).state.log.last_index


def test_a_vote_is_asked_of_a_learner_and_kept() -> None:
    """Its answer is on its disk like any other's."""
    cluster, leader, _ = led(size=3, spares=1)
    new = cluster.voters[3]
    assert cluster.change(Configuration(tuple(cluster.voters[:3]), (new,)))
    cluster.run(500)
    learner, other = raft_of(cluster, 3), cluster.voters[(leader + 1) % 3]
    s = learner.state
    ask = VoteRequested(
        LOG_ID,
        s.hard.term + 1,
        other,
        new,
        s.log.last_index,
        s.log.last_term,
        configuration_hash(s.configuration),
        False,
        False,
    )
    s.leader_heard_ms = None
    out = learner.receive(ask, other.peer_key, cluster.now())
    answer = out.send[0][1]
    assert isinstance(answer, VoteAnswered)
    assert answer.granted
    assert s.hard.voted_for == other.store_id
    assert out.persist


def test_a_slower_profile_moves_the_deadline_that_a_faster_one_drew() -> None:
    """Else the change of the setting would itself begin an election."""
    cluster, leader, raft = led()
    follower = raft_of(cluster, (leader + 1) % 3)
    follower.state.timing = TIMINGS[Profile.LAN]
    follower.state.restart_election_timer(cluster.now())
    follower.retime(TIMINGS[Profile.WAN])
    due = follower.next_wakeup_ms
    assert due is not None
    assert due - cluster.now_ms >= TIMINGS[Profile.WAN].election_timeout_min_ms
    assert raft.retime(TIMINGS[Profile.LAN]).send == []


def test_a_newcomer_takes_nothing_over_from_whose_store_it_names() -> None:
    """Of one that was just removed: what that one held is not what the newcomer holds, and its last
    answer takes nothing from the newcomer."""
    raft, _ = elected(1, term=1)
    s = raft.state
    late = Voter(voter(4).node_id, voter(4).peer_key, voter(3).store_id)

    def answer(number: int, ms: int) -> None:
        last = s.log.last_index
        said = AppendAnswered(LOG_ID, s.hard.term, ME, voter(number), s.round, True, last, 0, 0)
        give(raft, said, ms)

    def commit(ms: int) -> None:
        for number in (1, 2):
            answer(number, ms)

    commit(5_000)
    for wanted in (Configuration(THREE.voters, (voter(3),)), THREE):
        raft.change(wanted, at(5_010))
        commit(5_020)
        if wanted != THREE:
            answer(3, 5_030)
    raft.change(Configuration(THREE.voters, (late,)), at(5_040))
    commit(5_050)
    progress = s.progress_of(late)
    assert progress is not None
    assert progress.match_index == 0
    answer(3, 5_060)
    raft.propose(EntryKind.NODE, b"x", at(5_070))
    assert s.progress_of(late) is not None
