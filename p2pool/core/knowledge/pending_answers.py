"""Answers that this node awaits, each from one peer by the number of the question.

Opening an answer is expensive, so unsolicited ones stay unopened.
Invariants: only the last question to a peer counts; beyond `most`, the oldest are forgotten.
"""

import attrs

from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey


@attrs.define
class PendingAnswers:
    """The last unanswered question to each peer."""

    most: int
    _numbers: BoundedDict[PeerKey, int] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def ask(self, peer_key: PeerKey, number: int) -> None:
        """A question went out."""
        self._numbers[peer_key] = number

    def has(self, peer_key: PeerKey, number: int) -> bool:
        """Whether we await this answer from a peer."""
        return self._numbers.get(peer_key) == number

    def take(self, peer_key: PeerKey, number: int) -> bool:
        """Whether we awaited this answer; from now on we do not."""
        awaited = self.has(peer_key, number)
        if awaited:
            del self._numbers[peer_key]
        return awaited
