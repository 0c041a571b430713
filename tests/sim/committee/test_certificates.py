"""Named scenarios of certificates: who is obeyed, who is not, and how a committee goes on."""

import attrs
import pytest

from p2pool.codec.digests import committee_hash
from p2pool.core.effects import Level, Log
from p2pool.core.fsm.committee_chain import complete
from p2pool.core.voter.signatures import VoterSignatures
from p2pool.model import limits
from p2pool.model.ids import AllocationId, StateDigest, TaskId, Token
from p2pool.model.messages.certificates import CertificateSigned, ConfigurationSigned
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import Order, OrderAnswered, Stop
from p2pool.model.states import RaftRole
from p2pool.model.tasks.spec import TaskSpec
from p2pool.proofs.certificates import check_fresh, leader_certificate, link_signers
from p2pool.wire.enclosures import open_one
from tests.sim.harness.certificates import chain, formed, known, led
from tests.sim.harness.pool import ENDLESS, Pool, started
from tests.sim.world.machine import Machine
from tests.sim.world.world import POOL


def check_chain(pool: Pool) -> int:
    """Check every link as an outsider does; how many lack a quorum."""
    found = chain(pool)
    log_id = pool.node(0).context.pool_log.log_id
    assert log_id is not None
    root = pool.world.root
    assert root is not None
    assert [v.node_id for v in found.base] == [root.founder]
    lacking = 0
    for link in found.links:
        opened = [open_one(POOL, sealed) for sealed in link.signatures]
        link_signers(opened, link, found.before(link), log_id)
        lacking += not complete(found, link)
    return lacking


# --- the certificate ------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "voting"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_every_node_knows_the_leader_by_certificate(size: int, voting: int) -> None:
    """Voter or not; from signatures alone it follows from the log's own committee."""
    pool = formed(size, 12_000)
    leader = pool.leader()
    for number in range(size):
        found = known(pool, number)
        assert found is not None
        assert found.leader.node_id == leader.node_id
        opened = [open_one(POOL, sealed) for sealed in found.signatures]
        now_is = chain(pool).voters
        assert leader_certificate(opened, now_is, found.log_id) == attrs.evolve(found)
    assert check_chain(pool) == 0
    assert len(chain(pool).voters) == voting


def test_a_certificate_is_renewed_before_it_expires(pool: Pool) -> None:
    """For five minutes there is one in force at every node."""
    for _ in range(30):
        pool.world.run(10_000)
        for number in range(3):
            assert pool.node(number).context.leader_certificates.fresh(pool.world.now()) is not None


def test_the_next_leader_is_certified_at_once(pool: Pool) -> None:
    """Running tasks wait for nothing but the election."""
    old = pool.leader()
    term = pool.node(old.number).context.pool_log.term
    pool.world.crash(old.number)
    pool.until(lambda: led(pool))
    began_ms = pool.world.now_ms
    leader = pool.leader()
    rest = [m.number for m in pool.world.machines if m.node]

    def certified() -> bool:
        found = [known(pool, n) for n in rest]
        return all(c is not None and c.term > term for c in found)

    pool.until(certified)
    assert pool.world.now_ms - began_ms <= 2_000
    assert {c.leader.node_id for n in rest if (c := known(pool, n))} == {leader.node_id}


# --- who is obeyed --------------------------------------------------------------------------------


def order_by(pool: Pool, sender: Machine, to: Machine, order: Order) -> OrderAnswered:
    """Have a machine send an order that its own core did not make; what it is answered."""
    answers: list[OrderAnswered] = []

    def told(m: Machine, peer: Machine | None, message: Message) -> None:
        if m is to and isinstance(message, OrderAnswered) and message.token == order.token:
            answers.append(message)

    pool.world.on_send.append(told)
    pool.world.said(sender, to, order)
    pool.until(lambda: bool(answers))
    pool.world.on_send.remove(told)
    return answers[0]


def stop_all(pool: Pool, to: Machine, name: TaskId, by: tuple[bytes, ...]) -> Order:
    """An order to end a task, newer than any that was given."""
    pool_log = pool.node(to.number).context.pool_log
    stops = tuple(Stop(AllocationId(name, replica), 9) for replica in range(3))
    return Order(to.node_id, Token(pool_log.epoch, pool_log.term, 10**6), (), stops, by)


