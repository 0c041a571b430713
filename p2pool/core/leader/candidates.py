"""Whom a leader offers a seat, and how often a member has already failed to take one.

Intuition: a seat goes to a member that only says it is well. One that then never answers, changes
its store again and again, or names somebody else's would be chosen, dropped and chosen for ever,
and keep every other member out. So each failure puts it off for longer, and the next one gets its
turn; later it comes back, since what was broken may be mended. Who fails three times in an hour is
asked only when nobody else is left.

Invariants: nobody is out for good, and nobody is put off for longer than a few minutes. The counts
are one leader's: a new one begins anew. Source: docs/design/consensus.md, "The committee".
"""

from collections.abc import Iterable

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import NodeId
from p2pool.model.timing import Now


@attrs.define
class _Failures:
    """A member's failures of the last hour, on the monotonic clock, and the last one's reason."""

    at_ms: list[int] = attrs.field(factory=list)
    why: str = ""


@attrs.define
class Candidates:
    """How the members of a pool have used the seats that one leader offered."""

    failures: BoundedDict[NodeId, _Failures] = attrs.field(
        factory=lambda: BoundedDict(limits.CANDIDATES_FAILED_MAX)
    )
    renewed_ms: BoundedDict[NodeId, int] = attrs.field(
        factory=lambda: BoundedDict(limits.CANDIDATES_FAILED_MAX)
    )

    def failed(self, node_id: NodeId, why: str, now: Now) -> None:
        """A member did not take the seat that it was offered."""
        found = self.failures.get(node_id) or _Failures()
        found.at_ms = [*_recent(found.at_ms, now), now.mono_ms][-limits.CANDIDATE_FAILURES_MAX :]
        found.why = why
        self.failures[node_id] = found

    def renewed(self, node_id: NodeId, now: Now) -> None:
        """A member shows another store than the one that has its seat: once an hour that is an
        accident, more often a failure."""
        last_ms = self.renewed_ms.get(node_id)
        if last_ms is not None and now.mono_ms - last_ms < limits.CANDIDATE_MEMORY_MS:
            self.failed(node_id, "it has changed its store again", now)
        else:
            self.renewed_ms[node_id] = now.mono_ms

    def put_off(self, node_id: NodeId, now: Now) -> bool:
        """Whether a member has to wait before it is offered a seat again."""
        recent = self._failures_of(node_id, now)
        if not recent:
            return False
        wait_ms = limits.CANDIDATE_BACK_OFF_MS << (len(recent) - 1)
        return now.mono_ms - recent[-1] < wait_ms

    def comes_last(self, node_id: NodeId, now: Now) -> bool:
        """Whether it is offered a seat only if nobody else is left."""
        return len(self._failures_of(node_id, now)) >= limits.CANDIDATE_FAILURES_MAX

    def problem(self, now: Now) -> str | None:
        """Who keeps failing, for people; None if nobody does."""
        again = [n for n in self.failures if len(self._failures_of(n, now)) > 1]
        if not again:
            return None
        named = ", ".join(f"{address_text(n)} ({self.failures[n].why})" for n in again)
        return (
            f"These members were offered a seat in the committee and did not take it: {named}. "
            "Others are asked first; look at their agents' logs."
        )

    def _failures_of(self, node_id: NodeId, now: Now) -> list[int]:
        found = self.failures.get(node_id)
        return _recent(found.at_ms, now) if found is not None else []


def _recent(at_ms: Iterable[int], now: Now) -> list[int]:
    return [one for one in at_ms if now.mono_ms - one < limits.CANDIDATE_MEMORY_MS]
