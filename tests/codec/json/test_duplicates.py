"""Whoever sends many names does not make their reader compare each with each."""

import pytest

from p2pool.codec.json.duplicates import repeated
from p2pool.codec.json.requests import _once
from p2pool.model.errors import Malformed

NAMES = 500


class Counted(str):
    """A name that counts how often names are compared."""

    compared = 0

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def test_a_name_that_stands_twice_is_found_in_one_pass() -> None:
    """Of five hundred names the last stands twice: it is told after some hundred comparisons."""
    names = [Counted(f"n{number}") for number in [*range(NAMES), NAMES - 1]]
    Counted.compared = 0
    with pytest.raises(Malformed, match="'n499' twice"):
        _once([(name, 0) for name in names])
    assert Counted.compared <= 4 * NAMES


def test_each_name_is_told_once_in_order() -> None:
    """However often it stands there, and whatever stands in between."""
    assert repeated(["b", "a", "b", "c", "a", "b"]) == ["b", "a"]
    assert repeated(["b", "a"]) == []
