"""The chain of `tests/chain`, and a desk on it."""

from pathlib import Path

import pytest

from tests.chain.conftest import World, anvil, deployment, world
from tests.cli.provider.desk import Desk

__all__ = ["anvil", "deployment", "world"]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """A desk on the test's chain."""
    return Desk.of(world, tmp_path)
