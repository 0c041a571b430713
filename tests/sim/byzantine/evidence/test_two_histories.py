"""Named scenarios of a voter that signs two histories of one log: proven, told to all, and kept."""

import attrs
import pytest

from p2pool.codec.digests import committee_hash
from p2pool.codec.entries import encode_body, encode_configuration
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.raft.acceptance import log_time
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.ids import Digest, StateDigest, StoreId
from p2pool.model.log.certificates import Evidence
from p2pool.model.log.entries import Noop
from p2pool.model.log.raft import Configuration, Entry, Voter
from p2pool.model.messages.certificates import (
    CertificateSigned,
    ConfigurationSigned,
    EquivocationProven,
    HistoryRequested,
    HistorySigned,
)
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Message
from p2pool.proofs.certificates import equivocation
from p2pool.wire.enclosures import open_one
from tests.sim.faults.member_liars import tell, voter
from tests.sim.harness.certificates import chain, formed, known
from tests.sim.harness.pool import Pool, brief
from tests.sim.world.machine import Machine
from tests.sim.world.world import POOL

FORGED = Digest(b"\x66" * 32)
DIFFERS = "a voter's log is not the leader's"
REFUSED = "a leader's entries are refused"


@attrs.define
class Signed:
    """Three voters and a member without a seat, and the last history that each voter signed."""

    pool: Pool
    leader: Machine
    liar: Machine
    third: Machine
    member: Machine
    words: dict[int, HistorySigned] = attrs.field(factory=dict)
    published: list[EquivocationProven] = attrs.field(factory=list)

    @property
    def word(self) -> HistorySigned:
        """What the liar signed last, to its leader."""
        return self.words[self.liar.number]

    def heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        if isinstance(message, HistorySigned):
            self.words[m.number] = message
        elif isinstance(message, EquivocationProven):
            self.published.append(message)

    def sign(self) -> HistorySigned:
        """Have the log move on, and the liar sign it honestly."""
        before = self.words.get(self.liar.number)
        self.pool.submit(self.leader.number, brief())
        self.pool.until(lambda: self.words.get(self.liar.number) not in (None, before))
        self.pool.world.run(500)
        return self.word

    def say(self, message: Message, to: Machine | None = None) -> None:
        """The liar says to the leader (or another) what its own agent never would."""
        tell(self.pool, self.liar, to or self.leader, message)
        self.pool.world.run(1_500)

    def proofs(self, number: int) -> list[Evidence]:
        return list(self.pool.node(number).parts.equivocation.kept.by_name.values())

    def accused(self) -> list[set[StoreId]]:
        """Against whom each machine holds proof."""
        return [{p.voter.store_id for p in self.proofs(n)} for n in range(4)]


@pytest.fixture
def signed() -> Signed:
    pool = formed(4, 12_000)
    leader = pool.leader()
    stores = [v.store_id for v in pool.node(leader.number).context.pool_log.chain.voters]
    others = [m for m in pool.world.machines if m is not leader]
    liar, third = [m for m in others if m.store_id in stores]
    (member,) = [m for m in others if m.store_id not in stores]
    made = Signed(pool, leader, liar, third, member)
    pool.world.expected = (DIFFERS,)
    pool.world.on_send.append(made.heard)
    made.sign()
    return made


@pytest.mark.parametrize("more_terms", [0, 3])
def test_a_voter_that_signs_two_histories_is_proven_everywhere(
    signed: Signed, more_terms: int
) -> None:
    """In one term or two: what is committed at an index stays. One proof at each node, which
    anybody can check, and which a restart does not lose."""
    word = signed.word
    signed.say(attrs.evolve(word, history=FORGED, term=word.term + more_terms))
    for number in range(4):
        (proof,) = signed.proofs(number)
        assert (proof.voter, proof.kind, proof.index) == (voter(signed.liar), "history", word.index)
        assert {proof.first_hash, proof.second_hash} == {word.history, FORGED}
        assert proof.term == word.term + more_terms
        assert proof == equivocation(open_one(POOL, proof.first), open_one(POOL, proof.second))
    assert len(signed.published) == 1
    signed.say(attrs.evolve(word, history=FORGED, term=word.term + more_terms))
    assert len(signed.published) == 1  # Once more is nothing new.
    for number in range(4):
        signed.pool.world.crash(number)
        signed.pool.world.start(number)
        assert len(signed.proofs(number)) == 1


