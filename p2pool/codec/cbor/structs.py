"""One codec for every attrs class of the model, driven by its type hints.

A class is the array of its fields in order. A field's hint decides its form: `int`, `bool`,
`bytes`, `str`, an enum (its value), `X | None` (null), `tuple[X, ...]` and `tuple[X, Y]` (arrays),
another attrs class (its array), a `NewType` of bytes (its one length). Lengths are bounded where a
field is declared (`model.field_bounds`). A codec is compiled once for each class, as a pair of
functions; a class with an unbounded byte string or tuple has none.

A class grows by fields of later feature levels (`model.features`). Writing names the level, and
writes its fields and no others, in nested objects too; the first level unless another is given, so
a digest of an object stays what it was. Reading takes what any level known here wrote, and fills in
the defaults of the fields that are missing; or, where the level is known, that one's alone.

Invariant: `from_value(cls, to_value(x)) == x`, and both directions check the same bounds, so
what one agent may send, another accepts. Any value that does not fit raises `Malformed`
with the path of the field; more fields than are known here raise `TooNew`.
"""

import types
from collections.abc import Callable, Hashable, Iterator
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
from p2pool.model import features, limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.features import BASE_LEVEL, LEVEL_MAX, FeatureLevel
from p2pool.model.field_bounds import Bound, Unit
from p2pool.model.ids import LENGTHS, STATE_DIGEST_BYTES, StateDigest
from p2pool.model.log.state_digests import algorithm_of

T = TypeVar("T")

Convert = Callable[[Any], Any]


@attrs.frozen
class Form:
    """How one hint is written and read. Both directions raise `Malformed` on what does not fit."""

    write: Convert
    read: Convert


@attrs.frozen
class Shape:
    """Which fields of a class and of those in it there are: those of a level; where not `exact`,
    reading also takes fewer of them, as an earlier level wrote them."""

    level: FeatureLevel
    exact: bool = True


def to_value(obj: object, level: FeatureLevel = BASE_LEVEL) -> list[canonical.Value]:
    """The array of an attrs object's fields, as a level writes them."""
    assert level <= features.newest(), level
    return cast(list[canonical.Value], _compiled(cast(Hashable, type(obj)), level, True).write(obj))


def from_value(cls: type[T], value: canonical.Value, level: FeatureLevel | None = None) -> T:
    """The object of `cls` that an array describes; `Malformed` if it describes none. With a
    level it is what that level writes; without one, what any level known here writes."""
    known = features.newest() if level is None else level
    return cast(T, _compiled(cast(Hashable, cls), known, level is not None).read(value))


def encode_struct(obj: object, level: FeatureLevel = BASE_LEVEL) -> bytes:
    """Canonical bytes of any attrs object of the model, as a level writes them."""
    return canonical.encode(to_value(obj, level))


def decode_struct(cls: type[T], data: bytes, level: FeatureLevel | None = None) -> T:
    """The object of `cls` in canonical bytes; `Malformed` for any others. See `from_value`."""
    return from_value(cls, canonical.decode(data), level)


def shape_level(cls: type, level: FeatureLevel) -> FeatureLevel:
    """The lowest level that writes a class just as `level` does."""
    return _shape_level(cast(Hashable, cls), level)


@cache
def _shape_level(cls: Hashable, level: FeatureLevel) -> FeatureLevel:
    assert isinstance(cls, type), cls
    found, seen = [BASE_LEVEL], {cls}

    def visit(hint: Any) -> None:
        if isinstance(hint, type) and attrs.has(hint) and hint not in seen:
            seen.add(hint)
            reach(hint)
        for inner in get_args(hint):
            visit(inner)

    def reach(holder: type) -> None:
        for field in _fields(holder):
            if field.since <= level:
                found.append(field.since)
                visit(field.hint)

    reach(cls)
    return max(found)


def lowest_level(obj: object) -> FeatureLevel:
    """The lowest level that says all that an object holds: nothing would be lost below."""
    if shape_level(type(obj), features.newest()) == BASE_LEVEL:
        return BASE_LEVEL
    return max(_said(obj), default=BASE_LEVEL)


def _said(value: object) -> Iterator[FeatureLevel]:
    """The levels of the fields that say something, here and in what stands inside."""
    if isinstance(value, tuple):
        for item in value:
            yield from _said(item)
    elif attrs.has(type(value)):
        for field in _fields(cast(Hashable, type(value))):
            held = getattr(value, field.name)
            if field.since == BASE_LEVEL or held != field.default:
                yield field.since
                yield from _said(held)


def form_of(cls: type[Any], shape: Shape = Shape(BASE_LEVEL)) -> Form:
    """The form of an attrs class."""
    return _compiled(cast(Hashable, cls), shape.level, shape.exact)


def fields_of(cls: type) -> list[tuple[str, Any]]:
    """Name and hint of each field, in wire order, with the bounds that stand in it."""
    return [(field.name, field.hint) for field in _fields(cls)]


def fields_since(cls: type) -> list[tuple[str, FeatureLevel]]:
    """Name of each field, in wire order, and the level that it came with."""
    return [(field.name, field.since) for field in _fields(cls)]


@attrs.frozen
class _Field:
    """A field of a class: `default` is of no meaning for one of the first level."""

    name: str
    hint: Any
    since: FeatureLevel
    default: Any


