"""Peers that ask for all that is long and send all that is costly: what that draws, counted."""

from collections import Counter

import pytest

from p2pool.core.inputs import Received
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.ids import PoolRef
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.registry import Message
from p2pool.wire import signers
from p2pool.wire.typed_data import recover_signers
from tests.sim.faults.member_liars import Flooder
from tests.sim.harness.certificates import formed
from tests.sim.harness.pool import Pool
from tests.sim.invariants.checks import Checks
from tests.sim.invariants.intake import Intake
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

FLOOD_S = 2


def test_a_flooding_member_draws_what_its_budget_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its questions are answered up to there, its claims cost nobody a recovery where they could
    change nothing, and a leader that it floods goes on to lead and to answer others."""
    monkeypatch.setattr(limits, "ANSWERS_KIB_PER_S", 8)
    monkeypatch.setattr(limits, "ANSWERS_KIB_BURST", 60)
    pool = formed(3)
    leader = pool.leader()
    flooder, other = (m for m in pool.world.machines if m is not leader)
    recovered: list[SignedRequest] = []

    def recover(ref: PoolRef, signed: SignedRequest) -> Signers:
        recovered.append(signed)
        return recover_signers(ref, signed)

    monkeypatch.setattr(signers, "recover_signers", recover)
    flood = Flooder(pool, flooder, leader)
    flood.begin(FLOOD_S * 1_000)
    pool.world.run(FLOOD_S * 1_000)
    assert flood.asked > 10 * 60
    # The last answer may be as long as any: it is charged once it is there.
    assert flood.drawn < 60 + 8 * FLOOD_S + limits.STREAM_FRAME_MAX_BYTES // 1024
    assert flood.claimed > limits.CLAIMS_PER_REPORT_MAX
    assert recovered == []
    assert pool.leader() is leader
    pool.reply(pool.run_request(other.number))


def test_gossip_of_a_flooding_member_is_taken_as_far_as_its_budget_goes() -> None:
    """By everybody; nobody takes anybody else for silent, and the leader leads on."""
    pool = formed(3)
    leader = pool.leader()
    flooder, other = (m for m in pool.world.machines if m is not leader)
    taken: Counter[int] = Counter()

    def took(m: Machine, event: Received) -> None:
        if event.verified.header.peer_key == flooder.peer_key:
            taken[m.number] += 1

    pool.world.on_gossip += [took, Intake(pool.world).took]
    flood = Flooder(pool, flooder, leader)
    flood.begin(3_000)
    pool.world.run(3_000)
    most = limits.GOSSIP_PER_ORIGIN_BURST + 3 * limits.GOSSIP_PER_ORIGIN_PER_S
    assert flood.gossiped > most
    assert 0 < taken[other.number] <= most
    pool.world.run(20_000)
    assert pool.leader() is leader
    pool.reply(pool.run_request(other.number))


def answered(pool: Pool, asked: Machine) -> list[Machine]:
    """Whom a machine gives its certificates, from now on."""
    found: list[Machine] = []

    def told(m: Machine, to: Machine | None, message: Message) -> None:
        if m is asked and to is not None and isinstance(message, CertificatesAnswered):
            found.append(to)

    pool.world.on_send.append(told)
    return found


def test_a_guest_that_asks_all_the_time_takes_no_others_turn() -> None:
    """It is answered as often as any guest may be, and another one at once."""
    world = World(7, 5)
    world.members = [0, 1, 2]
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(5):
        world.start(number)
    world.run(8_000)
    chatty, quiet = world.machines[3:]
    found = answered(pool, pool.leader())
    for number in range(40):
        world.said(chatty, pool.leader(), CertificatesRequested(number))
        if number == 30:
            world.said(quiet, pool.leader(), CertificatesRequested(1))
        world.run(100)
    assert found.count(quiet) == 1
    assert 0 < found.count(chatty) <= limits.GUEST_PROOFS_BURST + 4 * limits.GUEST_PROOFS_PER_S
