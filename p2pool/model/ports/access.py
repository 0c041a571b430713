"""Who holds rights in a pool, for an agent's API: delegations that were used, and revocations."""

from collections.abc import Iterable, Iterator

import attrs

from p2pool.model.access.delegates import Grant, GrantPlace
from p2pool.model.access.quotas import NO_USAGE, Usage
from p2pool.model.ids import Address


@attrs.frozen
class GrantView:
    """A delegation that was used, what its holder uses under that grantor, and whether it was
    revoked: what is dated before `revoked_before_s` is void. A grant without a delegation is an
    account that was revoked, and of which the pool has no task."""

    grant: Grant
    used: Usage = NO_USAGE
    revoked_before_s: int | None = None

    @property
    def place(self) -> GrantPlace:
        """Where it stands among the others."""
        return self.grant.place

    @property
    def revoked(self) -> bool:
        """Whether it is void."""
        given, before_s = self.grant.delegation, self.revoked_before_s
        return before_s is not None and (given is None or given.not_before_s < before_s)


class AccessTable:
    """Delegations, by who holds them. This one holds them ready; an agent's own makes each when it
    is read."""

    def __init__(self, grants: Iterable[GrantView] = ()) -> None:
        """In any order."""
        self._grants = tuple(sorted(grants, key=lambda one: one.place))

    def behind(self, place: GrantPlace | None) -> Iterator[GrantView]:
        """Those behind a place, in order; None: all."""
        return (one for one in self._grants if place is None or one.place > place)

    def of_account(self, delegate: Address) -> Iterator[GrantView]:
        """Those that one account holds."""
        return (one for one in self._grants if one.place.delegate == delegate)
