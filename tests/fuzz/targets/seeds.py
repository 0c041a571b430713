"""Where corpora begin: the golden bytes, the published vectors, and a few texts."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tests.fuzz.target import ROOT


@cache
def golden() -> Any:
    """The golden bytes of messages, entries and digests."""
    return json.loads((ROOT / "tests/golden/messages.json").read_text())


@cache
def vectors(name: str) -> Any:
    """A file of the published vectors."""
    return json.loads((ROOT / f"docs/vectors/{name}.json").read_text())


def texts(*given: str) -> Callable[[], Iterator[bytes]]:
    """Seeds that are texts."""
    return lambda: (one.encode() for one in given)


def payloads() -> Iterator[bytes]:
    """The payload of each message."""
    return (bytes.fromhex(one["payload"]) for one in golden()["messages"].values())


def sealed() -> Iterator[bytes]:
    """Each message in its envelope."""
    return (bytes.fromhex(one["sealed"]) for one in golden()["messages"].values())
