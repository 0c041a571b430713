"""Whose word about the chain counts: a voter's, in time, for the newest question, and no other."""

from typing import Any

import attrs
import pytest

from p2pool.core.chain_claims import Fact, Word
from p2pool.core.effects import SendTo
from p2pool.core.inputs import ChainObserved, Sender
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.voter.chain_agreement import ChainAgreement
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.messages.queries import (
    ChainReadAnswered,
    ChainReadRequested,
    RemovalConfirmed,
    RemovalConfirmRequested,
)
from p2pool.model.messages.registry import Channel, Header, Verified
from p2pool.model.states import ChainStanding, PoolStatus
from p2pool.model.timing import Now
from tests.raft.harness.cluster import voter
from tests.sim.world.world import World

P, THIEF = Address(b"p" * 20), Address(b"t" * 20)
B, C, GUEST = voter(2), voter(3), voter(9)
NEW = NodeId(b"n" * 20)


def roster(*members: NodeId, block: int = 5, manager: Address = P) -> ChainRoster:
    found = tuple(ChainMember(m, P, True) for m in sorted(members))
    named = Digest(bytes([block]) * 32)
    return ChainRoster(block, named, 1_000, found, P, manager, PoolStatus.ACTIVE, None)


def at(ms: int) -> Now:
    return Now(ms, 10_000 + ms)


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> ChainAgreement:
    """One of three voters, with one endpoint: it has read a pool of these three."""
    world = World(1, 1)
    world.start(0)
    node = world.machines[0].node
    assert node is not None
    made, me = node.parts.chain_agreement, node.context.config.me
    monkeypatch.setattr(ChainAgreement, "_committee", lambda self: Configuration((me, B, C)))
    made.on_chain_observed(read(made), at(0))
    monkeypatch.setattr(ChainAgreement, "_is_guarded", lambda self: True)
    return made


def read(
    ours: ChainAgreement, *more: NodeId, block: int = 5, manager: Address = P, agreed: bool = False
) -> ChainObserved:
    """What our endpoint says: ourselves, two more voters, and these."""
    said = roster(ours.context.me, B.node_id, C.node_id, *more, block=block, manager=manager)
    return ChainObserved(said, said, agreed=agreed)


def asked(ours: ChainAgreement) -> ChainReadRequested:
    """The newest question, which went to both others."""
    sent = [e for e in ours.context.effects if isinstance(e, SendTo)]
    questions = [(e.peer_key, e.message) for e in sent if isinstance(e.message, ChainReadRequested)]
    assert {key for key, _ in questions[-2:]} == {B.peer_key, C.peer_key}
    return questions[-1][1]


def answer(ours: ChainAgreement, block: int = 9, **other: Any) -> ChainReadAnswered:
    """What a voter says that reads the same as our endpoint does now."""
    reading, question = ours.context.roster.reading, asked(ours)
    assert reading is not None
    said = ChainReadAnswered(
        request=question.request,
        latest_block=block,
        final_block=block,
        final_hash=Digest(bytes([block]) * 32),
        final_epoch_max=0,
        root=reading.digest(Fact.ROOT),
        rulers=reading.digest(Fact.RULERS),
        status=reading.digest(Fact.STATUS),
        members=tuple(map(reading.digest, question.nodes)),
    )
    return attrs.evolve(said, **other)


def hear(ours: ChainAgreement, by: Voter, message: ChainReadAnswered, now: Now) -> None:
    header = Header(by.node_id, by.peer_key, 1, 1, now.wall_ms)
    sender = Sender(Verified(header, Channel.QUERY, message, b""))
    ours.on_chain_read_answered(message, sender, now)
    ours.tick(now)


def belongs(ours: ChainAgreement) -> bool:
    return ours.context.roster.belongs(NEW)


def test_one_other_voter_of_three_is_enough(ours: ChainAgreement) -> None:
    """It and we are a majority; before it answers nothing counts."""
    ours.on_chain_observed(read(ours, NEW, block=9), at(1_000))
    ours.tick(at(1_000))
    assert asked(ours).nodes == (NEW,)
    assert not belongs(ours)
    hear(ours, B, answer(ours), at(1_010))
    assert belongs(ours)
    assert ours.wakeup_ms() is None


