"""Whose clock is wrong: counted among the voters, measured on connections alone."""

from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.model import limits
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.states import PoolStatus
from p2pool.model.timing import Now

V = [
    Voter(NodeId(bytes([n]) * 20), PeerKey(bytes([n]) * 32), StoreId(bytes([n]) * 16))
    for n in range(5)
]
DAY_MS = 86_400_000
OFF_MS = limits.CLOCK_SKEW_MAX_MS + 1_000


def at(ms: int) -> Now:
    """A moment."""
    return Now(ms, 10**9 + ms)


def roster(number: int, time_ms: int) -> ChainRoster:
    """What the chain says at a block."""
    nobody = Address(bytes(20))
    return ChainRoster(
        block_number=number,
        block_hash=Digest(bytes(32)),
        block_time_ms=time_ms,
        members=(),
        creator=nobody,
        manager=nobody,
        status=PoolStatus.ACTIVE,
        root=None,
    )


def judged(count: int, *offsets: int, at_ms: int = 0) -> ClockOffsets:
    """What voter 0 of so many concludes from how far the others' clocks are ahead of its own."""
    clocks = ClockOffsets(V[0].node_id)
    for voter, offset_ms in zip(V[1:], offsets, strict=False):
        clocks.heard(voter.node_id, at(at_ms).wall_ms + offset_ms, at(at_ms))
    clocks.tick(Configuration(tuple(V[:count])), None, at(at_ms))
    return clocks


def said(clocks: ClockOffsets) -> tuple[str | None, str | None]:
    """What is wrong, and what nobody can decide."""
    return clocks.wrong, clocks.differing


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
    clocks.tick(Configuration(tuple(V[:3])), None, at(5_000))
    assert clocks.wrong is None
    clocks.tick(Configuration(tuple(V[:3])), None, at(limits.CLOCK_WINDOW_MS + 2_000))
    assert clocks.wrong is not None


def test_after_a_lag_of_our_own_nothing_counts() -> None:
    """What is read late seems to be sent early."""
    clocks = ClockOffsets(V[0].node_id)
    for voter in V[1:3]:
        clocks.heard(voter.node_id, at(0).wall_ms - OFF_MS, at(0))
    clocks.lagged()
    clocks.tick(Configuration(tuple(V[:3])), None, at(1))
    assert clocks.wrong is None


def test_a_clock_that_went_back_counts_as_it_is_at_once() -> None:
    """Two voters of three are ahead one after the other, never both: at no time are they most."""
    clocks, three = ClockOffsets(V[0].node_id), Configuration(tuple(V[:3]))
    for ms in range(0, 10_000, 500):
        first, second = (DAY_MS, 0) if ms < 5_000 else (0, DAY_MS)
        clocks.heard(V[1].node_id, at(ms).wall_ms + first, at(ms))
        clocks.heard(V[2].node_id, at(ms).wall_ms + second, at(ms))
        clocks.tick(three, None, at(ms))
        assert clocks.wrong is None, ms
        assert clocks.time_ms(at(ms)) == at(ms).wall_ms


def test_time_goes_by_most_clocks_and_not_by_one_that_jumps() -> None:
    """Ours jumps by a day: at once, before anything more is heard, the time is what others show."""
    clocks = judged(3, 500, -500)
    jumped = Now(100, at(100).wall_ms + DAY_MS)
    assert abs(clocks.time_ms(jumped) - at(100).wall_ms) < 1_000
    assert clocks.latest_ms(jumped) < at(100).wall_ms + 2 * limits.CLOCK_SKEW_MAX_MS
    clocks.tick(Configuration(tuple(V[:3])), None, jumped)
    assert clocks.wrong == "its clock is 86399 s ahead of most voters' clocks"


def test_who_is_one_of_two_and_jumps_is_the_wrong_one() -> None:
    """The boot clock tells: the time goes on as it does, until the two clocks agree again."""
    pair = Configuration(tuple(V[:2]))
    clocks = judged(2, 0)
    jumped = Now(5_000, at(5_000).wall_ms - DAY_MS)
    clocks.tick(pair, None, jumped)
    assert clocks.wrong == "its clock jumped 86400 s back"
    assert clocks.time_ms(jumped) == at(5_000).wall_ms
    clocks.heard(V[1].node_id, at(6_000).wall_ms, at(6_000))
    clocks.tick(pair, None, at(6_000))
    assert said(clocks) == (None, None)


def test_the_only_voter_approaches_a_clock_that_jumped() -> None:
    """An eighth of the time that passes, whichever way; so a jump of seconds moves it little, and
    none fires what is due in a day."""
    alone = Configuration(tuple(V[:1]))
    for jump_ms in (DAY_MS, -DAY_MS):
        clocks = judged(1)
        for ms in range(0, 80_001, 1_000):
            jumped = Now(ms, at(ms).wall_ms + jump_ms)
            clocks.tick(alone, None, jumped)
        moved_ms = clocks.time_ms(jumped) - at(80_000).wall_ms
        assert abs(moved_ms) == 10_000
        assert clocks.wrong is None
        clocks.tick(alone, None, at(81_000))
        assert clocks.time_ms(at(81_000)) == at(81_000).wall_ms


def test_the_chain_is_the_second_opinion_while_its_head_moves() -> None:
    """Who is alone and ahead of the blocks is wrong, and goes by them; a head that stands still, or
    that an endpoint is still catching up with, says nothing."""
    alone = Configuration(tuple(V[:1]))
    for step_ms, wrong in ((12_000, True), (0, False), (600_000, False)):
        clocks = ClockOffsets(V[0].node_id)
        for number in range(6):
            now = Now(12_000 * number, at(12_000 * number).wall_ms + DAY_MS)
            block = roster(number, at(0).wall_ms + step_ms * number)
            clocks.tick(alone, block, now)
        assert (clocks.wrong is not None) is wrong, step_ms
        if wrong:
            assert clocks.time_ms(now) == block.block_time_ms + limits.CHAIN_TIME_LAG_MS


