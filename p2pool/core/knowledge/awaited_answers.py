"""Answers that this node awaits: who was asked, for what, by which number, and until when.

Intuition: an answer is a way to tell this node something that it looks at because it asked. Whoever
was not asked could otherwise say as much as it liked. So each question that goes out is noted here,
and an answer counts once, if it comes from the peer that was asked, is of the kind that the
question has, carries its number, and is not late.

Invariants: one place notes all questions (the end of a step), one drops all unasked answers (the
dispatch); numbers are random, so nobody foresees one; all questions have one deadline, longer than
that of any who asks, so the oldest is the first to expire; beyond the bound the oldest goes.
Source: docs/design/messages.md, "What a peer may cost".
"""

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import QUESTIONS, Message


@attrs.define
class Awaited:
    """A question that went out `times` times under its number, and what answers it."""

    answer: type[Message]
    deadline_ms: int
    times: int = 1


@attrs.define
class AwaitedAnswers:
    """The open questions of one node."""

    _open: BoundedDict[tuple[PeerKey, int], Awaited] = attrs.field(
        factory=lambda: BoundedDict(limits.QUESTIONS_AWAITED_MAX)
    )

    def note(self, peer_key: PeerKey, message: Message, now_ms: int) -> None:
        """A message goes out: note it if it is a question. The same number may ask one peer several
        times: again after a while, or for several things."""
        answer = QUESTIONS.get(type(message))
        if answer is None:
            return
        self._forget_late(now_ms)
        place = (peer_key, number_of(message))
        known = self._open.get(place)
        times = 1 if known is None or known.answer is not answer else known.times + 1
        self._open.renew(place, Awaited(answer, now_ms + limits.ANSWER_DEADLINE_MS, times))

    def has(self, peer_key: PeerKey, answer: Message, now_ms: int) -> bool:
        """Whether we await this answer from a peer."""
        known = self._open.get((peer_key, number_of(answer)))
        return known is not None and known.answer is type(answer) and now_ms < known.deadline_ms

    def take(self, peer_key: PeerKey, answer: Message, now_ms: int) -> bool:
        """Whether we awaited this answer; from now on we do not."""
        if not self.has(peer_key, answer, now_ms):
            return False
        place = (peer_key, number_of(answer))
        self._open[place].times -= 1
        if not self._open[place].times:
            del self._open[place]
        return True

    def _forget_late(self, now_ms: int) -> None:
        """Forget the oldest questions, which nobody answers any more."""
        while self._open:
            oldest = next(iter(self._open))
            if now_ms < self._open[oldest].deadline_ms:
                return
            del self._open[oldest]


def number_of(message: Message) -> int:
    """The number of a question, and of its answer."""
    number: int = message.request  # type: ignore[attr-defined]  # The registry sees to it.
    return number