def test_an_order_without_a_certificate_is_obeyed_by_nobody(pool: Pool) -> None:
    """Not of a voter, not of the leader itself; each is told why, and what runs runs on."""
    name = pool.run_task(0, replicas=3)
    leader, other = pool.leader(), pool.other()
    good = known(pool, other.number)
    assert good is not None
    for sender in pool.world.machines:
        for to in pool.world.machines:
            if sender is not to:
                answer = order_by(pool, sender, to, stop_all(pool, to, name, ()))
                assert (answer.ok, bool(answer.reason)) == (False, True)
    # With the leader's own certificate, another than the leader is not obeyed either.
    third = next(m for m in pool.world.machines if m not in (leader, other))
    stolen = order_by(pool, other, third, stop_all(pool, third, name, good.signatures))
    assert "another leader's" in stolen.reason
    short = good.signatures[:1]
    assert not order_by(pool, leader, third, stop_all(pool, third, name, short)).ok
    forged = (*short, bytes([good.signatures[1][0]]) + good.signatures[1][1:-1] + b"\x00")
    assert not order_by(pool, leader, third, stop_all(pool, third, name, forged)).ok
    pool.world.run(2_000)
    assert pool.states(name) == ["RUNNING"] * 3
    pool.world.liars.add(
        third.number
    )  # It obeys a leader that makes an order up: nobody's promise.
    assert order_by(pool, leader, third, stop_all(pool, third, name, good.signatures)).ok


def test_a_deposed_leaders_old_certificate_is_worth_nothing_new(pool: Pool) -> None:
    """Its term is over: a node that obeyed the next leader refuses it by the token, and after two
    minutes nobody takes its certificate at all."""
    name = pool.run_task(0, replicas=3)
    old, to = pool.leader(), pool.other()
    certificate = known(pool, old.number)
    assert certificate is not None
    pool.world.cut = {(old.number, n) for n in range(3) if n != old.number}
    pool.until(lambda: pool.node(old.number).context.pool_log.role is not RaftRole.LEADER)
    pool.until(lambda: led(pool))
    pool.world.run(5_000)
    pool.world.cut = set()
    stale = attrs.evolve(
        stop_all(pool, to, name, certificate.signatures), token=Token(1, certificate.term, 10**6)
    )
    answer = order_by(pool, old, to, stale)
    assert not answer.ok
    claimed = attrs.evolve(stale, token=Token(1, pool.node(to.number).context.pool_log.term, 10**6))
    assert "term" in order_by(pool, old, to, claimed).reason
    pool.world.run(limits.CERTIFICATE_LIFETIME_MS + limits.CLOCK_SKEW_MAX_MS)
    assert "old" in order_by(pool, old, to, claimed).reason
    assert pool.states(name) == ["RUNNING"] * 3