def test_who_has_nobody_to_ask_learns_from_the_chain_that_it_began_with_a_wrong_clock() -> None:
    """Behind a block at once, ahead of a head that moves once that is known, else never."""
    alone, two = Configuration((V[0],)), Configuration((V[0], V[1]))
    for group in (Configuration(()), alone):
        clocks = ClockOffsets(V[0].node_id)
        clocks.tick(group, roster(1, at(0).wall_ms + DAY_MS), at(0))
        behind = "its clock is 86400 s behind the chain's newest block"
        assert said(clocks) == (behind, None)
        clocks.tick(group, None, Now(1_000, at(1_000).wall_ms + DAY_MS))
        assert said(clocks) == (None, None)
    ahead = ClockOffsets(V[0].node_id)
    for number in range(30):
        ahead.tick(alone, roster(number, at(number * 1_000).wall_ms - DAY_MS), at(number * 1_000))
        known = number * 1_000 > 2 * limits.CHAIN_HEAD_LOOK_MS
        assert (ahead.wrong is not None) >= known, number
    assert said(ahead) == ("its clock is 86400 s ahead of the chain's newest blocks", None)
    ahead.tick(alone, None, at(30_000 + limits.CHAIN_HEAD_STILL_MS))
    assert said(ahead) == (None, None)
    other = ClockOffsets(V[0].node_id)
    other.tick(two, roster(1, at(0).wall_ms + DAY_MS), at(0))
    assert other.wrong is None


def test_who_begins_alone_and_ahead_lets_log_time_stand_still_until_the_head_was_tried() -> None:
    """Not one entry is dated by a clock that is a day ahead of the blocks. Where the head turns out
    to stand still, or there is no chain, the clock counts after a minute, and at once."""
    alone = Configuration((V[0],))
    for moves in (True, False):
        clocks, block = ClockOffsets(V[0].node_id), roster(1, at(0).wall_ms)
        for ms in range(0, limits.CHAIN_HEAD_STILL_MS + 2_000, 1_000):
            now = Now(ms, at(ms).wall_ms + DAY_MS)
            block = roster(1 + ms // 1_000, at(ms).wall_ms) if moves else block
            clocks.tick(alone, block, now)
            tried = ms > limits.CHAIN_HEAD_STILL_MS
            off = clocks.time_ms(now) > at(ms).wall_ms + limits.CHAIN_TIME_LAG_MS
            assert off is (tried and not moves), ms
        assert (clocks.wrong is not None) is moves
    nobody = ClockOffsets(V[0].node_id)
    nobody.tick(alone, None, at(0))
    assert nobody.time_ms(at(0)) == at(0).wall_ms


def test_where_the_boot_clock_stood_still_time_goes_on_once_the_head_confirms_it() -> None:
    """A virtual machine goes on from a snapshot a day later: the wall clock jumps against the boot
    clock, and is not taken for right before the chain's head, which moves again, says the same."""
    two, still_ms = Configuration((V[0], V[1])), 30_000
    clocks = ClockOffsets(V[0].node_id)
    for ms in range(0, still_ms, 1_000):
        clocks.tick(two, roster(ms // 1_000, at(ms).wall_ms), at(ms))
    assert said(clocks) == (None, None)
    for ms in range(still_ms, 3 * still_ms, 1_000):
        now = Now(ms, at(ms).wall_ms + DAY_MS)
        clocks.tick(two, roster(DAY_MS // 1_000 + ms // 1_000, now.wall_ms), now)
        assert clocks.time_ms(now) in (at(ms).wall_ms, now.wall_ms), "no deadline in between"
        if ms == still_ms:
            assert said(clocks) == ("its clock jumped 86400 s ahead", None)
    assert said(clocks) == (None, None)
    assert clocks.time_ms(now) == now.wall_ms


def test_an_old_block_is_no_reason_to_refuse_a_date() -> None:
    """Of the time, a block says what has passed: a voter behind the chain takes such a date."""
    clocks = judged(2)
    ahead = roster(1, at(0).wall_ms + DAY_MS)
    clocks.tick(Configuration(tuple(V[:2])), ahead, at(0))
    assert clocks.latest_ms(at(0)) == ahead.block_time_ms + limits.CLOCK_SKEW_MAX_MS
    assert clocks.time_ms(at(0)) == at(0).wall_ms


def test_a_peer_whose_clock_is_off_is_named_so() -> None:
    """By the last frame that was refused for it, for a while; never by one that is off itself."""
    clocks = judged(3, 0, 0)
    peer = V[4].node_id
    clocks.heard(peer, at(0).wall_ms + 40_000, at(0))
    assert clocks.differs(peer, at(60_000)) == "its clock is 40 s ahead of ours"
    assert clocks.differs(peer, at(limits.CLOCK_DIFFERED_KEPT_MS + 1_000)) is None
    assert clocks.differs(V[1].node_id, at(0)) is None
    clocks.wrong = "it is ours"
    assert clocks.differs(peer, at(0)) is None


def test_what_is_kept_is_bounded() -> None:
    """A table with a bound, one difference for each of the last seconds."""
    clocks = ClockOffsets(V[0].node_id)
    for ms in range(0, 60_000, 100):
        for voter in V:
            clocks.heard(voter.node_id, at(ms).wall_ms, at(ms))
    clocks.tick(Configuration(tuple(V[:3])), None, at(60_000))
    assert clocks.seen.most == limits.PEERS_TRACKED_MAX
    assert all(len(s) <= limits.CLOCK_WINDOW_MS // 1_000 for s in clocks.seen.values())
