"""Where the key of an account is, as `--key` and its kin say it.

    FILE                         a keystore, with a passphrase; `-` is standard input
    fd:N                         what the file descriptor N holds: a keystore, or 64 hex digits
    clef:PATH[#ADDRESS]          a program that speaks clef's JSON-RPC on a unix socket
    clef:http://HOST[#ADDRESS]   the same over HTTP

A file descriptor is how a secret store hands a key over without a file:
`--key fd:3 3< <(vault ...)`. A file whose name begins like one of these is written with `./` in
front.
"""

import os
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs

from p2pool.codec.json.hex import address_text, unhex
from p2pool.drivers.input_files import input_path, is_stdin
from p2pool.drivers.redaction import register_url, shown_url
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import ADDRESS_BYTES, Address

_DESCRIPTOR = re.compile(r"fd:([0-9]{1,7})|/dev/fd/([0-9]{1,7})|/proc/self/fd/([0-9]{1,7})")
_HTTP = ("http://", "https://")
_STANDARD_MAX = 2


@attrs.frozen
class KeyFile:
    """A keystore on disk, or standard input."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@attrs.frozen
class Descriptor:
    """A file descriptor that the process was given."""

    number: int

    def __str__(self) -> str:
        return f"fd:{self.number}"


@attrs.frozen
class ExternalSigner:
    """A program that signs. `endpoint`: an absolute path, or a URL. `address`: None: the one
    account that it has."""

    endpoint: str
    address: Address | None = None

    @property
    def is_http(self) -> bool:
        """Whether it is asked over HTTP."""
        return self.endpoint.startswith(_HTTP)

    @property
    def shown(self) -> str:
        """The endpoint as it may be told: a URL may hold a key."""
        return shown_url(self.endpoint) if self.is_http else self.endpoint

    def __str__(self) -> str:
        account = f"#{address_text(self.address)}" if self.address is not None else ""
        return f"clef:{self.endpoint}{account}"


KeyPlace: TypeAlias = KeyFile | Descriptor | ExternalSigner


def key_place(given: "str | Path | KeyPlace") -> KeyPlace:
    """What somebody wrote, as a place. `Misconfigured`: it is none."""
    if isinstance(given, KeyFile | Descriptor | ExternalSigner):
        return given
    text = str(given)
    if (found := _DESCRIPTOR.fullmatch(text)) is not None:
        number = int(next(filter(None, found.groups())))
        if number <= _STANDARD_MAX:
            raise Misconfigured(
                f"{text} is one of the process's own: input, output, errors.",
                hint="Use 3 or higher, fd:3 3< FILE; standard input is `-`.",
            )
        return Descriptor(number)
    if text.startswith("fd:"):
        raise Misconfigured(
            f"{text[:80]!r} names no file descriptor.", hint="Write fd:3, or ./fd:... for a file."
        )
    if text.startswith("clef:"):
        return _external(text.removeprefix("clef:"))
    return KeyFile(input_path(text))


def _external(text: str) -> ExternalSigner:
    endpoint, _, account = text.partition("#")
    address = unhex(account, ADDRESS_BYTES) if account else None
    if account and address is None:
        raise Misconfigured(
            f"{account[:80]!r} is no account: 0x and 40 hex digits.",
            hint="Write clef:PATH#ADDRESS; without #ADDRESS it is the only account there.",
        )
    if endpoint.startswith(_HTTP):
        register_url(endpoint)
        if not _is_url(endpoint):
            raise Misconfigured(
                "The signer's URL has no host.", hint="Write clef:http://127.0.0.1:8550."
            )
    elif endpoint:
        endpoint = str(input_path(endpoint))
    else:
        raise Misconfigured(
            "clef: names no signer.",
            hint="Name its socket, clef:/run/clef/clef.ipc, or its URL, clef:http://127.0.0.1:8550.",
        )
    return ExternalSigner(endpoint, None if address is None else Address(address))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_there(place: KeyPlace) -> bool:
    """Whether a key may be found there: of a file, whether it exists."""
    if isinstance(place, KeyFile):
        return is_stdin(place.path) or place.path.exists()
    if isinstance(place, Descriptor):
        try:
            os.fstat(place.number)
        except OSError:
            return False
    return True


def remembered(place: KeyPlace | None) -> str:
    """How another process finds the same; empty for none, and for what is read once."""
    if place is None or isinstance(place, Descriptor):
        return ""
    return "" if isinstance(place, KeyFile) and is_stdin(place.path) else str(place)
