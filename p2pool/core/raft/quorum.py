"""How a vote of a configuration stands, and how far its voters agree.

Intuition: a joint configuration has two committees, and agrees on what both agree on (Raft, section
6). So no majority of the one can decide anything that a majority of the other does not know.

Invariants: only voters count, never learners, and each once in a committee. Without voters there is
no quorum: nothing commits and nobody wins. What a quorum is, `Configuration.has_quorum` alone says,
here and in all of the program.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, Voter, majority


class VoteResult(Enum):
    """How a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def committed(configuration: Configuration, matched: Mapping[StoreId, int]) -> int:
    """The highest index that a majority of the voters has, of each half's; 0 without voters."""
    return min(_held(half, matched) for half in configuration.halves)


def _held(voters: Sequence[Voter], matched: Mapping[StoreId, int]) -> int:
    if not voters:
        return 0
    indexes = sorted((matched.get(v.store_id, 0) for v in voters), reverse=True)
    return indexes[majority(len(voters)) - 1]


def tally(configuration: Configuration, votes: Mapping[StoreId, bool]) -> VoteResult:
    """How a vote stands: lost once those that did not refuse are no quorum."""
    if configuration.has_quorum([store for store, granted in votes.items() if granted]):
        return VoteResult.WON
    left = [v.store_id for v in configuration.electors if votes.get(v.store_id) is not False]
    return VoteResult.PENDING if configuration.has_quorum(left) else VoteResult.LOST
