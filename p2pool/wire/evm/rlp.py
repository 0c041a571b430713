"""RLP: bytes and lists of them, as an EVM chain writes transactions.

Only the one canonical form is read, as nodes of the chain do.
Source: Ethereum Yellow Paper, appendix B.
"""

from collections.abc import Sequence
from typing import TypeAlias

Item: TypeAlias = "bytes | Sequence[Item]"

_DEPTH_MAX = 8
_STRING, _LIST, _SHORT_MAX = 0x80, 0xC0, 55


def encode(item: Item) -> bytes:
    """An item as bytes."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _STRING:
            return item
        return _head(len(item), _STRING) + item
    body = b"".join(encode(each) for each in item)
    return _head(len(body), _LIST) + body


def number(value: int) -> bytes:
    """A number as RLP writes it: no zero in front, and nothing for zero."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode(data: bytes) -> Item:
    """The one item in `data`; ValueError if it is not canonical, or more follows."""
    item, rest = _take(data, 0)
    if rest:
        raise ValueError("bytes follow the item")
    return item


def _head(length: int, base: int) -> bytes:
    if length <= _SHORT_MAX:
        return bytes([base + length])
    written = number(length)
    return bytes([base + _SHORT_MAX + len(written)]) + written


def _take(data: bytes, depth: int) -> tuple[Item, bytes]:
    if not data or depth > _DEPTH_MAX:
        raise ValueError("no item, or too deep")
    first = data[0]
    if first < _STRING:
        return data[:1], data[1:]
    base = _LIST if first >= _LIST else _STRING
    body, rest = _body(data, first - base)
    if base == _STRING:
        if len(body) == 1 and body[0] < _STRING:
            raise ValueError("a byte that needs no head has one")
        return body, rest
    items: list[Item] = []
    while body:
        item, body = _take(body, depth + 1)
        items.append(item)
    return items, rest


def _body(data: bytes, size: int) -> tuple[bytes, bytes]:
    """The bytes of an item whose head says `size`, and what follows it."""
    start, length = 1, size
    if size > _SHORT_MAX:
        start = 1 + size - _SHORT_MAX
        written = data[1:start]
        length = int.from_bytes(written, "big")
        if len(written) != size - _SHORT_MAX or written[0] == 0 or length <= _SHORT_MAX:
            raise ValueError("a length that is not the shortest form")
    if len(data) < start + length:
        raise ValueError("an item breaks off")
    return data[start : start + length], data[start + length :]
