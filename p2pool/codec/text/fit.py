"""What came from outside, cut to the bounds of the fields that it will stand in.

Intuition: engines, drivers, kernels and images say what they like, at any length. A message or a
row refuses to be written with a value beyond its bounds, and whatever else stands in it is lost
too. So values are cut where they enter, by the bounds that the fields declare.

Invariants: what fits comes back unchanged, as the same object; a text keeps its beginning and has
only characters that UTF-8 has (half of a pair becomes a question mark); a tuple keeps its first
items; a number keeps its sign.
"""

from enum import Enum
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.model import limits
from p2pool.model.field_bounds import Bound, Unit

T = TypeVar("T")
NUMBER_MAX = 2**63 - 1


def fitted(value: T) -> T:
    """An object of the model, or a text, whose texts, tuples and numbers fit their bounds."""
    return cast(T, _fit(value, None))


def _fit(value: Any, hint: Any) -> Any:
    kind = type(value)
    if isinstance(value, Enum) or kind is bool:
        return value
    if kind is str:
        bound = _bound(hint)
        return clipped(value, bound.most if bound and bound.unit is Unit.TEXT else _TEXT_MAX)
    if kind is int:
        return max(-NUMBER_MAX, min(value, NUMBER_MAX))
    if kind is tuple:
        bound = _bound(hint)
        kept = value[: bound.most] if bound and bound.unit is Unit.ITEMS else value
        new = tuple(_fit(item, _item(hint)) for item in kept)
        same = len(new) == len(value) and all(a is b for a, b in zip(new, value, strict=True))
        return value if same else new
    if attrs.has(kind):
        changed = {}
        for name, inner in _hints(kind):
            old = getattr(value, name)
            if (new := _fit(old, inner)) is not old:
                changed[name] = new
        return attrs.evolve(value, **changed) if changed else value
    return value


_TEXT_MAX = limits.TEXT_MAX_BYTES


@cache
def _hints(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, hints[field.name]) for field in attrs.fields(kind))


def _bound(hint: Any) -> Bound | None:
    """The bound that a field declares, also where it may be missing (`X | None`)."""
    if get_origin(hint) is Annotated:
        return next((one for one in get_args(hint)[1:] if isinstance(one, Bound)), None)
    return next((found for one in get_args(hint) if (found := _bound(one)) is not None), None)


def _item(hint: Any) -> Any:
    """What stands in a tuple."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    inner = get_args(hint)
    return inner[0] if get_origin(hint) is tuple and inner else None
