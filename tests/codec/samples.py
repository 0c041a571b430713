"""Values of the model for tests: hypothesis strategies and fixed examples, both by type hints."""

import hashlib
import types
from enum import Enum
from typing import Annotated, Any, NewType, Union, get_args, get_origin

import attrs
from hypothesis import strategies as st

from p2pool.codec.cbor.structs import fields_of, fields_since
from p2pool.model.features import BASE_LEVEL, LEVEL_MAX, FeatureLevel
from p2pool.model.field_bounds import Bound
from p2pool.model.ids import LENGTHS, Digest, StateDigest
from p2pool.model.log.state_digests import DigestAlgorithm, state_digest

FEW = 3
SHORT = 40


FIRST_NAMES = {
    "ChainRoster": "Roster",
    "CommitteeChain": "Chain",
    "HeartbeatsAnswered": "BeatsAnswered",
    "HeartbeatsRequested": "BeatsRequested",
    "MetricsAnswered": "MetricsTold",
    "MetricsRequested": "MetricsAsked",
    "PublishedPort": "Port",
    "SuspicionReported": "SuspicionHinted",
}
"""What classes were called when their golden bytes were written: renaming one changes no byte."""


def instances(cls: type) -> st.SearchStrategy[Any]:
    """Any small object of an attrs class."""
    return st.builds(cls, **{name: _values(hint) for name, hint in _first_fields(cls)})


def _values(hint: Any, bound: Bound | None = None) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Annotated:
        return _values(*get_args(hint))
    if hint is FeatureLevel:
        return st.integers(BASE_LEVEL, LEVEL_MAX)
    if hint is StateDigest:
        algorithms = st.sampled_from([bytes([number]) for number in DigestAlgorithm])
        return st.tuples(algorithms, st.binary(min_size=32, max_size=32)).map(b"".join)
    if isinstance(hint, NewType):
        return st.binary(min_size=LENGTHS[hint], max_size=LENGTHS[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = next(item for item in arguments if item is not type(None))
        return st.none() | _values(inner)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_values(arguments[0]), max_size=FEW).map(tuple)
    if origin is tuple:
        return st.tuples(*[_values(item) for item in arguments])
    if hint is bytes:
        assert bound is not None
        return st.binary(min_size=bound.least, max_size=max(bound.least, min(bound.most, SHORT)))
    if hint is int and bound is not None:
        return st.integers(bound.least, bound.most)
    simple = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=SHORT // 4),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**64 - 1),
    }
    if hint in simple:
        return simple[hint]
    return st.sampled_from(hint) if issubclass(hint, Enum) else st.deferred(lambda: instances(hint))


def _first_fields(cls: type, level: int = BASE_LEVEL) -> list[tuple[str, Any]]:
    """The fields that a level has: an object of these alone is written at that level."""
    early = {name for name, since in fields_since(cls) if since <= level}
    return [(name, hint) for name, hint in fields_of(cls) if name in early]


def example(cls: type, level: int = BASE_LEVEL) -> Any:
    """The fixed example of an attrs class: derived from the names of its fields, never random. Its
    own fields of later levels say nothing."""
    known_as = FIRST_NAMES.get(cls.__name__, cls.__name__)
    hints = _first_fields(cls, level)
    return cls(*[_fixed(hint, f"{known_as}.{name}") for name, hint in hints])


def _fixed(hint: Any, place: str, bound: Bound | None = None) -> Any:
    if get_origin(hint) is Annotated:
        bare, bound = get_args(hint)
        return _fixed(bare, place, bound)
    seed = hashlib.sha256(place.encode()).digest()
    if hint is FeatureLevel:
        return BASE_LEVEL
    if hint is StateDigest:
        return state_digest(DigestAlgorithm.ROWS, Digest(seed))
    if isinstance(hint, NewType):
        return seed[: LENGTHS[hint]]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _fixed(next(item for item in arguments if item is not type(None)), place)
    if origin is tuple:
        inner = arguments[:1] if arguments[-1] is Ellipsis else arguments
        return tuple(_fixed(item, place) for item in inner)
    if hint is bytes:
        assert bound is not None
        return (seed * 3)[: max(bound.least, min(bound.most, 12))]
    if attrs.has(hint):
        return example(hint)
    if issubclass(hint, Enum):
        return list(hint)[1]  # stays the same when members are added
    number = int.from_bytes(seed[:3], "big")
    if bound is not None and number > bound.most:
        number %= bound.most + 1
    return {str: place.rpartition(".")[2], bool: bool(seed[0] % 2)}.get(hint, number)
