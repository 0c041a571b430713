"""The worker's rules: from the wanted and the actual state of an item to its next effect.

Functions change the item that they get and call `mark` if that has to go to disk. They learn only
from listings and outcomes of effects, so what they know of a container was true a moment ago; each
effect is safe to repeat.
"""

from collections.abc import Callable, Mapping

import attrs

from p2pool.core.worker import events as ev
from p2pool.core.worker.attempt import Attempt, Key, take
from p2pool.model import limits
from p2pool.model.access.verdicts import Validity, Verdict
from p2pool.model.errors import ChainUnavailable, NotFound
from p2pool.model.messages.work import Desired
from p2pool.model.ports.runtime import ContainerState, ContainerStatus, RuntimeScope
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.states import AllocationState, Health, StartRefusal
from p2pool.model.tasks.faults import REFUSALS, Fault
from p2pool.model.timing import Now

S = AllocationState
Mark = Callable[[Attempt], None]
Withdrawn = Callable[[Desired], str | None]
"""Why nothing may be started any more for what was ordered, or None."""
Opened = Callable[[Attempt], SealedSecret | str]
"""What opens an item's secrets, or why it has to wait for them."""
INTERRUPTED = "its engine or its machine was restarted"


def listed(items: dict[Key, Attempt], event: ev.ContainersListed, mark: Mark, now: Now) -> None:
    """Compare a listing with the items: found, changed, or gone."""
    here: dict[Key, None] = {}
    interrupted = dict.fromkeys(event.interrupted)
    for status in event.statuses:
        key = (status.allocation, status.attempt)
        here[key] = None
        item = items.get(key)
        if item is None:
            if len(items) >= limits.ITEMS_PER_NODE_MAX:
                continue
            item = items[key] = take(status.allocation, status.attempt, status.token, None)
            mark(item)
        item.missing = 0
        if not item.busy:
            if key in interrupted:
                cut_short(item, status, mark, now)
            seen(item, status, mark, now)
    for key, item in items.items():
        if key in here or item.busy:
            continue
        if item.ended:
            item.container, item.failures = None, 0
        elif item.state is S.STARTING and not item.runs:
            item.container = None  # Its end has counted, and it waits for its restart.
        elif _never_ran(item):
            item.container = None  # A start that failed took it away: the next makes another.
        elif item.container is not None or item.state in (S.RUNNING, S.STARTING, S.STOPPING):
            # A listing may predate a start, and miss its container: believe the second one.
            item.missing += 1
            if item.missing >= limits.MISSING_LISTINGS:
                vanished(item, mark, now)


def seen(item: Attempt, status: ContainerStatus, mark: Mark, now: Now) -> None:
    """Take in a container's status. The same end, seen again, does not count again."""
    if status.ended and _counted(item, status):
        item.container = status
        if item.state is S.STARTING and not item.retry_ms:
            item.retry_ms = now.mono_ms + item.backoff_ms()  # An agent's restart forgot the wait.
        return
    item.container = status
    if item.ended:
        return
    item.image_digest = status.image_digest or item.image_digest
    if status.state is ContainerState.CREATED:
        if item.desired is None:
            end(item, S.STOPPED, "it never began", mark)
        return
    if not status.ended:
        if not item.stop_wanted:
            move(item, S.RUNNING, "", mark)
        if status.health is Health.UNHEALTHY and item.spec and item.spec.restart.on_unhealthy:
            item.failing = item.failing or "its health check failed"
        return
    if status.state is ContainerState.DEAD and status.exit_code is None:
        over(item, None, False, status.error or "it ended and nobody knows how", mark, now)
    else:
        over(item, status.exit_code, status.oom_killed, status.error, mark, now)


def _never_ran(item: Attempt) -> bool:
    """Whether its container was made and never started: that it is gone ends nothing."""
    made = item.container is not None and item.container.state is ContainerState.CREATED
    return made and item.state in (S.ASSIGNED, S.PULLING)


def _counted(item: Attempt, status: ContainerStatus) -> bool:
    """Whether this end has counted: it is that of the last counted run."""
    return status == item.container or status.started_at_ms == item.counted_ms != 0


