"""Which values a key of the configuration takes, where its type does not say it.

Validators are values, not closures, and say their bound in words (`str`): what refuses a value also
tells the reader of `docs/reference/configuration.md` which ones pass.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import attrs

from p2pool.codec.text.multiaddr import full_address, split_peer
from p2pool.codec.text.ranges import outside, short_number
from p2pool.drivers.redaction import REDACTED, shown_url
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ports.view import EVENT_KINDS

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(
    rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{{1,5}})?(?:/{_PART})*/?|{_PART}(?:/{_PART})*/?"
)
_EXACT_IMAGE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._/:-]*@)?sha256:[0-9a-f]{64}")
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
        if value is not None and (wrong := outside(value, self.least, self.most)):
            raise ValueError(f"{short_number(value)} is {wrong}")

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


_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9A-Fa-f:.]+(?:%[\w.-]+)?")
"""A name (of letters of any language, and of `_` inside, as containers have it) or an address."""


_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")


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


def prover_images(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """each by its digest, "REGISTRY/NAME@sha256:...", or by the engine's own identifier of it,
    "sha256:..." (docker images --no-trunc)"""
    if len(value) > limits.CHALLENGE_IMAGES_MAX:
        raise ValueError(f"{len(value)} images; {limits.CHALLENGE_IMAGES_MAX} at most")
    for name in value:
        if len(name) > limits.IMAGE_NAME_MAX_BYTES or not _EXACT_IMAGE.fullmatch(name):
            raise ValueError(
                f"{name[:80]!r} does not say exactly which image: a tag may mean another one"
                ' tomorrow. Write REGISTRY/NAME@sha256:..., or "sha256:..." for one without a'
                " registry (docker images --no-trunc)"
            )


def host_names(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """each a name or an address, without scheme and port"""
    for name in value:
        if not (_HOST.fullmatch(name) and (":" not in name or _is_address(name))):
            raise ValueError(
                f"{name[:80]!r} is not a host, such as agent.example or 192.0.2.7: no scheme, no"
                " port, no brackets"
            )


def path_prefix(_self: Any, _field: Any, value: str) -> None:
    """a path such as "/p2pool", without a slash at its end"""
    if not value:
        return
    parts = value.split("/")[1:]
    if not _PREFIX.fullmatch(value) or {".", ".."} & set(parts):
        raise ValueError(
            f"{value[:80]!r} is no path such as /p2pool: it begins with a slash, ends without one,"
            " and has letters, digits, dots, hyphens and underscores between them"
        )
    if parts[0] in ("v1", "metrics"):
        raise ValueError(f"{value[:80]!r} begins like the API's own routes: choose another")


def known_levels(_self: Any, _field: Any, value: Mapping[str, str]) -> None:
    """each level one of those above"""
    for name, level in value.items():
        if level not in LEVELS:
            raise ValueError(f"level {level!r} of {name} is not one of {', '.join(LEVELS)}")


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def rpc_problem(url: str) -> str | None:
    """Why an RPC endpoint can never answer, without the parts of its URL that hold keys; None if it
    may."""
    named, schemed, _ = url.partition("://")
    if not schemed or not re.fullmatch(r"\s*[A-Za-z][A-Za-z0-9+.-]*", named):
        if not url.strip():
            return "it has no host"
        shown = shown_url(f"http://{url}")
        sure = shown.isprintable() and REDACTED not in shown
        return f"it has no scheme: write {shown[:80] if sure else 'http:// before it'}"
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
    if not _HOST.fullmatch(host):
        return "its host is no name and no address"
    if port == 0:
        return "its port is none"
    return "what stands after # is never sent" if parts.fragment else None


def websocket_url(_self: Any, _field: Any, value: str) -> None:
    """empty, or one ws:// or wss:// URL"""
    if not value:
        return
    named, schemed, rest = value.partition("://")
    if not schemed or named.lower() not in ("ws", "wss"):
        raise ValueError("it is no websocket: write wss://..., or ws://...")
    secure = named.lower() == "wss"
    why = rpc_problem(("https://" if secure else "http://") + rest)
    if why is not None:
        raise ValueError(f"the websocket cannot work: {why}")


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
    _each_read(full_address, value)


def dialable_addresses(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """8 at most, each over TCP"""
    if len(value) > limits.ADDRESSES_MAX:
        raise ValueError(f"{len(value)} are more than {limits.ADDRESSES_MAX}")
    _each_read(split_peer, value)


def _each_read(read: Callable[[str], object], value: tuple[str, ...]) -> None:
    for text in value:
        try:
            read(text)
        except Malformed as error:
            raise ValueError(f"{error.message} {error.hint}") from error


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


# --- webhooks -----------------------------------------------------------------------------------

_WEBHOOK_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def webhook_name(_self: Any, _field: Any, value: str) -> None:
    """32 lower-case letters, digits and hyphens at most"""
    if len(value) > limits.WEBHOOK_NAME_MAX_BYTES or not _WEBHOOK_NAME.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no name, such as billing or on-call")


def webhook_url(_self: Any, _field: Any, value: str) -> None:
    """an https:// URL; http:// only with allow_private"""
    why = rpc_problem(value)
    if why is None and not value.isascii():
        why = "it is not ASCII: write the host as xn--..., and the rest with %"
    if why is None and urlsplit(value).username is not None:
        why = "it holds a login: the receiver knows us by our signature"
    if why is not None:
        raise ValueError(f"a receiver{_named(value)} cannot work: {why}")


def event_kinds(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """kinds of events: allocation, committee, leader, node, pool, revocation, setting, task"""
    for kind in value:
        if kind not in EVENT_KINDS:
            raise ValueError(f"{kind[:80]!r} is not one of {', '.join(EVENT_KINDS)}")


def distinct_webhooks(_self: Any, _field: Any, value: tuple[Any, ...]) -> None:
    """16 at most, each with a name of its own"""
    if len(value) > limits.WEBHOOKS_MAX:
        raise ValueError(f"{len(value)} are more than {limits.WEBHOOKS_MAX}")
    names = [one.name for one in value]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two are called {twice[0]!r}")
    for one in value:
        if one.url.lower().startswith("http:") and not one.allow_private:
            raise ValueError(
                f"{one.name}: http:// is for receivers in private networks: write https://, or"
                " set allow_private = true"
            )
