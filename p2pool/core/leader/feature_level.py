"""The leader raises the pool's feature level once every participant knows the next one.

Intuition: nothing has to be decided by people, and nothing is forgotten over a change of leaders:
whoever leads compares what the participants announce with the level of the log, and writes the next
one down. Where nothing newer runs, that is one comparison of two numbers.

Invariants: one level at a time, from an applied state; no member but the participants is looked at.
A participant that was seated or went back to an older program in the same moment finds itself too
old for the log, and stops (`log.level_check`): the replicas stay equal.
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
    """The care of one leader for the pool's feature level."""

    context: Context
    propose: Callable[[LevelRaised, Now], None]
    due_ms: int = 0

    def tick(self, now: Now) -> None:
        """Propose the next level where every participant knows it."""
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
