"""Machines that refuse starts, amid other trouble, leave no task waiting once they take work."""

import attrs
import pytest

from tests.sim.faults.faults import BY_NAME, FAULTS
from tests.sim.faults.scenario import Shape, tell

AMID = ("crash", "restart", "partition", "lossy", "engine-away", "chain-away")


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_settles_whose_machines_refused_starts(seed: int) -> None:
    """Once they take work again, all runs or has ended, and the replicas agree."""
    faults = {name: FAULTS[name][0] for name in AMID}
    faults |= {name: weight * 4 for name, (weight, _) in BY_NAME.items()}
    told = tell(seed, attrs.evolve(Shape.of(seed), faults=faults))
    assert told.started > 0
