"""What several tests of the core begin with."""

import pytest

from tests.core.worker.workbench import Bench


@pytest.fixture
def bench() -> Bench:
    """An empty node that is a member and has listed once."""
    made = Bench()
    made.turn()
    return made