def cut_short(item: Attempt, status: ContainerStatus, mark: Mark, now: Now) -> None:
    """It did not end by itself: its policy restarts it here, or the pool places it anew."""
    if item.ended or item.stop_wanted or _counted(item, status):
        return
    _forgive(item, status, mark, now)
    if item.wants_restart(None):
        return
    item.container = status
    end(item, S.STOPPED, INTERRUPTED, mark)


def _forgive(item: Attempt, run: ContainerStatus, mark: Mark, now: Now) -> None:
    """After a run that lasted, restarts and their waits are counted anew: what fails once a day is
    no crash loop."""
    ended_ms = run.finished_at_ms or now.wall_ms
    stable = run.started_at_ms > 0 and ended_ms - run.started_at_ms >= limits.RESTARTS_FORGIVEN_MS
    if stable and item.restarts:
        item.restarts = 0
        mark(item)


def over(
    item: Attempt, exit_code: int | None, oom_killed: bool, why: str, mark: Mark, now: Now
) -> None:
    """A container ended: for good, or until its policy starts it again."""
    item.exit_code, item.oom_killed = exit_code, oom_killed
    if item.container is not None:
        _forgive(item, item.container, mark, now)
        item.counted_ms = item.container.started_at_ms
    failing, item.failing = item.failing, ""
    if failing:
        exit_code, oom_killed, why = None, False, failing
    if item.stop_wanted:
        end(item, S.STOPPED, item.stop_reason or "it was stopped", mark)
    elif failing and item.failing_for_good:
        end(item, S.FAILED, failing, mark)
    elif item.wants_restart(exit_code):
        item.restarts += 1
        item.retry_ms = now.mono_ms + item.backoff_ms()
        move(item, S.RUNNING, "", mark)
        move(
            item,
            S.STARTING,
            f"restart {item.restarts}: {_because(exit_code, oom_killed, why)}",
            mark,
        )
    elif exit_code == 0:
        end(item, S.SUCCEEDED, "", mark)
    else:
        end(item, S.FAILED, _because(exit_code, oom_killed, why), mark)


_MEANINGS = {
    126: ": its command cannot be run",
    127: ": its command was not found",
}
"""What shells and inits mean by some exit codes; the log says more."""


def _because(exit_code: int | None, oom_killed: bool, why: str) -> str:
    if oom_killed:
        return "it ran out of memory"
    if exit_code is None:
        return why or "it ended and nobody knows how"
    if exit_code > 128 and exit_code - 128 < 65:
        return f"signal {exit_code - 128} ended it"
    return why or f"it ended with exit code {exit_code}{_MEANINGS.get(exit_code or 0, '')}"


def vanished(item: Attempt, mark: Mark, now: Now) -> None:
    """Its container is gone, and nobody saw it end."""
    if item.container is not None:
        _forgive(item, item.container, mark, now)
    item.container = None
    over(item, None, False, "its container is gone", mark, now)


def gone(item: Attempt, mark: Mark, now: Now) -> None:
    """A container has ended after a stop."""
    if item.failing and not item.stop_wanted and not item.ended and item.container is not None:
        # Keep it as this run's ended container: a restart finds it, and its listing is no second
        # end.
        item.container = attrs.evolve(item.container, state=ContainerState.EXITED)
        over(item, None, False, item.failing, mark, now)
        return
    if item.runs and item.container is not None:
        # It exists until a listing says otherwise: forgotten sooner, it would look new.
        item.container = attrs.evolve(item.container, state=ContainerState.EXITED)
    if item.stop_wanted and not item.ended:
        end(item, S.STOPPED, item.stop_reason or "it was stopped", mark)


def exceeded(item: Attempt, reason: str) -> None:
    """It uses more than its share: end it, and let no policy restart it."""
    if item.runs and not item.ended and not item.stop_wanted:
        item.failing, item.failing_for_good = reason, True


