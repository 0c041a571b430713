"""The next version of this program, as tests play it: it knows one feature level more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pool.model import features
from p2pool.model.features import FeatureLevel

NEXT_LEVEL = FeatureLevel(features.NEWEST_LEVEL + 1)


@contextmanager
def next_version(level: FeatureLevel = NEXT_LEVEL) -> Iterator[FeatureLevel]:
    """Know feature levels up to `level` for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "NEWEST_LEVEL", level)
        patch.setattr(features, "LEVELS", {**features.LEVELS, level: "For tests alone."})
        yield level
