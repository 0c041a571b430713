"""Who may act for the pool's keepers: delegations that the pool has seen, and what they use.

A delegation is a paper that its holder keeps. The pool sees it first inside a request, and lists it
as long as it has a task by it; one that nobody has used is known to nobody but its holder.
"""

from collections.abc import Iterator

import attrs
from litestar import get
from litestar.datastructures import State

from p2pool.api.resources.context import Meta, meta_of, view_of
from p2pool.api.resources.pages import cut
from p2pool.api.resources.parameters import AfterGrant, Consistent, GrantState, Limit, OfAccount
from p2pool.codec.json.hex import address_text, unhex
from p2pool.model import limits
from p2pool.model.access import delegations
from p2pool.model.access.delegates import GrantPlace
from p2pool.model.access.quotas import Usage
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, Address
from p2pool.model.ports.access import GrantView
from p2pool.model.ports.view import View

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Quota:
    """What the tasks of a delegate may use at once, all together. Null: no limit."""

    max_gpus: int | None
    max_cpu_milli: int | None
    max_replicas: int | None
    max_priority: int | None
    name_prefix: str | None


@attrs.frozen
class QuotaUse:
    """What copies with a place use now, under all delegations of one grantor to one account."""

    gpus: int
    cpu_milli: int
    replicas: int


@attrs.frozen
class Grant:
    """A delegation by which the pool has tasks. `state`: in-force, not-yet, expired, revoked, void
    (its grantor has no right any more), or unknown (the agent has not read the chain yet).

    Without a grantor and a scope: an account whose delegations from before `revoked_before_s` are
    void, and of which the pool has no task.
    """

    id: str
    delegate: str
    grantor: str | None
    scope: str | None
    state: str
    not_before_s: int | None
    not_after_s: int | None
    revoked_before_s: int | None
    quota: Quota | None
    used: QuotaUse
    tasks: int
    tasks_ended: int


@attrs.frozen
class AccessAnswer:
    """Answer of `/v1/access`, by delegate. `next`: the place behind which the next page begins,
    null for the last."""

    meta: Meta
    access: tuple[Grant, ...]
    next: str | None


# --- from a view to answers ---------------------------------------------------------------------


def grant_of(view: View, seen: GrantView) -> Grant:
    """A delegation as this agent sees it."""
    place, given = seen.place, seen.grant.delegation
    return Grant(
        id=place_text(place),
        delegate=address_text(place.delegate),
        grantor=None if given is None else address_text(place.grantor),
        scope=None if given is None else given.scope.name.lower(),
        state=_state(view, seen).value,
        not_before_s=None if given is None else given.not_before_s,
        not_after_s=None if given is None else given.not_after_s,
        revoked_before_s=seen.revoked_before_s,
        quota=None if given is None or given.quota is None else quota_of(given.quota),
        used=_use(seen.used),
        tasks=seen.grant.tasks,
        tasks_ended=seen.grant.tasks_ended,
    )


def quota_of(quota: delegations.Quota) -> Quota:
    """A quota's limits."""
    return Quota(**attrs.asdict(quota))


def _use(used: Usage) -> QuotaUse:
    return QuotaUse(**attrs.asdict(used))


def _state(view: View, seen: GrantView) -> GrantState:
    """What a delegation is worth, by this agent's clock, roster and log."""
    given, now_s = seen.grant.delegation, view.as_of_ms // 1000
    if given is None or seen.revoked:
        return GrantState.REVOKED
    if now_s > given.not_after_s:
        return GrantState.EXPIRED
    if view.roster is None:
        return GrantState.UNKNOWN
    if seen.place.grantor not in (view.roster.creator, view.roster.manager):
        return GrantState.VOID
    early = now_s * 1000 < given.not_before_s * 1000 - limits.CLOCK_SKEW_MAX_MS
    return GrantState.NOT_YET if early else GrantState.IN_FORCE


def place_text(place: GrantPlace) -> str:
    """A delegation's place as a page names it."""
    return f"{place.delegate.hex()}-{place.grantor.hex()}-{place.grant_id.hex()}"


def grant_place(text: str) -> GrantPlace | None:
    """The place in a text that fits its pattern; None: the beginning."""
    if not text:
        return None
    delegate, grantor, grant_id = map(bytes.fromhex, text.split("-"))
    return GrantPlace(Address(delegate), Address(grantor), grant_id)


# --- routes -------------------------------------------------------------------------------------


@get("/v1/access", summary="Who holds which right, and what of its quota is in use")
async def access(
    state: State,
    delegate: OfAccount = None,
    limit: Limit = limits.API_PAGE_DEFAULT,
    after: AfterGrant = "",
    consistent: Consistent = False,
) -> AccessAnswer:
    """Delegations by which the pool has tasks, and accounts that were revoked."""
    view = await view_of(state, consistent)
    found, last = cut(_rows(view, delegate, grant_place(after)), lambda _: True, limit)
    return AccessAnswer(
        meta_of(view),
        tuple(grant_of(view, one) for one in found),
        place_text(last.place) if last is not None else None,
    )


def _rows(view: View, delegate: str | None, place: GrantPlace | None) -> Iterator[GrantView]:
    if delegate is None:
        return view.access.behind(place)
    account = unhex(delegate, ADDRESS_BYTES)
    if account is None:
        hint = "Write 0x and 40 hex digits."
        raise Malformed(f"{delegate[:64]!r} is not an account.", hint=hint)
    found = view.access.of_account(Address(account))
    return (one for one in found if place is None or one.place > place)
