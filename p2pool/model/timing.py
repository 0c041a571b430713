"""Timing profiles of elections, and the two clocks that every decision receives.

A profile is a logged setting (docs/design/consensus.md, "Timing"): the whole committee uses the
same one. Timeouts are drawn uniformly from [min, max) anew for each election (Raft, section 5.2).
"""

from enum import IntEnum

import attrs


@attrs.frozen
class Now:
    """The time of a step: `mono_ms` never goes back, `wall_ms` is since the Unix epoch."""

    mono_ms: int
    wall_ms: int


class Profile(IntEnum):
    """Named timing profiles."""

    LAN = 0
    DEFAULT = 1
    WAN = 2


@attrs.frozen
class Timing:
    """Leader's append interval and the range of election timeouts, in milliseconds."""

    append_interval_ms: int
    election_timeout_min_ms: int
    election_timeout_max_ms: int

    def __attrs_post_init__(self) -> None:
        """A follower must miss several appends before it campaigns."""
        assert 2 * self.append_interval_ms < self.election_timeout_min_ms
        assert self.election_timeout_min_ms < self.election_timeout_max_ms


TIMINGS = {
    Profile.LAN: Timing(50, 300, 600),
    Profile.DEFAULT: Timing(150, 1_000, 2_000),
    Profile.WAN: Timing(500, 3_000, 6_000),
}
