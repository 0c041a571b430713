"""Nobody waits for a timer where an input says that it is time: in virtual time, to the ms."""

from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.ids import NodeId
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import Reachability
from tests.sim.harness.pool import Pool, formed

PROMPT_MS = 100
"""Less than the interval of appends, and than any pause of a forwarder; more than all hops take."""


def answered_within(pool: Pool, requests: list[int], ms: int) -> bool:
    """Whether all of these are answered by then."""
    for _ in range(ms):
        pool.world.run(1)
        if all(request in pool.world.replies for request in requests):
            return True
    return False


def test_a_follower_answers_as_soon_as_the_leader_has_committed() -> None:
    """It learns of the commit at once, and not with the next append."""
    pool = formed()
    for _ in range(5):
        # Nothing follows from it, so no other append comes by and tells the same.
        request = pool.sign(Action.SET, "timing", '{"value":"default"}')
        pool.send(pool.other().number, request)
        assert answered_within(pool, [request], PROMPT_MS)
        assert isinstance(pool.world.replies[request], Accepted)
        pool.world.run(37)


def test_a_node_outside_the_committee_answers_as_soon() -> None:
    """It fetches what it waits for from the leader itself, and the voters sign that at once if they
    have signed nothing for a second; else a second later."""
    pool = formed(size=6)
    voters = {v.node_id for v in pool.node(0).context.pool_log.configuration.voters}
    (outside, *_) = [m for m in pool.world.machines if m.node and m.node.context.me not in voters]
    for most_ms in (0, *(limits.HISTORY_SIGN_INTERVAL_MS for _ in range(4))):
        request = pool.run_request(outside.number)
        assert answered_within(pool, [request], most_ms + PROMPT_MS)
        pool.world.run(37)


def test_a_dead_node_is_known_to_be_dead_within_three_seconds_and_stays_so() -> None:
    """By everybody; the heartbeat that it sent just before its death is no sign of life after."""
    for seed in (1, 2, 3):
        pool = formed(size=5, seed=seed)
        pool.world.run(limits.JUDGEMENT_GRACE_MS)
        dead = pool.other()
        assert dead.node is not None
        name = dead.node.context.me
        pool.world.crash(dead.number)

        def judged(name: NodeId = name, pool: Pool = pool) -> list[Reachability]:
            states = [m.node.context.pool_log.state for m in pool.world.machines if m.node]
            return [s.node(name).reachability for s in states if s is not None]

        pool.world.run(3_000)
        assert judged() == [Reachability.UNREACHABLE] * 4
        pool.world.run(5_000)
        assert judged() == [Reachability.UNREACHABLE] * 4


def test_what_waits_for_a_leader_is_carried_on_as_soon_as_there_is_one() -> None:
    """Whether its first entry is committed yet or not; nobody pauses meanwhile."""
    for seed in (1, 2, 3, 4):
        pool = formed(seed=seed)
        dead = pool.leader().number
        pool.world.crash(dead)
        rest = [m.number for m in pool.world.machines if m.number != dead]
        pool.world.run(500)
        requests = [pool.run_request(at) for at in rest]
        assert not answered_within(pool, requests, 100)
        pool.until(
            lambda p=pool: any(m.node and m.node.context.pool_log.leads for m in p.world.machines),
            20_000,
        )
        assert answered_within(pool, requests, PROMPT_MS)
