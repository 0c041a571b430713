"""What a member or a guest can make another node work for nothing: as little as can be."""

from collections.abc import Callable

import attrs
import pytest

from p2pool.core.effects import Persist
from p2pool.core.inputs import Received
from p2pool.core.knowledge.bindings import BINDINGS_TABLE
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.ids import AllocationId, TaskId, Token
from p2pool.model.log.entries import Outcome
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import (
    HeartbeatsAnswered,
    HeartbeatsRequested,
    LogEndAnswered,
    LogEndRequested,
    StateAnswered,
    StateRequested,
)
from p2pool.model.messages.registry import Channel, Header, Message, Verified
from p2pool.model.messages.work import Desired, Order, Report
from p2pool.model.ports.store import Put
from p2pool.model.states import AllocationState
from p2pool.wire import signers
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.lost_majority import Recovering
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER, POOL

FORGED = 50


@attrs.define
class Recovered:
    """How many accounts were recovered from signatures."""

    count: int = 0

    def recover(self, pool: object, signed: SignedRequest) -> Signers:
        self.count += 1
        return Signers(bytes(20))  # type: ignore[arg-type]


def forged() -> tuple[Desired, ...]:
    """Submissions that nobody signed, each another one."""
    made = TaskRequest(Action.SUBMIT, 1, "", "{}", b"r" * 32, 1, 2)
    signed = sign_request(POOL, MANAGER, made)
    return tuple(
        Desired(
            AllocationId(TaskId(bytes(16)), n),
            1,
            attrs.evolve(signed, signature=bytes([n]) * 65),
            (),
        )
        for n in range(FORGED)
    )


def recovered(pool: Pool, by: Machine, to: Machine, told: Message) -> int:
    """How many accounts a machine recovers for a message that it is sent."""
    found = Recovered()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signers, "recover_signers", found.recover)
        pool.world.said(by, to, told)
        pool.world.run(50)
    return found.count


def counted(patch: pytest.MonkeyPatch, owner: type, name: str) -> list[object]:
    """The calls of a method, from now on."""
    calls: list[object] = []
    real = getattr(owner, name)

    def call(*args: object) -> object:
        calls.append(args)
        return real(*args)

    patch.setattr(owner, name, call)
    return calls


def follower(pool: Pool) -> Machine:
    """A member that does not lead, and is not the first such."""
    known = (pool.leader(), pool.other())
    return next(m for m in pool.world.machines if m.node and m not in known)


def continued(size: int) -> Recovering:
    """A pool whose log continues another: only such a log adopts the copies that a node claims,
    so only its leader looks at who signed them."""
    pool = Recovering.formed(size=size)
    pool.lose(*pool.voters()[1:])
    pool.recover()
    return pool


def claims(pool: Pool) -> Report:
    """A report that counts, with claims that nobody signed."""
    pool_log = pool.node(pool.leader().number).context.pool_log
    return Report(Token(pool_log.epoch, pool_log.term, 1), (), forged())


def test_who_does_not_lead_has_nothing_recovered_for_its_orders() -> None:
    """It is asked first whether a quorum's word stands behind the order; the leader's is looked
    at, and so is the one of another that is shown the leader's own certificate, in vain."""
    pool = formed()
    liar, victim, leader = pool.other(), follower(pool), pool.leader()
    assert leader.node is not None
    known = leader.node.context.leader_certificates.known
    assert known is not None
    token = Token(1, leader.node.context.pool_log.term, 10**6)
    order = Order(victim.node_id, token, forged(), ())
    assert recovered(pool, liar, victim, order) == 0
    stolen = attrs.evolve(order, certificate=known.signatures)
    assert recovered(pool, liar, victim, stolen) == 0
    assert recovered(pool, leader, victim, stolen) == FORGED


def test_who_does_not_lead_recovers_nothing_of_a_report() -> None:
    """Its claims are the leader's to look at, once they count."""
    pool = continued(5)
    liar, victim, leader = pool.other(), follower(pool), pool.leader()
    report = claims(pool)
    assert recovered(pool, liar, victim, report) == 0
    old = attrs.evolve(report, token=Token(1, report.token.term, 1))
    assert recovered(pool, liar, leader, old) == 0
    assert recovered(pool, liar, leader, report) == FORGED


def test_a_log_that_adopts_nothing_has_nothing_recovered_for_claims() -> None:
    """They could change nothing there, whoever signed them."""
    pool = formed()
    assert recovered(pool, pool.other(), pool.leader(), claims(pool)) == 0


def test_a_guest_has_nothing_recovered() -> None:
    """Whoever is in neither the pool nor its committee is not looked at, while a member is."""
    pool = continued(6)
    pool.until(lambda: len(pool.voters()) == 3)
    guest = next(m for m in pool.world.machines if m.node and m.number not in pool.voters())
    pool.world.members.remove(guest.number)
    pool.world.run(10_000)
    assert recovered(pool, guest, pool.leader(), claims(pool)) == 0
    assert recovered(pool, pool.voter(), pool.leader(), claims(pool)) == FORGED


