"""Which values a key of the configuration takes, where its type does not say it.

Validators are values, not closures, and say their bound in words (`str`): what refuses a value also
tells the reader of `docs/reference/configuration.md` which ones pass.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from p2pool.codec.text.multiaddr import full_address, split_peer
from p2pool.model import limits
from p2pool.model.errors import Malformed

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(
    rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{{1,5}})?(?:/{_PART})*/?|{_PART}(?:/{_PART})*/?"
)
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
        if value is not None and not self.least <= value <= self.most:
            raise ValueError(f"{value} is not between {self.least} and {self.most}")

    def __str__(self) -> str:
        """The bounds."""
        return f"{self.least} to {self.most}"


@attrs.frozen
class SizeBetween:
    """A number of bytes within these bounds, or 0; None passes. What is smaller was meant in
    another unit: 80 for 80 GiB."""

    least: int
    most: int

    def __call__(self, _self: Any, _field: Any, value: Any) -> None:
        """ValueError for a number outside."""
        if value is not None and value != 0 and not self.least <= value <= self.most:
            raise ValueError(
                f"{value} is not 0 and not between {self.least} and {self.most} bytes: write it"
                ' with a unit, such as "16GiB"'
            )

    def __str__(self) -> str:
        """The bounds."""
        return f"0, or {self.least} to {self.most}"


def not_empty(_self: Any, _field: Any, value: tuple[Any, ...]) -> None:
    """at least one"""
    if not value:
        raise ValueError("at least one is needed")


def registry_names(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """each a host, or a host and a path, such as "ghcr.io/ours"; "docker.io" for Docker Hub"""
    for name in value:
        if not _REGISTRY.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a registry or a part of one, such as ghcr.io or ghcr.io/ours: no"
                " scheme, no tag, no digest"
            )


def known_levels(_self: Any, _field: Any, value: Mapping[str, str]) -> None:
    """each level one of those above"""
    for name, level in value.items():
        if level not in LEVELS:
            raise ValueError(f"level {level!r} of {name} is not one of {', '.join(LEVELS)}")


def full_addresses(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """each over TCP, with the peer's id"""
    for text in value:
        try:
            full_address(text)
        except Malformed as error:
            raise ValueError(f"{error.message} {error.hint}") from error


def dialable_addresses(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """8 at most, each over TCP"""
    if len(value) > limits.ADDRESSES_MAX:
        raise ValueError(f"{len(value)} are more than {limits.ADDRESSES_MAX}")
    for text in value:
        try:
            split_peer(text)
        except Malformed as error:
            raise ValueError(f"{error.message} {error.hint}") from error
