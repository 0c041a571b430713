"""In, out or unknown: what a node concludes from the chain, and what it never concludes."""

import attrs
import pytest

from p2pool.core.knowledge.roster import ROSTER_KEY, Roster
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.ports.store import Put
from p2pool.model.states import Membership, PoolStatus
from p2pool.model.timing import Now

A, B = NodeId(b"a" * 20), NodeId(b"b" * 20)
P = Address(b"p" * 20)


def roster(*members: NodeId, block: int = 5, eligible: bool = True) -> ChainRoster:
    """A roster of these members at a block."""
    found = tuple(ChainMember(m, P, eligible, "" if eligible else "blacklisted") for m in members)
    return ChainRoster(
        block, Digest(bytes([block]) * 32), 1_000, found, P, P, PoolStatus.ACTIVE, None
    )


def at(ms: int) -> Now:
    """A moment."""
    return Now(ms, 10_000 + ms)


@pytest.fixture
def book() -> Roster:
    """Nothing was read yet."""
    return Roster()


def test_nothing_known_is_nothing_concluded(book: Roster) -> None:
    """Before the first reading nobody is in, and nobody is out."""
    assert not book.known
    assert not book.belongs(A)
    assert not book.out_finally(A)
    book.unreachable("silent")
    assert book.age_ms(at(5)) == -1
    assert book.problem == "silent"


def test_a_joining_counts_at_once_and_a_leaving_when_it_is_final(book: Roster) -> None:
    """A reorganisation or a lying endpoint ejects nobody."""
    book.observe(roster(A, B), roster(A), at(0))
    assert book.belongs(B)
    book.observe(roster(), roster(A, B), at(1))
    assert book.belongs(A)
    assert not book.out_finally(A)
    book.observe(roster(), roster(), at(2))
    assert book.out_finally(A)
    assert book.membership(A) is Membership.LEFT


def test_a_right_is_taken_away_when_it_is_final(book: Roster) -> None:
    """A blacklisting at the latest block is not enough."""
    book.observe(roster(A, eligible=False), roster(A), at(0))
    assert book.eligible(A)
    book.observe(roster(A, eligible=False), roster(A, eligible=False), at(1))
    assert not book.eligible(A)


def test_the_chain_away_changes_nothing_but_the_age(book: Roster) -> None:
    """The last roster stands."""
    book.observe(roster(A), roster(A), at(0))
    book.unreachable("silent")
    assert book.belongs(A)
    assert book.age_ms(at(600_000)) == 600_000


def test_membership_moves_by_its_table(book: Roster) -> None:
    """Onboarding until heard; stalled after three minutes of silence; back when heard."""
    book.observe(roster(A, B), roster(A, B), at(0))
    assert book.membership(A) is Membership.ONBOARDING
    book.heard(A, at(10))
    book.tick(at(limits.ONBOARDING_STALL_MS))
    assert book.membership(A) is Membership.MEMBER
    assert book.membership(B) is Membership.STALLED
    book.heard(B, at(limits.ONBOARDING_STALL_MS + 1))
    assert book.membership(B) is Membership.MEMBER


def test_a_restart_without_the_chain_stands_on_what_was_kept(book: Roster) -> None:
    """The final roster is kept when it says something new, and taken up with its age."""
    (kept,) = book.observe(roster(A), roster(A), at(0))
    assert isinstance(kept, Put)
    assert book.observe(roster(A, block=6), roster(A, block=6), at(1)) == []
    again = Roster()
    again.restore({ROSTER_KEY: kept.value}.get(kept.key), at(50))
    assert again.belongs(A)
    assert again.problem
    assert again.age_ms(at(50)) == at(50).wall_ms - 1_000
    again.restore(b"garbage", at(60))
    assert again.belongs(A)
    assert attrs.asdict(again)["observed_ms"] is None


# --- whose word counts where a leader's is judged -----------------------------------------------

Q = Address(b"q" * 20)


def ruled(by: Address, *members: ChainMember, at_ms: int = 1_000) -> ChainRoster:
    named = attrs.evolve(roster(), creator=by, manager=by, members=members)
    return attrs.evolve(named, block_time_ms=at_ms)


def seen(book: Roster, told: ChainRoster, ms: int) -> None:
    book.observe(told, told, at(ms))


def test_a_former_right_counts_for_some_minutes(book: Roster) -> None:
    """Others read the chain later than we do, and are honest."""
    lost_ms = 5_000
    seen(book, ruled(P, ChainMember(A, P, True), ChainMember(B, P, True)), 0)
    assert not book.rules(Q, at(0))
    seen(book, ruled(Q, ChainMember(A, Q, True)), lost_ms)
    for ms, still in ((lost_ms, True), (lost_ms + limits.FORMER_RIGHTS_MS, False)):
        assert book.rules(P, at(ms)) is still
        assert book.provides(A, P, at(ms)) is still
        assert book.provides(B, P, at(ms)) is still
        assert book.rules(Q, at(ms))
        assert book.provides(A, Q, at(ms))
        assert not book.provides(B, Q, at(ms))


def test_a_right_that_is_lost_again_counts_from_then_on(book: Roster) -> None:
    """Not from the first time."""
    for ms, by in ((0, P), (1_000, Q), (2_000, P), (400_000, Q)):
        seen(book, ruled(by), ms)
    assert book.rules(P, at(400_000 + limits.FORMER_RIGHTS_MS - 1))


def test_nobody_has_rights_of_nobodys(book: Roster) -> None:
    """The chain's word for no account is none."""
    nobody = Address(bytes(20))
    seen(book, ruled(nobody, ChainMember(A, nobody, True)), 0)
    assert not book.rules(nobody, at(0))
    assert not book.provides(A, nobody, at(0))
    seen(book, ruled(P), 1)
    assert not book.rules(nobody, at(1))


def test_an_old_roster_says_of_nobody_that_he_has_no_right(book: Roster) -> None:
    """Nor does none, nor one whose rulers nobody has confirmed; block times tell its age."""
    assert not book.is_current(0)
    seen(book, ruled(P, at_ms=50_000), 0)
    assert book.is_current(50_000 + limits.CHAIN_TIME_LAG_MS)
    assert not book.is_current(50_001 + limits.CHAIN_TIME_LAG_MS)
    seen(book, ruled(Address(bytes(20)), at_ms=50_000), 1)
    assert not book.is_current(50_000)
