"""Which containers ended with their engine or their machine, and which by themselves.

Intuition: an engine that is ended without live-restore kills its containers first and is gone a
moment later (seen with 20.10), so a kill is believed only once the engine has gone on answering for
a while. What was killed right before the engine went, or while it was away, ended with it. After a
start of this agent it is known by the machine: what began before it booted, and was killed, ended
with it. Pure; times are the machine's wall clock, as the engine's are.

Invariants: a container that ended with a code of its own keeps that end at once; an end is told
once. Not told apart: a program that ends with 0 when it is asked to end has ended by itself.
"""

from collections.abc import Sequence

import attrs

from p2pool.model import limits
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import ContainerState, ContainerStatus

KILLED_CODES = (None, 137, 143, 255)
"""Exit codes of what was ended from outside: unknown, SIGKILL, SIGTERM, and Docker's own."""
Key = tuple[AllocationId, int]


@attrs.frozen
class Judged:
    """A listing as the core is told it. `held`: some ends are to be looked at again soon."""

    statuses: tuple[ContainerStatus, ...]
    interrupted: tuple[Key, ...]
    held: bool


@attrs.define
class EngineRestarts:
    """What is remembered between listings. `booted_ms`: when the machine was started; `ended`:
    whose end was told by the last listing, None before the first."""

    booted_ms: int
    away_at_ms: int = 0
    ended: dict[Key, None] | None = None

    def went_away(self, now_ms: int) -> None:
        """The engine did not answer, or ended what it was telling."""
        self.away_at_ms = self.away_at_ms or now_ms

    def judge(self, statuses: Sequence[ContainerStatus], began_ms: int, now_ms: int) -> Judged:
        """Take a listing that was begun and ended at these times. Listings come one by one."""
        away = 0 < self.away_at_ms <= began_ms
        told: list[ContainerStatus] = []
        interrupted: list[Key] = []
        ended: dict[Key, None] = {}
        held = False
        for status in statuses:
            key = (status.allocation, status.attempt)
            if not status.ended:
                told.append(status)
            elif self._ended_with_its_engine(key, status, away):
                interrupted.append(key)
                ended[key] = None
                told.append(status)
            elif self._too_fresh(status, now_ms):
                held = True
                told.append(
                    attrs.evolve(
                        status, state=ContainerState.RUNNING, exit_code=None, finished_at_ms=0
                    )
                )
            else:
                ended[key] = None
                told.append(status)
        self.ended = ended
        if away:
            self.away_at_ms = 0  # One that left while it was being asked has not been seen back.
        return Judged(tuple(told), tuple(interrupted), held)

    def _ended_with_its_engine(self, key: Key, status: ContainerStatus, away: bool) -> bool:
        if status.exit_code not in KILLED_CODES:
            return False
        if self.ended is None:
            return 0 < status.started_at_ms < self.booted_ms
        # Not by times: the engine shows a container as running a moment longer than it was.
        return away and key not in self.ended

    def _too_fresh(self, status: ContainerStatus, now_ms: int) -> bool:
        """Killed so short a time ago that its engine may be about to go."""
        age_ms = now_ms - status.finished_at_ms
        return status.exit_code in KILLED_CODES and 0 <= age_ms < limits.KILLED_HOLD_MS