def test_without_a_quorums_word_nothing_is_ordered_and_all_runs_on(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three voters confirm nobody: orders wait, and come when they do again."""
    name = pool.run_task(0, replicas=3)
    say = VoterSignatures._agrees
    mute = [
        m.node.parts.signatures for m in pool.world.machines if m.node and m is not pool.leader()
    ]
    monkeypatch.setattr(
        VoterSignatures, "_agrees", lambda self, *given: self not in mute and say(self, *given)
    )
    pool.world.run(limits.CERTIFICATE_LIFETIME_MS + limits.CLOCK_SKEW_MAX_MS + 1_000)
    leader = pool.node(pool.leader().number)
    assert leader.context.leader_certificates.fresh(pool.world.now()) is None
    last = known(pool, pool.other().number)
    assert last is not None
    late = stop_all(pool, pool.other(), name, last.signatures)
    assert "old" in order_by(pool, pool.leader(), pool.other(), late).reason
    assert "confirm" in " ".join(leader.view(pool.world.now()).problems)
    spec = TaskSpec(name="later", image="i", command=ENDLESS)
    later = pool.submitted[pool.submit(0, spec)]
    pool.world.run(10_000)
    assert pool.states(name) == ["RUNNING"] * 3
    assert pool.states(later) != ["RUNNING"]
    monkeypatch.setattr(VoterSignatures, "_agrees", say)
    pool.until(lambda: pool.states(later) == ["RUNNING"])


def test_a_voter_whose_clock_differs_does_not_confirm(pool: Pool) -> None:
    """A certificate's time is a quorum's word, not the leader's alone."""
    leader, other = pool.leader(), pool.other()
    leader.wall_offset_ms = 10 * 60_000
    pool.world.run(70_000)
    found = known(pool, other.number)
    assert found is not None
    check_fresh(found.time_ms, pool.world.now(other).wall_ms)
    assert found.time_ms < pool.world.now(leader).wall_ms - 5 * 60_000


def test_a_voter_signs_no_time_that_its_own_clock_contradicts(pool: Pool) -> None:
    """Thirty seconds either way, as for any message; and it says so once for each leader and term,
    if that leader's clock is wrong and the question is not just an old one."""
    node, leader = pool.node(pool.other().number), pool.leader()
    leads = pool.node(leader.number)
    point = list(leads.parts.leader.certification.questions.values())[-1].point  # type: ignore[union-attr]
    now = pool.world.now()
    for offset_ms, agrees in (
        (0, True),
        (limits.CLOCK_SKEW_MAX_MS, True),
        (limits.CLOCK_SKEW_MAX_MS + 1, False),
        (-limits.CLOCK_SKEW_MAX_MS - 1, False),
    ):
        asked = attrs.evolve(point.asked, at_ms=now.wall_ms + offset_ms)
        assert node.parts.signatures._agrees(attrs.evolve(point, asked=asked), now) is agrees
    assert not [e for e in node.context.effects if isinstance(e, Log)]
    off_ms = now.wall_ms + limits.CLOCK_SKEW_MAX_MS + 1
    node.context.clocks.heard(leader.node_id, off_ms, now)
    asked = attrs.evolve(point.asked, at_ms=off_ms)
    for term in (point.term, point.term, point.term + 1):
        late = attrs.evolve(point, asked=asked, term=term)
        assert not node.parts.signatures._agrees(late, now)
    told = [e.event for e in node.context.effects if isinstance(e, Log)]
    assert told == ["the leader's clock differs from ours: not confirming it"] * 2


# --- the chain ------------------------------------------------------------------------------------


def growing() -> Pool:
    """A pool on its way to five voters that has its first three."""
    made = started(5, committee=5)
    made.until(lambda: led(made) and len(chain(made).links) == 1, 20_000)
    return made


def test_voters_that_sign_no_change_hold_the_committee_up_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the leader writes down that nobody certified it, and the committee goes on."""
    monkeypatch.setattr(VoterSignatures, "_sign_link", lambda self, link, now: None)
    pool = growing()
    assert len(chain(pool).voters) == 3
    pool.world.run(20_000)
    assert len(chain(pool).links) == 1
    assert not chain(pool).links[-1].given_up
    pool.until(lambda: len(chain(pool).voters) == 5, 90_000)
    assert chain(pool).links[0].given_up
    monkeypatch.undo()
    # Those who were voters then can still sign, with the leader's next question.
    pool.until(lambda: check_chain(pool) == 0, 200_000)
    assert not any(link.given_up for link in chain(pool).links)


def test_a_pending_change_is_certified_under_the_next_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signatures of one term are asked for again in the next."""
    sign = VoterSignatures._sign_link
    monkeypatch.setattr(VoterSignatures, "_sign_link", lambda self, link, now: None)
    pool = growing()
    old = pool.leader()
    pool.world.crash(old.number)
    pool.until(lambda: led(pool))
    assert len(chain(pool).voters) == 3
    monkeypatch.setattr(VoterSignatures, "_sign_link", sign)
    # It was the only voter before the change: nobody else can sign it.
    pool.world.start(old.number)
    pool.until(lambda: check_chain(pool) == 0, 30_000)
    assert pool.leader() is not old
    pool.until(lambda: len(chain(pool).voters) == 5)
    pool.until(lambda: check_chain(pool) == 0)


def test_the_chain_outlives_many_changes_and_leaders() -> None:
    """Voters come and go on the chain, leaders die: every link is certified, from the root on."""
    pool = formed(5)
    for _ in range(3):
        gone = next(n for n in numbers(pool) if n != pool.leader().number)
        pool.world.members.remove(gone)
        links = len(chain(pool).links)
        pool.until(lambda: len(chain(pool).links) > links, 120_000)  # noqa: B023
        assert gone not in numbers(pool)
        assert len(chain(pool).voters) == 3
        pool.world.members.append(gone)
        leader = pool.leader()
        pool.world.crash(leader.number)
        pool.world.run(5_000)
        pool.world.start(leader.number)
        pool.until(lambda: led(pool))
    assert len(chain(pool).links) >= 4
    pool.until(lambda: check_chain(pool) == 0, 200_000)


def numbers(pool: Pool) -> list[int]:
    """The voters now, by machine."""
    by_id = {m.node_id: m.number for m in pool.world.machines}
    leaders = [m.node for m in pool.world.machines if m.node and m.node.context.pool_log.leads]
    return [by_id[v.node_id] for n in leaders for v in n.context.pool_log.configuration.voters]


def test_a_follower_replica_has_the_chain_too() -> None:
    """So any peer can serve it."""
    pool = formed(5, 12_000)
    idle = [m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches]
    assert idle
    for machine in idle:
        assert pool.node(machine.number).context.pool_log.chain == chain(pool)
        assert committee_hash(chain(pool).voters) == known(pool, machine.number).committee_hash  # type: ignore[union-attr]


def leave(pool: Pool, left: int) -> Machine:
    """A voter that does not lead leaves the pool on the chain, and the committee."""
    inside = [m for m in pool.world.machines if m.number in pool.world.members]
    gone = next(m for m in inside if m is not pool.leader())
    pool.world.members.remove(gone.number)
    # The others confirm it from their own reads, and one is removed in a minute at most.
    pool.until(lambda: len(chain(pool).voters) == left, 150_000)
    return gone


def test_who_is_removed_certifies_its_own_removal(pool: Pool) -> None:
    """Two of three leave the chain, one after the other: the last change needs the word of both of
    two voters, of whom one is out of the pool already when it gives it."""
    for left in (2, 1):
        leave(pool, left)
        pool.until(lambda: check_chain(pool) == 0, 10_000)
    assert not any(link.given_up for link in chain(pool).links)


def test_a_committee_of_two_goes_on_without_the_one_that_is_gone(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is out of the pool for good and signs nothing: the change is written down as it is."""
    leave(pool, 2)
    pool.until(lambda: check_chain(pool) == 0, 10_000)
    leader, sign = pool.node(pool.leader().number).parts.signatures, VoterSignatures._sign_link
    monkeypatch.setattr(
        VoterSignatures, "_sign_link", lambda self, *given: self is leader and sign(self, *given)
    )
    leave(pool, 1)
    assert not chain(pool).links[-1].given_up
    pool.until(lambda: chain(pool).links[-1].given_up, 120_000)
    assert len(chain(pool).links[-1].signatures) == 1
    assert check_chain(pool) == 1
    pool.run_task(pool.leader().number)


def test_a_voter_with_another_state_is_named_loudly(pool: Pool) -> None:
    """One of the two has a fault or lies: Raft alone does not let that happen."""
    leader, other = pool.leader(), pool.other()
    node = pool.node(leader.number)
    certificates = node.parts.leader.certification  # type: ignore[union-attr]
    gathering = list(certificates.questions.values())[-1]
    word = next(v.message for v in gathering.heard.values() if v.header.node_id == other.node_id)
    assert isinstance(word, CertificateSigned)
    assert other.sealer is not None
    lie = attrs.evolve(word, state_digest=StateDigest(b"\x01" * 33))
    certificates.add(other.sealer.sealed(lie, pool.world.now()), pool.world.now())
    told = [e for e in node.context.effects if isinstance(e, Log) and e.level is Level.ERROR]
    assert [e.event for e in told] == ["a voter's state is not the leader's"]
    node.context.effects.clear()
    assert other.node_id.hex() in " ".join(node.view(pool.world.now()).problems)


def test_a_change_is_on_the_disk_before_a_voter_signs_it() -> None:
    """Or after a restart a leader that lies could have it replaced, and the voter would sign two
    changes at one index. Nothing else is written while the pool is quiet."""
    pool = formed(4, 20_000)
    signed: list[tuple[int, int]] = []

    def heard(m: Machine, to: Machine | None, message: Message) -> None:
        if isinstance(message, ConfigurationSigned):
            signed.append((message.index, m.disk.commit_index()))

    pool.world.on_send.append(heard)
    before = len(chain(pool).links)
    pool.world.crash(pool.voter().number)
    pool.until(lambda: led(pool) and len(chain(pool).links) > before, 300_000)
    pool.world.run(5_000)
    assert signed
    assert [index for index, durable in signed if index > durable] == []