def test_a_guest_is_told_the_newest_changes_and_not_often() -> None:
    """Anybody may ask who leads, and may not make others talk for nothing."""
    pool = formed(4)
    asked = pool.leader()
    assert asked.node is not None
    pool_log = asked.node.context.pool_log
    voters = [v.node_id for v in pool_log.configuration.voters]
    guest = next(m for m in pool.world.machines if m.node_id not in voters)
    pool.world.members.remove(guest.number)
    pool.world.run(10_000)
    state = pool_log.state
    assert state is not None
    first, count = state.chain, limits.GUEST_CHAIN_LINKS_MAX + 5
    links = tuple(attrs.evolve(first.links[-1], index=1_000 + n) for n in range(count))
    state.chain = attrs.evolve(first, links=links)
    told: list[CertificatesAnswered] = []
    pool.world.on_send.append(
        lambda m, to, said: (
            told.append(said) if to is guest and isinstance(said, CertificatesAnswered) else None
        )
    )
    for number in range(10):
        pool.world.said(guest, asked, CertificatesRequested(number))
    pool.world.run(100)
    state.chain = first
    assert len(told) == limits.GUEST_PROOFS_BURST
    for answer in told:
        assert answer.chain.links == links[5:]
        assert answer.chain.dropped == first.dropped + 5


def test_heartbeats_are_taken_of_whom_they_were_asked() -> None:
    """Once: a second answer, and one that nobody asked for, is not even opened."""
    pool = formed()
    one, other = pool.leader(), pool.other()
    assert one.gate is not None
    before = one.gate.counters["not-looked-at"]
    pool.world.said(other, one, HeartbeatsAnswered(10**6, (b"x",) * 100))
    pool.world.run(100)
    assert one.gate.counters["not-looked-at"] == before + 1
    assert one.gate.counters["malformed"] == 0


def ends_told(pool: Pool, by: Machine, of: Machine, times: int) -> list[LogEndAnswered]:
    """What a machine says of the end of its log, each time that another has made it grow."""
    told: list[LogEndAnswered] = []
    pool.world.on_send.append(
        lambda m, to, said: (
            told.append(said) if to is by and isinstance(said, LogEndAnswered) else None
        )
    )
    for number in range(times):
        pool.reply(pool.run_request(of.number))
        pool.world.said(by, of, LogEndRequested(number))
        pool.world.run(200)
    return told


def test_the_end_of_a_log_that_grows_is_not_digested_for_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its state would be read for that. Who asks gets the rest of the answer all the same, and
    the digest once time has paid for one. The state is rebuilt only where the log is not applied.
    """
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    made = counted(monkeypatch, StoredLog, "end_digest")
    rebuilt = counted(monkeypatch, StoredLog, "state_at")
    told = ends_told(pool, liar, victim, 20)
    assert len(told) == 20
    assert [m.end.last_index for m in told] == sorted({m.end.last_index for m in told})
    most = limits.LOG_END_DIGESTS_BURST_S // limits.LOG_END_DIGEST_COST_S
    assert most <= len(made) <= most + 1
    assert len(rebuilt) < len(made)
    assert sum(m.end.state_digest is not None for m in told) == len(made)
    pool.world.run(limits.LOG_END_DIGEST_COST_S * 1_000)
    (later,) = ends_told(pool, liar, victim, 1)
    assert later.end.state_digest is not None


def told(pool: Pool, kind: type[Message], by: Machine, to: Machine) -> list[Message]:
    """What one machine tells another of a kind, from now on."""
    found: list[Message] = []

    def sent(m: Machine, other: Machine | None, said: Message) -> None:
        if m is by and other is to and isinstance(said, kind):
            found.append(said)

    pool.world.on_send.append(sent)
    return found


def reconnect(pool: Pool, one: Machine, other: Machine) -> None:
    """A connection ends, another one begins, and both have said hello."""
    pool.world.network.reset(one, other)
    pool.world.run(10)
    pool.world.network.connect(one, other)
    pool.world.run(40)


def ask_again_and_again(
    pool: Pool, asker: Machine, asked: Machine, question: Callable[[int], Message]
) -> None:
    """Fifty questions in five seconds, each over a new connection."""
    for number in range(50):
        reconnect(pool, asker, asked)
        pool.world.said(asker, asked, question(number))
        pool.world.run(50)


def test_a_member_that_connects_again_and_again_draws_no_more_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of all others at once as a newcomer, and then a few a second, however it connects; who
    has less to come gets none."""
    monkeypatch.setattr(limits, "BEATS_SHOWN_BURST", 8)
    monkeypatch.setattr(limits, "BEATS_SHOWN_PER_S", 1)
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    pool.world.run(10_000)
    shown = told(pool, HeartbeatsAnswered, victim, liar)
    ask_again_and_again(pool, liar, victim, HeartbeatsRequested)
    count = sum(len(m.sealed) for m in shown if isinstance(m, HeartbeatsAnswered))
    assert 0 < count <= 8 + 5 + 1


