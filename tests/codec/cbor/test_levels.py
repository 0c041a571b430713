"""A record that grew is read by every later version, and written as the older ones read it."""

from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given

from p2pool.codec.cbor.structs import (
    decode_struct,
    encode_struct,
    form_of,
    from_value,
    shape_level,
)
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.features import BASE_LEVEL, FeatureLevel, since
from p2pool.model.field_bounds import bounded
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.codec.samples import instances

pytestmark = pytest.mark.usefixtures("as_first_version")

TWO, THREE = NEXT_LEVEL, FeatureLevel(NEXT_LEVEL + 1)


@attrs.frozen
class PartAtOne:
    """What stands in the record, as the first version has it."""

    number: int


@attrs.frozen
class Part:
    """The same, two versions later."""

    number: int
    word: str = since(TWO, default="none")
    third: bool = since(THREE, default=False)


@attrs.frozen
class RecordAtOne:
    """A record as the first version has it."""

    name: str
    parts: Annotated[tuple[PartAtOne, ...], bounded(items=9)] = ()


@attrs.frozen
class Record:
    """The same, two versions later."""

    name: str
    parts: Annotated[tuple[Part, ...], bounded(items=9)] = ()
    count: int = since(TWO, default=7)
    extra: Part | None = since(THREE, default=None)


@given(instances(RecordAtOne))
def test_what_an_earlier_version_wrote_is_read_with_defaults(old: RecordAtOne) -> None:
    """At each level that is known."""
    wanted = Record(old.name, tuple(Part(part.number) for part in old.parts))
    for level in (TWO, THREE):
        with next_version(level):
            assert decode_struct(Record, encode_struct(old)) == wanted


@given(instances(RecordAtOne))
def test_a_later_version_writes_what_an_earlier_one_wrote(old: RecordAtOne) -> None:
    """Byte for byte, at the level of the earlier one."""
    new = Record(old.name, tuple(Part(part.number) for part in old.parts))
    with next_version(THREE):
        assert encode_struct(new) == encode_struct(new, BASE_LEVEL) == encode_struct(old)
        assert encode_struct(new, TWO) != encode_struct(old)


@given(instances(Record))
def test_each_level_comes_back(record: Record) -> None:
    """By a reader who takes any, and by one who is told the level; not by one of another level."""
    with next_version(THREE):
        data = encode_struct(record, THREE)
        assert decode_struct(Record, data) == decode_struct(Record, data, THREE) == record
        for level in (BASE_LEVEL, TWO):
            with pytest.raises(Malformed, match="not an array of"):
                decode_struct(Record, data, level)


@given(instances(Record))
def test_what_is_newer_is_refused_as_newer(record: Record) -> None:
    """The sentence says that a newer version wrote it, and what to do."""
    with next_version(THREE):
        data = encode_struct(record, THREE)
    for known in (BASE_LEVEL, TWO):
        with next_version(known), pytest.raises(TooNew, match=r"newer version .* Upgrade"):
            decode_struct(Record, data)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_only_lengths_that_some_level_has_are_taken(count: int) -> None:
    """A record of two fields, then three, then four: none has fewer, and what is more is newer."""
    values: list[Any] = ["name", [], 1, None, None]
    with next_version(THREE):
        if count in (3, 4):
            assert from_value(Record, values[:count]).name == "name"
            return
        with pytest.raises(Malformed) as refused:
            from_value(Record, values[:count])
    assert isinstance(refused.value, TooNew) == (count == 5)


def test_what_a_level_cannot_say_is_never_dropped() -> None:
    """To write a field below its level is our bug, in a nested object as well."""
    inner, outer = Record("a", (Part(1, "said"),)), Record("a", (), 8)
    for record in (inner, outer):
        with pytest.raises(AssertionError, match=f"level {TWO}, not 1"):
            encode_struct(record)
    with pytest.raises(AssertionError):
        encode_struct(Record("a"), TWO)  # A level that this program does not know.


@attrs.frozen
class Reordered:
    """A later field stands before an earlier one."""

    late: int = since(TWO, default=0)
    early: int = 0


@attrs.frozen
class WithoutDefault:
    """A later field that has no default."""

    late: int = attrs.field(metadata={"since": TWO})


@pytest.mark.parametrize("cls", [Reordered, WithoutDefault])
def test_a_later_field_that_no_reader_could_miss_is_our_bug(cls: type) -> None:
    """It is seen when the class is first used."""
    with pytest.raises(AssertionError, match="came later"):
        form_of(cls)


def test_the_shape_of_a_class_is_that_of_all_in_it() -> None:
    """A level that changes nothing of a class leaves its shape at the level before."""
    levels = [FeatureLevel(n) for n in range(1, 6)]
    assert [shape_level(Record, level) for level in levels] == [1, 2, 3, 3, 3]
    assert [shape_level(PartAtOne, level) for level in levels] == [1] * 5
