"""The validator's side against the agent's own: its server of challenges, over real hosts."""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from nacl.signing import SigningKey

from p2pool.agent.clock import read_clock
from p2pool.agent.streams.intake import StreamIntake
from p2pool.agent.wire.ingress import Ingress
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.drivers.net.events import NetConfig
from p2pool.drivers.net.network import Network
from p2pool.model import messages as m
from p2pool.model.ids import Address, NodeId, StoreId
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import SignedEvidence, Transcript
from p2pool.model.validation.transcript import Challenge
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.validator.challenge.conduct import Means, Sitting
from p2pool.validator.challenge.outcome import Outcome, finding_of_outcome
from p2pool.validator.challenge.rounds import Validator, conclude
from p2pool.validator.network.guest import GuestNetwork, GuestOptions
from p2pool.validator.network.sealer import wall_ms
from p2pool.validator.policy.findings import FindingKind
from p2pool.wire.binding import make_binding
from p2pool.wire.validation.evidence import (
    sign_challenge,
    sign_evidence,
    verifies,
    verify_evidence,
)
from p2pool.wire.validation.verdict import verdict_of
from tests.agent.streams import doubles
from tests.agent.streams.doubles import ACCOUNT, NODE, Place
from tests.agent.streams.hosts import Host
from tests.net.harness.hosts import LOOPBACK, TOPICS
from tests.validator.harness.hosts import until
from tests.validator.harness.nodes import VALIDATOR
from tests.validator.process.conftest import HANGS_S, SLACK, SLACK_TABLE
from tests.wire.samples import POOL

PROVIDER = Address(b"\x33" * 20)


@asynccontextmanager
async def meeting(place: Place) -> AsyncIterator[GuestNetwork]:
    """A validator on the network, and an agent whose streams a place serves."""
    now_s = int(time.time()) - 10
    sealer = doubles.sealer_of(NODE.key, NODE.node_id)
    binding = make_binding(POOL, NODE.account, NODE.key, now_s)
    gate = Ingress(POOL, lambda node_id: None)
    place.intake = StreamIntake(
        sealer, lambda key, data, now: gate.streamed(m.Channel.CHALLENGE, key, data, now)
    )
    place.intake.serve_by(m.ChallengeProposed, place.server.serve)

    def hello() -> bytes:
        said = m.Hello("1", binding, StoreId(bytes(16)), node.addresses())
        return sealer.seal(said, read_clock())[1]

    node = Network(
        NetConfig(seed=bytes(NODE.key), listen=LOOPBACK, **TOPICS),
        hello_bytes=hello,
        check_gossip=lambda channel, data: False,
        knows_origin=lambda key: False,
        accept_challenges=place.intake.serve,
    )
    seed = b"\x42" * 32
    async with node.running(), trio.open_nursery() as nursery:
        nursery.start_soon(Host(node, gate).read)
        options = GuestOptions(
            pool=POOL, node_id=NodeId(bytes(ACCOUNT)), seed=seed, bootstrap=(node.addresses()[0],)
        )
        guest = GuestNetwork(options, make_binding(POOL, VALIDATOR, SigningKey(seed), now_s))
        async with guest.running():
            guest.want([NODE.node_id])
            assert await guest.wait_reached(HANGS_S * 1000)
            yield guest
        nursery.cancel_scope.cancel()


async def sit(guest: GuestNetwork, signed: list[SignedEvidence]) -> Outcome:
    """Challenge the node once."""

    async def settle(
        node_id: NodeId, transcript: Transcript, binding: PeerBinding
    ) -> SignedVerdict | None:
        made = sign_evidence(VALIDATOR, conclude(transcript, binding, verifies, wall_ms()))
        signed.append(made)
        return verdict_of(made)

    async def sign(challenge: Challenge) -> bytes:
        return sign_challenge(VALIDATOR, challenge)

    seeds = itertools.count(1)
    means = Means(
        validator=Validator(POOL, ACCOUNT, guest.peer_key, ""),
        network=guest,
        table=SLACK_TABLE,
        settle=settle,
        sign=sign,
        entropy=lambda: bytes([next(seeds)]) * 32,
        wall_ms=wall_ms,
        sizes=SLACK,
    )
    (outcome,) = (await Sitting(means).run([NODE.node_id])).values()
    return outcome


async def test_an_agent_is_challenged_by_the_process_of_a_validator() -> None:
    """From the hello to the verdict, again and again; what it signs holds up before a stranger."""
    place, signed = Place(), list[SignedEvidence]()
    with trio.fail_after(HANGS_S):
        async with meeting(place) as guest:
            for _ in range(2):
                outcome = await sit(guest, signed)
                assert outcome.why is None, outcome
            await until(lambda: place.server.counters["concluded_valid"] == 2)
    assert len(signed) == 2
    for one in signed:
        verify_evidence(POOL, one)
    assert place.asked == [ACCOUNT]


@pytest.mark.parametrize("holds", [False, True])
async def test_an_agent_declines_in_words_that_the_process_takes(holds: bool) -> None:
    """To an account without the role, and while its owner takes no challenges: the one speaks
    against nobody, the other one is a refusal."""
    config = ChallengeConfig(images=(doubles.IMAGE,), apart_s=0, enabled=not holds)
    place = Place(config, roles={ACCOUNT: holds})
    with trio.fail_after(HANGS_S):
        async with meeting(place) as guest:
            outcome = await sit(guest, [])
    assert outcome.code == ("off" if holds else "not_validator")
    kind = finding_of_outcome(outcome, ACCOUNT, PROVIDER, wall_ms()).kind
    assert kind is (FindingKind.REFUSED if holds else FindingKind.INCONCLUSIVE)
