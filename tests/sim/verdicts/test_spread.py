"""A verdict that one member is offered reaches all; nobody takes an account's word for its role."""

import attrs
import pytest

from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.messages.registry import Message
from p2pool.model.messages.verdicts import (
    VerdictAnswered,
    VerdictCode,
    VerdictOffered,
    VerdictsAnnounced,
)
from p2pool.model.validation.evidence import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from tests.sim.faults.member_liars import tell
from tests.sim.harness.certificates import formed
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import Machine
from tests.sim.world.world import POOL
from tests.wire.validation.verdicts import address_of, sign, validator, verdict_by

HONEST, STRANGER = validator(1), validator(2)
ROUND_MS = 20_000
REPEAT_MS = 1_000


@attrs.define
class Told:
    """A pool of four, and what is said in it about verdicts."""

    pool: Pool
    announced: list[tuple[int, VerdictsAnnounced]] = attrs.field(factory=list)
    answered: list[VerdictAnswered] = attrs.field(factory=list)

    def heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        if isinstance(message, VerdictsAnnounced):
            self.announced.append((m.number, message))
        elif isinstance(message, VerdictAnswered):
            self.answered.append(message)

    def node_id(self, number: int) -> NodeId:
        return self.pool.world.machines[number].node_id

    def verdict(self, number: int, ago_s: int = 60, **told: object) -> SignedVerdict:
        at_ms = self.pool.world.now().wall_ms - ago_s * 1000
        return verdict_by(HONEST, self.node_id(number), at_ms, pool=POOL, **told)  # type: ignore[arg-type]

    def offer(self, at: int, signed: SignedVerdict, by: int = 0) -> None:
        """Another machine offers it, as a validator does."""
        machines = self.pool.world.machines
        tell(self.pool, machines[by], machines[at], VerdictOffered(7, signed))

    def held(self, number: int) -> set[SignedVerdict]:
        return set(self.pool.node(number).context.validations.kept.values())

    def everybodys(self) -> list[set[SignedVerdict]]:
        return [self.held(m.number) for m in self.pool.world.machines if m.node]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The chain knows one validator. What takes minutes takes seconds."""
    monkeypatch.setattr(limits, "VERDICTS_REPEAT_MS", REPEAT_MS)
    monkeypatch.setattr(limits, "VERDICTS_SWEEP_MS", 2_000)
    monkeypatch.setattr(limits, "VALIDATOR_ROLE_AGAIN_MS", 2_000)
    monkeypatch.setattr(limits, "VALIDATOR_ROLE_KEPT_MS", 10_000)
    pool = formed(4, 18_000)
    pool.world.validators = {address_of(HONEST)}
    made = Told(pool)
    pool.world.on_send.append(made.heard)
    return made


def test_a_verdict_reaches_all_members(told: Told) -> None:
    """Told once by whoever was offered it; the validator hears that it is kept."""
    said = told.verdict(3)
    told.offer(1, said)
    told.pool.world.run(3_000)
    assert told.everybodys() == [{said}] * 4
    assert told.announced[0] == (1, VerdictsAnnounced((said,)))
    assert told.answered == [VerdictAnswered(7, True, "")]


def test_the_newest_wins_everywhere(told: Told) -> None:
    """An older one that comes later is answered with its code, and changes nothing."""
    newer, older = told.verdict(3, 60), told.verdict(3, 120, conclusion=Conclusion.INVALID)
    told.offer(1, newer)
    told.pool.world.run(2_000)
    told.offer(2, older)
    told.pool.world.run(2_000)
    assert told.everybodys() == [{newer}] * 4
    assert told.answered[-1] == VerdictAnswered(7, False, VerdictCode.OLDER)


def test_an_account_without_the_role_is_heard_by_nobody(told: Told) -> None:
    """Neither where it is offered, nor where a member that lies gossips it."""
    node_id, at_ms = told.node_id(3), told.pool.world.now().wall_ms - 60_000
    said = verdict_by(STRANGER, node_id, at_ms, pool=POOL, conclusion=Conclusion.INVALID)
    told.offer(1, said)
    liar = told.pool.world.machines[2]
    tell(told.pool, liar, None, VerdictsAnnounced((said,)))
    told.pool.world.run(ROUND_MS)
    assert told.everybodys() == [set()] * 4
    assert told.answered == [VerdictAnswered(7, False, VerdictCode.NOT_VALIDATOR)]
    assert told.announced == []


def test_nobody_says_anything_in_a_validators_name(told: Told) -> None:
    """A verdict that another account signed, or that was changed, is dropped at the way in, and
    the honest one beside it in front stays."""
    good = told.verdict(3)
    forged = sign(STRANGER, told.verdict(2).verdict)
    changed = attrs.evolve(good, verdict=attrs.evolve(good.verdict, conclusion=Conclusion.INVALID))
    liar = told.pool.world.machines[2]
    for bad in (forged, changed):
        told.offer(1, bad)
        tell(told.pool, liar, None, VerdictsAnnounced((good, bad)))
    told.pool.world.run(3_000)
    assert told.answered == []
    assert [held for held in told.everybodys() if held] == [{good}] * 3


def test_a_verdict_waits_for_the_chain_and_is_passed_on_then(told: Told) -> None:
    """While no endpoint answers it lies aside, in nobody's list; then all have it."""
    world = told.pool.world
    world.chain_up = False
    said = told.verdict(3)
    told.offer(1, said)
    world.run(5_000)
    assert told.everybodys() == [set()] * 4
    assert told.answered == [VerdictAnswered(7, False, VerdictCode.ROLE_UNKNOWN)]
    world.chain_up = True
    world.run(limits.VALIDATOR_ROLE_AGAIN_MS + limits.VERDICTS_SWEEP_MS + 5_000)
    assert told.everybodys() == [{said}] * 4