def test_two_endpoints_are_enough_for_what_gives_and_for_nothing_else(ours: ChainAgreement) -> None:
    """Another manager takes the old one's right, whatever our endpoints say."""
    both = read(ours, NEW, block=9, manager=THIEF, agreed=True)
    ours.on_chain_observed(both, at(1_000))
    ours.tick(at(1_000))
    assert belongs(ours)
    assert set(ours.context.roster.claims) == {Fact.RULERS}
    hear(ours, B, answer(ours), at(1_010))
    assert not ours.context.roster.claims


@pytest.mark.parametrize(
    ("by", "change"),
    [
        (GUEST, {}),
        (attrs.evolve(B, peer_key=GUEST.peer_key), {}),
        (B, {"request": 0}),
        (B, {"members": ()}),
        (B, {"members": (Digest(bytes(32)),)}),
        (B, {"latest_block": 8}),
        (B, {"final_block": 8}),
        (B, {"final_hash": Digest(bytes(32))}),
    ],
)
def test_any_other_word_confirms_nothing(
    ours: ChainAgreement, by: Voter, change: dict[str, Any]
) -> None:
    """A guest's, one of another key, to an old question, from too early a block, another chain."""
    ours.on_chain_observed(read(ours, NEW, block=9), at(1_000))
    ours.tick(at(1_000))
    hear(ours, by, answer(ours, **change), at(1_010))
    assert not belongs(ours)


def test_an_answer_grows_old(ours: ChainAgreement) -> None:
    """What a voter said once is not its word for ever."""
    ours.on_chain_observed(read(ours, NEW, block=9), at(1_000))
    ours.tick(at(1_000))
    hear(ours, B, answer(ours, members=(Digest(bytes(32)),)), at(1_010))
    claim = ours.context.roster.claims[NEW]
    assert claim.word(B.node_id, at(1_010 + limits.CONFIRM_LIFETIME_MS)) is not None
    assert claim.word(B.node_id, at(1_011 + limits.CONFIRM_LIFETIME_MS)) is None


def test_a_member_counts_alone_after_a_minute_of_silence_but_not_against_a_word(
    ours: ChainAgreement,
) -> None:
    """One that answers, though it has not read that far, is no silence."""
    ours.on_chain_observed(read(ours, NEW, block=9), at(1_000))
    ours.tick(at(1_000))
    late_ms = 1_000 + limits.CHAIN_JOIN_ALONE_MS
    ours.tick(at(late_ms - 1))
    assert not belongs(ours)
    hear(ours, B, answer(ours, block=8), at(late_ms))
    assert not belongs(ours)
    ours.tick(at(late_ms + limits.CONFIRM_LIFETIME_MS + 1_000))
    assert belongs(ours)


def test_many_members_are_asked_for_in_turns(ours: ChainAgreement) -> None:
    """A question names a bounded number, and the next one goes on from there."""
    many = [NodeId(b"m" * 18 + n.to_bytes(2, "big")) for n in range(limits.CHAIN_FACTS_MAX + 5)]
    ours.on_chain_observed(read(ours, *many, block=9), at(1_000))
    ours.tick(at(1_000))
    first = asked(ours)
    hear(ours, B, answer(ours), at(1_010))
    assert len(first.nodes) == limits.CHAIN_FACTS_MAX
    assert len(ours.context.roster.claims) == 5
    ours.tick(at(1_000 + limits.CHAIN_ASK_MS))
    hear(ours, C, answer(ours), at(1_020 + limits.CHAIN_ASK_MS))
    assert not ours.context.roster.claims


# --- a voter that is out --------------------------------------------------------------------------


@pytest.fixture
def leading(ours: ChainAgreement, monkeypatch: pytest.MonkeyPatch) -> VoterStandings:
    """We lead a committee of three, and read that C is out."""
    group = Configuration((ours.context.config.me, B, C))
    monkeypatch.setattr(PoolLog, "configuration", group)
    monkeypatch.setattr(VoterStandings, "asked", lambda self: tuple(self.claims))
    said = roster(ours.context.me, B.node_id, block=9)
    ours.on_chain_observed(ChainObserved(said, said), at(1_000))
    ours.tick(at(1_000))
    return ours.standings