def test_a_certificate_names_a_history_too(signed: Signed) -> None:
    """Whoever confirms the leader with another history than it signed lies as well."""
    found = known(signed.pool, signed.member.number)
    assert found is not None
    word = CertificateSigned(
        log_id=found.log_id,
        term=found.term,
        leader=found.leader,
        voter=voter(signed.liar),
        committee_hash=found.committee_hash,
        commit_index=signed.word.index,
        state_digest=StateDigest(b"\x01" + FORGED),
        time_ms=signed.pool.world.now().wall_ms,
        history=FORGED,
    )
    signed.say(word)
    assert signed.accused() == [{signed.liar.store_id}] * 4
    assert [p.kind for p in signed.proofs(0)] == ["history"]


def test_a_leader_with_two_faces_is_proven_by_its_announcements(signed: Signed) -> None:
    """It and another voter sign a second history, and show it to everybody: the two quorums have
    both in common. Nobody else gets a voter's words but in announcements."""
    pool, leader = signed.pool, signed.leader
    assert leader.sealer is not None
    assert signed.liar.sealer is not None
    index = signed.word.index
    now, state = pool.world.now(), pool.node(leader.number).context.pool_log.state
    assert state is not None
    words = [
        m.sealer.seal(attrs.evolve(signed.word, voter=voter(m), history=FORGED), now)[1]
        for m in (leader, signed.liar)
        if m.sealer is not None
    ]
    log_id, term = signed.word.log_id, signed.word.term
    digest = StateDigest(b"\x01" + FORGED)
    said = Announcement(
        log_id, state.epoch, term, index, digest, history=FORGED, proof=tuple(words)
    )
    pool.world.expected = (DIFFERS, "this node's state is not what the committee certifies")
    pool.world.liars |= {leader.number, signed.liar.number}
    tell(pool, leader, None, said)
    pool.world.run(1_500)
    for m in (signed.third, signed.member):
        assert {leader.store_id} <= signed.accused()[m.number]
    assert signed.third.store_id not in signed.accused()[signed.member.number]


@pytest.mark.parametrize("changed", [{"index": 1}, {"log_id": FORGED}, {"term": 99}, {}])
def test_what_is_no_second_hash_proves_nothing(signed: Signed, changed: dict[str, object]) -> None:
    """Of another index, of another log, or the same once more, in whatever term."""
    second = attrs.evolve(signed.word, **changed)  # type: ignore[arg-type]
    if changed.keys() - {"term"}:
        second = attrs.evolve(second, history=FORGED)
    signed.say(second)
    assert signed.accused() == [set()] * 4


def test_nobody_is_framed(signed: Signed) -> None:
    """Under a key of one's own, in another's name, in the name of a store that no configuration
    has, or as one that is no voter."""
    member, liar = signed.member, signed.liar
    assert member.sealer is not None
    assert liar.sealer is not None
    now, word = signed.pool.world.now(), signed.word
    made_up = attrs.evolve(voter(liar), store_id=StoreId(b"\xf0" * 16))
    by_itself = Voter(liar.node_id, member.peer_key, liar.store_id)
    for sealer, by in (
        (member.sealer, voter(liar)),
        (member.sealer, by_itself),
        (member.sealer, voter(member)),
        (liar.sealer, made_up),
    ):
        one, other = [
            sealer.seal(attrs.evolve(word, voter=by, history=said), now)[1]
            for said in (word.history, FORGED)
        ]
        tell(signed.pool, member, None, EquivocationProven(one, other))
        signed.pool.world.run(200)
    assert signed.accused() == [set()] * 4
    signed.say(attrs.evolve(word, history=FORGED))
    assert signed.accused() == [{liar.store_id}] * 4


