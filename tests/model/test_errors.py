"""Errors say whose fault they are, what to do, and carry a code that never changes."""

import inspect

from p2pool.model import errors
from p2pool.model.errors import BadSpec, Misconfigured, P2poolError, Refusal, Unavailable

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, P2poolError) and cls.__module__ == errors.__name__
]


def test_every_error_has_a_code_of_its_own() -> None:
    """The API and scripts tell errors apart by their codes."""
    codes = [vars(cls).get("code") for cls in CLASSES]
    assert None not in codes
    assert len(set(codes)) == len(codes)


def test_every_error_is_somebodys() -> None:
    """Each has one of three faults: theirs, the world's, the operator's."""
    for cls in CLASSES:
        if cls is not P2poolError:
            assert sum(issubclass(cls, f) for f in (Refusal, Unavailable, Misconfigured)) == 1, cls
            assert f"{cls.__name__} " in (errors.__doc__ or ""), f"{cls} is not in the tree"


def test_hints_are_told() -> None:
    """What to do next follows what is wrong."""
    assert str(Refusal("It is wrong.", hint="Mend it.")) == "It is wrong. Mend it."
    assert str(Refusal("It is wrong.")) == "It is wrong."
    assert BadSpec("Bad.", problems=("a", "b")).problems == ("a", "b")
