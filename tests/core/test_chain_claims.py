"""What a reading says otherwise, which of it takes something away, and what is held meanwhile."""

import attrs

from p2pool.core.chain_claims import Fact, Reading, claims, differences, merged
from p2pool.core.knowledge.roster import Roster
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, StoreId
from p2pool.model.states import ChainStanding, PoolStatus
from p2pool.model.timing import Now

A, B, C = NodeId(b"a" * 20), NodeId(b"b" * 20), NodeId(b"c" * 20)
P, THIEF = Address(b"p" * 20), Address(b"t" * 20)
ROOT = RootRecord(3, A, PeerKey(b"k" * 32), StoreId(b"s" * 16))


def roster(*members: NodeId, block: int = 5, eligible: bool = True) -> ChainRoster:
    """A roster of these members at a block."""
    found = tuple(ChainMember(m, P, eligible, "" if eligible else "blacklisted") for m in members)
    return ChainRoster(
        block, Digest(bytes([block]) * 32), 1_000, found, P, P, PoolStatus.ACTIVE, ROOT
    )


def reading(latest: ChainRoster, final: ChainRoster | None = None) -> Reading:
    return Reading.of(latest, final or latest, None)


def test_what_takes_something_away_is_told_apart() -> None:
    """A joining and a later epoch give; an end, a removal, a ban and another manager take."""
    was, right = reading(roster(A, B)), roster(A, B)
    assert differences(was, reading(roster(A, B, block=9))) == {}
    assert differences(was, reading(roster(A, B, C))) == {C: False}
    assert differences(was, reading(roster(A))) == {B: True}
    assert differences(was, reading(roster(A, B, eligible=False))) == {A: True, B: True}
    assert differences(reading(roster(A, eligible=False)), reading(roster(A))) == {A: False}
    thief = attrs.evolve(right, manager=THIEF)
    assert differences(was, reading(thief)) == {Fact.RULERS: True}
    ended = attrs.evolve(right, status=PoolStatus.COMPLETED)
    assert differences(was, reading(ended)) == {Fact.STATUS: True}
    for epoch, takes in ((2, True), (3, False), (4, False)):
        root = attrs.evolve(ROOT, epoch=epoch, store_id=StoreId(b"x" * 16))
        assert differences(was, reading(attrs.evolve(right, root=root))) == {Fact.ROOT: takes}


def test_who_left_at_the_latest_block_only_is_still_in() -> None:
    """The combined reading takes rights away by final blocks."""
    said = reading(roster(B), roster(A, B, eligible=False))
    assert set(said.members) == {A, B}
    assert not said.members[B].eligible
    assert reading(roster(A, B, eligible=False), roster(A)).members[A].eligible


def test_what_is_held_keeps_its_value_and_the_rest_is_taken() -> None:
    """One that is gone stays, one that came is not there yet, and the thief rules nothing."""
    was = reading(roster(A, B))
    said = attrs.evolve(roster(A, C, block=9), manager=THIEF, root=None)
    new = reading(said)
    held = merged(was, new, set(differences(was, new)))
    assert set(held.members) == {A, B}
    assert [m.node_id for m in held.final.members] == [A, B]
    assert [m.node_id for m in held.latest.members] == [A]
    assert (held.latest.manager, held.final.root) == (P, ROOT)
    assert held.final.block_number == 9
    assert merged(was, new, {B}).latest.manager == THIEF
    assert merged(was, new, ()) is new


def test_a_claim_is_as_old_as_the_first_time_that_it_was_said() -> None:
    """Another value of the same thing is another claim, and one that is said no more is gone."""
    was, gone = reading(roster(A, B)), reading(roster(A, block=7))
    first = claims({}, was, gone, Now(10, 10))
    again = claims(first, was, reading(roster(A, block=8)), Now(20, 20))
    assert again[B] is first[B]
    assert (again[B].since_ms, again[B].final_block) == (10, 7)
    other = claims(again, was, reading(roster(A, B, block=9, eligible=False)), Now(30, 30))
    assert other[B].since_ms == 30
    assert claims(other, was, was, Now(40, 40)) == {}


def test_a_guarded_roster_goes_by_the_old_until_a_claim_counts() -> None:
    """Its standing is what it reads itself: others ask for that."""
    book = Roster()
    book.observe(roster(A, B), roster(A, B), Now(0, 0))
    book.guarded = True
    book.observe(roster(A, C, block=9), roster(A, C, block=9), Now(1, 1))
    assert (book.belongs(B), book.belongs(C), set(book.claims)) == (True, False, {B, C})
    assert book.standing(B, 9) == (ChainStanding.OUT, 9)
    book.accept([B], Now(2, 2))
    assert (book.out_finally(B), book.belongs(C), set(book.claims)) == (True, False, {C})
    book.accept([C], Now(3, 3))
    assert book.belongs(C)
    assert not book.claims


def test_a_lower_epoch_that_counts_withdraws_the_higher_one() -> None:
    """The log may go back to what it was, for this record alone."""
    book = Roster()
    false = attrs.evolve(ROOT, epoch=999)
    said = attrs.evolve(roster(A), root=false)
    book.observe(said, said, Now(0, 0))
    book.guarded = True
    book.observe(roster(A, block=9), roster(A, block=9), Now(1, 1))
    assert (book.root, book.withdrawn) == (false, None)
    book.accept([Fact.ROOT], Now(2, 2))
    assert (book.root, book.withdrawn) == (ROOT, false)


def test_without_a_roster_of_its_own_a_guarded_node_believes_in_members_only() -> None:
    """Its disk kept none, but a log with voters: a first reading gives it no ruler and no root."""
    book = Roster(guarded=True)
    said = roster(A, B)
    book.observe(said, said, Now(0, 0))
    assert book.belongs(A)
    assert book.root is None
    assert book.latest is not None
    assert book.latest.manager not in (P, THIEF)
    assert set(book.claims) == {Fact.ROOT, Fact.RULERS}