def test_a_member_draws_a_whole_chain_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the longest of all answers, and an honest member asks every other second at most."""
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    shown = told(pool, CertificatesAnswered, victim, liar)
    ask_again_and_again(pool, liar, victim, CertificatesRequested)
    most = limits.MEMBER_PROOFS_BURST + 5 * limits.MEMBER_PROOFS_PER_S + 1
    assert limits.MEMBER_PROOFS_BURST <= len(shown) <= most


def test_who_answered_is_not_asked_for_heartbeats_at_its_next_connection() -> None:
    """Gossip brings what is new; who does not answer is asked again, at no cost."""
    pool = formed()
    one, other = pool.leader(), pool.other()
    pool.world.run(limits.EXCHANGE_INTERVAL_MS)
    asked = told(pool, HeartbeatsRequested, one, other)
    for _ in range(5):
        reconnect(pool, one, other)
    assert len(asked) == 1
    pool.world.run(limits.EXCHANGE_INTERVAL_MS)
    reconnect(pool, one, other)
    assert len(asked) == 2


def strays(first: int, count: int) -> tuple[Outcome, ...]:
    """Copies that nobody placed, as a node reports them."""
    ids = (AllocationId(TaskId(n.to_bytes(16)), 0) for n in range(first, first + count))
    return tuple(Outcome(one, 1, AllocationState.RUNNING) for one in ids)


def under_old_token(pool: Pool, number: int) -> Report:
    """A report that does not count, because its node obeyed no order of this term."""
    return Report(Token(1, 0, 0), strays(1, 1), ())


def of_new_strays(pool: Pool, number: int) -> Report:
    """A report of copies that no report named before: the order will name each."""
    return attrs.evolve(claims(pool), claims=(), outcomes=strays(1 + 8 * number, 8))


def of_two_that_end_in_turn(pool: Pool, number: int) -> Report:
    """One copy runs and another has ended, and the next time the other way round."""
    runs, ended = strays(1, 2) if number % 2 else strays(1, 2)[::-1]
    ended = attrs.evolve(ended, state=AllocationState.STOPPED)
    return attrs.evolve(claims(pool), claims=(), outcomes=(runs, ended))


@pytest.mark.parametrize("made", [under_old_token, of_new_strays, of_two_that_end_in_turn])
def test_a_report_draws_a_whole_order_once_in_a_while(
    made: Callable[[Pool, int], Report],
) -> None:
    """An order names all that a node runs, up to a frame full: what comes soon after the last one
    is answered with it together."""
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    orders = told(pool, Order, victim, liar)
    for number in range(60):
        pool.world.said(liar, victim, made(pool, number))
        pool.world.run(50)
    assert 0 < len(orders) <= 3_000 // limits.ORDER_PAUSE_MS + 2
    pool.world.run(limits.ORDER_PAUSE_MS)
    named = {stop for one in orders if isinstance(one, Order) for stop in one.stops}
    if made is of_new_strays:
        assert len(named) == 60 * 8


def test_a_node_that_connects_again_and_again_draws_a_whole_order_once_in_a_while() -> None:
    """It may have restarted since its last order, and says so by each connection."""
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    pool.world.said(liar, victim, under_old_token(pool, 0))
    pool.world.run(5_000)
    orders = told(pool, Order, victim, liar)
    for _ in range(60):
        reconnect(pool, liar, victim)
    assert 0 < len(orders) <= 3_000 // limits.ORDER_PAUSE_MS + 2


def test_entries_of_a_few_bytes_are_not_drawn_by_the_thousand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has to be found and encoded, so it counts as much as a long one does."""
    monkeypatch.setattr(limits, "ANSWERS_KIB_PER_S", 8)
    monkeypatch.setattr(limits, "ANSWERS_KIB_BURST", 60)
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    node = pool.node(victim.number)
    log_id = node.context.pool_log.log_id
    assert log_id is not None
    pool.world.run(15_000)
    shown = told(pool, StateAnswered, victim, liar)
    held = node.context.pool_log.commit_index
    for number in range(100):
        pool.world.said(liar, victim, StateRequested(number, log_id, 0))
    pool.world.run(1_000)
    entries = sum(len(m.entries) for m in shown if isinstance(m, StateAnswered))
    assert held <= entries <= 60 + 8 + held


def test_hellos_with_ever_other_addresses_are_not_all_written() -> None:
    """What a node says of itself counts, a few times at once and then once a second."""
    pool = formed()
    liar, victim = pool.other(), pool.leader()
    node = pool.node(victim.number)
    bound = node.context.bindings.known[liar.node_id].binding
    written = 0
    for number in range(100):
        said = Hello("0.3.0", bound, liar.store_id, (f"/ip4/10.1.0.{number}/tcp/1",))
        header = Header(liar.node_id, liar.peer_key, 1, number, 0)
        verified = Verified(header, Channel.HELLO, said, b"")
        out = node.step(Received(verified, liar.peer_key), pool.world.now(victim))
        ops = [op for effect in out if isinstance(effect, Persist) for op in effect.operations]
        written += sum(isinstance(op, Put) and op.table == BINDINGS_TABLE for op in ops)
    assert written == limits.HELLO_ADDRESSES_BURST
