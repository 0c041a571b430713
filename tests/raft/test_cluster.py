"""A committee keeps Raft's promises through any trouble."""

import pytest

from p2pool.codec.digests import configuration_hash
from p2pool.model import limits
from p2pool.model.errors import Conflict, NoLeader
from p2pool.model.log.raft import Configuration, EntryKind
from p2pool.model.messages.raft import VoteAnswered, VoteRequested
from p2pool.model.states import RaftRole
from tests.raft.harness.cluster import LOG_ID, Cluster, voter
from tests.raft.harness.elected import raft_of
from tests.raft.harness.scenario import simulate

SEEDS = 50


@pytest.mark.parametrize("seed", range(SEEDS))
def test_safety_in_trouble_and_liveness_after_it(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figure 3, durability before speech, consistent reads; and healing heals.

    Every third seed has snapshots in many parts and appends of few entries.
    """
    if seed % 3 == 0:
        monkeypatch.setattr(limits, "SNAPSHOT_CHUNK_BYTES", 64)
        monkeypatch.setattr(limits, "APPEND_BATCH_MAX_ENTRIES", 3)
    cluster = simulate(seed)
    assert len(cluster.chosen) > 10
    assert cluster.checks.reads_answered > 0


def test_a_seed_gives_the_same_run_again() -> None:
    """Every entry that was chosen, and every leader."""
    one, other = simulate(3), simulate(3)
    assert (one.chosen, one.checks.leaders) == (other.chosen, other.checks.leaders)


def test_a_vote_survives_a_crash() -> None:
    """RequestVote, rule 2: one vote in a term, whatever happens between two candidates."""
    cluster = Cluster(7, size=3)
    asked = [
        VoteRequested(
            LOG_ID, 9, voter(i), voter(2), 1, 1, configuration_hash(Configuration(())), False, True
        )
        for i in (0, 1)
    ]
    out = raft_of(cluster, 2).receive(asked[0], voter(0).peer_key, cluster.now())
    cluster.disks[2].begin(out.persist)
    cluster.disks[2].sync()
    first = out.send[0][1]
    cluster.crash(2)
    cluster.start(2)
    out = raft_of(cluster, 2).receive(asked[1], voter(1).peer_key, cluster.now())
    second = out.send[0][1]
    assert isinstance(first, VoteAnswered)
    assert isinstance(second, VoteAnswered)
    assert (first.granted, second.granted) == (True, False)
    assert second.reason == "voted for another"


def test_a_frame_from_another_peer_than_it_claims_is_dropped() -> None:
    """The connection says who speaks; a forged name changes nothing."""
    cluster = Cluster(8, size=3)
    asked = VoteRequested(
        LOG_ID, 9, voter(0), voter(2), 1, 1, configuration_hash(Configuration(())), False, True
    )
    out = raft_of(cluster, 2).receive(asked, voter(1).peer_key, cluster.now())
    assert (out.persist, out.send) == ([], [])


def test_a_leader_that_is_cut_off_steps_down_and_disturbs_nobody() -> None:
    """CheckQuorum, and PreVote when it comes back: the term stays what the others have."""
    cluster = Cluster(1)
    cluster.run(5_000)
    old = cluster.leader()
    assert old is not None
    others = [i for i in range(5) if i != old]
    cluster.cut = {(old, i) for i in others} | {(i, old) for i in others}
    cluster.run(10_000)
    new = cluster.leader()
    assert new is not None
    assert new != old
    assert raft_of(cluster, old).state.role is not RaftRole.LEADER
    term = raft_of(cluster, new).state.hard.term
    cluster.cut = set()
    cluster.run(5_000)
    assert (cluster.leader(), raft_of(cluster, new).state.hard.term) == (new, term)


def test_a_follower_that_hears_but_is_not_heard_does_not_raise_the_term() -> None:
    """The disruptive server of the thesis, 4.2.3."""
    cluster = Cluster(2)
    cluster.run(5_000)
    leader = cluster.leader()
    assert leader is not None
    term = raft_of(cluster, leader).state.hard.term
    deaf = (leader + 1) % 5
    cluster.cut = {(i, deaf) for i in range(5)}
    cluster.run(20_000)
    assert (cluster.leader(), raft_of(cluster, leader).state.hard.term) == (leader, term)


def test_a_founder_alone_commits_by_itself() -> None:
    """A committee of one needs nobody else."""
    cluster = Cluster(1, size=1)
    cluster.run(3_000)
    assert cluster.propose(b"x")
    cluster.run(10)
    assert cluster.applied[0] == raft_of(cluster, 0).state.log.last_index


def test_a_wiped_disk_is_another_voter() -> None:
    """The same node with another store gets no frames for itself and counts nowhere."""
    cluster = Cluster(4, size=3)
    cluster.run(3_000)
    leader = cluster.leader()
    assert leader is not None
    wiped = (leader + 1) % 3
    cluster.crash(wiped)
    good = cluster.voters[wiped]
    cluster.voters[wiped] = type(good)(good.node_id, good.peer_key, voter(99).store_id)
    cluster.start(wiped)
    cluster.voters[wiped] = good
    cluster.crash(next(i for i in range(3) if i not in (leader, wiped)))
    cluster.run(10_000)
    assert cluster.leader() is None
    assert not raft_of(cluster, wiped).state.is_voter


def test_the_committee_changes_one_voter_at_a_time() -> None:
    """Not before an entry of the own term, not two at once, not while one is under way."""
    cluster = Cluster(5)
    follower = raft_of(cluster, 0)
    with pytest.raises(NoLeader):
        follower.change(Configuration((voter(0),)), cluster.now())
    cluster.run(5_000)
    leader = cluster.leader()
    assert leader is not None
    at = raft_of(cluster, leader)
    with pytest.raises(Conflict, match="one voter"):
        at.change(Configuration(tuple(cluster.voters[:3])), cluster.now())
    four = tuple(v for i, v in enumerate(cluster.voters) if i != (leader + 1) % 5)
    out, entry = at.change(Configuration(four), cluster.now())
    with pytest.raises(Conflict, match="not committed"):
        at.change(Configuration(tuple(cluster.voters)), cluster.now())
    cluster.do(leader, out)
    cluster.run(1_000)
    assert entry.kind == EntryKind.CONFIGURATION
    assert cluster.applied[leader] >= entry.index


def test_a_follower_behind_a_compacted_log_gets_the_snapshot() -> None:
    """It comes back with nothing in common but the beginning, and catches up."""
    cluster = Cluster(6, size=3, compact_every=5)
    cluster.run(3_000)
    leader = cluster.leader()
    assert leader is not None
    late = (leader + 1) % 3
    cluster.crash(late)
    for _ in range(30):
        cluster.propose(b"x")
        cluster.run(200)
    assert raft_of(cluster, leader).state.log.base_index > 10
    cluster.start(late)
    cluster.run(5_000)
    assert cluster.applied[late] == raft_of(cluster, leader).state.commit_index
