"""One codec for every attrs class of the model, driven by its type hints.

A class is the array of its fields in order. A field's hint decides its form: `int`, `bool`,
`bytes`, `str`, an enum (its value), `X | None` (null), `tuple[X, ...]` and `tuple[X, Y]` (arrays),
another attrs class (its array), a `NewType` of bytes (its one length). Lengths are bounded where a
field is declared (`model.field_bounds`). A codec is compiled once for each class, as a pair of
functions; a class with an unbounded byte string or tuple has none.

Invariant: `from_value(cls, to_value(x)) == x`, and both directions check the same bounds, so
what one agent may send, another accepts. Any value that does not fit raises `Malformed`
with the path of the field.
"""

import types
from collections.abc import Callable, Hashable
from enum import Enum, IntEnum, StrEnum
from functools import cache
from typing import (
    Annotated,
    Any,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

from p2pool.codec.cbor import canonical
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.field_bounds import Bound, Unit
from p2pool.model.ids import LENGTHS

T = TypeVar("T")

Convert = Callable[[Any], Any]


@attrs.frozen
class Form:
    """How one hint is written and read. Both directions raise `Malformed` on what does not fit."""

    write: Convert
    read: Convert


def to_value(obj: object) -> list[canonical.Value]:
    """The array of an attrs object's fields."""
    return cast(list[canonical.Value], form_of(type(obj)).write(obj))


def from_value(cls: type[T], value: canonical.Value) -> T:
    """The object of `cls` that an array describes; `Malformed` if it describes none."""
    return cast(T, form_of(cls).read(value))


def encode_struct(obj: object) -> bytes:
    """Canonical bytes of any attrs object of the model."""
    return canonical.encode(to_value(obj))


def decode_struct(cls: type[T], data: bytes) -> T:
    """The object of `cls` in canonical bytes; `Malformed` for any others."""
    return from_value(cls, canonical.decode(data))


@attrs.define(eq=False)
class Pieces:
    """Encodes one large object again and again, while little of it changes in between.

    `encode` gives the bytes of `encode_struct`; it keeps those of each frozen item of a list
    for as long as that very item is in the list, so it holds the object's items once as bytes.
    """

    cls: type
    _held: dict[str, dict[int, tuple[object, bytes]]] = attrs.field(factory=dict)
    _parts: list[tuple[str, Form | None]] = attrs.field(init=False)
    _most: dict[str, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Look the fields up once."""
        self._parts, self._most = _parts_of(self.cls)

    def encode(self, obj: object) -> bytes:
        """Canonical bytes."""
        assert type(obj) is self.cls
        parts = []
        for name, form in self._parts:
            value = getattr(obj, name)
            parts.append(canonical.encode(form.write(value)) if form else self._list(name, value))
        return canonical.join(parts)

    def _list(self, name: str, items: tuple[object, ...]) -> bytes:
        if len(items) > (most := self._most[name]):
            raise Malformed(f"{self.cls.__name__}.{name} has {len(items)} items, {most} at most.")
        held, now = self._held.get(name, {}), {}
        for item in items:
            # An id names one object as long as something holds that object.
            known = held.get(id(item))
            if known is None:
                known = (item, encode_struct(item))
            now[id(item)] = known
        self._held[name] = now
        return canonical.join([now[id(item)][1] for item in items])


def _parts_of(cls: type) -> tuple[list[tuple[str, Form | None]], dict[str, int]]:
    """Form of each field; None for a list of objects, and how many of them there may be."""
    parts: list[tuple[str, Form | None]] = []
    most: dict[str, int] = {}
    for name, hint in fields_of(cls):
        place = f"{cls.__name__}.{name}"
        bare, bound = _parted(hint)
        inner = get_args(bare)
        objects = get_origin(bare) is tuple and inner[1:] == (...,) and attrs.has(inner[0])
        parts.append((name, None if objects else _form(hint, place)))
        if objects:
            most[name] = _checked(bound, Unit.ITEMS, place).most
    return parts, most


def form_of(cls: type[Any]) -> Form:
    """The form of an attrs class."""
    return _compiled(cast(Hashable, cls))


def fields_of(cls: type) -> list[tuple[str, Any]]:
    """Name and hint of each field, in wire order, with the bounds that stand in it."""
    hints = get_type_hints(cls, include_extras=True)
    return [(field.name, hints[field.name]) for field in attrs.fields(cls)]


@cache
def _compiled(cls: Hashable) -> Form:
    """Each class is compiled once."""
    assert isinstance(cls, type), cls
    assert attrs.has(cls), cls
    pairs = [(name, _form(hint, f"{cls.__name__}.{name}")) for name, hint in fields_of(cls)]
    forms = [form for _, form in pairs]

    def write(obj: Any) -> list[Any]:
        if type(obj) is not cls:
            raise Malformed(f"{cls.__name__} expected, not {type(obj).__name__}.")
        return [form.write(getattr(obj, name)) for name, form in pairs]

    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(forms):
            raise Malformed(f"{cls.__name__} is not an array of {len(forms)} fields.")
        return cls(*[form.read(item) for form, item in zip(forms, value, strict=True)])

    return Form(write, read)


def _form(hint: Any, place: str) -> Form:
    """The form of a hint; `place` is `Class.field`, for bounds and messages."""
    hint, bound = _parted(hint)
    if isinstance(hint, NewType):
        return _bytes(place, LENGTHS[hint], LENGTHS[hint])
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = [item for item in get_args(hint) if item is not type(None)]
        return _optional(_form(inner, place))
    if origin is tuple:
        return _tuple(get_args(hint), bound, place)
    if hint is bytes:
        lengths = _checked(bound, Unit.BYTES, place)
        return _bytes(place, lengths.least, lengths.most)
    if hint is str:
        most = limits.TEXT_MAX_BYTES if bound is None else _checked(bound, Unit.TEXT, place).most
        return _text(place, most)
    assert bound is None, f"{place} has no length that could be bounded"
    if hint is bool:
        return _plain(place, bool)
    if hint is int:
        return _integer(place)
    if issubclass(hint, Enum):
        return _enum(place, hint)
    # Looked up on use, so that a class may hold another that is declared later.
    return Form(lambda obj: form_of(hint).write(obj), lambda value: form_of(hint).read(value))


def _parted(hint: Any) -> tuple[Any, Bound | None]:
    """A hint and the bound that stands with it."""
    if get_origin(hint) is not Annotated:
        return hint, None
    bare, bound = get_args(hint)
    assert isinstance(bound, Bound), hint
    return bare, bound


def _checked(bound: Bound | None, unit: Unit, place: str) -> Bound:
    """The bound of a field that must have one, in its own unit."""
    assert bound is not None, f"{place} is not bounded"
    assert bound.unit is unit, f"{place} is bounded in {bound.unit}"
    return bound


def _plain(place: str, kind: type) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise Malformed(f"{place} is not a {kind.__name__}.")
        return value

    return Form(check, check)


def _integer(place: str) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not int or not canonical.INTEGER_MIN <= value <= canonical.INTEGER_MAX:
            raise Malformed(f"{place} is not an integer of 64 bits.")
        return value

    # Enums of numbers may stand for their number in a field that is open to newer ones.
    return Form(lambda value: check(int(value) if isinstance(value, IntEnum) else value), check)


def _bytes(place: str, least: int, most: int) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not bytes:
            raise Malformed(f"{place} is not a byte string.")
        if not least <= len(value) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise Malformed(f"{place} has {len(value)} bytes instead of {wanted}.")
        return value

    return Form(check, check)


def _text(place: str, most: int) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not str:
            raise Malformed(f"{place} is not text.")
        if len(value) > most or len(value.encode("utf-8", "surrogatepass")) > most:
            raise Malformed(f"{place} is longer than {most} bytes.")
        return value

    return Form(lambda value: check(value.value if isinstance(value, StrEnum) else value), check)


def _enum(place: str, kind: type[Enum]) -> Form:
    plain = {member.value: member for member in kind}

    def write(member: Any) -> Any:
        if type(member) is not kind:
            raise Malformed(f"{place} is not a {kind.__name__}.")
        return member.value

    def read(value: Any) -> Any:
        # The type is compared too: a dict takes True for 1, the wire does not.
        if type(value) not in (int, str) or value not in plain:
            raise Malformed(f"{place} is not a known {kind.__name__}.")
        return plain[value]

    return Form(write, read)


def _optional(inner: Form) -> Form:
    return Form(
        lambda value: None if value is None else inner.write(value),
        lambda value: None if value is None else inner.read(value),
    )


def _tuple(arguments: tuple[Any, ...], bound: Bound | None, place: str) -> Form:
    if arguments[-1] is not Ellipsis:
        return _pair(arguments, place)
    inner, most = _form(arguments[0], place), _checked(bound, Unit.ITEMS, place).most

    def check(value: Any, kind: type[tuple[Any, ...]] | type[list[Any]]) -> None:
        if type(value) is not kind:
            raise Malformed(f"{place} is not a list.")
        if len(value) > most:
            raise Malformed(f"{place} has {len(value)} items, {most} at most.")

    def write(value: Any) -> list[Any]:
        check(value, tuple)
        return [inner.write(item) for item in value]

    def read(value: Any) -> tuple[Any, ...]:
        check(value, list)
        return tuple(inner.read(item) for item in value)

    return Form(write, read)


def _pair(arguments: tuple[Any, ...], place: str) -> Form:
    """A tuple of fixed length with a hint for each item."""
    forms = [_form(argument, place) for argument in arguments]

    def check(value: Any, kind: type[tuple[Any, ...]] | type[list[Any]]) -> None:
        if type(value) is not kind or len(value) != len(forms):
            raise Malformed(f"{place} is not a list of {len(forms)}.")

    def write(value: Any) -> list[Any]:
        check(value, tuple)
        return [form.write(item) for form, item in zip(forms, value, strict=True)]

    def read(value: Any) -> tuple[Any, ...]:
        check(value, list)
        return tuple(form.read(item) for form, item in zip(forms, value, strict=True))

    return Form(write, read)
