"""Named scenarios of a leader that lies in its log: refused, proven, shown to all, and kept."""

import attrs
import pytest

from p2pool.codec.entries import encode_body, encode_configuration
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import OneAppend, evidence_json, read_evidence
from p2pool.core.raft.acceptance import log_time
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import BadAppend
from p2pool.model.log.entries import Noop, Setting
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from p2pool.model.messages.certificates import BadAppendProven, CertificateSigned
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Message
from p2pool.proofs.append_proof import bad_append
from p2pool.wire.enclosures import open_one
from tests.sim.faults.member_liars import tell, voter
from tests.sim.harness.certificates import formed, known
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import Machine
from tests.sim.world.world import POOL

REFUSED = "a leader's entries are refused"


@attrs.define
class Led:
    """Three voters and a member without a seat, whose leader lies to one voter."""

    pool: Pool
    leader: Machine
    victim: Machine
    published: list[BadAppendProven] = attrs.field(factory=list)

    def proofs(self, number: int) -> list[BadAppend]:
        return list(self.pool.node(number).parts.bad_appends.kept.by_name.values())

    def everybodys(self) -> list[int]:
        return [len(self.proofs(m.number)) for m in self.pool.world.machines]

    def append(self, *bodies: tuple[int, bytes], ago: int = 0) -> AppendRequested:
        """What the leader would send the victim next, with these entries, of so many terms ago."""
        raft = self.pool.node(self.leader.number).context.pool_log.raft
        assert raft is not None
        s = raft.state
        last, at_ms = s.log.last_index, log_time.last_ms(s)
        entries = tuple(
            Entry(last + n, s.hard.term - ago, kind, at_ms, body)
            for n, (kind, body) in enumerate(bodies, start=1)
        )
        me, you = voter(self.leader), voter(self.victim)
        terms = s.hard.term, me, you, last, s.log.last_term, last
        return AppendRequested(s.log_id, *terms, s.round, entries)

    def lie(self, *bodies: tuple[int, bytes]) -> None:
        tell(self.pool, self.leader, self.victim, self.append(*bodies))
        self.pool.world.run(1_500)

    def heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        if isinstance(message, BadAppendProven):
            self.published.append(message)


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> Led:
    """A pool that is certified and quiet: the leader's question is the last entry of its log."""
    monkeypatch.setattr(limits, "CERTIFY_INTERVAL_MS", 10_000)
    pool = formed(4, 18_000)
    leader = pool.leader()
    made = Led(pool, leader, pool.voter())
    pool.world.expected = (REFUSED,)
    pool.world.on_send.append(made.heard)
    return made


GARBAGE = (int(EntryKind.REQUEST), b"garbage")


def alone(led: Led) -> tuple[int, bytes]:
    return encode_configuration(Configuration((voter(led.leader),)))


def test_a_leader_that_takes_the_committee_is_proven_everywhere(led: Led) -> None:
    """One entry would have done. Everybody holds the proof and says whose it is, and a restart
    does not lose it."""
    led.lie(alone(led))
    assert led.everybodys() == [1, 1, 1, 1]
    assert len(led.published) == 1
    (proof,) = led.proofs(3)
    assert proof.voter == voter(led.leader)
    assert proof.word
    for number in range(4):
        view = led.pool.node(number).view(led.pool.world.now())
        named = address_text(led.leader.node_id)
        (said,) = view.warnings
        assert f"p2pool node ban {named}" in said
        assert "as the leader of term" in said
    led.pool.world.crash(3)
    led.pool.world.start(3)
    assert led.proofs(3) == [proof]
    led.pool.until(lambda: led.pool.leader() is not None)
    led.pool.until(lambda: all(led.pool.node(n).view(led.pool.world.now()).ready for n in range(4)))


@pytest.mark.parametrize("own_word", [True, False])
def test_a_proof_is_shown_and_can_be_checked_by_anybody(led: Led, own_word: bool) -> None:
    """Whoever asks an agent gets all that it takes, the committee among it if it takes that."""
    led.lie(alone(led) if own_word else GARBAGE)
    for number in range(4):
        (shown,) = led.pool.node(number).view(led.pool.world.now()).evidence
        given = read_evidence(evidence_json(POOL, shown))
        assert isinstance(given, OneAppend)
        append = open_one(POOL, given.append, limits.BAD_APPEND_MAX_BYTES)
        found = bad_append(append, open_one(POOL, given.word), given.committee)
        assert [found] == [shown] == led.proofs(number)
        assert bool(given.committee) is own_word


@pytest.mark.parametrize("bodies", [(GARBAGE,), ((int(EntryKind.CONFIGURATION), b""),)])
def test_a_body_that_is_none_proves_itself(led: Led, bodies: tuple[tuple[int, bytes], ...]) -> None:
    """It takes no word of the leader's; said again, it is nothing new."""
    led.lie(*bodies)
    led.lie(*bodies)
    assert led.everybodys() == [1, 1, 1, 1]
    assert [p.word for p in led.proofs(0)] == [b""]
    assert len(led.published) == 1


