"""The settings of a pool, which its log keeps, and the values that each may have."""

from collections.abc import Mapping

from p2pool.model import limits
from p2pool.model.timing import Profile

COMMITTEE_VALUES = tuple(str(size) for size in limits.COMMITTEE_SIZES)
EJECT_AFTER_MS: Mapping[str, int | None] = {
    "never": None,
    "1h": 3_600_000,
    "6h": 6 * 3_600_000,
    "1d": 24 * 3_600_000,
    "7d": 7 * 24 * 3_600_000,
}
"""How long a member may be stalled, or dead, before the pool's manager should eject it."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "timing": tuple(profile.name.lower() for profile in Profile),
    "committee": COMMITTEE_VALUES,
    "eject-stalled": tuple(EJECT_AFTER_MS),
    "eject-dead": tuple(EJECT_AFTER_MS),
}
"""The pool's settings and their allowed values."""
