"""Whose clock is wrong: counted among the voters, measured on connections alone."""

from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.model import limits
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.timing import Now

V = [
    Voter(NodeId(bytes([n]) * 20), PeerKey(bytes([n]) * 32), StoreId(bytes([n]) * 16))
    for n in range(5)
]
OFF_MS = limits.CLOCK_SKEW_MAX_MS + 1_000


def at(ms: int) -> Now:
    """A moment."""
    return Now(ms, 10**9 + ms)


def judged(count: int, *offsets: int, at_ms: int = 0) -> ClockOffsets:
    """What voter 0 of so many concludes from how far the others' clocks are ahead of its own."""
    clocks = ClockOffsets(V[0].node_id)
    for voter, offset_ms in zip(V[1:], offsets, strict=False):
        clocks.heard(voter.node_id, at(at_ms).wall_ms + offset_ms, at(at_ms))
    clocks.tick(Configuration(tuple(V[:count])), at(at_ms))
    return clocks


def test_who_differs_from_most_voters_is_wrong() -> None:
    """Two of the other two, three of the other four; it says how far, and to which side."""
    assert judged(3, OFF_MS, OFF_MS).wrong == "its clock is 31 s behind most voters' clocks"
    most = judged(5, -OFF_MS, -OFF_MS, -OFF_MS, 0)
    assert most.wrong == "its clock is 31 s ahead of most voters' clocks"
    assert judged(3, OFF_MS, 0).wrong is None
    assert judged(5, OFF_MS, OFF_MS, 0, 0).wrong is None


def test_the_bound_is_that_of_messages() -> None:
    """What is taken by others is no fault."""
    assert judged(3, limits.CLOCK_SKEW_MAX_MS, limits.CLOCK_SKEW_MAX_MS).wrong is None


def test_of_two_neither_is_the_wrong_one() -> None:
    """It is said by both, and decided by nobody."""
    clocks = judged(2, OFF_MS)
    assert clocks.wrong is None
    assert "31 s" in str(clocks.differing)


def test_a_delay_is_no_difference() -> None:
    """The largest of the last seconds is nearest to the truth; it is forgotten after a while."""
    clocks = judged(3, 0, 0)
    for voter in V[1:3]:
        clocks.heard(voter.node_id, at(5_000).wall_ms - OFF_MS, at(5_000))
    clocks.tick(Configuration(tuple(V[:3])), at(5_000))
    assert clocks.wrong is None
    clocks.tick(Configuration(tuple(V[:3])), at(limits.CLOCK_WINDOW_MS + 2_000))
    assert clocks.wrong is not None


def test_after_a_lag_of_our_own_nothing_counts() -> None:
    """What is read late seems to be sent early."""
    clocks = judged(3, -OFF_MS, -OFF_MS)
    clocks.lagged()
    clocks.tick(Configuration(tuple(V[:3])), at(1))
    assert clocks.wrong is None


def test_what_is_kept_is_bounded() -> None:
    """Voters only, one difference for each of the last seconds."""
    clocks = ClockOffsets(V[0].node_id)
    for ms in range(0, 60_000, 100):
        for voter in V:
            clocks.heard(voter.node_id, at(ms).wall_ms, at(ms))
    clocks.tick(Configuration(tuple(V[:3])), at(60_000))
    assert list(clocks.seen) == [v.node_id for v in V[:3]]
    assert all(len(s) <= limits.CLOCK_WINDOW_MS // 1_000 for s in clocks.seen.values())