def start_failed(
    item: Attempt, event: ev.StartFailed, mark: Mark, now: Now, *, refuses: bool
) -> None:
    """A start failed: try again if that may help; give up what another node may start (`refuses`:
    the pool knows what that means)."""
    item.busy = item.fetching = False
    if item.ended:
        return
    passes = event.fault is Fault.WORLD or (event.fault is Fault.NODE_NOW and not refuses)
    if item.trouble_since_ms is None:
        item.trouble_since_ms = now.mono_ms
    tried = now.mono_ms - item.trouble_since_ms >= limits.START_TROUBLE_MAX_MS
    if item.stop_wanted and passes:
        item.failures += 1  # It may run all the same: its stop will tell.
    elif item.stop_wanted:
        if not item.runs:
            end(item, S.STOPPED, item.stop_reason or "it was stopped", mark)
    elif event.code == NotFound.code and item.state is S.STARTING:
        item.container = None  # Somebody removed it since it ended: create it anew.
        item.failures += 1
        item.retry_ms = now.mono_ms + item.backoff_ms()
    elif passes and not (refuses and tried):
        item.failures += 1
        item.become(S.PULLING)
        item.reason = event.message
        item.retry_ms = now.mono_ms + item.backoff_ms()
    elif event.fault is Fault.TASK or not refuses:
        end(item, S.FAILED, f"{event.code}: {event.message}", mark)
    else:
        give_up(item, REFUSALS[event.fault], f"{event.code}: {event.message}", mark)


def judge(item: Attempt, verdict: Verdict | None, mark: Mark, now: Now, *, refuses: bool) -> None:
    """What the chain says of the contract accounts under its submission: a yes lets it start; on a
    no this node refuses it, and others ask their own endpoints; where nobody can tell it is tried
    again, and then elsewhere, like any other start that the world keeps from working."""
    if verdict is None:
        item.reason = "the chain is asked whether a contract account signed it"
    elif verdict.validity is Validity.VALID:
        item.unjudged, item.secrets_unjudged, item.reason = False, False, ""
        item.failures, item.trouble_since_ms = 0, None
        mark(item)
    elif verdict.validity is Validity.INVALID:
        give_up(item, StartRefusal.LASTING, f"not allowed: {verdict.reason}", mark)
    else:
        why = f"nobody can tell whether a contract account signed it: {verdict.reason}"
        event = ev.StartFailed(
            allocation=item.allocation,
            attempt=item.attempt,
            code=ChainUnavailable.code,
            message=why,
            fault=Fault.WORLD,
        )
        start_failed(item, event, mark, now, refuses=refuses)


def waits_for_verdict(item: Attempt, now: Now) -> bool:
    """Whether nothing but the chain's word keeps it from starting, as far as it knows itself."""
    over = item.ended or item.stop_wanted or item.busy or item.runs
    known = item.desired is not None and not item.previous_epoch
    unjudged = item.unjudged or item.secrets_unjudged
    return unjudged and known and not over and now.mono_ms >= item.retry_ms


def give_up(item: Attempt, refusal: StartRefusal, reason: str, mark: Mark) -> None:
    """This node cannot start it: another may."""
    item.refused = refusal
    end(item, S.STOPPED, reason, mark)


def unbegun(item: Attempt) -> bool:
    """Whether nothing was ever begun for it here, for sure."""
    touched = item.busy or item.failures or item.container is not None
    return item.state is S.ASSIGNED and not touched and not item.stop_wanted


def move(item: Attempt, state: AllocationState, reason: str, mark: Mark) -> None:
    """Change state along the table."""
    if item.state is not state and item.become(state, reason):
        if state is S.RUNNING:
            item.reason = ""
        mark(item)


def end(item: Attempt, state: AllocationState, reason: str, mark: Mark) -> None:
    """End an item, by way of running if the table requires that."""
    if not item.become(state, reason) and item.become(S.RUNNING):
        item.become(state, reason)
    item.retry_ms = 0
    mark(item)


