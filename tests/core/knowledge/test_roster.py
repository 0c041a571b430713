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
