"""The pool that most scenarios of the committee are about."""

import pytest

from tests.sim.harness.certificates import formed
from tests.sim.harness.pool import Pool


@pytest.fixture
def pool() -> Pool:
    """Three voters."""
    return formed(3)
