"""The committee and the chain: who goes, who leads, and what one bad endpoint cannot do."""

import pytest

from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.ids import TaskId
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import Intent, RaftRole
from tests.sim.harness.committee import formed, leading, problems, voters, works
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import ChainView


def stuck(pool: Pool, number: int) -> None:
    """A machine's endpoints answer, and stand still from now on."""
    pool.world.machines[number].chain = ChainView(stuck_ms=pool.world.now_ms)


# --- who goes -------------------------------------------------------------------------------------


def test_a_voter_out_of_the_pool_serves_until_its_removal_commits() -> None:
    """It acknowledges to the last; then it is no voter, and the two left come back to one."""
    pool = formed(3)
    gone, first = pool.other().number, pool.leader().number
    pool.world.members.remove(gone)
    pool.until(lambda: gone not in voters(pool))
    assert leading(pool) == first
    works(pool, first)
    pool.until(lambda: voters(pool) == [first], 180_000)
    works(pool, first)


def test_a_removal_waits_for_a_majority_of_the_others() -> None:
    """A voter with a stuck endpoint confirms nothing; the log goes on all the same, with the one
    that is out serving in it, until the endpoint is mended."""
    pool = formed(3)
    first = pool.leader().number
    gone, blind = (n for n in range(3) if n != first)
    stuck(pool, blind)
    pool.world.run(2_000)
    pool.world.members.remove(gone)
    pool.world.run(120_000)
    assert voters(pool) == [0, 1, 2]
    assert leading(pool) == first
    works(pool, first)
    pool.world.machines[blind].chain = ChainView()
    pool.until(lambda: gone not in voters(pool), 30_000)


def test_a_leader_whose_endpoint_lies_removes_nobody() -> None:
    """It reads that both others are out; they say that they are in."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].chain = ChainView(members=[first])
    pool.world.run(180_000)
    assert voters(pool) == [0, 1, 2]
    works(pool, (first + 1) % 3)


def test_voters_that_are_out_go_one_a_minute() -> None:
    """Two of five leave at once: the second goes a minute after the first, whoever leads."""
    pool = formed(5, committee=5)
    out = [n for n in range(5) if n != pool.leader().number][:2]
    for number in out:
        pool.world.members.remove(number)
    pool.until(lambda: len(voters(pool)) == 4, 30_000)
    began_ms = pool.world.now_ms
    pool.world.crash(leading(pool))  # type: ignore[arg-type]
    pool.until(lambda: leading(pool) is not None)
    pool.until(lambda: len(voters(pool)) == 3, 120_000)
    assert pool.world.now_ms - began_ms >= limits.REMOVAL_INTERVAL_MS - 1_000


def test_a_banned_voter_gives_up_its_seat() -> None:
    """The log itself says so: nobody has to confirm it. It gets its seat back when it is lifted."""
    pool = formed(3)
    first, banned = pool.leader().number, pool.other()
    pool.send(first, pool.sign(Action.BAN, banned.node_id.hex(), ""))
    pool.until(lambda: banned.number not in voters(pool), 20_000)
    works(pool, first)
    pool.send(first, pool.sign(Action.UNBAN, banned.node_id.hex(), ""))
    pool.until(lambda: banned.number in voters(pool), 60_000)


def test_a_silent_voter_is_replaced_and_comes_back_as_a_learner_would() -> None:
    """After a minute another takes its seat. It hears of it when it is back, without a restart."""
    pool = formed(4)
    (spare,) = (n for n in range(4) if n not in voters(pool))
    away = next(n for n in voters(pool) if n != leading(pool))
    pool.world.cut = {(away, n) for n in range(4) if n != away}
    pool.world.run(limits.VOTER_REPLACE_AFTER_MS - 10_000)
    assert away in voters(pool)
    pool.until(lambda: spare in voters(pool) and away not in voters(pool), 60_000)
    pool.world.cut = set()
    works(pool, spare)
    first = leading(pool)
    assert first is not None
    index = pool.node(first).context.pool_log.commit_index
    pool.until(lambda: pool.node(away).context.pool_log.commit_index >= index, 60_000)
    pool.until(lambda: pool.node(away).context.leader(pool.world.now()) is not None, 60_000)
    assert leading(pool) == first


def test_two_dead_of_five_are_not_waited_for() -> None:
    """Nobody is there to take their seats; three that live survive one loss, three of five none."""
    pool = formed(5, committee=5)
    dead = [n for n in range(5) if n != leading(pool)][:2]
    for number in dead:
        pool.world.crash(number)
    pool.until(lambda: len(voters(pool)) == 3, 180_000)
    assert not set(dead) & set(voters(pool))
    pool.world.crash(next(n for n in voters(pool) if n != leading(pool)))
    pool.world.run(5_000)
    works(pool, leading(pool))  # type: ignore[arg-type]
    for number in range(5):
        if pool.world.machines[number].node is None:
            pool.world.start(number)
    pool.until(lambda: len(voters(pool)) == 5, 120_000)


# --- who leads ------------------------------------------------------------------------------------


def test_a_leader_that_leaves_the_pool_hands_leadership_on() -> None:
    """To a voter that has read the same, at once; then it goes."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.members.remove(first)
    pool.until(lambda: leading(pool) not in (None, first), 20_000)
    pool.until(lambda: first not in voters(pool), 90_000)
    works(pool, leading(pool))  # type: ignore[arg-type]


