"""A majority is a majority: checked against counting by hand, for every size of committee."""

from hypothesis import given
from hypothesis import strategies as st

from p2pool.core.raft.quorum import VoteResult, committed, tally
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration
from tests.raft.harness.cluster import voter


def committee(voters: int, learners: int = 0) -> Configuration:
    ids = [voter(i) for i in range(voters + learners)]
    return Configuration(tuple(ids[:voters]), tuple(ids[voters:]))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=7))
def test_an_index_is_committed_when_more_than_half_have_it(indexes: list[int]) -> None:
    """The highest such index, and no learner moves it."""
    group = committee(len(indexes), 2)
    matched = {voter(i).store_id: index for i, index in enumerate(indexes)}
    matched |= {learner.store_id: 99 for learner in group.learners}
    found = committed(group, matched)
    assert sum(i >= found for i in indexes) * 2 > len(indexes)
    assert sum(i >= found + 1 for i in indexes) * 2 <= len(indexes)


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=7))
def test_a_vote_is_decided_as_soon_as_it_can_be(cast: list[bool | None]) -> None:
    """Won by more than half, lost once that is out of reach, pending between."""
    group = committee(len(cast))
    votes = {voter(i).store_id: v for i, v in enumerate(cast) if v is not None}
    result = tally(group, votes)
    yes, no = cast.count(True), cast.count(False)
    assert (result is VoteResult.WON) == (yes * 2 > len(cast))
    assert (result is VoteResult.LOST) == ((len(cast) - no) * 2 <= len(cast))


def test_a_vote_of_another_store_does_not_count() -> None:
    """A disk that was wiped is another voter, and a learner is none."""
    group = committee(3, 1)
    assert (
        tally(
            group,
            {
                StoreId(b"z" * 16): True,
                group.learners[0].store_id: True,
                group.voters[0].store_id: True,
            },
        )
        is VoteResult.PENDING
    )


def test_without_voters_nothing_is_ever_decided_in_favour() -> None:
    """Before a root record there is no quorum."""
    assert committed(Configuration(()), {}) == 0
    assert tally(Configuration(()), {}) is VoteResult.LOST


@given(st.sets(st.integers(0, 6)), st.sets(st.integers(0, 6)), st.sets(st.integers(0, 6)))
def test_a_joint_quorum_is_a_majority_of_each_half(
    new: set[int], old: set[int], yes: set[int]
) -> None:
    """However large the one, it says nothing for the other."""
    voters, outgoing = (tuple(voter(i) for i in sorted(half)) for half in (new, old))
    joint = Configuration(voters, (), outgoing)
    halves = [new, old] if old else [new]
    wanted = all(len(half & yes) * 2 > len(half) for half in halves)
    assert joint.has_quorum([voter(i).store_id for i in yes]) == wanted


def test_without_one_voter_a_half_that_it_is_alone_in_asks_nobody() -> None:
    """The other half decides; alone in all, it stays."""
    a, b, c = (voter(i) for i in range(3))
    assert Configuration((a,), (), (a, b, c)).without(a.node_id).halves == ((b, c),)
    assert Configuration((a, b, c), (), (a,)).without(a.node_id).halves == ((b, c),)
    assert Configuration((a,)).without(a.node_id).halves == ((a,),)
