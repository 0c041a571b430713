"""Majorities: what a quorum of voters has, and how a vote stands.

Only voters count, never learners. Without voters there is no quorum: nothing commits and nobody
wins.
"""

from collections.abc import Mapping
from enum import Enum

from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, majority


class VoteResult(Enum):
    """How a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def size(configuration: Configuration) -> int:
    """How many voters are a majority."""
    return majority(len(configuration.voters))


def committed(configuration: Configuration, matched: Mapping[StoreId, int]) -> int:
    """The highest index that a majority of the voters has; 0 without voters."""
    if not configuration.voters:
        return 0
    indexes = sorted((matched.get(v.store_id, 0) for v in configuration.voters), reverse=True)
    return indexes[size(configuration) - 1]


def tally(configuration: Configuration, votes: Mapping[StoreId, bool]) -> VoteResult:
    """How a vote stands, counting each voter of the configuration once."""
    needed = size(configuration)
    cast = [votes.get(v.store_id) for v in configuration.voters]
    if configuration.voters and sum(v is True for v in cast) >= needed:
        return VoteResult.WON
    if len(cast) - sum(v is False for v in cast) < needed:
        return VoteResult.LOST
    return VoteResult.PENDING