def test_a_leader_that_does_not_know_that_it_is_out_is_overruled() -> None:
    """Its endpoint says for ever that it is in. Half a minute, then another leads, and it goes."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].chain = ChainView(members=[0, 1, 2])
    pool.world.members.remove(first)
    pool.world.run(limits.LEADER_OUT_PATIENCE_MS - 5_000)
    assert leading(pool) == first
    pool.until(lambda: leading(pool) not in (None, first), 30_000)
    pool.until(lambda: first not in voters(pool), 90_000)
    terms = pool.node(leading(pool)).context.pool_log.term  # type: ignore[arg-type]
    pool.world.run(120_000)
    assert pool.node(leading(pool)).context.pool_log.term == terms  # type: ignore[arg-type]


def test_a_voter_whose_endpoint_lies_overrules_nobody() -> None:
    """It reads that the leader is out, and so that it is itself: the others say that it is in."""
    for seen in ([1, 2], [0]):
        pool = formed(3)
        first, liar = pool.leader().number, pool.other().number
        names = [n for n in range(3) if n != first] if len(seen) > 1 else [first]
        pool.world.machines[liar].chain = ChainView(members=names)
        term = pool.node(0).context.pool_log.term
        pool.world.run(180_000)
        assert leading(pool) == first
        assert pool.node(0).context.pool_log.term == term
        assert voters(pool) == [0, 1, 2]


def test_a_leader_that_reads_itself_out_alone_stays() -> None:
    """Leadership does not move on the word of one endpoint that lies."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].chain = ChainView(members=[n for n in range(3) if n != first])
    pool.world.run(120_000)
    assert leading(pool) == first
    works(pool, (first + 1) % 3)


def test_a_log_whose_voters_are_all_out_goes_on() -> None:
    """Whoever leads leads on; when it dies another leads, though half a minute later."""
    pool = formed(3)
    pool.world.members.clear()
    pool.world.run(60_000)
    first = leading(pool)
    assert first is not None
    assert voters(pool) == [0, 1, 2]
    works(pool, first)
    pool.world.crash(first)
    pool.world.run(limits.RELUCTANT_MS - 5_000)
    assert leading(pool) is None
    pool.until(lambda: leading(pool) is not None, 30_000)
    works(pool, leading(pool))  # type: ignore[arg-type]


def test_who_is_out_leaves_campaigning_to_the_others() -> None:
    """The leader dies while another voter is out and not removed yet: the third leads."""
    pool = formed(3)
    first = pool.leader().number
    out, third = (n for n in range(3) if n != first)
    stuck(pool, third)
    pool.world.run(2_000)
    pool.world.members.remove(out)
    pool.world.run(10_000)
    assert pool.node(out).parts.eligibility.ineligible_reason
    pool.world.crash(first)
    pool.until(lambda: leading(pool) == third, 20_000)


# --- two voters, one voter ------------------------------------------------------------------------


def pair() -> tuple[Pool, int, int]:
    """A committee of two: the leader, and the other one."""
    pool = formed(3)
    first = pool.leader().number
    gone = pool.other().number
    pool.world.members.remove(gone)
    pool.until(lambda: gone not in voters(pool))
    pool.world.crash(gone)
    pool.world.run(2_000)
    (other,) = (n for n in voters(pool) if n != first)
    # No removal for a minute: what follows is not to be the return to one voter.
    return pool, first, other


def test_in_a_committee_of_two_the_other_one_leaves() -> None:
    """The one that is left says so alone."""
    pool, first, other = pair()
    pool.world.members.remove(other)
    pool.until(lambda: voters(pool) == [first], 120_000)
    works(pool, first)