def test_who_was_away_hears_it_later(told: Told) -> None:
    """Members repeat what they hold in turn, all together as often in a pool of any size."""
    world = told.pool.world
    world.crash(3)
    said = told.verdict(3)
    told.offer(1, said)
    world.run(3_000)
    world.start(3)
    told.pool.until(lambda: told.held(3) == {said}, ROUND_MS)
    before, start_ms = len(told.announced), world.now_ms
    world.run(ROUND_MS)
    repeated = len(told.announced) - before
    slices = (world.now_ms - start_ms) / REPEAT_MS
    assert slices / 2 <= repeated <= 2 * slices


def test_a_restart_keeps_it(told: Told) -> None:
    """From the disk, though the chain cannot be read."""
    world, said = told.pool.world, told.verdict(3)
    told.offer(1, said)
    world.run(3_000)
    world.chain_up = False
    world.crash(2)
    world.start(2)
    assert told.held(2) == {said}


def test_a_role_that_is_taken_away_takes_the_verdicts_with_it(told: Told) -> None:
    """When the chain is asked anew, which it is within minutes."""
    world = told.pool.world
    told.offer(1, told.verdict(3))
    world.run(3_000)
    world.validators.clear()
    world.run(limits.VALIDATOR_ROLE_KEPT_MS + ROUND_MS)
    assert told.everybodys() == [set()] * 4


def test_a_node_that_left_takes_its_verdicts_with_it(told: Told) -> None:
    """Once that is final, and its turn came to be looked at."""
    world = told.pool.world
    gone = next(n for n in (3, 2) if told.pool.leader().number != n)
    told.offer(1, told.verdict(gone))
    world.run(3_000)
    world.members.remove(gone)
    world.run(limits.VERDICTS_SWEEP_MS + 15_000)
    others = [n for n in range(4) if n != gone]
    assert [told.held(n) for n in others] == [set()] * 3


def test_a_validator_says_no_more_than_its_budget(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever passes its words on; the rest is answered, and can come again."""
    exchange = told.pool.node(1).parts.verdict_exchange
    monkeypatch.setattr(exchange.said, "burst", 5)
    monkeypatch.setattr(exchange.said, "per_s", 0)
    told.offer(1, told.verdict(3, 1_000))
    told.pool.world.run(1_000)
    for number in range(20):
        told.offer(1, told.verdict(3, 900 - number))
    told.pool.world.run(1_000)
    kept = [answer for answer in told.answered if answer.kept]
    busy = [answer for answer in told.answered if answer.code == VerdictCode.BUSY]
    assert (len(kept), len(busy)) == (6, 15)


def test_what_a_node_hears_on_its_own_stream_reaches_all(told: Told) -> None:
    """A validator tells the node at the end of a challenge, and need not tell anybody else."""
    said = told.verdict(3)
    world = told.pool.world
    world.give(world.machines[3], inputs.VerdictReceived(said))
    world.run(3_000)
    assert told.everybodys() == [{said}] * 4