def test_below_its_level_nobody_signs_histories(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool with agents of an earlier version knows no such proof, so none is told or kept."""
    monkeypatch.setattr(PoolLog, "distrusts", False)
    assert signed.liar.sealer is not None
    now, word = signed.pool.world.now(), attrs.evolve(signed.word, history=FORGED)
    signed.say(word)
    sealed = [signed.liar.sealer.seal(one, now)[1] for one in (signed.word, word)]
    signed.say(EquivocationProven(*sealed))
    assert signed.accused() == [set()] * 4


def test_many_histories_push_out_nobody_elses_words(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the votes of their own voter: who signs without end is proven for that, and forgets for
    itself alone."""
    monkeypatch.setattr(limits, "HISTORIES_SEEN_PER_VOTER_MAX", 8)
    book = signed.pool.node(signed.leader.number).parts.equivocation
    book.histories.clear()
    signed.sign()
    votes = {who: list(words) for who, words in book.seen.items()}
    thirds = list(book.histories[voter(signed.third)])
    for more in range(20):
        index = signed.word.index + 1_000 + more
        tell(signed.pool, signed.liar, signed.leader, attrs.evolve(signed.word, index=index))
    signed.pool.world.run(500)
    assert len(book.histories[voter(signed.liar)]) == 8
    assert list(book.histories[voter(signed.third)]) == thirds != []
    assert {who: list(words) for who, words in book.seen.items()} == votes


def test_a_voter_that_was_misled_is_never_proven_to_lie(signed: Signed) -> None:
    """Its leader commits another entry on it alone, has it sign that history, and puts it out. It
    comes back with the true log, and as another store: what it signs then is another's word."""
    pool, leader, victim = signed.pool, signed.leader, signed.third
    pool.world.liars |= {leader.number, victim.number}
    pool.world.expected = (
        DIFFERS,
        REFUSED,
        "this node's state is not what the committee certifies",
    )
    store, theirs = victim.store_id, _raft(signed, victim)
    index = theirs.log.last_index + 1
    left = tuple(v for v in theirs.configuration.voters if v.store_id != store)
    _write(signed, *encode_body(Noop(leader.node_id)))
    misled = _asked(signed, index)
    assert misled is not None
    _write(signed, *encode_configuration(Configuration(left)))
    pool.until(lambda: victim.store_id != store, 30_000)
    signed.sign()
    again = _asked(signed, index)
    true = pool.node(signed.member.number).context.pool_log.histories.ours[index]
    assert true != misled.history
    assert again in (None, misled) or again.voter.store_id != store
    assert [store in accused for accused in signed.accused()] == [False] * 4


def _raft(signed: Signed, m: Machine) -> RaftState:
    raft = signed.pool.node(m.number).context.pool_log.raft
    assert raft is not None
    return raft.state


def _write(signed: Signed, kind: int, body: bytes) -> None:
    """The leader has the third commit an entry that nobody else gets."""
    raft, theirs = _raft(signed, signed.leader), _raft(signed, signed.third)
    last, term = theirs.log.last_index, raft.hard.term
    entry = Entry(last + 1, term, kind, log_time.last_ms(theirs), body)
    names = raft.log_id, term, voter(signed.leader), theirs.me
    frame = AppendRequested(*names, last, theirs.log.last_term, last + 1, raft.round, (entry,))
    tell(signed.pool, signed.leader, signed.third, frame)
    signed.pool.world.run(20)


def _asked(signed: Signed, index: int) -> HistorySigned | None:
    """What the third signs at an index, if the leader asks for it again and again."""
    raft = _raft(signed, signed.leader)
    for _ in range(40):
        question = HistoryRequested(raft.log_id, raft.hard.term, index)
        tell(signed.pool, signed.leader, signed.third, question)
        signed.pool.world.run(100)
        word = signed.words[signed.third.number]
        if word.index == index:
            return word
    return None


def test_a_voter_that_signs_two_changes_at_one_index_is_proven(signed: Signed) -> None:
    """Each names another next committee; the entry at an index is one, as the history is."""
    pool, liar = signed.pool, signed.liar
    link = chain(pool).links[-1]
    before = committee_hash(chain(pool).before(link))
    true = committee_hash(link.voters)
    log_id = signed.word.log_id
    said = [
        ConfigurationSigned(log_id, link.index, link.term, before, new, voter(liar))
        for new in (true, FORGED)
    ]
    signed.say(said[0])
    signed.say(attrs.evolve(said[1], index=link.index + 1))
    assert signed.accused() == [set()] * 4
    signed.say(said[1])
    assert signed.accused() == [{liar.store_id}] * 4
    for number in range(4):
        (proof,) = signed.proofs(number)
        assert (proof.kind, proof.index) == ("change", link.index)
        assert {proof.first_hash, proof.second_hash} == {true, FORGED}
