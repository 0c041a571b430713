"""Challenges over frames, with nodes in virtual time: what comes of each way to answer."""

import itertools

import attrs
import pytest
import trio
from trio.testing import MockClock

from p2pool.model.errors import Unavailable
from p2pool.model.ids import Address, NodeId, PeerKey
from p2pool.model.machine.hardware import Gpu
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import Conclusion, Fault, SignedEvidence, Transcript
from p2pool.model.validation.transcript import Challenge, Openings
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.validator.challenge.conduct import Means, Sitting
from p2pool.validator.challenge.outcome import (
    Outcome,
    Unchallenged,
    finding_of_evidence,
    finding_of_outcome,
)
from p2pool.validator.challenge.rounds import Validator, conclude
from p2pool.validator.policy.findings import WHOLE_PPM, FindingKind
from p2pool.wire.validation.evidence import sign_challenge, sign_evidence, verifies, verify_evidence
from p2pool.wire.validation.verdict import verdict_of
from tests.validator.harness.nodes import SIZES, TABLE, VALIDATOR, Card, SimulatedNode, claims_of
from tests.validator.harness.talks import IMAGE, Double, DoubleNetwork
from tests.wire.samples import NOW_MS, POOL

ME = Address(bytes.fromhex(VALIDATOR.address[2:]))
PROVIDER = Address(b"\x33" * 20)


@pytest.fixture
def autojump_clock() -> MockClock:
    """Hours take no time."""
    return MockClock(autojump_threshold=0)


@attrs.define
class Bench:
    """A validator in virtual time: what came of a sitting, by node."""

    signed: dict[NodeId, SignedEvidence] = attrs.field(factory=dict)
    images: tuple[str, ...] = ()
    settles: bool = True
    signs: bool = True
    network: DoubleNetwork | None = None

    async def sit(self, *doubles: Double) -> dict[NodeId, Outcome]:
        """Challenge them together."""
        async with trio.open_nursery() as nursery:
            self.network = network = DoubleNetwork.of(doubles, nursery)
            seeds = itertools.count(1)
            means = Means(
                validator=Validator(POOL, ME, PeerKey(bytes([8]) * 32), ""),
                network=network,
                table=TABLE,
                settle=self._settle,
                sign=self._sign,
                entropy=lambda: bytes([next(seeds)]) * 32,
                wall_ms=lambda: NOW_MS,
                sizes=SIZES,
                images=self.images,
            )
            found = await Sitting(means).run([one.node.node_id for one in doubles])
            nursery.cancel_scope.cancel()
        return found

    async def _settle(
        self, node_id: NodeId, transcript: Transcript, binding: PeerBinding
    ) -> SignedVerdict | None:
        if not self.settles:
            return None
        signed = sign_evidence(VALIDATOR, conclude(transcript, binding, verifies, NOW_MS))
        self.signed[node_id] = signed
        return verdict_of(signed)

    async def _sign(self, challenge: Challenge) -> bytes:
        if not self.signs:
            raise Unavailable("The signer does not answer.")
        return sign_challenge(VALIDATOR, challenge)

    def faults(self, double: Double) -> list[Fault]:
        """What the evidence of a node shows."""
        return [one.fault for one in self.signed[double.node.node_id].evidence.faults]


async def test_an_honest_node_passes_and_hears_its_verdict(autojump_clock: MockClock) -> None:
    """Its evidence holds up before a stranger, and the verdict that it is told is that one's."""
    bench, double = Bench(), Double(SimulatedNode(1, claims_of(2), [Card(), Card()]))
    (outcome,) = (await bench.sit(double)).values()
    signed = bench.signed[double.node.node_id]
    assert verify_evidence(POOL, signed).conclusion is Conclusion.VALID
    assert outcome.why is None
    assert outcome.verdict == verdict_of(signed)
    assert double.verdict is not None
    assert double.verdict.verdict == outcome.verdict
    assert signed.evidence.transcript.challenge.image == IMAGE
    finding = finding_of_evidence(signed.evidence, PROVIDER)
    assert (finding.kind, finding.proven) == (FindingKind.PASSED, False)


async def test_all_nodes_of_a_provider_are_asked_in_the_same_moment(
    autojump_clock: MockClock,
) -> None:
    """One card behind two nodes does the work of both one after the other, and is late."""
    card = Card()
    doubles = [Double(SimulatedNode(number, cards=[card])) for number in (1, 2)]
    bench = Bench()
    await bench.sit(*doubles)
    assert bench.network is not None
    assert len({at for at, _ in bench.network.opened}) == 1
    found = [bench.signed[one.node.node_id].evidence.conclusion for one in doubles]
    assert Conclusion.INVALID in found
    alone = Bench()
    await alone.sit(Double(SimulatedNode(1, cards=[Card()])))
    assert [one.evidence.conclusion for one in alone.signed.values()] == [Conclusion.VALID]


