"""The leader raises the pool's feature level once every participant knows the next one.

Intuition: people decide nothing here, and a change of leaders loses nothing: each leader compares
what the participants announce with the log's level, and logs the next one. If it runs nothing newer
itself, that is one comparison of two numbers.

Invariants: one level at a time, from an applied state; only participants count. A participant that
joins, or goes back to an older program, at the same moment finds itself too old for the log and
stops (`log.level_check`): the replicas stay equal.
"""

from collections.abc import Callable

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.feature_levels import next_level, pool_level
from p2pool.model import limits
from p2pool.model.log.entries import LevelRaised
from p2pool.model.timing import Now


@attrs.define
class LevelRaiser:
    """One leader's care for the pool's feature level."""

    context: Context
    propose: Callable[[LevelRaised, Now], None]
    due_ms: int = 0

    def tick(self, now: Now) -> None:
        """Propose the next level if every participant knows it."""
        if (
            self.context.config.newest_level <= pool_level(self.context)
            or now.mono_ms < self.due_ms
        ):
            return
        self.due_ms = now.mono_ms + limits.COMMITTEE_INTERVAL_MS
        level = next_level(self.context, now)
        if level is None:
            return
        self.context.log(Level.INFO, "the feature level rises", to=level)
        self.propose(LevelRaised(level, self.context.config.agent_version), now)
