"""Nodes that are talked to by the frames of a challenge, without a network: and how they misbehave.

Intuition: a simulated node answers as a real one does, frame by frame, and takes its time on the
clock of the test. Each way to fail is a word.
"""

from collections.abc import Collection
from typing import Any

import attrs
import trio

from p2pool.model import limits
from p2pool.model.errors import Malformed, Unavailable
from p2pool.model.ids import Digest, NodeId
from p2pool.model.messages.challenge import (
    ChallengeAccepted,
    ChallengeDeclined,
    ChallengeIssued,
    ChallengeProposed,
    CommitmentMade,
    OpeningsShown,
    QuestionAsked,
    SecretRevealed,
    VerdictTold,
)
from p2pool.model.messages.registry import Message
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.transcript import Openings
from p2pool.validator.challenge import rounds
from p2pool.wire.validation.evidence import check_challenge
from tests.validator.harness.nodes import SimulatedNode

IMAGE = "sha256:" + "1" * 64
PART = 5
"""Openings in a frame."""


@attrs.define
class End:
    """One end of a conversation. What cannot be read is a `Malformed` in its place."""

    send: "trio.MemorySendChannel[Message | None]"
    receive: "trio.MemoryReceiveChannel[Message | None]"

    async def say(self, message: Message) -> None:
        """Send a frame."""
        try:
            await self.send.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Unavailable("The stream to the peer broke.") from error

    async def hear(self, deadline_ms: int) -> Message:
        """The next frame."""
        try:
            with trio.fail_after(deadline_ms / 1000):
                message = await self.receive.receive()
        except (trio.TooSlowError, trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise Unavailable("The stream to the peer broke.") from error
        if message is None:
            raise Malformed("These bytes are no frame.")
        return message

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Close it."""
        self.send.close()
        self.receive.close()


@attrs.define
class Double:
    """A node that is served. `fails`: offline, garbles, hangs, dies, declines:CODE, late-decline,
    late-silence, or swells; empty: it answers. `steps`: how far it comes until it hangs or dies."""

    node: SimulatedNode
    fails: str = ""
    steps: int = 1
    image: str = IMAGE
    verdict: VerdictTold | None = None
    real_time: bool = False
    served: int = 0

    async def serve(self, talk: Any) -> None:
        """The node's side of one conversation, to its end."""
        self.served += 1
        try:
            await self._serve(talk)
        except Unavailable:
            return

    async def _serve(self, talk: Any) -> None:
        proposed = await talk.hear(60_000)
        assert isinstance(proposed, ChallengeProposed)
        if self.fails.startswith("declines:"):
            code = self.fails.removeprefix("declines:")
            await talk.say(ChallengeDeclined(code, "as the test wants it", 5_000_000_000_000))
            return
        nonce = Digest(bytes([self.node.number]) * 32)
        await talk.say(ChallengeAccepted(nonce, self.image, tuple(self.node.claims)))
        done = 0
        while True:
            message = await talk.hear(4_000_000)
            if isinstance(message, VerdictTold):
                self.verdict = message
                return
            if done >= self.steps and self.fails in ("hangs", "dies", "garbles"):
                await self._fail(talk)
                return
            await self._answer(talk, message)
            done += 1

    async def _fail(self, talk: Any) -> None:
        if self.fails == "hangs":
            await trio.sleep_forever()
        if self.fails == "garbles":
            await talk.say(ChallengeProposed())

    async def _answer(self, talk: Any, message: Message) -> None:
        node_id = self.node.node_id
        effect: Any
        match message:
            case ChallengeIssued():
                check_challenge(message.challenge, message.signature)
                effect = rounds.SendChallenge(node_id, message.challenge)
            case QuestionAsked():
                effect = rounds.Ask(node_id, message.question)
            case SecretRevealed():
                if self.fails == "late-silence":
                    return
                if self.fails == "late-decline":
                    await talk.say(ChallengeDeclined("leased", "suddenly"))
                    return
                effect = rounds.Reveal(node_id, message.secret)
            case _:
                raise AssertionError(message)
        now_ms = int(trio.current_time() * 1000)
        said = self.node.on_effect(effect, now_ms)
        assert said is not None
        at_ms, answer = said
        if not self.real_time:
            await trio.sleep_until(at_ms / 1000)
        if isinstance(answer, rounds.Committed):
            await talk.say(CommitmentMade(answer.answer))
        elif isinstance(answer, rounds.Opened):
            openings = swollen(answer.openings) if self.fails == "swells" else answer.openings
            for part in parts_of(openings):
                await talk.say(part)
        else:
            await talk.say(ChallengeDeclined("not_for_us", "It is not ours."))


def swollen(openings: Openings) -> Openings:
    """The same, where each row is as long as a message carries it."""
    entries = bytes(4 * limits.CHALLENGE_COLUMNS_MAX)
    return attrs.evolve(
        openings, rows=tuple(attrs.evolve(one, entries=entries) for one in openings.rows)
    )


def parts_of(openings: Openings) -> list[OpeningsShown]:
    """Openings in several frames."""
    rows = [openings.rows[at : at + PART] for at in range(0, len(openings.rows), PART)]
    blocks = [openings.blocks[at : at + PART] for at in range(0, len(openings.blocks), PART)]
    parts = [Openings(rows=one) for one in rows] + [Openings(blocks=one) for one in blocks]
    return [OpeningsShown(one, last=one is parts[-1]) for one in parts]


@attrs.define
class DoubleNetwork:
    """Reaches doubles, each served by a task of the nursery."""

    doubles: dict[NodeId, Double]
    nursery: trio.Nursery
    opened: list[tuple[float, NodeId]] = attrs.field(factory=list)
    closed: list[End] = attrs.field(factory=list)

    @classmethod
    def of(cls, doubles: Collection[Double], nursery: trio.Nursery) -> "DoubleNetwork":
        """Of these nodes."""
        return cls({one.node.node_id: one for one in doubles}, nursery)

    def binding_of(self, node_id: NodeId) -> PeerBinding | None:
        """As the network knows it."""
        return self.doubles[node_id].node.binding

    async def open(self, node_id: NodeId) -> End:
        """A conversation with a node."""
        double = self.doubles[node_id]
        if double.fails == "offline":
            raise Unavailable("The node cannot be reached.")
        self.opened.append((trio.current_time(), node_id))
        ours, theirs = pair()
        self.nursery.start_soon(self._serve, double, theirs)
        return ours

    async def _serve(self, double: Double, talk: End) -> None:
        try:
            await double.serve(talk)
        finally:
            await talk.__aexit__(None, None, None)


def pair() -> tuple[End, End]:
    """Two ends of one conversation."""
    there, out = trio.open_memory_channel[Message | None](64)
    back, into = trio.open_memory_channel[Message | None](64)
    return End(there, into), End(back, out)