@pytest.mark.parametrize(
    ("fails", "kind"),
    [
        ("offline", FindingKind.OFFLINE),
        ("declines:leased", FindingKind.REFUSED),
        ("declines:off", FindingKind.REFUSED),
        ("declines:no_prover", FindingKind.REFUSED),
        ("declines:a-code-of-tomorrow", FindingKind.REFUSED),
        ("declines:busy", FindingKind.INCONCLUSIVE),
        ("declines:too_often", FindingKind.INCONCLUSIVE),
        ("declines:not_validator", FindingKind.INCONCLUSIVE),
        ("declines:role_unknown", FindingKind.INCONCLUSIVE),
        ("declines:no_gpus", FindingKind.INCONCLUSIVE),
    ],
)
async def test_who_is_not_challenged_is_a_finding_by_its_reason(
    autojump_clock: MockClock, fails: str, kind: FindingKind
) -> None:
    """And keeps nobody else from a turn."""
    bad, good = Double(SimulatedNode(1), fails), Double(SimulatedNode(2))
    bench = Bench()
    outcomes = await bench.sit(bad, good)
    assert list(bench.signed) == [good.node.node_id]
    assert outcomes[good.node.node_id].verdict is not None
    outcome = outcomes[bad.node.node_id]
    assert finding_of_outcome(outcome, ME, PROVIDER, NOW_MS).kind is kind
    if fails.startswith("declines"):
        assert (outcome.code, outcome.retry_at_ms) == (fails.partition(":")[2], 5_000_000_000_000)


@pytest.mark.parametrize(
    ("fails", "steps", "fault"),
    [
        ("hangs", 1, Fault.NO_ANSWER),
        ("dies", 2, Fault.NO_ANSWER),
        ("garbles", 3, Fault.BAD_ANSWER),
        ("garbles", 0, Fault.BAD_ANSWER),
        # An excuse after the secret is none.
        ("late-decline", 0, Fault.NO_ANSWER),
        ("late-silence", 0, Fault.NO_ANSWER),
    ],
)
async def test_who_stops_midway_is_judged_by_that(
    autojump_clock: MockClock, fails: str, steps: int, fault: Fault
) -> None:
    """The evidence says where, a stranger comes to the same, and the other node goes on."""
    bad, good = Double(SimulatedNode(1), fails, steps), Double(SimulatedNode(2))
    bench = Bench()
    await bench.sit(bad, good)
    assert bench.faults(bad)[-1:] == [fault]
    assert bench.faults(good) == []
    kind = finding_of_evidence(bench.signed[bad.node.node_id].evidence, PROVIDER).kind
    # Who has the secret knows whether it is caught.
    assert (kind is FindingKind.UNOPENED) == fails.startswith("late")
    verify_evidence(POOL, bench.signed[bad.node.node_id])


async def test_openings_that_swell_are_a_bad_answer_and_are_not_kept(
    autojump_clock: MockClock,
) -> None:
    """A node cannot fill the validator's memory, nor escape by evidence that is too long to keep:
    what is longer than was asked for ends its challenge."""
    bench, bad = Bench(), Double(SimulatedNode(1), "swells")
    (outcome,) = (await bench.sit(bad)).values()
    assert outcome.verdict is not None
    assert bench.faults(bad) == [Fault.BAD_ANSWER]
    transcript = bench.signed[bad.node.node_id].evidence.transcript
    assert transcript.openings == Openings()
    verify_evidence(POOL, bench.signed[bad.node.node_id])


async def test_a_model_without_figures_is_inconclusive(autojump_clock: MockClock) -> None:
    """And so is a card that does not say how much memory it has; both are told in words."""
    for claim in (Gpu("GPU-0", "Abacus", 16_384), Gpu("GPU-0", "Test card", 0)):
        bench, double = Bench(), Double(SimulatedNode(1, [claim]))
        (outcome,) = (await bench.sit(double)).values()
        assert outcome.why is Unchallenged.NO_PLAN
        assert outcome.reason
        finding = finding_of_outcome(outcome, ME, PROVIDER, NOW_MS)
        assert finding.kind is FindingKind.INCONCLUSIVE


async def test_an_image_that_was_not_named_is_refused(autojump_clock: MockClock) -> None:
    """A node accepts with one of those that the validator names."""
    bench = Bench(images=("sha256:" + "2" * 64,))
    (outcome,) = (await bench.sit(Double(SimulatedNode(1)))).values()
    assert outcome.why is Unchallenged.MISSPOKE
    bench = Bench(images=(IMAGE,))
    (outcome,) = (await bench.sit(Double(SimulatedNode(1)))).values()
    assert outcome.why is None


async def test_what_cannot_be_kept_is_told_to_nobody(autojump_clock: MockClock) -> None:
    """A full disk, or a signer that is away, is our fault: the node hears no verdict."""
    for bench in (Bench(settles=False), Bench(signs=False)):
        double = Double(SimulatedNode(1))
        (outcome,) = (await bench.sit(double)).values()
        assert outcome.why is Unchallenged.NOT_KEPT
        assert double.verdict is None
        kind = finding_of_outcome(outcome, ME, PROVIDER, NOW_MS).kind
        assert kind is FindingKind.INCONCLUSIVE


async def test_the_shortfall_is_the_part_of_the_devices_that_failed(
    autojump_clock: MockClock,
) -> None:
    """Of two cards of which one is slow, half is missing; the times alone prove nothing."""
    slow = Card(memory_permille=350)
    bench, double = Bench(), Double(SimulatedNode(1, claims_of(2), [Card(), slow]))
    await bench.sit(double)
    evidence = bench.signed[double.node.node_id].evidence
    finding = finding_of_evidence(evidence, PROVIDER)
    assert evidence.conclusion is Conclusion.INVALID
    assert finding.kind is FindingKind.SHORT_MEMORY
    assert not finding.proven
    devices = {one.device for one in evidence.faults}
    expected = WHOLE_PPM if -1 in devices else WHOLE_PPM * len(devices) // 2
    assert finding.shortfall_ppm == expected
