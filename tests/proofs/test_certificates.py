"""A quorum's signed words make a certificate, and nothing less, else, older or repeated does."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.digests import committee_hash
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Refusal, Stale
from p2pool.model.ids import Address, Digest, PoolRef, StateDigest
from p2pool.model.log.certificates import CHANGE, HISTORY, Link, SignedHistory
from p2pool.model.messages.certificates import HistorySigned
from p2pool.model.messages.registry import Header, Verified
from p2pool.proofs import certificates as c
from p2pool.wire.envelope import seal
from tests.wire.committee import LOG, MEMBERS, STATE, A, B, C, D, Member, change, vote, voters, word
from tests.wire.samples import NOW_MS, POOL

THREE = (A, B, C)
OTHER = Digest(b"x" * 32)
OTHER_STATE = StateDigest(b"\x01" + OTHER)


def certificate(*opened: Verified | None, of: tuple[Member, ...] = THREE) -> object:
    return c.leader_certificate(opened, voters(of), LOG)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_a_quorum_certifies_a_leader(size: int) -> None:
    """Of a committee of any size, a majority and not one fewer."""
    group = tuple(MEMBERS[:size])
    said = [m.opened(word(m, group)) for m in group]
    enough = c.quorum_of(voters(group))
    found = c.leader_certificate(said[:enough], voters(group), LOG)
    assert (found.leader, found.term, found.state_digest) == (A.voter, 5, STATE)
    assert len(found.signatures) == enough
    with pytest.raises(BadSignature):
        c.leader_certificate(said[: enough - 1], voters(group), LOG)


def test_what_makes_no_certificate() -> None:
    """Each of these once, beside a word that is good."""
    good = A.opened(word(A, THREE))
    bad = {
        "forged": (None, BadSignature),
        "of another pool": (
            B.opened(word(B, THREE), PoolRef(1, Address(b"c" * 20), 1)),
            BadSignature,
        ),
        "by a learner": (D.opened(word(D, THREE)), BadSignature),
        "in another's name": (B.opened(word(C, THREE)), BadSignature),
        "by another disk": (
            Member(1, store=9).opened(word(Member(1, store=9), THREE)),
            BadSignature,
        ),
        "twice by one": (A.opened(word(A, THREE)), Malformed),
        "of another log": (B.opened(word(B, THREE, log_id=OTHER)), NotForUs),
        "of another term": (B.opened(word(B, THREE, term=6)), Malformed),
        "for another leader": (B.opened(word(B, THREE, leader=B)), Malformed),
        "of another state": (B.opened(word(B, THREE, state_digest=OTHER_STATE)), Malformed),
        "of another time": (B.opened(word(B, THREE, time_ms=NOW_MS + 1)), Malformed),
        "another kind of word": (B.opened(vote(B, A)), Malformed),
    }
    for opened, error in bad.values():
        with pytest.raises(error):
            certificate(good, opened)


def test_a_certificate_of_another_committee_is_none() -> None:
    """The voters are right, and what they signed names others."""
    said = [m.opened(word(m, (A, B, D))) for m in (A, B)]
    with pytest.raises(NotForUs):
        certificate(*said)
    assert c.committee_named(said) != committee_hash(voters(THREE))


def test_a_certificate_names_a_voter_of_its_committee() -> None:
    """A majority may not lend its word to a learner, or to one that has left."""
    for leader in (D, Member(0, store=9)):
        said = [m.opened(word(m, THREE, leader=leader)) for m in (A, B)]
        with pytest.raises(NotForUs, match="no voter of that committee"):
            certificate(*said)


def test_a_certificate_lasts_two_minutes() -> None:
    """Give or take the clocks; and one from the future is none."""
    most_ms = limits.CERTIFICATE_LIFETIME_MS + limits.CLOCK_SKEW_MAX_MS
    c.check_fresh(NOW_MS, NOW_MS + most_ms)
    c.check_fresh(NOW_MS, NOW_MS - limits.CLOCK_SKEW_MAX_MS)
    for wall_ms in (NOW_MS + most_ms + 1, NOW_MS - limits.CLOCK_SKEW_MAX_MS - 1):
        with pytest.raises(Stale):
            c.check_fresh(NOW_MS, wall_ms)


@given(data=st.data(), size=st.sampled_from([1, 2, 3, 5, 7]))
def test_no_mixture_below_a_quorum_verifies(data: st.DataObject, size: int) -> None:
    """Fewer good words than a quorum, and any number of spoiled ones, in any order."""
    group = tuple(MEMBERS[:size])
    count = data.draw(st.integers(0, c.quorum_of(voters(group)) - 1))
    signers = data.draw(st.permutations(group))
    items: list[Verified | None] = [m.opened(word(m, group)) for m in signers[:count]]
    fields = {"term": 6, "leader": MEMBERS[7].voter, "state_digest": OTHER_STATE, "log_id": OTHER}
    for m in signers[count:]:
        how = data.draw(st.sampled_from([*fields, "bytes", "name", "left out"]))
        if how in fields:
            spoiled_word = attrs.evolve(word(m, group), **{how: fields[how]})  # type: ignore[arg-type]
            items.append(m.opened(spoiled_word))
        elif how == "name":
            items.append(MEMBERS[7].opened(word(m, group)))
        elif how == "bytes":
            sealed = bytearray(m.seal(word(m, group)))
            sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 + data.draw(st.integers(0, 254))
            items.append(c_open(bytes(sealed)))
    shuffled = data.draw(st.permutations(items))
    spoiled = [i for i in shuffled if i is not None]
    for attempt in (shuffled, spoiled, spoiled + spoiled):
        try:
            found = c.leader_certificate(attempt, voters(group), LOG)
        except Refusal:
            continue
        # A quorum of the spoiled ones may agree with each other, on what nobody honest said.
        assert (found.term, found.leader, found.state_digest) != (5, A.voter, STATE)


def c_open(sealed: bytes) -> Verified | None:
    from p2pool.wire.enclosures import open_one
    from tests.wire.samples import POOL

    return open_one(POOL, sealed)


# --- changes of the voters ------------------------------------------------------------------------


def test_previous_voters_certify_the_next() -> None:
    """Each signature is over the very change: index, term, before and after."""
    after = (A, B, C, D)
    link = Link(7, 2, 0, voters(after))
    said = [m.opened(change(m, THREE, after)) for m in (A, B)]
    assert c.link_signers(said, link, voters(THREE), LOG) == (A.voter, B.voter)
    for wrong in (
        attrs.evolve(link, index=8),
        attrs.evolve(link, term=3),
        attrs.evolve(link, voters=voters((A, B))),
    ):
        with pytest.raises(NotForUs):
            c.link_signers(said, wrong, voters(THREE), LOG)
    with pytest.raises(BadSignature):  # The newcomer has no say in its own coming.
        c.link_signers([D.opened(change(D, THREE, after))], link, voters(THREE), LOG)


# --- votes and equivocation -----------------------------------------------------------------------


def test_votes_for_a_leader_are_counted() -> None:
    """Granted, in its term, for it."""
    said = [m.opened(vote(m, A)) for m in THREE]
    assert c.votes_for(said, voters(THREE), LOG, 5, A.voter) == 3
    for wrong in ({"granted": False}, {"pre": True}, {"term": 4}, {"candidate": B.voter}):
        opened = B.opened(attrs.evolve(vote(B, A), **wrong))
        with pytest.raises(Refusal):
            c.votes_for([opened], voters(THREE), LOG, 5, A.voter)


def test_two_votes_in_one_term_are_a_proof() -> None:
    """Of one voter, whichever way round they are found."""
    first, second = C.opened(vote(C, A)), C.opened(vote(C, B))
    proof = c.equivocation(first, second)
    assert (proof.voter, proof.term, proof.kind) == (C.voter, 5, "vote")
    assert proof == c.equivocation(second, first)
    for_two = c.equivocation(C.opened(word(C, THREE)), C.opened(word(C, THREE, leader=B)))
    assert for_two.kind == "certificate"


def test_what_proves_no_equivocation() -> None:
    """Above all: a vote for one, then a signature for another who won."""
    voted = C.opened(vote(C, A))
    for other in (
        C.opened(vote(C, A)),
        C.opened(vote(C, B, term=6)),
        C.opened(vote(C, B, granted=False)),
        C.opened(vote(C, B, pre=True)),
        C.opened(vote(C, B, log_id=OTHER)),
        C.opened(word(C, THREE, leader=B)),
        B.opened(vote(C, B)),
        B.opened(vote(B, B)),
        Member(2, store=5).opened(vote(Member(2, store=5), B)),
        C.opened(change(C, THREE, (A, B))),
        None,
    ):
        with pytest.raises(Refusal):
            c.equivocation(voted, other)


def history(by: Member, **changed: object) -> Verified | None:
    """A voter's word for a history, with some fields changed."""
    plain = HistorySigned(LOG, 3, by.voter, 7, Digest(b"h" * 32))
    return by.opened(attrs.evolve(plain, **changed))  # type: ignore[arg-type]


