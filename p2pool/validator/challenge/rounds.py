"""The rounds of a challenge of several nodes at once, as a machine without a clock or a network.

Intuition: all nodes of a provider go through the same steps together: the next question goes out
only when all have answered the last one, or are given up. So no card works for two nodes, or two
devices, one after the other: all of them are asked in the same moment, and timed by it.

Invariants: a question leaves after the answer before it; the secret leaves after the last root; an
answer that is not to this question, by this key, ends the challenge of its node and of no other;
every wait has an end (`wakeup_ms`). Nothing heavy happens here: rows are checked by `conclude`,
which may run elsewhere. Source: docs/design/validation.md, "Rounds".
"""

from collections.abc import Sequence
from hashlib import sha256

import attrs

from p2pool.model import limits
from p2pool.model.errors import Refusal
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, PoolRef
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import Evidence, Fault, ShownFault, Step, Transcript
from p2pool.model.validation.transcript import (
    Challenge,
    Openings,
    Question,
    SignedCommitment,
)
from p2pool.model.validation.work import Plan
from p2pool.proofs.validation import seeds
from p2pool.proofs.validation.judgement import Verifies, check_commitment, check_plan, judge
from p2pool.validator.challenge.arithmetic import arithmetic

# --- what happens -------------------------------------------------------------------------------


@attrs.frozen
class ChannelOpened:
    """A node answered on a connection of its peer key, with a nonce for it."""

    node_id: NodeId
    peer_key: PeerKey
    nonce: Digest


@attrs.frozen
class Committed:
    """A node's answer to a question."""

    node_id: NodeId
    answer: SignedCommitment


@attrs.frozen
class Opened:
    """A node's rows and blocks, after it learned the secret."""

    node_id: NodeId
    openings: Openings


@attrs.frozen
class Declined:
    """A node says that it cannot be challenged now: its GPUs are leased, say."""

    node_id: NodeId


@attrs.frozen
class ConnectionLost:
    """Nothing more comes from a node."""

    node_id: NodeId


@attrs.frozen
class Misspoke:
    """A node sent what is no answer at all."""

    node_id: NodeId


Input = ChannelOpened | Committed | Opened | Declined | ConnectionLost | Misspoke

# --- what is wanted -----------------------------------------------------------------------------


@attrs.frozen
class OpenChannel:
    """Connect to a node and ask for its nonce."""

    node_id: NodeId


@attrs.frozen
class SendChallenge:
    """Send the signed challenge: it is the question of step 0."""

    node_id: NodeId
    challenge: Challenge


@attrs.frozen
class Ask:
    """Send the question of a round."""

    node_id: NodeId
    question: Question


@attrs.frozen
class Reveal:
    """Send the secret, and ask for the openings."""

    node_id: NodeId
    secret: Digest


@attrs.frozen
class Ended:
    """A node's challenge is over: its transcript, or None if it was never challenged. `reason`: in
    a sentence, for people."""

    node_id: NodeId
    transcript: Transcript | None
    reason: str = ""


Effect = OpenChannel | SendChallenge | Ask | Reveal | Ended

# --- the machine --------------------------------------------------------------------------------


@attrs.frozen
class Claim:
    """A node to challenge, and what with. `image`: of its prover, where that is another than the
    others'."""

    node_id: NodeId
    peer_key: PeerKey
    plan: Plan
    image: str = ""


@attrs.frozen
class Validator:
    """Who challenges, and with which prover."""

    pool: PoolRef
    account: Address
    peer_key: PeerKey
    image: str


OPENING = -1


@attrs.define
class _Node:
    claim: Claim
    secret: Digest
    challenge: Challenge | None = None
    previous: Digest | None = None
    steps: list[Step] = attrs.Factory(list)
    waits: bool = True
    over: bool = False


