"""Named scenarios of certificates on their way: asked for, handed on, compared, not believed."""

import pytest

from p2pool.core.fsm.storage.rows import digest_of
from p2pool.model import limits
from p2pool.model.errors import NotForUs
from p2pool.model.ids import StateDigest
from p2pool.model.log.certificates import LeaderProof
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import ReportAnswered
from p2pool.wire.leader_verification import verify_leader
from tests.sim.harness.certificates import formed, known
from tests.sim.harness.lost_majority import SETTLE_MS, Recovering
from tests.sim.harness.pool import Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import POOL, World


def answers_to(pool: Pool, asker: Machine, asked: Machine) -> list[CertificatesAnswered]:
    """What a machine is answered that asks another for its certificates."""
    answers: list[CertificatesAnswered] = []

    def told(m: Machine, to: Machine | None, message: Message) -> None:
        if m is asked and to is asker and isinstance(message, CertificatesAnswered):
            answers.append(message)

    pool.world.on_send.append(told)
    pool.world.said(asker, asked, CertificatesRequested(77))
    pool.world.run(1_000)
    pool.world.on_send.remove(told)
    return [a for a in answers if a.request == 77]


def test_an_outsider_is_answered_and_can_check_who_leads() -> None:
    """A stranger to the pool, by a node that does not lead (docs/design/messages.md)."""
    world = World(7, 4)
    world.members.remove(3)
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(4):
        world.start(number)
    world.run(12_000)
    (answer,) = answers_to(pool, world.machines[3], pool.other())
    root = world.root
    assert root is not None
    proof = LeaderProof(answer.log_id, None, answer.chain, answer.certificate, answer.votes)
    found = verify_leader(POOL, root, proof, world.now().wall_ms)
    assert found.certificate.leader.node_id == pool.leader().node_id
    assert found.votes >= 1


def test_a_peer_that_missed_the_certificate_asks_for_it() -> None:
    """An announcement alone makes nobody a leader; a question to who announces does."""
    pool = formed(5, 12_000)
    idle = next(m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches)
    node = pool.node(idle.number)
    node.context.leader_certificates.forget()
    node.context.announced.forget()
    assert node.context.leader(pool.world.now()) is None
    asked: list[Message] = []
    pool.world.on_send.append(
        lambda m, to, said: (
            asked.append(said) if m is idle and isinstance(said, CertificatesRequested) else None
        )
    )
    pool.until(lambda: node.context.leader_certificates.known is not None, 10_000)
    pool.until(lambda: node.context.leader(pool.world.now()) == pool.leader().node_id, 10_000)
    assert len(asked) <= 3


def test_a_member_that_announces_itself_is_no_leader() -> None:
    """Without a certificate, and with the leader's: nobody follows it."""
    pool = formed(5, 12_000)
    idle = [m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches]
    liar, other = idle[:2]
    found, pool_log = known(pool, other.number), pool.node(liar.number).context.pool_log
    assert found is not None
    assert pool_log.log_id is not None
    state = pool_log.state
    assert state is not None
    for certificate in ((), found.signatures):
        said = Announcement(
            pool_log.log_id, 1, found.term + 5, state.applied_index, digest_of(state), certificate
        )
        pool.world.said(liar, None, said)
        pool.world.run(500)
        for m in pool.world.machines:
            assert pool.node(m.number).context.leader(pool.world.now()) == pool.leader().node_id


def astray(pool: Pool) -> Machine:
    """A node that is no voter, and has another state than all."""
    idle = next(m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches)
    state = pool.node(idle.number).context.pool_log.state
    assert state is not None
    state.settings["timing"] = "wan"
    return idle


def test_a_node_whose_state_went_astray_says_so() -> None:
    """Be it no voter: the leader says what the state should be, and so does the committee."""
    pool = formed(5, 12_000)
    astray(pool)
    with pytest.raises(Violation, match=r"not what the committee certifies|not the leader's"):
        pool.world.run(2 * limits.CERTIFY_INTERVAL_MS)


def same_state(pool: Pool, m: Machine) -> bool:
    """Whether a node that is no voter has what the leader has."""
    ours, theirs = (pool.node(n).context.pool_log.state for n in (m.number, pool.leader().number))
    assert ours is not None
    assert theirs is not None
    return (ours.applied_index, digest_of(ours)) == (theirs.applied_index, digest_of(theirs))


@pytest.mark.parametrize("certified", [False, True])
def test_a_state_that_is_not_the_committees_is_thrown_away(certified: bool) -> None:
    """Whoever is no voter fetches it anew, as another store, and says so; be it the leader's word
    that names another one, or the certificate."""
    pool = formed(5, 12_000)
    pool.world.expected = (
        "this node's state is not what the committee certifies",
        "this node's state is not the leader's",
    )
    idle = astray(pool)
    node = pool.node(idle.number)
    if certified:
        found = known(pool, idle.number)
        assert found is not None
        node.parts.signatures.digests[found.commit_index] = StateDigest(b"\x01other" + bytes(27))
    old = idle.store_id
    pool.until(lambda: idle.store_id != old, 10_000 if certified else 90_000)
    said = " ".join(node.view(pool.world.now()).problems)
    assert "this node discards it" in said or not certified
    assert "starts over" in said
    pool.until(lambda: same_state(pool, idle), 20_000)
    pool.world.run(2 * limits.CERTIFY_INTERVAL_MS)
    assert same_state(pool, idle)
    assert "discards it" not in " ".join(node.view(pool.world.now()).problems)


def test_only_a_leader_settles_what_a_node_reports(pool: Pool) -> None:
    """Another member says that an end is known: the leader is told of it all the same."""
    name = pool.run_task(0, replicas=3, command=("run", "3000", "0"))
    to = pool.other()
    liar = next(m for m in pool.world.machines if m not in (to, pool.leader()))
    pool.world.cut = {(pool.leader().number, to.number)}
    worker = pool.node(to.number).parts.worker
    (item,) = [i for i in worker.items.values() if i.allocation.task_id == name]
    pool.until(lambda: item.ended, 20_000)
    pool.world.said(liar, to, ReportAnswered(worker.high_water, (item.outcome(),)))
    pool.world.run(100)
    assert item.settled != item.outcome()
    pool.world.cut = set()
    pool.until(lambda: pool.states(name) == ["SUCCEEDED"] * 3)


def test_a_recovered_log_is_proven_from_its_own_root() -> None:
    """The next epoch's record begins another chain; what the last epoch's voters signed is over."""
    pool = Recovering.formed()
    old = pool.world.root
    leader = pool.leader().number
    pool.lose(leader, next(n for n in pool.voters() if n != leader))
    pool.world.run(5_000)
    root = pool.recover()
    pool.world.run(SETTLE_MS)
    assert old is not None
    for number in pool.alive():
        proof = pool.node(number).view(pool.world.now()).proof
        assert proof is not None
        wall_ms = pool.world.now().wall_ms
        found = verify_leader(POOL, root, proof, wall_ms)
        assert (found.certificate.leader.node_id, len(found.voters)) == (root.founder, 3)
        with pytest.raises(NotForUs):
            verify_leader(POOL, old, proof, wall_ms)