def test_two_histories_at_one_index_are_a_proof() -> None:
    """Whichever way round they are found, in whatever terms, and in a certificate too."""
    first, second = history(B), history(B, term=9, history=OTHER)
    proof = c.equivocation(first, second)
    assert (proof.voter, proof.term, proof.kind, proof.index) == (B.voter, 9, HISTORY, 7)
    assert {proof.first_hash, proof.second_hash} == {OTHER, Digest(b"h" * 32)}
    assert proof == c.equivocation(second, first)
    confirmed = B.opened(word(B, THREE, commit_index=7, history=OTHER))
    assert c.equivocation(first, confirmed).kind == HISTORY
    for_another = B.opened(word(B, THREE, commit_index=7, leader=B, history=Digest(b"y" * 32)))
    assert c.equivocation(confirmed, for_another).kind == "certificate"


def test_two_changes_at_one_index_are_a_proof() -> None:
    """Of what the next committee is; the same one once more is none, nor is one at another index,
    nor a history there."""
    first = B.opened(change(B, THREE, (A, B)))
    proof = c.equivocation(first, B.opened(change(B, THREE, (B, C), term=3)))
    assert (proof.voter, proof.term, proof.kind, proof.index) == (B.voter, 3, CHANGE, 7)
    hashes = {committee_hash(voters(group)) for group in ((A, B), (B, C))}
    assert {proof.first_hash, proof.second_hash} == hashes
    for other in (
        B.opened(change(B, THREE, (A, B), term=3)),
        B.opened(change(B, THREE, (B, C), index=8)),
        C.opened(change(C, THREE, (B, C))),
        history(B),
    ):
        with pytest.raises(Refusal):
            c.equivocation(first, other)


