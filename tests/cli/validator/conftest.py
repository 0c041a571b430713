"""The desk of the provider's tests, on the same chain."""

from tests.cli.provider.conftest import anvil, deployment, desk, world

__all__ = ["anvil", "deployment", "desk", "world"]