@attrs.define
class ChallengeRounds:
    """The challenge of the nodes of one provider. `entropy`: 32 bytes that nobody else knows;
    `wall_ms`: the time of day at `started_ms` of the clock that all other times are of."""

    validator: Validator
    claims: Sequence[Claim]
    entropy: bytes
    verifies: Verifies
    started_ms: int
    wall_ms: int
    _nodes: dict[NodeId, _Node] = attrs.field(init=False)
    _step: int = attrs.field(init=False, default=OPENING)
    _asked_ms: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        assert len(self.entropy) == 32
        assert 0 < len(self.claims) <= limits.CHALLENGE_NODES_MAX
        assert len({claim.plan.steps for claim in self.claims}) == 1, "they go in step"
        for claim in self.claims:
            check_plan(claim.plan)
        self._nodes = {
            claim.node_id: _Node(claim, self._drawn(claim.node_id, "secret"))
            for claim in self.claims
        }
        self._asked_ms = self.started_ms

    def start(self) -> list[Effect]:
        """The first effects."""
        return [OpenChannel(node_id) for node_id in self._nodes]

    @property
    def over(self) -> bool:
        """Whether every node's challenge has ended."""
        return all(node.over for node in self._nodes.values())

    @property
    def wakeup_ms(self) -> int | None:
        """When to step without an input, at the latest."""
        return None if self.over else self._asked_ms + self._patience_ms()

    def step(self, event: Input | None, now_ms: int) -> list[Effect]:
        """What follows from an input, which came at `now_ms`, or from the time alone."""
        effects: list[Effect] = []
        if event is not None:
            node = self._nodes.get(event.node_id)
            if node is not None and not node.over:
                effects += self._take(node, event, now_ms)
        if not self.over and now_ms >= self._asked_ms + self._patience_ms():
            for node in self._waiting():
                effects += self._end(node, Fault.NO_ANSWER, "It did not answer in time.")
        if not self.over and not self._waiting():
            effects += self._advance(now_ms)
        return effects

    def _take(self, node: _Node, event: Input, now_ms: int) -> list[Effect]:
        if isinstance(event, Declined):
            if self._step >= node.claim.plan.steps:
                # It knows by now whether a fake of its was drawn: an excuse is worth no more than
                # silence, or a cheat would always have one.
                return self._end(node, Fault.NO_ANSWER, "It declined when it had to open.")
            return self._end(node, Fault.DECLINED, "It declined: it cannot be challenged now.")
        if isinstance(event, ConnectionLost):
            return self._end(node, Fault.NO_ANSWER, "The connection was lost.")
        if isinstance(event, Misspoke):
            return self._end(node, Fault.BAD_ANSWER, "It sent what is no answer at all.")
        if isinstance(event, ChannelOpened):
            return self._on_channel(node, event, now_ms)
        if isinstance(event, Committed):
            return self._on_commitment(node, event.answer, now_ms)
        return self._on_openings(node, event.openings)

    def _on_channel(self, node: _Node, event: ChannelOpened, now_ms: int) -> list[Effect]:
        if self._step != OPENING or not node.waits:
            return self._end(node, Fault.BAD_ANSWER, "It opened a channel again.")
        claim = node.claim
        if event.peer_key != claim.peer_key:
            return self._end(node, Fault.BAD_ANSWER, "Another peer key answered in its place.")
        node.challenge = Challenge(
            pool=self.validator.pool,
            validator=self.validator.account,
            validator_peer=self.validator.peer_key,
            node_id=claim.node_id,
            peer_key=claim.peer_key,
            node_nonce=event.nonce,
            validator_nonce=self._drawn(claim.node_id, 0),
            secret_hash=seeds.secret_hash(node.secret),
            image=claim.image or self.validator.image,
            plan=claim.plan,
            issued_at_ms=self.wall_ms + now_ms - self.started_ms,
        )
        node.previous = seeds.challenge_id(node.challenge)
        node.waits = False
        return []

    def _on_commitment(self, node: _Node, answer: SignedCommitment, now_ms: int) -> list[Effect]:
        why = self._commitment_refusal(node, answer)
        if why:
            return self._end(node, Fault.BAD_ANSWER, why)
        elapsed_ms = min(max(0, now_ms - self._asked_ms), limits.CHALLENGE_STEP_MAX_MS)
        node.steps.append(Step(answer, elapsed_ms))
        node.previous = seeds.commitment_digest(answer.commitment)
        node.waits = False
        return []

    def _commitment_refusal(self, node: _Node, answer: SignedCommitment) -> str:
        commitment, challenge = answer.commitment, node.challenge
        if challenge is None or node.previous is None or not node.waits:
            return "It answered what nobody had asked."
        if self._step not in range(challenge.plan.steps):
            return "It answered a round when its openings were due."
        try:
            check_commitment(commitment, challenge, self._step, node.previous)
        except Refusal as refusal:
            return refusal.message
        if commitment.nonce != self._drawn(node.claim.node_id, self._step):
            return "It answered another question."
        message = seeds.commitment_bytes(commitment)
        if not self.verifies(challenge.peer_key, message, answer.signature):
            return "Its peer key did not sign the answer."
        return ""

    def _on_openings(self, node: _Node, openings: Openings) -> list[Effect]:
        if node.challenge is None or self._step != node.claim.plan.steps or not node.waits:
            return self._end(node, Fault.BAD_ANSWER, "It opened rows that nobody had asked for.")
        node.over, node.waits = True, False
        transcript = Transcript(node.challenge, node.secret, tuple(node.steps), openings)
        return [Ended(node.claim.node_id, transcript)]

    def _end(self, node: _Node, fault: Fault, reason: str) -> list[Effect]:
        node.over, node.waits = True, False
        transcript = None
        if node.challenge is not None and self._step != OPENING:
            ended = ShownFault(fault, len(node.steps))
            transcript = Transcript(node.challenge, node.secret, tuple(node.steps), ended=ended)
        return [Ended(node.claim.node_id, transcript, reason)]

    def _advance(self, now_ms: int) -> list[Effect]:
        """Everybody answered: the next question to all that are left, in this moment."""
        self._step += 1
        self._asked_ms = now_ms
        effects: list[Effect] = []
        for node_id, node in self._nodes.items():
            if node.over:
                continue
            node.waits = True
            assert node.challenge is not None
            if self._step == 0:
                effects.append(SendChallenge(node_id, node.challenge))
            elif self._step < node.claim.plan.steps:
                question = Question(self._step, self._drawn(node_id, self._step))
                effects.append(Ask(node_id, question))
            else:
                effects.append(Reveal(node_id, node.secret))
        return effects

    def _waiting(self) -> list[_Node]:
        return [node for node in self._nodes.values() if node.waits]

    def _patience_ms(self) -> int:
        """How long the slowest of those asked is waited for."""
        if self._step == OPENING:
            return limits.CHALLENGE_OPEN_MS
        plans = [node.claim.plan for node in self._nodes.values() if not node.over]
        if self._step >= plans[0].steps:
            return max(plan.openings_due_ms for plan in plans)
        return limits.CHALLENGE_PATIENCE * max(plan.due_ms(self._step) for plan in plans)

    def _drawn(self, node_id: NodeId, what: int | str) -> Digest:
        """A nonce or a secret that nobody foresees who does not have the entropy."""
        return Digest(sha256(self.entropy + node_id + str(what).encode()).digest())


def conclude(
    transcript: Transcript, binding: PeerBinding, verifies: Verifies, wall_ms: int
) -> Evidence:
    """The evidence of a challenge that has ended. It takes seconds: rows and blocks are checked."""
    found = judge(transcript, verifies, arithmetic())
    return Evidence(
        transcript=transcript,
        binding=binding,
        conclusion=found.conclusion,
        faults=found.faults,
        concluded_at_ms=wall_ms,
    )