def drive(
    item: Attempt,
    items: Mapping[Key, Attempt],
    is_member: bool,
    scope: RuntimeScope,
    withdrawn: Withdrawn,
    mark: Mark,
    now: Now,
    open_secrets: Opened,
) -> ev.WorkerEffect | None:
    """The next effect for an item, if one is due. Its right is judged again before each start: an
    image may take an hour to come, and a restart may come a year after the order."""
    if item.busy and item.fetching and not item.stop_wanted and item.desired is not None:
        why = withdrawn(item.desired)
        if why is not None:
            item.stop_wanted, item.stop_reason = True, f"not allowed: {why}"
            mark(item)
    if item.busy and item.stop_wanted and item.fetching:
        item.fetching = False
        return ev.CancelPull(item.allocation, item.attempt)
    if item.busy or now.mono_ms < item.retry_ms:
        return None
    if item.ended:
        return _stop_again(item, now)
    item.retry_ms = 0
    if item.stop_wanted:
        return _stop(item, mark)
    if item.runs and item.failing:
        item.busy = True
        return ev.StopContainer(item.allocation, item.attempt, item.grace_ms)
    if item.runs or item.desired is None or not is_member or blocked(item, items):
        return None
    if item.previous_epoch and item.container is None:
        return None  # An earlier log wanted it started; only this log's orders may do so now.
    if (why := withdrawn(item.desired)) is not None:
        end(item, S.FAILED, f"not allowed: {why}", mark)
        return None
    if item.unjudged or item.secrets_unjudged:
        return None  # Who submitted it, or set its secrets, only the chain can say.
    sealed = open_secrets(item) if item.secrets.sealed else None
    if isinstance(sealed, str):
        _lacks_secrets(item, sealed, mark, now)
        return None
    item.busy = True
    if item.container is not None and item.container.ended and item.restarts:
        return ev.RestartContainer(item.allocation, item.attempt, sealed)
    item.fetching = True
    return ev.StartContainer(item.plan(scope.pool, scope.node_id), sealed)


def _lacks_secrets(item: Attempt, why: str, mark: Mark, now: Now) -> None:
    """Its secrets are not here yet: wait for them, and leave it to another node after a while."""
    if item.trouble_since_ms is None:
        item.trouble_since_ms = now.mono_ms
    if now.mono_ms - item.trouble_since_ms >= limits.SECRETS_WAIT_MAX_MS:
        give_up(item, StartRefusal.PASSING, f"its secrets did not come: {why}", mark)


def _stop(item: Attempt, mark: Mark) -> ev.WorkerEffect | None:
    # A start whose answer was lost may have started it: only a stop at the engine tells.
    if not item.runs and not item.failures:
        end(item, S.STOPPED, item.stop_reason or "it was stopped", mark)
        return None
    move(item, S.STOPPING, item.reason, mark)
    item.busy = True
    return ev.StopContainer(item.allocation, item.attempt, item.grace_ms)


def _stop_again(item: Attempt, now: Now) -> ev.WorkerEffect | None:
    """Stop what runs although it was reported as ended: the answer to its start got lost, or a
    listing missed it."""
    if not item.runs:
        return None
    item.busy = True
    item.retry_ms = now.mono_ms + limits.RECONCILE_INTERVAL_MS
    return ev.StopContainer(item.allocation, item.attempt, item.grace_ms)


def blocked(item: Attempt, items: Mapping[Key, Attempt]) -> bool:
    """Whether something here must end first: an older attempt, or a holder of its GPUs."""
    mine = dict.fromkeys(item.gpus)
    for other in items.values():
        if other is item or not other.alive:
            continue
        older = other.allocation == item.allocation and other.attempt < item.attempt
        if older or any(uuid in mine for uuid in other.gpus):
            return True
    return False


def to_drop(items: Mapping[Key, Attempt], keep_ms: int, now: Now) -> list[Attempt]:
    """Ended and settled items to drop: all without a container, those that ended longer than
    `keep_ms` ago, and the oldest of those kept for their log lines."""
    over_items = [i for i in items.values() if i.ended and not i.news]
    # After a failed start or stop there may be a container that only the next listing shows.
    bare = [
        i
        for i in over_items
        if (i.container is None and not i.failures)
        or (i.container is not None and not (i.runs or i.container.ended))
    ]
    kept = [i for i in over_items if i.container is not None and i.container.ended]
    kept.sort(key=lambda i: (i.container.finished_at_ms if i.container else 0, i.key))
    over = max(0, len(kept) - limits.ENDED_CONTAINERS_KEPT)
    old = [i for i in kept[over:] if _ended_before(i, now.wall_ms - keep_ms)]
    return bare + kept[:over] + old


def _ended_before(item: Attempt, at_ms: int) -> bool:
    """Whether it ended before a time, by the engine's clock, which is ours; no time: keep it."""
    finished_ms = item.container.finished_at_ms if item.container is not None else 0
    return 0 < finished_ms < at_ms