@pytest.mark.parametrize(
    "other",
    [
        history(B),
        history(B, term=4),
        history(B, index=8, history=OTHER),
        history(B, log_id=OTHER, history=OTHER),
        history(B, voter=C.voter, history=OTHER),
        history(C, history=OTHER),
        B.opened(word(B, THREE, commit_index=7)),
        B.opened(word(B, THREE, commit_index=8, history=OTHER)),
        B.opened(vote(B, A)),
        None,
    ],
    ids=[
        *("the same", "in another term", "elsewhere", "other log", "another's name", "another"),
        *("no history", "certified elsewhere", "a vote", "bad"),
    ],
)
def test_what_are_no_two_histories(other: Verified | None) -> None:
    """Beside one that a voter signed."""
    with pytest.raises(Refusal):
        c.equivocation(history(B), other)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_a_quorum_signs_a_history(size: int) -> None:
    """Whoever else signed it: those of a committee that the reader does not know yet."""
    group = MEMBERS[:size]
    need = c.quorum_of(voters(group))
    signed = [history(m) for m in group[:need]]
    found = c.signed_history([*signed, history(MEMBERS[7])], voters(group), LOG)
    assert found == SignedHistory(7, Digest(b"h" * 32))
    with pytest.raises(Refusal):
        c.signed_history([*signed[1:], history(MEMBERS[7])], voters(group), LOG)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        history(B, history=Digest(b"x" * 32)),
        history(B, index=8),
        history(B, log_id=Digest(b"x" * 32)),
        history(B, voter=C.voter),
        history(A),
        word(B, THREE) and B.opened(word(B, THREE)),
    ],
    ids=["bad", "another", "elsewhere", "other log", "in another's name", "twice", "no history"],
)
def test_what_signs_no_history(wrong: Verified | None) -> None:
    """One voter of three, and something else."""
    with pytest.raises(Refusal):
        c.signed_history([history(A), wrong], voters(THREE), LOG)


def test_a_signed_history_is_as_short_as_an_announcement_needs() -> None:
    """Whatever its numbers are; a quorum of the largest committee travels with each."""
    most = limits.LOG_NUMBER_MAX - 1
    said = HistorySigned(LOG, most, A.voter, most, Digest(b"h" * 32))
    header = Header(A.voter.node_id, A.voter.peer_key, 2**53, 2**53, 2**53)
    assert len(seal(said, header, POOL, A.key)) <= limits.HISTORY_SIGNATURE_MAX_BYTES
