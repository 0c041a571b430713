"""A validator and its nodes in virtual time: each node's cards take the time that their work takes.

Intuition: a card is a speed, a bandwidth, a memory and a rate of hashes. The work of a step costs a
card that many milliseconds, and what a card does for several devices it does one after the other.
The driver below moves the time to the next answer, so a challenge of minutes runs in milliseconds.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from nacl.signing import SigningKey

from p2pool.model.errors import Refusal
from p2pool.model.ids import Address, Digest, NodeId, PeerKey
from p2pool.model.machine.hardware import Gpu
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import Evidence
from p2pool.model.validation.transcript import Challenge, Openings, SignedCommitment
from p2pool.model.validation.work import DeviceWork, Plan
from p2pool.proofs.validation.answers import NodeAnswers
from p2pool.proofs.validation.derivation import LINE_BYTES
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.figures import Figures, FigureTable
from p2pool.validator.challenge.plan import Sizes, plan_for
from p2pool.wire.account import Account
from p2pool.wire.binding import make_binding
from p2pool.wire.validation.evidence import sign_commitment, verifies
from tests.validator.harness.provers import PlainProver
from tests.wire.samples import NOW_MS, POOL

MODEL = "Test card"
FIGURES = Figures(
    names=(MODEL,),
    int8_ops_per_s=5_120,
    memory_bytes=16_384,
    memory_bytes_per_s=8_192,
    hashes_per_s_max=1_000,
    product_permille=400,
    memory_permille=600,
    source="this test",
)
TABLE = FigureTable(1, (FIGURES,))
SIZES = Sizes(
    rows=20,
    inner=8,
    columns=8,
    block_bytes=64,
    round_ms=1_000,
    product_rounds=2,
    scan_rounds=2,
    rows_opened=24,
    blocks_opened=16,
    slack_ms=200,
    filled_permille=250,
)
VALIDATOR = Account(bytes([9]) * 32)
LATENCY_MS = 20


def claims_of(count: int = 1, memory_bytes: int = 16_384) -> list[Gpu]:
    """So many cards, as a node claims them."""
    return [Gpu(f"GPU-{number}", MODEL, memory_bytes) for number in range(count)]


@attrs.define
class Card:
    """A card, by what it does of the figures. `free_ms`: when it has done all that it was given."""

    product_permille: int = 800
    memory_permille: int = 900
    memory_bytes: int = 16_384
    free_ms: int = 0

    def busy_until(self, now_ms: int, cost_ms: int) -> int:
        """When work that comes now is done: after all that came before."""
        self.free_ms = max(self.free_ms, now_ms) + cost_ms
        return self.free_ms


@attrs.define
class SimulatedNode:
    """A node that claims `claims`, and computes on `cards`: device n on card n, in turn."""

    number: int
    claims: Sequence[Gpu] = attrs.Factory(claims_of)
    cards: list[Card] = attrs.Factory(lambda: [Card()])
    prover: PlainProver = attrs.Factory(PlainProver)
    latency_ms: int = LATENCY_MS
    answers: NodeAnswers | None = None
    change: Callable[[SignedCommitment], SignedCommitment] | None = None
    key: SigningKey = attrs.field(init=False)
    account: Account = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key = SigningKey(bytes([self.number]) * 32)
        self.account = Account(bytes([100 + self.number]) * 32)

    @property
    def node_id(self) -> NodeId:
        """Its name."""
        return NodeId(bytes.fromhex(self.account.address[2:]))

    @property
    def peer_key(self) -> PeerKey:
        """Its key on the network."""
        return PeerKey(bytes(self.key.verify_key))

    @property
    def binding(self) -> PeerBinding:
        """That its two keys belong together."""
        return make_binding(POOL, self.account, self.key, NOW_MS // 1000 - 60)

    def claim(self, plan: Plan | None = None) -> rounds.Claim:
        """What a validator challenges it with."""
        return rounds.Claim(
            self.node_id, self.peer_key, plan or plan_for(self.claims, TABLE, SIZES)
        )

    def on_effect(self, effect: Any, now_ms: int) -> tuple[int, rounds.Input] | None:
        """Its answer to what a validator sent, and when that is back there."""
        arrived_ms = now_ms + self.latency_ms // 2
        if isinstance(effect, rounds.OpenChannel):
            nonce = Digest(bytes([self.number]) * 32)
            said: rounds.Input = rounds.ChannelOpened(self.node_id, self.peer_key, nonce)
            return arrived_ms + self.latency_ms // 2, said
        try:
            done_ms, said = self._worked(effect, arrived_ms)
        except Refusal:
            return arrived_ms + self.latency_ms // 2, rounds.Declined(self.node_id)
        return done_ms + self.latency_ms // 2, said

    def _worked(self, effect: Any, now_ms: int) -> tuple[int, rounds.Input]:
        if isinstance(effect, rounds.SendChallenge):
            self.answers = NodeAnswers(effect.challenge)
            for request in self.answers.preparations():
                made = self.prover.perform(request.op, request.shares)
            return self._committed(made, self._done_ms(now_ms, self._fill_ms))
        assert self.answers is not None
        if isinstance(effect, rounds.Ask):
            request = self.answers.round(effect.question)
            made = self.prover.perform(request.op, request.shares)
            cost = self._product_ms if request.op == "multiply" else self._scan_ms
            return self._committed(made, self._done_ms(now_ms, cost))
        assert isinstance(effect, rounds.Reveal)
        shown = self.opened(effect.secret)
        return now_ms, rounds.Opened(self.node_id, shown)

    def opened(self, secret: Digest) -> Openings:
        """All that the secret draws."""
        assert self.answers is not None
        asked = self.answers.opening_requests(secret)
        return self.answers.openings([self.prover.perform(r.op, r.shares) for r in asked])

    def _committed(self, made: list[dict[str, Any]], done_ms: int) -> tuple[int, rounds.Input]:
        assert self.answers is not None
        signed = sign_commitment(self.key, self.answers.commitment(made))
        return done_ms, rounds.Committed(
            self.node_id, self.change(signed) if self.change else signed
        )

    def _done_ms(self, now_ms: int, cost: Callable[[Card, DeviceWork], int]) -> int:
        assert self.answers is not None
        works = self.answers.challenge.plan.devices
        pairs = [(self.cards[n % len(self.cards)], work) for n, work in enumerate(works)]
        return max(card.busy_until(now_ms, cost(card, work)) for card, work in pairs)

    def _product_ms(self, card: Card, work: DeviceWork) -> int:
        per_s = FIGURES.int8_ops_per_s * card.product_permille // 1000
        return work.product.operations * 1000 // per_s

    def _fill_ms(self, card: Card, work: DeviceWork) -> int:
        hashes = work.memory.size_bytes // LINE_BYTES * work.memory.repeats
        return hashes * 1000 // (FIGURES.hashes_per_s_max // 2)

    def _scan_ms(self, card: Card, work: DeviceWork) -> int:
        """Reads what it holds; what it lacks, for all devices that it stands for, it derives."""
        assert self.answers is not None
        shares = len(self.answers.challenge.plan.devices) / len(self.cards)
        held = int(card.memory_bytes * SIZES.filled_permille / 1000 / max(1.0, shares))
        missing_bytes = max(0, work.memory.size_bytes - held)
        if hasattr(self.prover, "held_permille"):
            missing_bytes = 0  # It makes things up instead.
        per_s = FIGURES.memory_bytes_per_s * card.memory_permille // 1000
        read_ms = work.memory.passes * work.memory.size_bytes * 1000 // per_s
        hashes = work.memory.passes * missing_bytes // LINE_BYTES * work.memory.repeats
        return read_ms + hashes * 1000 // FIGURES.hashes_per_s_max


@attrs.define
class Challenged:
    """What came of a challenge of some nodes."""

    ended: dict[NodeId, rounds.Ended] = attrs.Factory(dict)
    evidence: dict[NodeId, Evidence] = attrs.Factory(dict)
    sent: list[tuple[int, Any]] = attrs.Factory(list)
    challenges: dict[NodeId, Challenge] = attrs.Factory(dict)


Tap = Callable[[rounds.Input], rounds.Input | None]
"""What becomes of an answer on its way; None loses it."""


def challenge(
    *nodes: SimulatedNode,
    entropy: bytes = bytes([5]) * 32,
    tap: Tap = lambda said: said,
    claims: Sequence[rounds.Claim] = (),
) -> Challenged:
    """All nodes at once, to the end, in virtual time; the evidence of each that was challenged."""
    validator = rounds.Validator(
        POOL, Address(bytes.fromhex(VALIDATOR.address[2:])), PeerKey(bytes([8]) * 32), "sha256:1"
    )
    machine = rounds.ChallengeRounds(
        validator=validator,
        claims=claims or [node.claim() for node in nodes],
        entropy=entropy,
        verifies=verifies,
        started_ms=0,
        wall_ms=NOW_MS,
    )
    by_id, found = {node.node_id: node for node in nodes}, Challenged()
    queue: list[tuple[int, int, rounds.Input]] = []
    now_ms, number = 0, 0

    def carry_out(effects: Sequence[Any]) -> None:
        nonlocal number
        for effect in effects:
            found.sent.append((now_ms, effect))
            if isinstance(effect, rounds.Ended):
                found.ended[effect.node_id] = effect
                continue
            if isinstance(effect, rounds.SendChallenge):
                found.challenges[effect.node_id] = effect.challenge
            answer = by_id[effect.node_id].on_effect(effect, now_ms)
            said = tap(answer[1]) if answer is not None else None
            if answer is not None and said is not None:
                number += 1
                heapq.heappush(queue, (answer[0], number, said))

    carry_out(machine.start())
    while not machine.over:
        wakeup_ms = machine.wakeup_ms
        assert wakeup_ms is not None
        if queue and queue[0][0] <= wakeup_ms:
            now_ms, _, said = heapq.heappop(queue)
            carry_out(machine.step(said, now_ms))
        else:
            now_ms = max(now_ms, wakeup_ms)
            carry_out(machine.step(None, now_ms))
    for node_id, ended in found.ended.items():
        if ended.transcript is not None:
            found.evidence[node_id] = rounds.conclude(
                ended.transcript, by_id[node_id].binding, verifies, NOW_MS
            )
    return found
