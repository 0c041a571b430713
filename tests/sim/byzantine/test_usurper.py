"""A member that nobody elected: it does not come to lead, and keeps nobody from leading.

It speaks while no leader is heard, or while a follower starts anew, as a member, a learner or a
voter; whoever leads by right goes on or is soon there, in a term like any other.
"""

from collections.abc import Callable

import attrs
import pytest

from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.log.certification_point import CertificationPoint
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.ids import Digest
from p2pool.model.log.entries import Certify
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.raft import AppendRequested, VoteAnswered, VoteRequested
from p2pool.model.messages.registry import Message
from tests.sim.harness.committee import leading
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine

TERMS_MAX = 20
NOTHING = Digest(bytes(32))


@attrs.define
class Usurper:
    """Somebody without a seat, in a pool of five with three voters."""

    pool: Pool
    m: Machine

    @property
    def me(self) -> Voter:
        return Voter(self.m.node_id, self.m.peer_key, self.m.store_id)

    def others(self) -> list[tuple[Machine, Voter, Digest, int]]:
        found = []
        for other in self.pool.world.machines:
            raft = other.node.context.pool_log.raft if other.node is not None else None
            if other is not self.m and raft is not None:
                you = Voter(other.node_id, other.peer_key, other.store_id)
                found.append((other, you, raft.state.log_id, raft.state.log.last_index))
        return found

    def say(self, to: Machine, message: Message) -> None:
        assert self.m.sealer is not None
        channel, data = self.m.sealer.seal(message, self.pool.world.now(self.m))
        self.pool.world.carry(self.m, to, channel, data)

    def campaigns(self, term: int) -> None:
        """Vote for me, by the leader's order."""
        for other, you, log_id, end in self.others():
            asked = VoteRequested(
                log_id, term, self.me, you, end + 9, term - 1, NOTHING, False, True
            )
            self.say(other, asked)

    def leads(self, term: int) -> None:
        """I lead, and this is the log."""
        for other, you, log_id, _ in self.others():
            self.say(other, AppendRequested(log_id, term, self.me, you, 0, 0, 0, 1, ()))

    def proves(self, votes: int, m: Machine, to: Machine | None, message: Message) -> None:
        """Whoever asks for proof gets some votes, of no voter but itself."""
        if to is not self.m or not isinstance(message, CertificatesRequested):
            return
        log_id = self.others()[0][2]
        assert self.m.node is not None
        chain = self.m.node.context.pool_log.chain
        said = VoteAnswered(log_id, 99, self.me, self.me, 0, 0, NOTHING, False, True, "")
        assert self.m.sealer is not None
        now = self.pool.world.now(self.m)
        sealed = tuple(self.m.sealer.sealed(said, now).sealed for _ in range(votes))
        answer = CertificatesAnswered(message.request, log_id, chain, (), sealed)
        self.say(m, answer)


@pytest.fixture
def usurper() -> Usurper:
    pool = formed(5)
    m = next(m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches)
    pool.world.liars.add(m.number)
    return Usurper(pool, m)


def sound(usurper: Usurper) -> bool:
    """Somebody else leads, in a term that can be reached by elections alone, and work is taken."""
    pool = usurper.pool
    at = leading(pool)
    if at is None or at == usurper.m.number:
        return False
    terms = [
        m.node.context.pool_log.term
        for m in pool.world.machines
        if m.node is not None and m is not usurper.m
    ]
    return max(terms) < TERMS_MAX


@pytest.mark.parametrize("act", [Usurper.campaigns, Usurper.leads])
def test_a_member_does_not_take_the_log_while_no_leader_is_heard(
    usurper: Usurper, act: Callable[[Usurper, int], None]
) -> None:
    """It repeats itself from the leader's death on, in terms of every size."""
    pool = usurper.pool
    pool.world.crash(pool.leader().number)
    for n in range(30):
        act(usurper, (9, 2**20, 2**40, 2**53 - 1)[n % 4])
        pool.world.run(100)
    pool.until(lambda: sound(usurper), 5_000)


