"""The quotas of delegates, as the log stands: what a submission may ask, and what room is left.

Intuition: each submission is judged by the quota in its own delegation, against all that its
delegate uses under the same grantor, by whichever delegations. So a newer delegation with a wider
quota helps what is submitted under it, and takes nothing from what is there already.

Invariants: what a copy would use counts once, as long as it, or the attempt that replaces it, has a
place: so what is lost finds its share again. What runs is never ended for a quota: where more runs
than a quota allows (taken back or adopted copies), nothing new is placed until there is room.
Source: docs/design/tasks.md, "Quotas".
"""

import attrs

from p2pool.codec.spec.spec import parse_spec
from p2pool.core.fsm.state import Allocation, PoolState, Task
from p2pool.model.access.delegates import Pair
from p2pool.model.access.quotas import Usage, never_fits, over_quota, usage_of
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.errors import BadSpec, Malformed
from p2pool.model.features import FeatureLevel


def quota_flaws(signed: SignedRequest, level: FeatureLevel) -> tuple[str, ...]:
    """Why the quota of its delegation never lets a submission be carried out; empty if it may. What
    cannot be read at a level is for others to refuse."""
    quota = signed.delegation.delegation.quota if signed.delegation is not None else None
    if quota is None or signed.request.action is not Action.SUBMIT:
        return ()
    try:
        return never_fits(quota, parse_spec(signed.request.spec_json, level))
    except (BadSpec, Malformed):
        return ()


@attrs.define
class QuotaRoom:
    """What delegates use while placements are planned, or applied: the state's counts, and what
    was placed since."""

    state: PoolState
    _used: dict[Pair, Usage] = attrs.field(factory=dict)

    def refusal(self, task: Task, copies: int) -> str | None:
        """Why so many more copies of a task are over its quota now, or None if they are not."""
        given = task.delegation
        if given is None or given.quota is None:
            return None
        more = usage_of(task.spec.resources, copies)
        return over_quota(given.quota, self._use(task), more)

    def take(self, task: Task, copies: int) -> None:
        """Count so many more copies, whether they are limited or not."""
        if task.delegation is not None and copies:
            more = usage_of(task.spec.resources, copies)
            self._used[task.grantor, task.record.signer] = self._use(task).plus(more)

    def _use(self, task: Task) -> Usage:
        pair = task.grantor, task.record.signer
        return self._used.get(pair) or self.state.delegates.used(*pair)


def added(copy: Allocation | None) -> int:
    """How many copies a placement adds to what is counted: none where one has the share already."""
    return 0 if copy is not None and copy.holds else 1
