"""The development chain and the served API of other directories, for commands that need them."""

from tests.api.conftest import served
from tests.chain.conftest import anvil, deployment, world

__all__ = ["anvil", "deployment", "served", "world"]
