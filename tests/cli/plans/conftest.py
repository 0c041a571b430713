"""The chain of `tests/chain`, a desk and a shell on it, and a served agent."""

from pathlib import Path

import pytest

from tests.api.conftest import served
from tests.chain.conftest import World, anvil, deployment, world
from tests.cli.conftest import shell
from tests.cli.provider.desk import Desk

__all__ = ["anvil", "deployment", "served", "shell", "world"]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """A desk on the test's chain."""
    return Desk.of(world, tmp_path)
