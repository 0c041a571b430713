"""Versions of this program, as tests play them: the first one, and the next after it.

What the levels of this program bring has tests of its own. Those of the mechanism begin at the
first level, whatever this program knows (`as_first_version`), and play the next one from there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pool.model import features
from p2pool.model.features import BASE_LEVEL, FeatureLevel

NEXT_LEVEL = FeatureLevel(BASE_LEVEL + 1)


@contextmanager
def next_version(level: FeatureLevel = NEXT_LEVEL) -> Iterator[FeatureLevel]:
    """Know feature levels up to `level` for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "NEWEST_LEVEL", level)
        patch.setattr(features, "LEVELS", {**features.LEVELS, level: "For tests alone."})
        yield level


@pytest.fixture(scope="module")
def as_first_version() -> Iterator[None]:
    """Know the first feature level alone, for a module of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "NEWEST_LEVEL", BASE_LEVEL)
        patch.setattr(features, "LEVELS", {BASE_LEVEL: features.LEVELS[BASE_LEVEL]})
        yield
