"""Feature levels: what a version of this program can write beyond the first, and read of others.

Intuition: agents of one pool are upgraded one by one, so a new agent has to write what the old ones
read. Whatever a later version adds (a field, a kind of entry, another decision) belongs to a level.
The pool is at one level at a time, which its log raises once everybody there knows the next one;
nothing above that level is written. A field that came later says so where it is declared:

    oom_killed: bool = False
    signal: int = since(2, default=0)

Invariants: a level once released keeps its meaning. Fields of a later level stand after all earlier
ones and have a default, so what a version wrote is a prefix of what the next one writes, and what
is missing is the default (`codec.cbor.structs`). Ask `newest()` for what this program knows: it is
the one place to replace where a test plays the next version.
"""

from typing import Final, NewType, TypeVar

import attrs

T = TypeVar("T")

FeatureLevel = NewType("FeatureLevel", int)
"""A number from 1: each level brings all that those below it brought."""

BASE_LEVEL: Final = FeatureLevel(1)
"""What every version that writes rows knows (release 0.2.0)."""

DISTRUST_LEVEL: Final = FeatureLevel(2)
"""What a pool needs whose participants do not take each other's word."""

LEVELS: dict[FeatureLevel, str] = {
    BASE_LEVEL: "State in rows, digests that name their algorithm, feature levels.",
    DISTRUST_LEVEL: "Joint consensus, proven snapshots and histories, a bounded state, checks of "
    "the chain, quotas of delegates.",
}
"""What each level brings. The next one is a line here, and `NEWEST_LEVEL` with it."""

NEWEST_LEVEL: FeatureLevel = DISTRUST_LEVEL
"""What this program knows. Read it by `newest()`, never by import."""

LEVEL_MAX: Final = FeatureLevel(2**31)
"""No level that anybody states is greater."""

SINCE = "since"


def newest() -> FeatureLevel:
    """The highest level that this program knows."""
    return NEWEST_LEVEL


def since(level: int, default: T) -> T:
    """A field of an attrs class that came with a later level; `default` is what it was before."""
    # The type is that of the field, as with any default of attrs.
    return attrs.field(default=default, metadata={SINCE: FeatureLevel(level)})


def level_of(field: "attrs.Attribute[object]") -> FeatureLevel:
    """The level that a field came with."""
    level: FeatureLevel = field.metadata.get(SINCE, BASE_LEVEL)
    return level


assert list(LEVELS) == list(range(BASE_LEVEL, NEWEST_LEVEL + 1))
