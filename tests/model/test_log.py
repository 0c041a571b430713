"""What the log's nouns promise."""

from itertools import combinations

import pytest

from p2pool.model.log.raft import majority


@pytest.mark.parametrize("count", range(1, 8))
def test_two_majorities_have_a_voter_in_common(count: int) -> None:
    """And one voter fewer does not: so it is as small as it may be."""
    for size, meet in ((majority(count), True), (majority(count) - 1, False)):
        quorums = [set(group) for group in combinations(range(count), size)]
        assert all(a & b for a, b in combinations(quorums, 2)) is meet or len(quorums) == 1
    assert majority(count) <= count
