"""What one peer's questions may draw from this node: small questions have long answers.

Intuition: a question of a few bytes may be answered by half a frame. Whoever repeats it costs us
far more than it pays, so what each peer drew is counted in what the answers weigh. An honest node
that fetches a whole snapshot stays within it.

Invariants: a peer that drew too much gets no answer until time has paid for it, and that costs
nobody else anything; answers are weighed without encoding them.
Source: docs/design/messages.md, "What a peer may cost".
"""

from collections.abc import Callable
from typing import Any

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import SendTo
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.timing import Now

DRAWING = (
    m.BindingsRequested,
    m.CertificatesRequested,
    m.StateRequested,
    m.SnapshotRequested,
    m.HeartbeatsRequested,
    m.HardwareRequested,
    m.StoreSeenRequested,
    m.LogEndRequested,
    m.SecretBlobRequested,
    m.SecretKeyRequested,
)
"""Small questions with answers that may be long."""


@attrs.define
class AnswerBudget:
    """What each peer drew lately."""

    context: Context
    drawn: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.ANSWERS_KIB_PER_S, limits.ANSWERS_KIB_BURST, limits.PEERS_TRACKED_MAX
        )
    )

    def answer(
        self,
        handler: Callable[[Any, Sender, Now], None],
        message: m.Message,
        sender: Sender,
        now: Now,
    ) -> None:
        """Let a message be handled; charge what it draws to its sender."""
        if not isinstance(message, DRAWING):
            handler(message, sender, now)
            return
        if self.drawn.indebted(sender.peer_key, now.mono_ms):
            return  # It asks again, or somebody else.
        effects = self.context.effects
        before = len(effects)
        handler(message, sender, now)
        kib = sum(size_kib(e.message) for e in effects[before:] if isinstance(e, SendTo))
        self.drawn.charge(sender.peer_key, now.mono_ms, kib)


def size_kib(message: m.Message) -> int:
    """About how long an answer is, without encoding it. What it is made of counts as long as a text
    at least: to encode many short records costs as much."""
    match message:
        case m.StateAnswered():
            bodies = sum(len(e.body) for e in message.entries)
            size = len(message.snapshot) + bodies + len(message.entries) * limits.TEXT_MAX_BYTES
        case m.HeartbeatsAnswered():
            size = sum(len(beat) for beat in message.sealed)
        case m.CertificatesAnswered():
            signatures = sum(len(link.signatures) for link in message.chain.links)
            count = signatures + len(message.certificate) + len(message.votes)
            size = count * limits.SEALED_SIGNATURE_MAX_BYTES
        case m.BindingsAnswered():
            size = len(message.peers) * limits.TEXT_MAX_BYTES
        case m.StoreSeenAnswered():
            size = sum(len(word) for word in message.shown)
        case m.SecretBlobAnswered():
            size = len(message.blob)
        case m.HardwareAnswered():
            size = (1 + len(message.hardware.gpus)) * limits.TEXT_MAX_BYTES
        case _:
            size = 0
    return 1 + size // 1024