@pytest.mark.parametrize(
    "bodies",
    [
        (encode_body(Setting("committee", "none")),),
        (GARBAGE, (int(EntryKind.NODE), bytes(limits.BAD_APPEND_MAX_BYTES))),
    ],
    ids=["a rule of this version", "too long"],
)
def test_what_shows_nothing_to_others_stays_in_the_log(
    led: Led, bodies: tuple[tuple[int, bytes], ...]
) -> None:
    """It is refused all the same."""
    led.lie(*bodies)
    assert led.everybodys() == [0, 0, 0, 0]
    assert led.published == []
    raft = led.pool.node(led.victim.number).context.pool_log.raft
    assert raft is not None
    assert raft.state.doubted is not None


def test_a_change_after_what_nobody_has_sealed_is_refused_and_not_proven(led: Led) -> None:
    """The log moved on since the leader's word: what came between, it has sealed to nobody here."""
    led.pool.run_task(led.victim.number)
    led.lie(alone(led))
    assert led.everybodys() == [0, 0, 0, 0]


def test_a_former_leaders_entry_proves_nothing(led: Led) -> None:
    """Who hands it on may have it from before there was a check."""
    tell(led.pool, led.leader, led.victim, led.append(GARBAGE, ago=1))
    led.pool.world.run(1_500)
    assert led.everybodys() == [0, 0, 0, 0]


def test_nobody_is_framed(led: Led) -> None:
    """Under a key of one's own, with another's word, in another log, or in a voter's own name who
    sealed something else."""
    pool = led.pool
    assert led.leader.sealer is not None
    member = next(m for m in pool.world.machines if m is not led.leader and m is not led.victim)
    assert member.sealer is not None
    bad = led.append(alone(led))
    good = led.append(encode_body(Noop(led.leader.node_id)))
    now = pool.world.now()
    found = known(pool, member.number)
    assert found is not None
    words = {v.header.node_id: v for s in found.signatures if (v := open_one(POOL, s))}
    own = words[led.leader.node_id]
    other = next(v for n, v in words.items() if n != led.leader.node_id)
    assert isinstance(own.message, CertificateSigned)
    earlier = attrs.evolve(own.message, term=own.message.term - 1)
    foreign = attrs.evolve(led.append(GARBAGE), log_id=Digest(bytes(32)))
    for frame, word in (
        (member.sealer.seal(bad, now)[1], own.sealed),
        (member.sealer.seal(led.append(GARBAGE), now)[1], b""),
        (led.leader.sealer.seal(bad, now)[1], other.sealed),
        (led.leader.sealer.seal(bad, now)[1], led.leader.sealer.seal(earlier, now)[1]),
        (led.leader.sealer.seal(bad, now)[1], member.sealer.seal(own.message, now)[1]),
        (led.leader.sealer.seal(bad, now)[1], b""),
        (led.leader.sealer.seal(good, now)[1], own.sealed),
        (led.leader.sealer.seal(foreign, now)[1], b""),
        (own.sealed, own.sealed),
        (b"", b""),
    ):
        tell(pool, member, None, BadAppendProven(frame, word))
    pool.world.run(1_000)
    assert led.everybodys() == [0, 0, 0, 0]


def test_one_leader_takes_up_no_more_than_its_room(led: Led) -> None:
    """However many terms it lies in; each voter has its own room."""
    for more in range(2 * limits.EVIDENCE_PER_VOTER_MAX):
        made = led.append(GARBAGE)
        (entry,) = made.entries
        term = made.term + more
        entries = (attrs.evolve(entry, term=term),)
        assert led.leader.sealer is not None
        forged = attrs.evolve(made, term=term, entries=entries)
        sealed = led.leader.sealer.seal(forged, led.pool.world.now())[1]
        tell(led.pool, led.leader, None, BadAppendProven(sealed, b""))
    led.pool.world.run(1_000)
    others = [n for n in range(4) if n != led.leader.number]
    assert {len(led.proofs(n)) for n in others} == {limits.EVIDENCE_PER_VOTER_MAX}


def test_who_was_away_is_told_later(led: Led) -> None:
    """The next leader says again what was proven."""
    led.pool.world.crash(3)
    led.lie(alone(led))
    led.pool.world.start(3)
    assert led.proofs(3) == []
    led.pool.until(lambda: len(led.proofs(3)) == 1, 300_000)


def test_a_voter_that_was_lied_to_follows_past_a_change_of_the_committee() -> None:
    """The change is signed for by voters that it does not know: it asks who they are. Else one bad
    entry shut it out for as long as that leader leads."""
    pool = formed(5, 18_000)
    led = Led(pool, pool.leader(), pool.voter())
    pool.world.expected = (REFUSED,)
    led.lie(GARBAGE)
    pool.send(led.leader.number, pool.sign(Action.SET, "committee", '{"value":"5"}'))

    def log(number: int) -> tuple[int, int]:
        pool_log = pool.node(number).context.pool_log
        return pool_log.applied_index, len(pool_log.configuration.voters)

    pool.until(lambda: log(led.leader.number)[1] == 5, 120_000)
    pool.until(lambda: log(led.victim.number) == log(led.leader.number), 180_000)
    assert pool.leader() is led.leader
