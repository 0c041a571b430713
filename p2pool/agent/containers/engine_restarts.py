"""Tells containers that ended with their engine or machine from those that ended by themselves.

Intuition: an engine that stops without live-restore kills its containers first and disappears a
moment later (seen with 20.10). So we believe a kill only after the engine has kept answering for a
while. A container killed just before the engine went, or while it was away, ended with the engine.
After a restart of this agent the machine's boot time decides: a container that started before the
boot and was killed ended with the machine. Pure; times are wall clock, as the engine's are.

Invariants: a container that exited with a code of its own keeps that end at once; each end is
reported once. Limit: a program that exits with 0 on request counts as ended by itself.
"""

from collections.abc import Sequence

import attrs

from p2pool.model import limits
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import ContainerState, ContainerStatus

KILLED_CODES = (None, 137, 143, 255)
"""Exit codes of containers ended from outside: unknown, SIGKILL, SIGTERM, and Docker's own."""
Key = tuple[AllocationId, int]


@attrs.frozen
class Judged:
    """A listing as the core receives it. `held`: some ends need another look soon."""

    statuses: tuple[ContainerStatus, ...]
    interrupted: tuple[Key, ...]
    held: bool


@attrs.define
class EngineRestarts:
    """State kept between listings. `booted_ms`: when the machine booted; `ended`: the containers
    that the last listing reported as ended, None before the first."""

    booted_ms: int
    away_at_ms: int = 0
    ended: dict[Key, None] | None = None

    def went_away(self, now_ms: int) -> None:
        """The engine did not answer, or its event stream ended."""
        self.away_at_ms = self.away_at_ms or now_ms

    def judge(self, statuses: Sequence[ContainerStatus], began_ms: int, now_ms: int) -> Judged:
        """Judge a listing that began and ended at these times. Listings come one at a time."""
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
            self.away_at_ms = 0  # An engine that left during the listing has not been seen back.
        return Judged(tuple(told), tuple(interrupted), held)

    def _ended_with_its_engine(self, key: Key, status: ContainerStatus, away: bool) -> bool:
        if status.exit_code not in KILLED_CODES:
            return False
        if self.ended is None:
            return 0 < status.started_at_ms < self.booted_ms
        # Times do not decide: the engine shows a container as running slightly longer than it was.
        return away and key not in self.ended

    def _too_fresh(self, status: ContainerStatus, now_ms: int) -> bool:
        """Killed so recently that its engine may be about to go."""
        age_ms = now_ms - status.finished_at_ms
        return status.exit_code in KILLED_CODES and 0 <= age_ms < limits.KILLED_HOLD_MS
