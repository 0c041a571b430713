"""Answers that are awaited, each of one peer by the number of the question.

An answer that nobody asked for costs its receiver what is in it, so it is left unopened.
Invariants: of a peer the last question counts; the oldest of more than `most` are forgotten.
"""

import attrs

from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey


@attrs.define
class PendingAnswers:
    """The last question to each peer that was not answered."""

    most: int
    _numbers: BoundedDict[PeerKey, int] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def ask(self, peer_key: PeerKey, number: int) -> None:
        """A question went out."""
        self._numbers[peer_key] = number

    def has(self, peer_key: PeerKey, number: int) -> bool:
        """Whether an answer of this number is awaited of a peer."""
        return self._numbers.get(peer_key) == number

    def take(self, peer_key: PeerKey, number: int) -> bool:
        """The same, and it came: it is awaited no more."""
        awaited = self.has(peer_key, number)
        if awaited:
            del self._numbers[peer_key]
        return awaited
