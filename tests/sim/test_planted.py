"""What cannot fail shows nothing: the simulator finds bugs that were planted on purpose."""

import pytest

from tests.sim.planted import PLANTED, finds

SEEDS_MAX = 40


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    """Some seed tells; most bugs are told by the first few."""
    assert any(finds(name, seed, focused=True) for seed in range(SEEDS_MAX))
