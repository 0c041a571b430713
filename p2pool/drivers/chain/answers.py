"""What an endpoint answers, checked as it enters.

Intuition: an endpoint may answer anything: other types, numbers of a thousand digits, hashes of no
bytes, errors that decode to nothing. Whatever passes here has the form, the length and the range
that the rest of the program, its codec and its disk take; whatever does not is `Nonsense`, which
`Rpc` turns into an endpoint without an answer, so that another one is asked.

Invariants: nothing here raises anything but `Nonsense`; nothing quotes more of an answer than a
short text of printable characters.
Source: the Ethereum JSON-RPC specification, "Hex encoding"; docs/design/chain.md.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.model import limits
from p2pool.model.ids import ADDRESS_BYTES, Address, Digest, NodeId

WORD = 32
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class Nonsense(Exception):
    """An answer of another form, length or range than the call has."""


@attrs.frozen
class Block:
    """A block's number, hash (66 characters, lower case), parent and time."""

    number: int
    hash: str
    parent: str
    time_ms: int

    @property
    def digest(self) -> Digest:
        """The hash as bytes."""
        return Digest(bytes.fromhex(self.hash[2:]))


@attrs.frozen
class Log:
    """An event: the contract, in lower case, its topics, the block that it is said to be of,
    whether a reorganisation took it back, its data (None: not bytes), and its block's number."""

    address: str
    topics: tuple[str, ...]
    block: str | None = None
    removed: bool = False
    data: bytes | None = None
    number: int | None = None


def anything(answer: Any) -> Any:
    """For what the caller compares only: any JSON."""
    return answer


def shown(answer: object) -> str:
    """An answer in an error message: a text cut short and made printable, else its type.

    Nothing else is written out: a list may be nested as deep as Python's own calls.
    """
    if not isinstance(answer, str):
        return "null" if answer is None else f"a {type(answer).__name__}"
    short = clipped(answer, limits.REFUSAL_TEXT_MAX_BYTES)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


def cut(name: str) -> str:
    """A name that the codec takes: the contract sets no maximum."""
    return clipped(name, limits.TEXT_MAX_BYTES)


def quantity(answer: object, most: int = limits.CHAIN_WORD_MAX) -> int:
    """A number from 0 to `most`."""
    if not isinstance(answer, str) or not _QUANTITY.fullmatch(answer):
        raise Nonsense(f"{shown(answer)!r}, not a number")
    found = int(answer, 16)
    if found > most:
        raise Nonsense(f"{answer}, beyond {most}")
    return found


def number(answer: object) -> int:
    """A number that the codec and JSON take: of a block, or of units of gas."""
    return quantity(answer, limits.CHAIN_NUMBER_MAX)


def price(answer: object) -> int:
    """A price in wei, which fits a transaction with some margin."""
    return quantity(answer, limits.CHAIN_PRICE_MAX)


def data(answer: object) -> bytes:
    """Bytes of any length."""
    try:
        if isinstance(answer, str) and answer.startswith("0x"):
            return bytes.fromhex(answer[2:])
    except ValueError:
        pass  # Told like any other text that is not hex.
    raise Nonsense(f"{shown(answer)!r}, not bytes")


def address(answer: object) -> Address:
    """An account or contract."""
    if not isinstance(answer, str) or not _ADDRESS.fullmatch(answer):
        raise Nonsense(f"{shown(answer)!r}, not an address")
    return Address(bytes.fromhex(answer[2:]))


def block(answer: object) -> Block | None:
    """A block, or None if the endpoint does not have it."""
    if answer is None:
        return None
    found = fields(answer)
    time_s = quantity(found.get("timestamp"), limits.CHAIN_NUMBER_MAX // 1000)
    return Block(
        number=number(found.get("number")),
        hash=_hash(found.get("hash")),
        parent=_hash(found.get("parentHash")),
        time_ms=time_s * 1000,
    )


def logs(answer: object) -> list[Log]:
    """The events of a block, as far as the follower compares them."""
    return [_log(item) for item in _items(answer)]


def members(answer: object) -> list[NodeId]:
    """The list of a pool's members, sorted. Slices words: thousands decode in milliseconds."""
    found = data(answer)
    offset, count = (int.from_bytes(found[at : at + WORD], "big") for at in (0, WORD))
    if len(found) != (2 + count) * WORD or offset != WORD:
        raise Nonsense("a list of members that is cut short")
    words = [found[at : at + WORD] for at in range(2 * WORD, len(found), WORD)]
    ids = {NodeId(word[-ADDRESS_BYTES:]) for word in words}
    if len(ids) != count or any(any(word[:-ADDRESS_BYTES]) for word in words):
        raise Nonsense("a list of members that is none: twice the same, or no addresses")
    return sorted(ids)[: limits.MEMBERS_MAX]


def receipt(answer: object) -> Mapping[str, Any] | None:
    """A transaction's receipt, or None if it is in no block yet."""
    return None if answer is None else fields(answer)


def fields(answer: object) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(answer, dict):
        raise Nonsense(f"{shown(answer)!r}, not an object")
    return answer


def _items(answer: object) -> Sequence[object]:
    if not isinstance(answer, list):
        raise Nonsense(f"{shown(answer)!r}, not a list")
    return answer


def _log(answer: object) -> Log:
    found = fields(answer)
    topics, block = _items(found.get("topics")), found.get("blockHash")
    height = found.get("blockNumber")
    return Log(
        address="0x" + address(found.get("address")).hex(),
        topics=tuple(map(_hash, topics)),
        block=None if block is None else _hash(block),
        # Whatever is not plainly False is told as removed: both cost a full read at most.
        removed=found.get("removed", False) is not False,
        data=_data_or_none(found.get("data")),
        number=None if height is None else number(height),
    )


def _data_or_none(answer: object) -> bytes | None:
    try:
        return data(answer)
    except Nonsense:
        return None


def _hash(answer: object) -> str:
    if not isinstance(answer, str) or not _HASH.fullmatch(answer):
        raise Nonsense(f"{shown(answer)!r}, not a hash")
    return answer.lower()
