"""All targets, by name."""

from collections.abc import Mapping
from importlib import import_module

from tests.fuzz.target import REGISTERED, Target

GROUPS = ("wire", "text", "documents", "chain", "containers", "net", "http", "core")


def targets() -> Mapping[str, Target]:
    """All targets; loads the modules that they are in."""
    for group in GROUPS:
        import_module(f"tests.fuzz.targets.{group}")
    return REGISTERED


def one(name: str) -> Target:
    """A target by its name; loads its own module alone."""
    import_module(f"tests.fuzz.targets.{name.partition('-')[0]}")
    return REGISTERED[name]