def test_in_a_committee_of_two_the_leader_leaves() -> None:
    """It hands leadership on; the other one removes it."""
    pool, first, other = pair()
    pool.world.members.remove(first)
    pool.until(lambda: leading(pool) == other, 30_000)
    pool.until(lambda: voters(pool) == [other], 120_000)
    pool.world.crash(first)
    works(pool, other)


def test_in_a_committee_of_two_the_leader_leaves_and_its_endpoint_stands_still() -> None:
    """It says that it does not know: the other one alone takes over."""
    pool, first, other = pair()
    stuck(pool, first)
    pool.world.run(2_000)
    pool.world.members.remove(first)
    pool.until(lambda: leading(pool) == other, 90_000)
    pool.until(lambda: voters(pool) == [other], 120_000)
    pool.world.crash(first)
    works(pool, other)


def test_in_a_committee_of_two_the_other_ones_word_deposes_no_leader_that_reads_the_chain() -> None:
    """Not even if it campaigns on and on over the leader, and says that it may."""
    pool, first, other = pair()
    term = pool.node(first).context.pool_log.term
    for _ in range(40):
        pool.node(other).context.pool_log.force_campaign(pool.world.now())
        pool.world.run(1_000)
    assert leading(pool) == first
    assert pool.node(first).context.pool_log.term == term


def test_in_a_committee_of_two_that_read_opposites_nothing_is_done_and_it_is_said() -> None:
    """Nobody can tell who is lied to: no split, no loss, and somebody has to look."""
    pool, first, other = pair()
    pool.world.machines[first].chain = ChainView(members=[first, other])
    pool.world.machines[other].chain = ChainView(members=[other])
    pool.world.run(45_000)
    assert leading(pool) == first
    assert other in voters(pool)
    assert "endpoints" in problems(pool, other)
    works(pool, first)


def test_two_that_find_no_third_come_back_to_one_and_its_learner() -> None:
    """Two voters are two too many to lose."""
    pool, first, other = pair()
    pool.until(lambda: voters(pool) == [first], 120_000)
    pool.until(lambda: pool.node(other).context.pool_log.role is RaftRole.LEARNER, 30_000)
    pool.world.crash(other)
    works(pool, first)


def test_a_committee_of_one_whose_leader_leaves_gets_an_heir() -> None:
    """Its learner becomes a voter, then the leader, and then it goes."""
    pool, first, other = pair()
    pool.until(lambda: voters(pool) == [first], 120_000)
    pool.until(lambda: pool.node(other).context.pool_log.role is RaftRole.LEARNER, 30_000)
    pool.world.members.remove(first)
    pool.until(lambda: leading(pool) == other, 60_000)
    pool.until(lambda: voters(pool) == [other], 120_000)
    works(pool, other)


# --- drained --------------------------------------------------------------------------------------


def intent(pool: Pool, at: int, of: int) -> Intent:
    state = pool.node(at).context.pool_log.state
    assert state is not None
    return state.node(pool.world.machines[of].node_id).intent


def test_a_leader_that_is_drained_hands_leadership_on_at_once() -> None:
    """It keeps its seat, and does not lead again before it is resumed."""
    pool = formed(3)
    first = pool.leader()
    name: TaskId = pool.run_task(first.number, replicas=3)
    drain = pool.sign(Action.DRAIN, first.node_id.hex(), "")
    pool.send(first.number, drain)
    assert isinstance(pool.reply(drain), Accepted)
    pool.until(lambda: leading(pool) not in (None, first.number), 3_000)
    second = leading(pool)
    assert second is not None
    pool.until(lambda: intent(pool, second, first.number) is Intent.DRAINED)
    assert voters(pool) == [0, 1, 2]
    assert len(pool.states(name)) == 3
    pool.world.crash(second)
    pool.until(lambda: leading(pool) not in (None, second), 20_000)
    assert leading(pool) != first.number


@pytest.mark.parametrize("size", [1, 3])
def test_where_all_are_drained_somebody_leads(size: int) -> None:
    """Nobody else could: a drain of everything does not end the log."""
    pool = formed(size)
    for machine in pool.world.machines:
        first = pool.leader().number
        request = pool.sign(Action.DRAIN, machine.node_id.hex(), "")
        pool.send(first, request)
        pool.reply(request)
    pool.world.run(20_000)
    assert leading(pool) is not None
