"""Named scenarios of a voter that lies: proven, told to all, kept, and nobody else is hurt."""

from collections.abc import Callable

import attrs
import pytest

from p2pool.codec.digests import committee_hash
from p2pool.model import limits
from p2pool.model.ids import StoreId
from p2pool.model.log.certificates import Evidence
from p2pool.model.messages.certificates import CertificateSigned, EquivocationProven
from p2pool.model.messages.raft import VoteAnswered
from p2pool.model.messages.registry import Message
from p2pool.proofs.certificates import equivocation, votes_for
from p2pool.wire.enclosures import open_one
from tests.sim.faults.member_liars import Framer, voter
from tests.sim.harness.certificates import chain, formed, known, led
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import Machine
from tests.sim.world.world import POOL


def say(pool: Pool, m: Machine, to: Machine, message: Message) -> None:
    """A machine sends what its own core would never make; the observer of honest ones looks on."""
    assert m.sealer is not None
    pool.world.carry(m, to, *m.sealer.seal(message, pool.world.now(m)))


def proofs(pool: Pool, number: int) -> list[Evidence]:
    return list(pool.node(number).parts.equivocation.kept.by_name.values())


@attrs.frozen
class Elected:
    """Three voters of which one was elected by another's vote; the third was away."""

    pool: Pool
    leader: Machine
    liar: Machine
    third: Machine
    vote: VoteAnswered

    def lie(self, **changed: object) -> None:
        """The liar gives the third the vote that it gave the leader, with something changed."""
        given: dict[str, object] = {"candidate": voter(self.third), **changed}
        second = attrs.evolve(self.vote, **given)  # type: ignore[arg-type]
        say(self.pool, self.liar, self.third, second)
        self.pool.world.run(2_000)


@pytest.fixture
def elected() -> Elected:
    """A second election, so that the leader has another's vote."""
    pool = formed(3)
    third = pool.leader()
    pool.world.crash(third.number)
    pool.until(lambda: led(pool))
    leader = pool.leader()
    pool.world.start(third.number)
    pool.until(
        lambda: (c := known(pool, third.number)) is not None and c.leader.node_id == leader.node_id
    )
    pool.world.run(3_000)
    liar = next(m for m in pool.world.machines if m not in (leader, third))
    votes = [
        open_one(POOL, sealed)
        for sealed in pool.node(third.number).context.leader_certificates.votes
    ]
    given = [v.message for v in votes if v is not None and isinstance(v.message, VoteAnswered)]
    (vote,) = [v for v in given if v.voter == voter(liar)]
    return Elected(pool, leader, liar, third, vote)


def test_the_votes_that_elected_a_leader_are_known_to_all(elected: Elected) -> None:
    """Its own among them, sealed like any other's."""
    pool = elected.pool
    for number in range(3):
        found = known(pool, number)
        assert found is not None
        votes = [open_one(POOL, s) for s in pool.node(number).context.leader_certificates.votes]
        count = votes_for(votes, chain(pool).voters, found.log_id, found.term, found.leader)
        assert count == 2
        assert {v.header.node_id for v in votes if v} == {
            elected.leader.node_id,
            elected.liar.node_id,
        }


def test_a_voter_that_votes_twice_is_proven_everywhere(elected: Elected) -> None:
    """One proof at each node, which anybody can check, and which a restart does not lose."""
    elected.lie()
    pool = elected.pool
    for number in range(3):
        (proof,) = proofs(pool, number)
        assert proof.voter == voter(elected.liar)
        assert proof == equivocation(open_one(POOL, proof.first), open_one(POOL, proof.second))
    again: list[Message] = []
    pool.world.on_send.append(
        lambda m, to, said: again.append(said) if isinstance(said, EquivocationProven) else None
    )
    elected.lie(candidate=voter(elected.liar))  # Once more in that term is nothing new.
    assert again == []
    assert [len(proofs(pool, n)) for n in range(3)] == [1, 1, 1]
    for number in range(3):
        pool.world.crash(number)
        pool.world.start(number)
        assert len(proofs(pool, number)) == 1


def test_a_liar_that_makes_up_stores_proves_nothing(elected: Elected) -> None:
    """A store that no certified configuration names is nobody's, and takes nobody's place."""
    pool, third = elected.pool, elected.third
    for number in range(limits.EVIDENCE_PER_VOTER_MAX):
        made_up = attrs.evolve(voter(elected.liar), store_id=StoreId(bytes([0xF0 + number]) * 16))
        for candidate in (third, elected.leader):
            elected.lie(voter=made_up, candidate=voter(candidate))
    book = pool.node(third.number).parts.equivocation
    assert list(book.kept.by_name) == []
    assert set(book.seen) <= set(chain(pool).voters)
    elected.lie()
    assert [p.voter for p in proofs(pool, third.number)] == [voter(elected.liar)]


def test_nobody_is_framed_under_another_key(elected: Elected) -> None:
    """Two votes that a member signs itself, in the name of each node there is, prove nothing and
    take up no room: who lies later is proven as ever."""
    pool, framer = elected.pool, Framer(elected.pool, elected.leader)
    for victim in (elected.third, elected.liar):
        for term in range(1, limits.EVIDENCE_PER_VOTER_MAX + 1):
            framer.accuse(victim, attrs.evolve(elected.vote, term=term))
    pool.world.run(2_000)
    assert framer.accused == 2 * limits.EVIDENCE_PER_VOTER_MAX
    assert [proofs(pool, n) for n in range(3)] == [[], [], []]
    elected.lie()
    for number in range(3):
        assert [p.voter for p in proofs(pool, number)] == [voter(elected.liar)]


