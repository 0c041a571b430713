"""The length limits of fields, declared at the type if the type hint alone does not imply one.

    command: Annotated[tuple[str, ...], bounded(items=limits.COMMAND_ARGUMENTS_MAX)] = ()

Invariants: a class that travels or is stored bounds each of its byte strings and tuples
(`codec.cbor.structs` takes no class that does not). Identities have the fixed length of their type;
a text without a bound has `limits.TEXT_MAX_BYTES`. A tuple's items declare their bounds at their
own type, inside.
"""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits


class Unit(StrEnum):
    """The unit of a length, or of a value."""

    BYTES = "bytes"
    TEXT = "bytes of UTF-8"
    ITEMS = "items"
    NUMBER = "as a number"


@attrs.frozen
class Bound:
    """The minimum and maximum length of a value."""

    unit: Unit
    least: int
    most: int


def bounded(
    *,
    bytes: int | None = None,
    exact_bytes: int | None = None,
    text: int | None = None,
    items: int | None = None,
    number: int | None = None,
) -> Bound:
    """The bound of a byte string (a maximum, or an exact length), of a text (a maximum in bytes of
    UTF-8), of a tuple (a maximum of items) or of an integer (from 0 to a maximum): one of them."""
    given = [
        Bound(Unit.BYTES, 0, bytes) if bytes is not None else None,
        Bound(Unit.BYTES, exact_bytes, exact_bytes) if exact_bytes is not None else None,
        Bound(Unit.TEXT, 0, text) if text is not None else None,
        Bound(Unit.ITEMS, 0, items) if items is not None else None,
        Bound(Unit.NUMBER, 0, number) if number is not None else None,
    ]
    (bound,) = [one for one in given if one is not None]
    return bound


Term = Annotated[int, bounded(number=limits.LOG_NUMBER_MAX)]
"""A term of the log: no log gets near the maximum, and no store has to hold more."""

Index = Annotated[int, bounded(number=limits.LOG_NUMBER_MAX)]
"""An index in the log, or a count of its entries."""

Name = Annotated[str, bounded(text=limits.NAME_MAX_BYTES)]
"""A short text: a version, a model, a GPU's UUID."""

GpuIds = Annotated[tuple[Name, ...], bounded(items=limits.GPUS_PER_NODE_MAX)]
"""GPUs of one node, by UUID."""

Addresses = Annotated[tuple[str, ...], bounded(items=limits.ADDRESSES_MAX)]
"""Multiaddrs of one peer."""

AccountSignature = Annotated[bytes, bounded(bytes=limits.ACCOUNT_SIGNATURE_MAX_BYTES)]
"""An account's signature: 65 bytes; a contract as manager has longer ones (ERC-1271)."""

SealedSignature = Annotated[bytes, bounded(bytes=limits.SEALED_SIGNATURE_MAX_BYTES)]
"""A sealed message that somebody else passes on as a signature."""

HistorySignature = Annotated[bytes, bounded(bytes=limits.HISTORY_SIGNATURE_MAX_BYTES)]
"""A voter's sealed signature over the log's history."""

HistorySignatures = Annotated[tuple[HistorySignature, ...], bounded(items=limits.VOTERS_MAX)]
"""One per voter."""
SealedAppend = Annotated[bytes, bounded(bytes=limits.BAD_APPEND_MAX_BYTES)]
"""A sealed append that somebody else passes on as evidence."""

SealedHeartbeat = Annotated[bytes, bounded(bytes=limits.GOSSIP_MESSAGE_MAX_BYTES)]
"""A sealed message of up to a heartbeat's length."""

SealedSignatures = Annotated[tuple[SealedSignature, ...], bounded(items=limits.VOTERS_MAX + 1)]
"""One per voter: one more than the limit while a change of voters is in progress."""