def test_a_voter_that_is_out_stays_a_claim_until_its_seat_is_gone(
    ours: ChainAgreement, leading: VoterStandings
) -> None:
    """Even once this node goes by it: what it believed with nobody to ask removes nobody."""
    ours.context.roster.accept(tuple(ours.context.roster.claims), at(1_000))
    assert not ours.context.roster.belongs(C.node_id)
    assert asked(ours).nodes == (C.node_id,)
    assert not leading.confirmed(C.node_id, at(1_000))
    hear(ours, B, answer(ours), at(1_010))
    assert leading.confirmed(C.node_id, at(1_010))
    assert leading.agreeing(C.node_id, at(1_010)) == (ours.context.config.me, B)
    assert not leading.confirmed(C.node_id, at(1_011 + limits.CONFIRM_LIFETIME_MS))


def test_the_word_of_the_voter_in_question_counts_as_its_own_only(
    ours: ChainAgreement, leading: VoterStandings
) -> None:
    """It is no vote on its seat; None until it answers, unknown once that is old."""
    assert leading.own_answer(C.node_id, at(1_000)) is None
    hear(ours, C, answer(ours), at(1_010))
    assert leading.own_answer(C.node_id, at(1_010)) is ChainStanding.OUT
    assert not leading.confirmed(C.node_id, at(1_010))
    late = at(1_011 + limits.CONFIRM_LIFETIME_MS)
    assert leading.own_answer(C.node_id, late) is ChainStanding.UNKNOWN


def test_while_the_committee_changes_both_committees_confirm(
    ours: ChainAgreement, leading: VoterStandings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are no quorum where of the outgoing ones it takes both others, and one says so."""
    me, coming, going = ours.context.config.me, voter(4), voter(5)
    joint = Configuration((me, B, coming), (), (B, C, going))
    monkeypatch.setattr(PoolLog, "configuration", joint)
    monkeypatch.setattr(ChainAgreement, "_committee", lambda self: joint)
    for by in (B, coming):
        leading.claims[C.node_id].words[by.node_id] = Word(True, at(1_000).mono_ms)
    assert not leading.confirmed(C.node_id, at(1_010))
    assert ours.context.roster.belongs(C.node_id)
    leading.claims[C.node_id].words[going.node_id] = Word(True, at(1_000).mono_ms)
    assert leading.confirmed(C.node_id, at(1_010))


def test_in_a_pool_of_the_first_level_the_old_question_is_asked(
    ours: ChainAgreement, leading: VoterStandings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each other voter; an answer to another question, or from too early a block, is none."""
    monkeypatch.setattr(ChainAgreement, "_is_guarded", lambda self: False)
    ours.context.effects.clear()
    ours.ask_due_ms = 0
    ours.tick(at(1_000))
    sent = [e.message for e in ours.context.effects if isinstance(e, SendTo)]
    assert sent == [RemovalConfirmRequested(ours.request, C.node_id, 9)] * 2
    header = Header(B.node_id, B.peer_key, 1, 1, at(1_000).wall_ms)
    for request, block in ((ours.request - 1, 9), (ours.request, 8), (ours.request, 9)):
        assert not leading.confirmed(C.node_id, at(1_010))
        said = RemovalConfirmed(request, C.node_id, ChainStanding.OUT, block)
        sender = Sender(Verified(header, Channel.QUERY, said, b""))
        ours.on_removal_confirmed(said, sender, at(1_010))
    assert leading.confirmed(C.node_id, at(1_010))


def test_an_agent_of_the_first_level_is_answered(ours: ChainAgreement) -> None:
    """What our endpoints say, from a block as late as its own."""
    header = Header(B.node_id, B.peer_key, 1, 1, at(1_000).wall_ms)
    for node_id, block, standing in (
        (C.node_id, 5, ChainStanding.IN),
        (GUEST.node_id, 5, ChainStanding.OUT),
        (GUEST.node_id, 6, ChainStanding.UNKNOWN),
    ):
        question = RemovalConfirmRequested(7, node_id, block)
        sender = Sender(Verified(header, Channel.QUERY, question, b""))
        ours.on_removal_confirm_requested(question, sender, at(1_000))
        last = ours.context.effects[-1]
        assert isinstance(last, SendTo)
        assert last.message == RemovalConfirmed(7, node_id, standing, 5)
