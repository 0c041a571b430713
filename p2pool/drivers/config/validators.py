"""Which values a key of the configuration takes, where its type does not say it.

Validators are values, not closures, and say their bound in words (`str`): what refuses a value also
tells the reader of `docs/reference/configuration.md` which ones pass.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from p2pool.codec.text.multiaddr import full_address, split_peer
from p2pool.drivers.redaction import REDACTED, shown_url
from p2pool.model import limits
from p2pool.model.errors import Malformed

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


def rpc_problem(url: str) -> str | None:
    """Why an RPC endpoint can never answer, without the parts of its URL that hold keys; None if it
    may."""
    named, schemed, _ = url.partition("://")
    if not schemed:
        host = re.split(r"[/?#@\s]", url)[0]
        return f"it has no scheme: write http://{host}" if host else "it has no host"
    if named.lower() not in ("http", "https"):
        return f"p2pool asks over HTTP, not {named[:16]}: write https://..., or http://..."
    if len(url) > limits.ENDPOINT_URL_MAX_BYTES:
        return f"it is too long: over {limits.ENDPOINT_URL_MAX_BYTES} characters"
    if not url.isprintable() or " " in url:
        return "it has white space in it"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return "its port is none" if "ort" in str(error) else "it is no URL"
    if not host:
        return "it has no host"
    if port == 0:
        return "its port is none"
    return "what stands after # is never sent" if parts.fragment else None


def rpc_urls(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """at least one, each an http:// or https:// URL"""
    not_empty(_self, _field, value)
    for url in value:
        why = rpc_problem(url)
        if why is not None:
            raise ValueError(f"an endpoint{_named(url)} cannot work: {why}")


def _named(url: str) -> str:
    shown = shown_url(url)
    return "" if shown == REDACTED or not shown.isprintable() else f" ({shown[:80]})"


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
