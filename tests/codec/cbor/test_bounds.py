"""Whatever travels or is kept on a disk has a bound at each byte string and each list."""

import ast
import importlib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NewType, Union, get_args, get_origin

import attrs
import pytest

import p2pool
from p2pool.codec import entries
from p2pool.codec.cbor.structs import encode_struct, fields_of, form_of
from p2pool.core.fsm.storage import tables
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.features import FeatureLevel
from p2pool.model.field_bounds import Bound, Unit, bounded
from p2pool.model.ids import LENGTHS, Digest
from p2pool.model.log.raft import Snapshot
from p2pool.model.messages.registry import TYPES

PACKAGE = Path(p2pool.__file__).parent
READERS = ("decode_struct",)
"""What the sources give a class to whose bytes they read or write as a whole."""


def _decoded() -> dict[str, type]:
    """The classes that the sources name to a reader: all that is kept on a disk is among them."""
    found: dict[str, type] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in READERS and node.args and isinstance(node.args[0], ast.Name):
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                cls = getattr(importlib.import_module(module), node.args[0].id, None)
                if cls is not None:  # A variable stands for the records of the tables, below.
                    found[cls.__name__] = cls
    return found


ROWS: list[type] = [one.record for one in tables.META_ROWS]
ROWS += [one.record for one in tables.TABLES]
RECORDS = _decoded() | {cls.__name__: cls for cls in (*entries.RECORDS.values(), *ROWS, Snapshot)}


def _lengths(roots: Iterator[type]) -> Iterator[tuple[str, Any, Bound | None]]:
    """Each place that a class reaches, with what stands there and how it is bounded."""
    seen: set[type] = set()

    def visit(hint: Any, place: str) -> Iterator[tuple[str, Any, Bound | None]]:
        bound: Bound | None = None
        if get_origin(hint) is Annotated:
            hint, bound = get_args(hint)
        origin, inner = get_origin(hint), get_args(hint)
        if isinstance(hint, NewType):
            assert hint in LENGTHS or hint is FeatureLevel, place
        elif origin in (tuple, Union, types.UnionType):
            if origin is tuple and inner[-1] is Ellipsis:
                yield place, tuple, bound
                inner = inner[:1]
            for one in inner:
                yield from visit(one, place)
        elif attrs.has(hint):
            if hint not in seen:
                seen.add(hint)
                for name, field in fields_of(hint):
                    yield from visit(field, f"{hint.__name__}.{name}")
        else:
            assert isinstance(hint, type), place
            yield place, hint, bound

    for root in roots:
        yield from visit(root, root.__name__)


def test_the_records_on_disk_are_found() -> None:
    """What this guards is found by reading the sources, so it has to find what is known to be."""
    known = {"PoolArray", "Snapshot", "StoredAttempt", "Evidence", "ChainRoster", "RootRecord"}
    known |= {"Allocation", "EpochRow"}
    assert known | {"PeerKnown", "Token", "SignedDelegation", "Placement"} <= set(RECORDS)


def test_every_field_is_bounded() -> None:
    """No byte string and no list of a message, a log entry, a snapshot or a row is without one."""
    units = {bytes: Unit.BYTES, tuple: Unit.ITEMS, str: Unit.TEXT, int: Unit.NUMBER}
    places = list(_lengths(iter([*TYPES.values(), *RECORDS.values()])))
    assert len(places) > 300
    for place, kind, bound in places:
        if bound is None:
            assert kind not in (bytes, tuple), f"{place} is not bounded"
        else:
            assert bound.unit is units[kind], place
            assert 0 <= bound.least <= bound.most, place


def test_messages_fit_their_frames() -> None:
    """The largest byte string that a message may hold fits into its frame."""
    frame = limits.STREAM_FRAME_MAX_BYTES - limits.ENVELOPE_OVERHEAD_MAX_BYTES
    for place, kind, bound in _lengths(iter(TYPES.values())):
        if kind is bytes:
            assert bound is not None, place
            assert bound.most < frame - limits.TEXT_MAX_BYTES, place


@attrs.frozen
class Bounded:
    """One field of each kind."""

    exact: Annotated[bytes, bounded(exact_bytes=2)] = b"ab"
    data: Annotated[bytes, bounded(bytes=2)] = b""
    name: Annotated[str, bounded(text=2)] = ""
    words: Annotated[tuple[Annotated[str, bounded(text=3)], ...], bounded(items=1)] = ()
    digest: Digest | None = None
    plain: str = ""
    number: Annotated[int, bounded(number=9)] = 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"exact": b"a"},
        {"exact": b"abc"},
        {"data": b"abc"},
        {"name": "ab."},
        {"name": "\u00e4\u00e4"},
        {"words": ("", "")},
        {"words": ("abcd",)},
        {"digest": Digest(b"short")},
        {"plain": "x" * (limits.TEXT_MAX_BYTES + 1)},
        {"number": -1},
        {"number": 10},
    ],
)
def test_a_bound_is_that_of_its_place(wrong: dict[str, Any]) -> None:
    """A list is bounded in its items, and each of them by its own bound."""
    assert encode_struct(
        Bounded(
            exact=b"cd",
            data=b"ab",
            name="\u00e4",
            words=("abc",),
            digest=Digest(bytes(32)),
            plain="x" * 99,
            number=9,
        )
    )
    with pytest.raises(Malformed, match=next(iter(wrong))):
        encode_struct(Bounded(**wrong))


@attrs.frozen
class Bytes:
    """Bytes of any length."""

    data: bytes


@attrs.frozen
class Texts:
    """Texts, any number of them."""

    texts: tuple[str, ...]


@attrs.frozen
class Counted:
    """Bytes that are bounded as if they were a list."""

    data: Annotated[bytes, bounded(items=2)]


@attrs.frozen
class Number:
    """What has no length."""

    number: Annotated[int, bounded(bytes=2)]


@pytest.mark.parametrize("cls", [Bytes, Texts, Counted, Number])
def test_a_class_without_bounds_is_not_taken(cls: type) -> None:
    """A bound that was forgotten, or is of another kind, is our own bug and is seen at once."""
    with pytest.raises(AssertionError, match=r"\w+\.\w+ (is|has)"):
        form_of(cls)
