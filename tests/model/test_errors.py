"""Errors say whose fault they are, what to do, and carry a code that never changes."""

import inspect

from p2pool.model import errors
from p2pool.model.errors import (
    BadSpec,
    Malformed,
    Misconfigured,
    P2poolError,
    Refusal,
    Unavailable,
    error_for_code,
)

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


def test_a_code_gives_its_error_back() -> None:
    """What another agent raised is raised here by the same class, with all that it said."""

    class Silent(errors.RuntimeUnavailable):
        """A class that somebody derived for its own use and gave no code."""

    for cls in CLASSES:
        if cls is not P2poolError:
            assert type(error_for_code(cls.code, "It is so.")) is cls
    assert Silent.code == errors.RuntimeUnavailable.code
    error = error_for_code("bad-spec", "Bad.", hint="Mend it.", problems=("a", "b"))
    assert isinstance(error, BadSpec)
    assert (error.message, error.hint, error.problems) == ("Bad.", "Mend it.", ("a", "b"))
    malformed = error_for_code("malformed", "Bad.", problems=("a",))
    assert isinstance(malformed, Malformed)
    assert malformed.problems == ("a",)
    assert type(error_for_code("stale", "Old.", problems=("a",))) is errors.Stale


def test_a_code_of_a_newer_version() -> None:
    """An error that this version does not know may pass, unless its caller knows better."""
    for code in ("from-the-future", "", None, 7, "error"):
        assert type(error_for_code(code, "Hm.")) is Unavailable
        assert type(error_for_code(code, "Hm.", unknown=Refusal)) is Refusal
