"""The goals: what an attack may cost those who use the pool, against what was measured at rest."""

from collections.abc import Mapping

import attrs

from tests.attacks.measure import MIB, Measured

MEMORY_TIMES = 1.3
API_TIMES = 5.0
API_FLOOR_S = 0.02
"""On a machine with two cores a rest under this is noise: the goal is five times this then."""
SERVED_SHARE = 0.9
WRITTEN_SHARE = 0.9
SILENT_S = 20.0
"""A heartbeat comes every five seconds; three that are missed make a node suspect."""
AFTER_TIMES = 1.1
BRIEF_API_S = 2.0
BRIEF_SLACK = 16 * MIB
"""In ten seconds few answers are measured, beside whatever else the machine does."""


@attrs.frozen
class Run:
    """One attack: what was measured before, while and after, and what the attacker counted."""

    name: str
    target: str
    rest: Measured
    during: Measured
    after: Measured
    counts: Mapping[str, int]
    brief: bool = False

    def problems(self) -> list[str]:
        """The goals that were missed."""
        return [
            *self._memory(),
            *self._api(),
            *self._newcomers(),
            *self._life(),
            *self._said(),
        ]

    def _memory(self) -> list[str]:
        slack = BRIEF_SLACK if self.brief else 0
        found = []
        if self.during.peak > MEMORY_TIMES * self.rest.typical + slack:
            found.append(
                f"memory rose from {self.rest.typical // MIB} to {self.during.peak // MIB} MiB"
            )
        left = self.after.memory[-1] if self.after.memory else 0
        if left > AFTER_TIMES * self.rest.typical + slack:
            found.append(
                f"{left // MIB} MiB stayed of {self.rest.typical // MIB} before the attack"
            )
        return found

    def _api(self) -> list[str]:
        slowest = API_TIMES * max(API_FLOOR_S, self.rest.p(0.99))
        if self.brief:
            slowest = max(slowest, BRIEF_API_S)
        # Other work on the machine came or went: that is not the attack's doing.
        slowest *= max(1.0, self.during.stretch / self.rest.stretch)
        took = self.during.p(0.9 if self.brief else 0.99)
        if took <= slowest:
            return []
        return [f"the API took {took:.2f} s ({self.rest.p(0.99):.2f} s at rest)"]

    def _newcomers(self) -> list[str]:
        served, knocked = self.during.served, self.during.knocked
        found = []
        if served < int(SERVED_SHARE * knocked):
            found.append(f"of {knocked} newcomers {served} were served")
        if self.during.eclipsed or self.after.eclipsed:
            eclipsed = self.during.eclipsed + self.after.eclipsed
            found.append(f"{eclipsed} newcomers were told of no member")
        return found

    def _life(self) -> list[str]:
        found = []
        done, failed = len(self.during.writes_s), self.during.writes_failed
        if not done or done < WRITTEN_SHARE * (done + len(failed)):
            found.append(f"{done} writes, {len(failed)} failed: {failed[:1]}")
        if not self.during.looks or self.during.silent_s > SILENT_S:
            found.append(f"no heartbeat of a node for {self.during.silent_s:.0f} s")
        return found

    def _said(self) -> list[str]:
        """What the attacker itself saw that must not be."""
        found = []
        if self.counts.get("dialled", 0):
            found.append(f"the attacker's own places were dialled {self.counts['dialled']} times")
        if self.during.misled or self.after.misled:
            found.append(f"{self.during.misled + self.after.misled} newcomers were misled")
        if not sum(self.counts.values()):
            found.append("the attacker did nothing")
        return found
