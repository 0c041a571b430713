"""Which values a key of the configuration takes, where its type does not say it.

Validators are values, not closures, and say their bound in words (`str`): what refuses a value also
tells the reader of `docs/reference/configuration.md` which ones pass.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from p2pool.codec.text.ranges import outside, short_number

LEVELS = ("debug", "info", "warning", "error")


@attrs.frozen
class OneOf:
    """One of these words."""

    allowed: tuple[str, ...]

    def __call__(self, _self: Any, _field: Any, value: Any) -> None:
        """ValueError for any other word."""
        if value not in self.allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(self.allowed)}")

    def __str__(self) -> str:
        """The words."""
        return ", ".join(f'"{word}"' for word in self.allowed)


@attrs.frozen
class Between:
    """A number within these bounds, both included; None passes."""

    least: int
    most: int

    def __call__(self, _self: Any, _field: Any, value: Any) -> None:
        """ValueError for a number outside."""
        if value is not None and (wrong := outside(value, self.least, self.most)):
            raise ValueError(f"{short_number(value)} is {wrong}")

    def __str__(self) -> str:
        """The bounds."""
        return f"{self.least} to {self.most}"


def not_empty(_self: Any, _field: Any, value: tuple[Any, ...]) -> None:
    """at least one"""
    if not value:
        raise ValueError("at least one is needed")


def known_levels(_self: Any, _field: Any, value: Mapping[str, str]) -> None:
    """each level one of those above"""
    for name, level in value.items():
        if level not in LEVELS:
            raise ValueError(f"level {level!r} of {name} is not one of {', '.join(LEVELS)}")
