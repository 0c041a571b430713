"""An agent whose pool the account of the key manages, and a delegate's environment."""

from pathlib import Path

import attrs
import pytest

from tests.api.conftest import Served, served
from tests.cli.access.people import MANAGER, delegation_file, key_file, ruled_by
from tests.client.conftest import Commands, commands, key
from tests.wire.samples import OTHER_ACCOUNT

__all__ = ["commands", "key", "served"]


@pytest.fixture
def manager(served: Served, commands: Commands) -> Commands:
    """Commands of the pool's manager."""
    ruled_by(served, MANAGER)
    return commands


@pytest.fixture
def delegate(manager: Commands, tmp_path: Path) -> Commands:
    """Commands of an account with a delegation for an hour."""
    path = delegation_file(tmp_path / "given.json")
    mine = key_file(tmp_path, "delegate", OTHER_ACCOUNT)
    environment = {"P2POOL_KEY": str(mine), "P2POOL_DELEGATION": str(path)}
    return attrs.evolve(manager, environment=manager.environment | environment)
