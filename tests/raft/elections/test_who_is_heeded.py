"""A participant heeds voters that it knows, and whoever is proven; nobody else changes anything."""

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
import pytest

from p2pool.codec.digests import configuration_hash
from p2pool.core.raft import election
from p2pool.core.raft.raft import Raft, RaftRestored
from p2pool.core.raft.state import Ready
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.messages.raft import (
    AppendAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.states import RaftRole
from tests.raft.harness.cluster import LOG_ID, voter
from tests.raft.harness.envelopes import Envelopes
from tests.raft.harness.figure2 import ME, THREE, TIMING, A, B, append, at, elected, give, made

D = voter(3)
E = voter(4)
LEARNED = Configuration(THREE.voters, (D,))
FAR = (2**53, 2**40, limits.TERM_RAISE_MAX + 9)


def answers(out: Ready) -> list[VoteAnswered]:
    return [m for _, m in out.send if isinstance(m, VoteAnswered)]


def mine_is(raft: Raft, role: RaftRole) -> bool:
    return raft.state.role is role


def asks(
    candidate: Voter, term: int, *, pre: bool = False, transfer: bool = False
) -> VoteRequested:
    return VoteRequested(
        LOG_ID, term, candidate, ME, 9, term - pre, configuration_hash(THREE), pre, transfer
    )


def vote(by: Voter, m: VoteRequested, **changed: Any) -> VoteAnswered:
    said = VoteAnswered(
        LOG_ID, m.term, m.candidate, by, 9, m.last_term, m.configuration_hash, m.pre, True, ""
    )
    return attrs.evolve(said, **changed)


def shows(raft: Raft, m: VoteRequested, *votes: tuple[Voter, object], ms: int = 9_000) -> bool:
    """Whether a candidate gets a vote if it shows these words, each sealed by somebody."""
    kept = Envelopes()
    names = tuple(kept.seal(by, said) for by, said in votes)  # type: ignore[arg-type]
    m = attrs.evolve(m, shown=names)
    out = raft.receive(m, m.candidate.peer_key, at(ms), b"", shown=kept.shown(m))
    (answer,) = answers(out)
    return answer.granted


# --- nobody else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("term", [4, *FAR])
@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("liar", [D, E])
def test_who_is_no_voter_gets_no_vote(term: int, pre: bool, liar: Voter) -> None:
    """Neither a learner nor a stranger, though no leader is heard: the term and the timer stay."""
    raft = made(1, 1, term=3, group=LEARNED)
    due_ms = raft.state.election_deadline_ms
    out = give(raft, asks(liar, term, pre=pre), ms=9_000)
    assert [a.granted for a in answers(out)] == [False]
    assert raft.state.hard.term == 3
    assert raft.state.election_deadline_ms == due_ms
    assert not out.persist


@pytest.mark.parametrize("liar", [D, E])
def test_who_is_no_voter_is_not_followed(liar: Voter) -> None:
    """Its appends and snapshots change nothing, though no leader is heard."""
    raft = made(1, 1, term=3, group=LEARNED)
    lie = attrs.evolve(append(4, (2, 1), 4, commit=3), leader=liar)
    assert not give(raft, lie).send
    part = SnapshotSent(LOG_ID, 4, liar, ME, 9, 4, 0, 1, b"x")
    assert not raft.receive(part, liar.peer_key, at(9_000)).send
    assert (raft.state.hard.term, raft.state.log.last_index) == (3, 2)
    assert raft.state.leader is None


@pytest.mark.parametrize("term", [9, *FAR])
def test_a_learner_does_not_depose_a_leader(term: int) -> None:
    """Whatever term it answers with."""
    raft, _ = elected(1, term=1, group=LEARNED)
    was = raft.state.hard.term
    give(raft, AppendAnswered(LOG_ID, term, ME, D, 1, False, 0, 0, 0))
    assert raft.state.leads
    assert raft.state.hard.term == was


# --- a voter that nobody elected ------------------------------------------------------------------


def hearing(*, shows: bool = True) -> Raft:
    """A follower that hears its leader, in term 4, at 9 s."""
    raft = made(1, 1, term=3)
    raft.state.shows = shows
    assert give(raft, append(4, (2, 1), 4), ms=9_000).send
    assert raft.state.leader == A
    return raft


@pytest.mark.parametrize("term", [4, 5])
def test_a_leader_that_is_heard_is_not_put_aside_by_an_append(term: int) -> None:
    """A second leader of its term, or one of the next, whom no vote made: nothing changes."""
    raft = hearing()
    lie = attrs.evolve(append(term, (2, 1), 9, commit=3), leader=B)
    assert not give(raft, lie, ms=9_010).send
    part = SnapshotSent(LOG_ID, term, B, ME, 9, 4, 0, 1, b"x")
    assert not raft.receive(part, B.peer_key, at(9_010)).send
    assert (raft.state.hard.term, raft.state.leader) == (4, A)
    assert raft.state.log.term_at(3) == 4
    assert raft.needs_proof(lie, at(9_010))


def test_a_leader_is_not_put_aside_by_an_append() -> None:
    """Nor does one that leads itself step down for a voter that nobody elected."""
    raft, _ = elected(1, term=1)
    give(raft, attrs.evolve(append(3, (1, 1)), leader=B))
    assert raft.state.leads


@pytest.mark.parametrize("term", [4, 5])
def test_who_shows_its_votes_is_followed_at_once(term: int) -> None:
    """The first to speak in a term may have been the liar."""
    raft = hearing()
    assert give(raft, attrs.evolve(append(term, (2, 1)), leader=B), ms=9_010, proven=True).send
    assert raft.state.leader == B


def test_a_voter_is_followed_once_no_leader_is_heard() -> None:
    """Then a proof would only cost time: it is what a new leader is."""
    raft = hearing()
    ms = 9_000 + raft.state.timing.election_timeout_min_ms
    assert give(raft, attrs.evolve(append(5, (2, 1)), leader=B), ms=ms).send
    assert raft.state.leader == B


def test_in_a_pool_of_the_first_level_nobody_can_show_votes() -> None:
    """So a voter's word has to do there, as it did."""
    raft = hearing(shows=False)
    assert give(raft, attrs.evolve(append(5, (2, 1)), leader=B), ms=9_010).send
    assert raft.state.leader == B


# --- who is proven --------------------------------------------------------------------------------


@pytest.mark.parametrize("pre", [False, True])
def test_a_stranger_shows_the_vote_of_a_voter(pre: bool) -> None:
    """With ours that is a majority of the three; then we follow it in that term, unproven."""
    raft = made(1, 1, term=3)
    m = asks(D, 4, pre=pre)
    assert shows(raft, m, (A, vote(A, m)))
    if not pre:
        assert not raft.needs_proof(attrs.evolve(append(4, (2, 1)), leader=D), at(9_000))
        assert give(raft, attrs.evolve(append(4, (2, 1), 4), leader=D)).send
        assert raft.state.leader == D


WRONG: dict[str, Callable[[VoteRequested], tuple[Voter, object]]] = {
    "its own": lambda m: (D, vote(D, m)),
    "ours, made up": lambda m: (D, vote(ME, m)),
    "another's, made up": lambda m: (D, vote(A, m)),
    "another stranger's": lambda m: (E, vote(E, m)),
    "of another term": lambda m: (A, vote(A, m, term=m.term + 1)),
    "of another log": lambda m: (A, vote(A, m, log_id=Digest(b"x" * 32))),
    "for another": lambda m: (A, vote(A, m, candidate=B)),
    "of the other kind": lambda m: (A, vote(A, m, pre=not m.pre)),
    "a refusal": lambda m: (A, vote(A, m, granted=False)),
    "no vote at all": lambda m: (A, TimeoutNow(LOG_ID, m.term, A, D)),
}


@pytest.mark.parametrize("why", WRONG)
@pytest.mark.parametrize("pre", [False, True])
def test_what_is_no_vote_of_a_voter_proves_nothing(why: str, pre: bool) -> None:
    """However much of it is shown."""
    raft = made(1, 1, term=3)
    m = asks(D, 4, pre=pre)
    assert not shows(raft, m, *[WRONG[why](m)] * 3)
    assert raft.state.hard.term == 3


def test_a_single_voter_and_a_pair_are_not_taken_by_their_own_vote() -> None:
    """A majority that is ours alone is no word of another."""
    for voters in ((ME,), (ME, A)):
        raft = made(1, 1, term=3, group=Configuration(voters))
        m = asks(D, 4)
        assert not shows(raft, m)
        assert not shows(raft, m, (D, vote(D, m)))


def test_four_voters_give_a_fifth_what_it_needs() -> None:
    """It needs three of five, and may have our vote and one other of the four that we know."""
    raft = made(1, 1, term=3, group=Configuration((ME, A, B, D)))
    m = asks(E, 4)
    assert not shows(raft, m)
    assert shows(raft, m, (A, vote(A, m)))


def test_a_voter_of_the_committed_committee_counts_beside_the_latest() -> None:
    """Until a change commits, either committee may have to elect."""
    raft = made(1, 1, term=3)
    s = raft.state
    s.configuration, s.configuration_index, s.commit_index = Configuration((ME, A)), 2, 1
    assert shows(raft, asks(B, 4))


def test_the_votes_of_a_majority_prove_a_leader() -> None:
    """Fewer prove nothing, nor do those of strangers."""
    raft = made(1, 1, term=3)
    m = asks(D, 2**50)
    kept = Envelopes()

    def proves(*by: Voter) -> bool:
        sealed = [kept.sealed[kept.seal(one, vote(one, m))] for one in by]
        return raft.proves(m.term, D, sealed)

    assert proves(A, B)
    assert proves(A, ME)
    assert not any((proves(), proves(A), proves(D, E), proves(A, D), proves(A, E)))


def test_a_proven_leader_is_followed_at_any_height() -> None:
    """A restored backup comes back at once."""
    raft = made(1, 1, term=3)
    frame = attrs.evolve(append(2**50, (2, 1)), leader=D)
    assert raft.needs_proof(frame, at(9_000))
    raft.receive(frame, D.peer_key, at(9_000), proven=True)
    assert raft.state.hard.term == 2**50
    assert raft.state.leader == D


def test_a_certified_committee_is_known() -> None:
    """A voter that lags votes for one of the newer committee; an older one counts no more."""
    raft = made(1, 1, term=3)
    raft.state.certified_voters, raft.state.certified_change_index = (D, E), 9
    assert shows(raft, asks(D, 4))
    raft = made(1, 1, term=3)
    raft.state.certified_voters, raft.state.certified_change_index = (
        (D, E),
        raft.state.configuration_index,
    )
    assert not shows(raft, asks(D, 4))


# --- terms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("term", FAR)
def test_a_voter_raises_the_term_bit_by_bit(term: int, pre: bool) -> None:
    """Once in the shortest timeout, and so it is with the question whether it could win."""
    raft = made(1, 1, term=3)
    for n in range(5):
        for at_ms in (9_000, 9_999):
            out = give(raft, asks(A, term, pre=pre), ms=at_ms + 1_000 * n)
            far = 3 + limits.TERM_RAISE_MAX * (n + 1) < term - pre
            if far:
                assert raft.state.hard.term == 3 + limits.TERM_RAISE_MAX * (n + 1)
                assert at_ms > 9_000 or [a.granted for a in answers(out)] == [False]
    if term == FAR[-1]:
        assert answers(give(raft, asks(A, term, pre=pre), ms=20_000))[0].granted
    else:
        assert raft.state.hard.term == 3 + 5 * limits.TERM_RAISE_MAX


def test_candidates_that_compete_are_all_heard() -> None:
    """Each raises the term by one, several in a second."""
    raft = made(1, 1, term=3)
    for term in range(4, 40):
        assert answers(give(raft, asks(A if term % 2 else B, term), ms=9_000))[0].granted


def test_every_answer_of_a_voter_is_bounded() -> None:
    """A refused vote, an append's answer, a leader's append."""
    term = 2**50
    raft, _ = elected(1, term=1)
    was = raft.state.hard.term
    give(raft, AppendAnswered(LOG_ID, term, ME, A, 1, False, 0, 0, 0))
    assert raft.state.hard.term == was + limits.TERM_RAISE_MAX
    raft = made(1, 1, term=3)
    (out,) = [raft.tick(at(5_000))]
    refused = attrs.evolve(vote(A, asks(ME, 4, pre=True)), candidate=ME, granted=False, term=term)
    give(raft, refused)
    assert raft.state.hard.term == 3 + limits.TERM_RAISE_MAX
    raft = made(1, 1, term=3)
    assert not give(raft, append(term, (2, 1))).send
    assert raft.state.hard.term == 3 + limits.TERM_RAISE_MAX
    assert out.send


def test_a_majoritys_votes_are_taken_at_any_height() -> None:
    """A voter shows those of the others; its own word and ours are not enough."""
    raft = made(1, 1, term=3)
    m = asks(A, 2**50)
    assert not shows(raft, m, (A, vote(A, m)), (ME, vote(ME, m)))
    assert raft.state.hard.term == 3 + limits.TERM_RAISE_MAX
    assert shows(raft, m, (B, vote(B, m)))
    assert raft.state.hard.term == 2**50


# --- over a leader --------------------------------------------------------------------------------


def led() -> Raft:
    """A follower that heard A in term 3 a moment ago."""
    raft = made(1, 1, term=3)
    give(raft, append(3, (2, 1)), ms=9_000)
    assert raft.state.leader == A
    return raft


def test_a_voter_does_not_campaign_over_a_leader_by_its_own_word() -> None:
    """`transfer` alone says nothing; the leader's order, sealed by it, in this term, does."""
    order = TimeoutNow(LOG_ID, 3, A, B)
    m = asks(B, 4, transfer=True)
    assert not shows(led(), m, ms=9_100)
    for by, wrong in (
        (B, order),
        (A, attrs.evolve(order, follower=D)),
        (A, attrs.evolve(order, term=2)),
        (B, attrs.evolve(order, leader=B)),
    ):
        assert not shows(led(), m, (by, wrong), ms=9_100)
    assert not shows(led(), attrs.evolve(m, transfer=False), (A, order), ms=9_100)
    assert shows(led(), m, (A, order), ms=9_100)


def test_a_leader_does_not_campaign_over_itself() -> None:
    """By its own order to itself it could be elected anew for ever, whatever it withholds."""
    raft, order = led(), TimeoutNow(LOG_ID, 3, A, A)
    assert not shows(raft, asks(A, 4, transfer=True), (A, order), ms=9_100)
    raft.state.leader_out = True
    assert not shows(raft, asks(A, 4, transfer=True), (A, order), ms=9_100)
    raft.state.shows = False
    assert shows(raft, asks(A, 4, transfer=True), ms=9_100)


def test_a_voter_that_reads_itself_that_the_leader_is_out_needs_no_order() -> None:
    """Then whoever campaigns over it is right."""
    raft = led()
    raft.state.leader_out = True
    assert shows(raft, asks(B, 4, pre=True, transfer=True), ms=9_100)


def test_in_a_pool_of_the_first_level_a_voters_word_has_to_do() -> None:
    """Its program cannot show the order."""
    raft = led()
    raft.state.shows = False
    assert shows(raft, asks(B, 4, transfer=True), ms=9_100)
    assert not shows(raft, asks(D, 5, transfer=True), ms=9_100)


def test_a_leader_does_not_end_a_campaign_over_it_by_its_appends() -> None:
    """It sends them faster than votes come: until the votes are lost, or an election timeout has
    passed, they do not count. In a pool of the first level they do, as before."""
    for level_shows, role in ((True, RaftRole.PRE_CANDIDATE), (False, RaftRole.FOLLOWER)):
        raft = led()
        raft.state.shows = level_shows
        raft.force_campaign(at(9_100))
        assert mine_is(raft, RaftRole.PRE_CANDIDATE)
        give(raft, append(3, (2, 1)), ms=9_110)
        assert mine_is(raft, role)
    raft = led()
    raft.force_campaign(at(9_100))
    asked = asks(ME, 4, pre=True)
    for by in (A, B):
        said = vote(by, asked, term=3, granted=False, reason="a leader is heard")
        assert mine_is(raft, RaftRole.PRE_CANDIDATE)
        give(raft, said, ms=9_120)
    assert give(raft, append(3, (2, 1)), ms=9_130).send
    assert raft.state.leader == A
    raft = led()
    raft.force_campaign(at(9_100))
    late_ms = raft.state.election_deadline_ms
    assert give(raft, append(3, (2, 1)), ms=late_ms).send


# --- the candidate --------------------------------------------------------------------------------


def test_a_candidate_shows_its_votes_to_those_that_do_not_know_it() -> None:
    """Once for each vote that it got since, and to nobody else."""
    raft = made(1, 1, term=3, group=Configuration((ME, A, B, D)))
    raft.tick(at(5_000))
    s = raft.state
    assert mine_is(raft, RaftRole.PRE_CANDIDATE)
    mine = VoteRequested(LOG_ID, 4, ME, A, 2, 1, s.hash_of(s.configuration), True, False)

    def hears(by: Voter, reason: str = "") -> list[VoteRequested]:
        said = vote(by, mine, last_index=2, granted=not reason, reason=reason)
        said = attrs.evolve(said, term=3 if reason else 4)
        out = raft.receive(said, by.peer_key, at(5_000), b"of %d" % by.node_id[0])
        return [m for _, m in out.send if isinstance(m, VoteRequested)]

    assert hears(B, election.UNPROVEN) == []
    assert mine_is(raft, RaftRole.PRE_CANDIDATE)
    (again,) = hears(A)
    assert (again.voter, again.shown, again.pre) == (B, (b"of 1",), True)
    assert hears(B, election.UNPROVEN) == []
    # With its vote the question is answered: now it asks for the term, and shows none of these.
    assert {m.shown for m in hears(B)} == {()}
    assert mine_is(raft, RaftRole.CANDIDATE)


def test_a_store_of_a_known_name_under_another_key_is_nobody() -> None:
    """We voted for D, whole; a liar that names D's store is another participant."""
    raft = made(1, 1, term=3)
    m = asks(D, 4)
    assert shows(raft, m, (A, vote(A, m)))
    liar = attrs.evolve(E, store_id=D.store_id)
    assert not raft.receive(
        attrs.evolve(append(4, (2, 1), 4), leader=liar), liar.peer_key, at(9_000)
    ).send


def test_a_frame_for_a_fresh_participant_waits_for_whoever_checked_it() -> None:
    """Without a configuration it votes for nobody; whom it follows the node above has judged."""
    raft = Raft(ME, LOG_ID, TIMING, RaftRestored(), Random(1), configuration_hash, at(0))
    assert not shows(raft, asks(A, 4))
    assert isinstance(give(raft, append(3, (0, 0))).send[0][1], AppendAnswered)


def test_a_vote_with_a_reason_is_none() -> None:
    """A leader shows its votes, and has room for those that honest voters give."""
    raft = made(1, 1, term=3)
    raft.tick(at(60_000))
    assert mine_is(raft, RaftRole.PRE_CANDIDATE)
    m = VoteRequested(LOG_ID, 4, ME, A, 2, 1, configuration_hash(THREE), True, False)
    padded = VoteAnswered(LOG_ID, 4, ME, A, 2, 1, m.configuration_hash, True, True, "x" * 900)
    give(raft, padded)
    assert mine_is(raft, RaftRole.PRE_CANDIDATE)
    give(raft, attrs.evolve(padded, reason=""))
    assert mine_is(raft, RaftRole.CANDIDATE)