def test_a_follower_that_starts_anew_takes_no_term_from_a_member(usurper: Usurper) -> None:
    """The leader lives, and goes on leading."""
    pool = usurper.pool
    leader = pool.leader()
    pool.world.crash(pool.voter().number)
    pool.world.start(next(m.number for m in pool.world.machines if m.node is None))
    for _ in range(30):
        usurper.campaigns(2**53 - 1)
        pool.world.run(100)
    assert pool.leader() is leader
    assert sound(usurper)


def test_who_speaks_first_does_not_keep_the_leader_from_being_asked(usurper: Usurper) -> None:
    """A voter that knows an older committee hears liars all the time, who prove nothing; the true
    leader is a stranger to it, and is asked all the same."""
    pool = usurper.pool
    pool.world.on_send.append(lambda m, to, said: usurper.proves(3, m, to, said))
    leader, late = pool.leader(), pool.voter()
    assert late.node is not None
    s = late.node.context.pool_log.raft
    assert s is not None
    s.state.configuration = attrs.evolve(
        s.state.configuration,
        voters=tuple(v for v in s.state.configuration.voters if v.node_id != leader.node_id),
    )
    s.state.leader = s.state.chosen = None
    late.node.context.leader_certificates.known = None
    asked: list[Machine | None] = []
    pool.world.on_send.append(
        lambda m, to, said: (
            asked.append(to) if m is late and isinstance(said, CertificatesRequested) else None
        )
    )
    for _ in range(20):
        usurper.leads(99)
        pool.world.run(100)
    assert leader in asked
    assert late.node.context.pool_log.leader == leader.node_id
    assert late.node.context.pool_log.term < TERMS_MAX


def test_nobody_notes_a_promise_in_anothers_name(usurper: Usurper) -> None:
    """It would push out what the store's own agent has to be shown when it starts."""
    pool = usurper.pool
    leader = pool.leader()
    named = Voter(leader.node_id, leader.peer_key, leader.store_id)
    for other, you, log_id, _ in usurper.others():
        asked = VoteRequested(log_id, 2**50, named, you, 0, 0, NOTHING, False, False)
        usurper.say(other, asked)
    pool.world.run(500)
    for m in pool.world.machines:
        assert m.node is not None
        kept = m.node.parts.identity.peer_promises.promises.values()
        assert all(word.term < TERMS_MAX for word in kept)


def test_a_voter_confirms_no_leader_without_a_seat(usurper: Usurper) -> None:
    """It may follow one by a change that is not committed; its word needs the committee's own."""
    pool = usurper.pool
    follower = pool.voter()
    assert follower.node is not None
    context = follower.node.context
    raft, state = context.pool_log.raft, context.pool_log.state
    assert raft is not None
    assert state is not None
    raft.state.leader = usurper.me
    point = CertificationPoint(
        index=9,
        term=context.pool_log.term,
        asked=Certify(usurper.me, pool.world.now(follower).wall_ms),
        voters=state.chain.voters,
        state_digest=digest_of(state),
    )
    signatures = follower.node.parts.signatures
    before = signatures.confirmed
    context.effects.clear()
    signatures.on_point(point, pool.world.now(follower))
    assert context.effects == []
    assert signatures.confirmed == before


def test_a_voter_off_the_roster_is_no_guest(usurper: Usurper) -> None:
    """It serves on, and may need every link of the chain; a guest gets few, and not often."""
    pool = usurper.pool
    leader, late = pool.leader(), pool.voter()
    assert leader.node is not None
    roster, exchange = leader.node.context.roster, leader.node.parts.certificate_exchange
    exchange.all_guests = TokenBuckets(1, 0, 1)
    asked: list[Message] = []
    pool.world.on_send.append(lambda m, to, said: asked.append(said) if to is late else None)
    pool.world.members.remove(late.number)
    pool.until(lambda: not roster.belongs(late.node_id))
    assert any(v.node_id == late.node_id for v in leader.node.context.pool_log.chain.voters)
    pool.world.said(late, leader, CertificatesRequested(77))
    pool.world.run(300)
    assert any(isinstance(said, CertificatesAnswered) and said.request == 77 for said in asked)