def test_what_is_forgotten_goes_from_the_disk_too(
    elected: Elected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer proof takes an older one's place there as in memory."""
    monkeypatch.setattr(limits, "EVIDENCE_KEPT_MAX", 1)
    term = elected.vote.term
    for later in (1, 2):
        for candidate in (elected.third, elected.leader):
            elected.lie(term=term + later, candidate=voter(candidate))
    number = elected.third.number
    before = proofs(elected.pool, number)
    assert [p.term for p in before] == [term + 2]
    monkeypatch.undo()
    elected.pool.world.crash(number)
    elected.pool.world.start(number)
    assert proofs(elected.pool, number) == before


def test_who_was_away_is_told_later(elected: Elected) -> None:
    """The leader says again what was proven."""
    pool = elected.pool
    away = elected.leader
    pool.world.crash(away.number)
    elected.lie()
    pool.world.start(away.number)
    assert proofs(pool, away.number) == []
    pool.until(lambda: len(proofs(pool, away.number)) == 1, 300_000)


@pytest.mark.parametrize(
    "changed",
    [{"granted": False}, {"pre": True}, {"term": 99}, {"log_id": committee_hash(())}],
)
def test_what_is_no_second_vote_proves_nothing(
    elected: Elected, changed: dict[str, object]
) -> None:
    """A refusal, a promise, another term, another log."""
    elected.lie(**changed)
    assert [proofs(elected.pool, n) for n in range(3)] == [[], [], []]


def test_a_vote_for_one_and_a_word_for_another_is_no_lie(elected: Elected) -> None:
    """The third voted for nobody here; it confirms the leader, and may have voted for itself."""
    own = attrs.evolve(elected.vote, candidate=voter(elected.third), voter=voter(elected.third))
    say(elected.pool, elected.third, elected.liar, own)
    elected.pool.world.run(70_000)
    assert [proofs(elected.pool, n) for n in range(3)] == [[], [], []]


def _twice(e: Elected) -> tuple[bytes, bytes]:
    sealer = e.liar.sealer
    assert sealer is not None
    return sealer.seal(e.vote, e.pool.world.now())[1], sealer.seal(e.vote, e.pool.world.now())[1]


def _in_anothers_name(e: Elected) -> tuple[bytes, bytes]:
    sealer = e.third.sealer
    assert sealer is not None
    other = attrs.evolve(e.vote, candidate=voter(e.third))
    return sealer.seal(e.vote, e.pool.world.now())[1], sealer.seal(other, e.pool.world.now())[1]


def _torn(e: Elected) -> tuple[bytes, bytes]:
    sealer = e.liar.sealer
    assert sealer is not None
    other = attrs.evolve(e.vote, candidate=voter(e.third))
    sealed = sealer.seal(other, e.pool.world.now())[1]
    return _twice(e)[0], sealed[:-1] + bytes([sealed[-1] ^ 1])


@pytest.mark.parametrize("make", [_twice, _in_anothers_name, _torn])
def test_a_made_up_proof_is_refused(
    elected: Elected, make: Callable[[Elected], tuple[bytes, bytes]]
) -> None:
    """One word twice, signed by who wants to hurt another, or damaged: nobody takes it."""
    elected.pool.world.said(elected.third, None, EquivocationProven(*make(elected)))
    elected.pool.world.run(2_000)
    assert [proofs(elected.pool, n) for n in range(3)] == [[], [], []]


def test_an_honest_voter_cannot_be_made_to_sign_for_two(elected: Elected) -> None:
    """It remembers on its disk whom it confirmed, whatever another says of itself in that term."""
    pool = elected.pool
    signatures = pool.node(elected.third.number).parts.signatures
    first = signatures.confirmed
    assert first is not None
    raft = pool.node(elected.third.number).context.pool_log.raft
    assert raft is not None
    point = pool.node(elected.leader.number).parts.leader.certification.questions.popitem()[1].point  # type: ignore[union-attr]
    raft.state.leader = voter(elected.liar)  # A second leader of one term, as it would seem.
    asked = attrs.evolve(point.asked, leader=voter(elected.liar), at_ms=pool.world.now().wall_ms)
    assert not signatures._agrees(attrs.evolve(point, asked=asked), pool.world.now())
    assert signatures.confirmed == first
    pool.world.crash(elected.third.number)
    pool.world.start(elected.third.number)
    assert pool.node(elected.third.number).parts.signatures.confirmed == first


def test_two_words_for_two_leaders_are_a_proof_too(elected: Elected) -> None:
    """Signed for the leader, as every certificate shows, and then for itself."""
    pool = elected.pool
    found = known(pool, elected.third.number)
    assert found is not None
    words = [open_one(POOL, sealed) for sealed in found.signatures]
    signer = next(v.header.node_id for v in words if v and v.header.node_id != found.leader.node_id)
    by = next(m for m in pool.world.machines if m.node_id == signer)
    to = next(m for m in pool.world.machines if m not in (by, elected.leader))
    word = next(v.message for v in words if v and v.header.node_id == signer)
    assert isinstance(word, CertificateSigned)
    pool.world.said(by, to, attrs.evolve(word, leader=voter(by)))
    pool.world.run(2_000)
    assert {p.kind for n in range(3) for p in proofs(pool, n)} == {"certificate"}
