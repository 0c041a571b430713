"""Majorities: what a quorum of voters has, and how a vote stands.

Intuition: a joint configuration has two committees, and agrees on what both agree on (Raft, section
6). So no majority of the one can decide anything that a majority of the other does not know.

Invariants: only voters count, never learners, and each once in a committee. Without voters there is
no quorum: nothing commits and nobody wins. Nothing else in `core` counts voters of a configuration.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, Voter, majority


class VoteResult(Enum):
    """How a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def size(voters: Sequence[Voter]) -> int:
    """How many of a committee's voters are a majority."""
    return majority(len(voters))


def committed(configuration: Configuration, matched: Mapping[StoreId, int]) -> int:
    """The highest index that a majority of the voters has, of each half's; 0 without voters."""
    return min(_held(half, matched) for half in configuration.halves)


def _held(voters: Sequence[Voter], matched: Mapping[StoreId, int]) -> int:
    if not voters:
        return 0
    indexes = sorted((matched.get(v.store_id, 0) for v in voters), reverse=True)
    return indexes[size(voters) - 1]


def tally(configuration: Configuration, votes: Mapping[StoreId, bool]) -> VoteResult:
    """How a vote stands, counting each voter of a half once: won if both are, lost if one is."""
    stand = [_tally(half, votes) for half in configuration.halves]
    if VoteResult.LOST in stand:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in stand else VoteResult.WON


def has(configuration: Configuration, agreeing: Collection[StoreId]) -> bool:
    """Whether these are a quorum."""
    return tally(configuration, dict.fromkeys(agreeing, True)) is VoteResult.WON


def _tally(voters: Sequence[Voter], votes: Mapping[StoreId, bool]) -> VoteResult:
    needed = size(voters)
    cast = [votes.get(v.store_id) for v in voters]
    if voters and sum(v is True for v in cast) >= needed:
        return VoteResult.WON
    if len(cast) - sum(v is False for v in cast) < needed:
        return VoteResult.LOST
    return VoteResult.PENDING
