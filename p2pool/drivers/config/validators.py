"""Which values a key of the configuration takes, where its type does not say it.

Validators are values, not closures, and say their bound in words (`str`): what refuses a value also
tells the reader of `docs/reference/configuration.md` which ones pass.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

import attrs

HOST, PRIVATE = "host", "private"
"""What tasks may be let reach beside networks: the machine itself, all networks of a site."""
SUBNET_PREFIXES = range(8, 28)
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


def not_empty(_self: Any, _field: Any, value: tuple[Any, ...]) -> None:
    """at least one"""
    if not value:
        raise ValueError("at least one is needed")


def known_levels(_self: Any, _field: Any, value: Mapping[str, str]) -> None:
    """each level one of those above"""
    for name, level in value.items():
        if level not in LEVELS:
            raise ValueError(f"level {level!r} of {name} is not one of {', '.join(LEVELS)}")


def isolating_runtime(_self: Any, _field: Any, value: str) -> None:
    """the name of a runtime, not NVIDIA's"""
    if not value or value.lower().startswith("nvidia"):
        raise ValueError(f"{value!r} would give GPUs to whoever names some; the usual one is runc")


def subnet_ranges(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """IPv4 networks of /8 to /27, at least one"""
    if not value:
        raise ValueError("at least one is needed; isolation = false gives tasks no networks")
    for one in value:
        network = IPv4Network(one)
        used = network.is_loopback or network.is_multicast or network.is_link_local
        if used or network.is_unspecified or network.prefixlen not in SUBNET_PREFIXES:
            raise ValueError(f"{one} cannot be divided into networks of tasks: /8 to /27, unicast")


def reachable_networks(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """the words host and private, or networks such as 192.168.5.0/24"""
    for one in value:
        if one not in (HOST, PRIVATE):
            ip_network(one)


def resolver_addresses(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """addresses that others than the machine itself can reach"""
    for one in value:
        if ip_address(one).is_loopback:
            raise ValueError(f"{one} is the machine's own: copies cannot ask there")
