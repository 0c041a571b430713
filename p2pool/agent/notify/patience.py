"""What follows an attempt to deliver: the next message, another attempt, or giving up. Pure.

Intuition: a receiver that is away is away for all messages, so the pause grows with its failures,
whatever message they were of, and the first success ends it. Messages go in order, one at a time:
while a receiver is away they wait in the window of events, and none is lost by trying. Only one
that the receiver answers, and refuses again and again, is in the way of the others, and goes soon.

Invariants: the pause after a failure is between half of the least and the most, whatever the
receiver asks for; each message has at least one attempt, and a bounded number of them within a
bounded time after its first; what is given up is said.
Source: Standard Webhooks 1.0.0, "Deliverability and reliability" and "Delivery success and
failure".
"""

from enum import Enum

import attrs

from p2pool.model import limits

GONE = 410
_WAITS = frozenset({408, 425, 429})
"""Answers of 4xx that say nothing against the message."""
CHANCES = 1_000


class Step(Enum):
    """What follows an attempt."""

    DELIVERED = 0
    AGAIN = 1
    GIVEN_UP = 2
    ENDED = 3
    """The receiver wants no more messages at all."""


@attrs.frozen
class Verdict:
    """What follows, and after which pause."""

    step: Step
    pause_ms: int = 0


@attrs.define
class Patience:
    """What is known of one receiver. `failures`: in a row; `attempts`, `refusals` and `began_ms`
    are of the message that is under way."""

    failures: int = 0
    attempts: int = 0
    refusals: int = 0
    began_ms: int = 0

    def begin(self, now_ms: int) -> None:
        """Another message is under way."""
        self.attempts = self.refusals = 0
        self.began_ms = now_ms

    def judge(
        self, status: int | None, now_ms: int, chance: int, retry_after_ms: int = 0
    ) -> Verdict:
        """What follows an attempt. `status` None: no answer came. `chance`: from 0 to CHANCES, so
        that those who failed together do not come back together."""
        self.attempts += 1
        if status is not None and 200 <= status < 300:
            self.failures = 0
            return Verdict(Step.DELIVERED)
        self.failures += 1
        if status == GONE:
            return Verdict(Step.ENDED)
        self.refusals += status is not None and 300 <= status < 500 and status not in _WAITS
        pause_ms = max(self._pause_ms(chance), min(retry_after_ms, limits.WEBHOOK_PAUSE_MAX_MS))
        over = (
            self.refusals >= limits.WEBHOOK_REFUSALS_MAX
            or self.attempts >= limits.WEBHOOK_ATTEMPTS_MAX
            or now_ms - self.began_ms >= limits.WEBHOOK_AGE_MAX_MS
        )
        return Verdict(Step.GIVEN_UP if over else Step.AGAIN, pause_ms)

    def _pause_ms(self, chance: int) -> int:
        # Shifted no further than the most needs, however long the row is.
        doublings = min(self.failures - 1, limits.WEBHOOK_PAUSE_MAX_MS.bit_length())
        whole = min(limits.WEBHOOK_PAUSE_MIN_MS << doublings, limits.WEBHOOK_PAUSE_MAX_MS)
        return whole // 2 + whole // 2 * chance // CHANCES
