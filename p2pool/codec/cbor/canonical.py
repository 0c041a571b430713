"""Canonical CBOR: one value, one encoding, and nothing that this program does not need.

Intuition: two peers that sign, hash or compare bytes must agree on them, so only the deterministic
form of RFC 8949 (section 4.2.1) counts, and of that only null, booleans, 64-bit integers, byte
strings, UTF-8 text, arrays, and maps with unsigned keys. Tags, floats, indefinite lengths,
duplicate keys and trailing bytes are refused *before* a value is built: `count` walks the heads of
the items without making anything, because a general decoder makes objects of tags (numbers of a
billion digits, mail messages) and reserves memory for lengths that the bytes do not have.

Building a value costs by its items, not by its bytes: a megabyte of small numbers takes seconds. So
whoever reads what others sent counts the items first (`count`), and builds what is not too much.

Invariant: `decode(b)` either raises `Malformed` or gives a value with `encode(value) == b`; each
call proves it by encoding again.
"""

from collections.abc import Sequence
from typing import Never, TypeAlias

import cbor2

from p2pool.model import limits
from p2pool.model.errors import Malformed

Value: TypeAlias = "bool | int | bytes | str | Sequence[Value] | dict[int, Value] | None"
"""What can be encoded; decoding gives lists for arrays."""

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_LITERALS = frozenset({20, 21, 22})  # false, true, null


def encode(value: Value) -> bytes:
    """The canonical bytes of a value; `Malformed` if it has none (floats, large numbers)."""
    _check(value, 0)
    try:
        return cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError as error:  # a lone surrogate, as JSON can carry it
        raise Malformed("Text has characters that UTF-8 cannot carry.") from error


def join(items: Sequence[bytes]) -> bytes:
    """The array of values whose canonical bytes are at hand."""
    count = len(items)
    if count < 24:
        head = bytes([_ARRAY << 5 | count])
    else:
        width = next(w for w in (1, 2, 4, 8) if count < 1 << 8 * w)
        head = bytes([_ARRAY << 5 | 23 + width.bit_length()]) + count.to_bytes(width, "big")
    return head + b"".join(items)


def decode(data: bytes, items_max: int | None = None) -> Value:
    """The value of canonical bytes; `Malformed` (the sender's fault) for any other bytes, and for
    more than `items_max` items."""
    count(data, items_max)
    return build(data)


def build(data: bytes) -> Value:
    """`decode` of bytes that were counted."""
    try:
        value: Value = cbor2.loads(data, max_depth=limits.CBOR_MAX_DEPTH + 1)
    except cbor2.CBORDecodeError as error:  # also text that is not UTF-8
        raise Malformed(f"Bytes are not CBOR: {error}.") from error
    if encode(value) != data:
        raise Malformed("CBOR is not in canonical form (RFC 8949, 4.2.1).")
    return value


def _check(value: object, depth: int) -> None:
    """Refuse values that have no canonical form."""
    if depth > limits.CBOR_MAX_DEPTH:
        raise Malformed(f"Nested deeper than {limits.CBOR_MAX_DEPTH}.")
    kind = type(value)
    if value is None or kind in (bool, bytes, str):
        return
    if kind is int:
        assert isinstance(value, int)
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise Malformed("An integer does not fit into 64 bits.")
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not int or not 0 <= key <= INTEGER_MAX:
                raise Malformed("A map has a key that is not an unsigned integer.")
            _check(item, depth + 1)
    else:
        raise Malformed(f"A {kind.__name__} has no canonical form.")


def count(data: bytes, items_max: int | None = None) -> int:
    """How many items the bytes have, keys included; `Malformed` for what `decode` refuses by its
    form, and at the first item beyond `items_max`.

    Walks the items' heads once, in memory that depends only on the allowed depth.
    """
    walked, position = _walk(data, 0, items_max)
    if position != len(data):
        raise Malformed(f"{len(data) - position} bytes follow the value.")
    return walked


def item_at(data: bytes, position: int, items_max: int) -> bytes:
    """The bytes of the one item that begins there, whatever follows it; `Malformed` as of
    `count`."""
    _, end = _walk(data, position, items_max)
    return data[position:end]


def _walk(data: bytes, position: int, items_max: int | None) -> tuple[int, int]:
    """How many items the one at `position` has, itself included, and where it ends."""
    walked = 0
    open_items = [1]  # how many items are still missing at each depth
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        walked += 1
        if items_max is not None and walked > items_max:
            raise Malformed(f"There are more than {items_max} items.")
        major, argument, position = _head(data, position)
        if major in (_BYTES, _TEXT):
            position += argument
            if position > len(data):
                _truncated()
        elif major in (_ARRAY, _MAP):
            if len(open_items) > limits.CBOR_MAX_DEPTH:
                raise Malformed(f"Nested deeper than {limits.CBOR_MAX_DEPTH}.")
            items = argument * 2 if major == _MAP else argument
            if items > len(data) - position:  # an item takes a byte at least
                _truncated()
            open_items.append(items)
    return walked, position


def _head(data: bytes, position: int) -> tuple[int, int, int]:
    """Major type, argument and the position after the head of the item at `position`."""
    if position >= len(data):
        _truncated()
    major, info = data[position] >> 5, data[position] & 31
    position += 1
    if major == _TAG:
        raise Malformed("CBOR tags are not allowed.")
    if major == _SIMPLE:
        if info not in _LITERALS:
            raise Malformed("Floats, and simple values but null, true and false, are not allowed.")
        return major, 0, position
    if info < 24:
        return major, info, position
    if info > 27:
        raise Malformed("Indefinite lengths and reserved heads are not allowed.")
    width = 1 << (info - 24)
    if position + width > len(data):
        _truncated()
    return major, int.from_bytes(data[position : position + width], "big"), position + width


def _truncated() -> Never:
    """The bytes end before the value does."""
    raise Malformed("The bytes end before the value does.")