@cache
def _fields(cls: Hashable) -> tuple[_Field, ...]:
    """The fields in wire order; a later one that stands before an earlier one, or has no default,
    is our own bug."""
    assert isinstance(cls, type), cls
    assert attrs.has(cls), cls
    hints = get_type_hints(cls, include_extras=True)
    found = tuple(
        _Field(f.name, hints[f.name], features.level_of(f), f.default) for f in attrs.fields(cls)
    )
    before = BASE_LEVEL
    for field in found:
        place = f"{cls.__name__}.{field.name}"
        assert field.since >= before, f"{place} came later than a field that stands after it"
        given = field.default is not attrs.NOTHING and not isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
        assert given or field.since == BASE_LEVEL, f"{place} came later and has no default"
        before = field.since
    return found


@cache
def _compiled(cls: Hashable, level: FeatureLevel, exact: bool) -> Form:
    """Each class is compiled once for each shape."""
    assert isinstance(cls, type), cls
    shape = Shape(level, exact)
    fields = [field for field in _fields(cls) if field.since <= level]
    later = [field for field in _fields(cls) if field.since > level]
    pairs = [(f.name, _form(f.hint, f"{cls.__name__}.{f.name}", shape)) for f in fields]
    forms = [form for _, form in pairs]
    counts = {len(forms)} if exact else _counts(fields)

    def write(obj: Any) -> list[Any]:
        if type(obj) is not cls:
            raise Malformed(f"{cls.__name__} expected, not {type(obj).__name__}.")
        for field in later:
            same = getattr(obj, field.name) == field.default
            assert same, f"{cls.__name__}.{field.name} is of level {field.since}, not {level}"
        return [form.write(getattr(obj, name)) for name, form in pairs]

    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) not in counts:
            raise _misfit(cls, value, len(forms), exact=exact)
        return cls(*[form.read(item) for form, item in zip(forms, value, strict=False)])

    return Form(write, read)


def _counts(fields: list[_Field]) -> set[int]:
    """How many of a class's fields each level wrote."""
    levels = {BASE_LEVEL, *(field.since for field in fields)}
    return {sum(field.since <= level for field in fields) for level in levels}


def _misfit(cls: type, value: Any, count: int, *, exact: bool) -> Malformed:
    """Why a value is no object of a class."""
    if exact or not isinstance(value, list) or len(value) < count:
        return Malformed(f"{cls.__name__} is not an array of {count} fields.")
    return TooNew(
        f"{cls.__name__} has {len(value)} fields, and this version knows {count}: a newer version "
        "of p2pool wrote it."
    )


def _form(hint: Any, place: str, shape: Shape) -> Form:
    """The form of a hint; `place` is `Class.field`, for bounds and messages."""
    hint, bound = _parted(hint)
    if isinstance(hint, NewType):
        if hint is FeatureLevel:
            return _level(place)
        if hint is StateDigest:
            return _state_digest(place)
        return _bytes(place, LENGTHS[hint], LENGTHS[hint])
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = [item for item in get_args(hint) if item is not type(None)]
        return _optional(_form(inner, place, shape))
    if origin is tuple:
        return _tuple(get_args(hint), bound, place, shape)
    if hint is bytes:
        lengths = _checked(bound, Unit.BYTES, place)
        return _bytes(place, lengths.least, lengths.most)
    if hint is str:
        most = limits.TEXT_MAX_BYTES if bound is None else _checked(bound, Unit.TEXT, place).most
        return _text(place, most)
    if hint is int:
        return _integer(place, _checked(bound, Unit.NUMBER, place) if bound is not None else None)
    assert bound is None, f"{place} has no length that could be bounded"
    if hint is bool:
        return _plain(place, bool)
    if issubclass(hint, Enum):
        return _enum(place, hint)
    # Looked up on use, so that a class may hold another that is declared later.
    return Form(
        lambda obj: form_of(hint, shape).write(obj), lambda value: form_of(hint, shape).read(value)
    )


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


def _integer(place: str, bound: Bound | None = None) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not int or not canonical.INTEGER_MIN <= value <= canonical.INTEGER_MAX:
            raise Malformed(f"{place} is not an integer of 64 bits.")
        if bound is not None and not bound.least <= value <= bound.most:
            raise Malformed(f"{place} is not a number from {bound.least} to {bound.most}.")
        return value

    # Enums of numbers may stand for their number in a field that is open to newer ones.
    return Form(lambda value: check(int(value) if isinstance(value, IntEnum) else value), check)


def _level(place: str) -> Form:
    def check(value: Any) -> Any:
        if type(value) is not int or not BASE_LEVEL <= value <= LEVEL_MAX:
            raise Malformed(f"{place} is not a feature level.")
        return value

    return Form(check, check)


def _state_digest(place: str) -> Form:
    plain = _bytes(place, STATE_DIGEST_BYTES, STATE_DIGEST_BYTES)

    def check(value: Any) -> Any:
        algorithm_of(plain.read(value))
        return value

    return Form(check, check)


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


def _tuple(arguments: tuple[Any, ...], bound: Bound | None, place: str, shape: Shape) -> Form:
    if arguments[-1] is not Ellipsis:
        return _pair(arguments, place, shape)
    inner, most = _form(arguments[0], place, shape), _checked(bound, Unit.ITEMS, place).most

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


def _pair(arguments: tuple[Any, ...], place: str, shape: Shape) -> Form:
    """A tuple of fixed length with a hint for each item."""
    forms = [_form(argument, place, shape) for argument in arguments]

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
