"""Signed requests as the log applies them: one line of a table for each action.

The leader judges the rights before it proposes (`core.fsm.permissions`), and each node judges them
again before it starts a copy. Here a request counts once, by its request id, and only within its
own time, so ids need not be kept for ever.

For `set`, `spec_json` is `{"value": "..."}`; for `revoke`, `{"beforeS": n, "stopRunning": bool}`,
both keys optional (the request's `not_before_s`, false); for `set-secret`, what
`codec.spec.secrets.parse_renewal` reads.
"""

import json
from collections.abc import Callable, Mapping

import attrs

from p2pool.codec import digests
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.secrets import SecretsRenewal, parse_renewal, secret_contradictions
from p2pool.codec.spec.spec import check_sizes, parse_spec
from p2pool.core.fsm import tasks
from p2pool.core.fsm.access.revocations import WITHDRAWN
from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.sizes import TaskSize
from p2pool.core.fsm.state import AppliedRequest, PoolState, SecretsRenewed, Task, TaskRecord
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import (
    BadSpec,
    Conflict,
    Malformed,
    NotFound,
    Overloaded,
    P2poolError,
    Stale,
)
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import ADDRESS_BYTES, TASK_ID_BYTES, Address, NodeId, TaskId
from p2pool.model.log.entries import RequestApplied, Revocation
from p2pool.model.settings import SETTINGS
from p2pool.model.states import INTENT, IntentEvent, advance
from p2pool.model.tasks.secrets import NO_SECRETS, TaskSecrets

INTENT_OF: Mapping[Action, IntentEvent] = {
    Action.DRAIN: IntentEvent.DRAIN_ASKED,
    Action.RESUME: IntentEvent.RESUME_ASKED,
    Action.BAN: IntentEvent.BAN_ORDERED,
    Action.UNBAN: IntentEvent.BAN_LIFTED,
}


def find_applied(state: PoolState, request: TaskRequest) -> AppliedRequest | None:
    """The record of this very request; `Conflict` if another one used its id."""
    old = state.applied.get(request.request_id)
    if old is not None and old.task_id != digests.task_id(state.pool, request):
        raise Conflict("Another request used this request id.", hint="Sign a new request.")
    return old


def refusal(state: PoolState, request: TaskRequest, at_ms: int) -> P2poolError | None:
    """Why a new request cannot apply now (rights apart), or None if it can."""
    try:
        _check(state, request, at_ms)
    except P2poolError as error:
        return error
    return None


def no_room(state: PoolState, signed: SignedRequest) -> Overloaded | None:
    """Why the state has no room for what a request adds to it, or None. The leader asks before it
    proposes, at any level; what is in the log is judged so from `DISTRUST_LEVEL` on."""
    request, most = signed.request, limits.STATE_APPLIED_MAX
    if signed.delegation is not None:
        most //= limits.STATE_DELEGATED_SHARE
    if len(state.applied) >= most:
        return Overloaded(
            f"The pool took {most} requests within the last hour.", hint="Wait some minutes."
        )
    if request.action in INTENT_OF:
        known = target_node(request) in state.nodes
        if not known and len(state.nodes) >= limits.STATE_NODES_MAX:
            return Overloaded(f"The pool remembers {limits.STATE_NODES_MAX} nodes at most.")
    if request.action is Action.SET_SECRET:
        more = TaskSize(len(request.spec_json.encode()), 0, signed.delegation is not None)
        full = state.sizes.overfull(more)
        return Overloaded(full, hint="Stop some tasks, or wait until some end.") if full else None
    if request.action is not Action.SUBMIT:
        return None
    why = tasks.submission_refusal(state, signed, parse_spec(request.spec_json, state.level))
    return Overloaded(why, hint="Stop some tasks, or wait until some end.") if why else None


def name_taken(state: PoolState, request: TaskRequest) -> Conflict | None:
    """Why a submission's name is not free, or None. Who asks, and from which level on: as for
    `no_room`. Else `stop NAME` could not tell which of two tasks is meant."""
    if request.action is not Action.SUBMIT:
        return None
    name = parse_spec(request.spec_json, state.level).name
    holder = state.living(name)
    if holder is None:
        return None
    stops = ", and is stopping" if state.tasks[holder].stop_requested else ""
    return Conflict(
        f"The pool has a task named {name!r} already: {holder.hex()}{stops}.",
        hint=f"Stop it first: p2pool task stop {name} --wait. Or run this under another name:"
        " --name NAME.",
    )


def absurd(state: PoolState, request: TaskRequest) -> BadSpec | None:
    """Why nobody can mean a submission, or None. Who asks, and from which level on: as for
    `no_room`."""
    if request.action is not Action.SUBMIT:
        return None
    try:
        check_sizes(parse_spec(request.spec_json, state.level))
    except BadSpec as error:
        return error
    return None


def unfit(state: PoolState, signed: SignedRequest) -> P2poolError | None:
    """Why the state cannot take what a request adds to it, or None if it can."""
    request = signed.request
    return no_room(state, signed) or absurd(state, request) or name_taken(state, request)


def _check(state: PoolState, request: TaskRequest, at_ms: int) -> None:
    if request.pool_id != state.pool.pool_id:
        raise Malformed("The request is for another pool.")
    if at_ms > request.not_after_s * 1000 + limits.CLOCK_SKEW_MAX_MS:
        raise Stale("The request has expired.", hint="Sign a new one.")
    if request.not_before_s * 1000 > at_ms + limits.CLOCK_SKEW_MAX_MS:
        raise Stale("The request is dated in the future.", hint="Check the clock that signed it.")
    if request.not_after_s - request.not_before_s > limits.REQUEST_LIFETIME_MAX_S:
        raise Malformed(f"A request lasts at most {limits.REQUEST_LIFETIME_MAX_S} s.")
    _CHECKS[request.action](state, request)


def _check_submit(state: PoolState, request: TaskRequest) -> None:
    parse_spec(request.spec_json, state.level)
    if sum(not task.finished for task in state.tasks.values()) >= limits.TASKS_MAX:
        raise Overloaded(
            f"The pool has its maximum of {limits.TASKS_MAX} tasks.", hint="Stop some, or wait."
        )


def _check_stop(state: PoolState, request: TaskRequest) -> None:
    if target_task(request) not in state.tasks:
        raise NotFound("The pool has no such task.", hint="See `p2pool task ls`.")


def _check_set_secret(state: PoolState, request: TaskRequest) -> None:
    if state.level < DISTRUST_LEVEL:
        raise BadSpec(
            f"Secrets need feature level {DISTRUST_LEVEL}, and the pool is at {state.level}."
        )
    _check_stop(state, request)
    task = state.tasks[target_task(request)]
    if task.finished or task.stop_requested:
        raise Conflict("The task has ended, or is stopping.")
    if not task.spec.secrets.sealed:
        raise Conflict(
            "The task was submitted without secrets.", hint="Submit it anew: p2pool task run."
        )
    if len(request.spec_json) > limits.SECRETS_JSON_MAX_BYTES:
        raise BadSpec(f"What is said of secrets has {limits.SECRETS_JSON_MAX_BYTES} bytes at most.")
    renewal, before = renewal_of(request).secrets, task.spec.secrets
    problems = tuple(secret_contradictions(attrs.evolve(task.spec, secrets=renewal)))
    if not _same_uses(renewal, before):
        # A copy is made for its secrets; one that is restarted could not be given others.
        names = ", ".join(use.name for use in before.uses) or "none"
        problems += (f"secrets.uses are not those of its submission: {names}",)
    if before.registry_auth and not renewal.registry_auth:
        problems += ("secrets.registry_auth is missing: its image is fetched with credentials",)
    if problems:
        told = "; ".join(problems)
        raise BadSpec(f"The secrets do not fit the task: {told}.", problems=problems)


def _same_uses(one: TaskSecrets, other: TaskSecrets) -> bool:
    """Whether a copy sees both alike: the names, and each as file and variable."""
    first, second = (
        sorted((use.name, use.file, use.variable) for use in secrets.uses)
        for secrets in (one, other)
    )
    return first == second


def _check_intent(state: PoolState, request: TaskRequest) -> None:
    intent = state.node(target_node(request)).intent
    if advance(INTENT, intent, INTENT_OF[request.action]) is None:
        raise Conflict(f"A node that is {intent.name.lower()} cannot {request.action.value}.")


def _check_set(state: PoolState, request: TaskRequest) -> None:
    setting_of(request, state.level)


def setting_refusal(name: str, value: str) -> BadSpec | None:
    """Why a setting may not have a value, or None if it may."""
    values = SETTINGS.get(name)
    if values is None:
        return BadSpec(f"There is no setting {name!r}.", hint=f"Use {', '.join(SETTINGS)}.")
    if value not in values:
        return BadSpec(f"{name} is one of {', '.join(values)}.")
    return None


def setting_in(state: PoolState, name: str) -> str | None:
    """A setting's value; None if nobody set it, or a lying leader set what nobody may."""
    value = state.settings.get(name)
    return value if value in SETTINGS[name] else None


def setting_of(request: TaskRequest, level: FeatureLevel = BASE_LEVEL) -> tuple[str, str]:
    """Name and value in a `set` request; raises what makes it none that anybody may make."""
    name = request.target
    value = setting_value(request, level) if name in SETTINGS else ""
    refused = setting_refusal(name, value)
    if refused is not None:
        raise refused
    return name, value


def _check_revoke(state: PoolState, request: TaskRequest) -> None:
    revocation_of(state, request)


_CHECKS: Mapping[Action, Callable[[PoolState, TaskRequest], None]] = {
    Action.SUBMIT: _check_submit,
    Action.STOP: _check_stop,
    Action.DRAIN: _check_intent,
    Action.RESUME: _check_intent,
    Action.BAN: _check_intent,
    Action.UNBAN: _check_intent,
    Action.SET: _check_set,
    Action.REVOKE: _check_revoke,
    Action.SET_SECRET: _check_set_secret,
}


def apply_request(changes: Changes, record: RequestApplied) -> None:
    """Apply a request once; one that does not fit (any more) changes nothing."""
    state, request = changes.state, record.signed.request
    # Forget the requests that no leader could accept any more.
    state.forget_applied(state.log_time_ms - limits.CLOCK_SKEW_MAX_MS)
    if request.request_id in state.applied:
        return
    if refusal(state, request, _judged_at_ms(changes, request)) is not None:
        return
    if state.level >= DISTRUST_LEVEL and unfit(state, record.signed) is not None:
        return
    name = digests.task_id(state.pool, request)
    until_s = 0
    if state.level >= DISTRUST_LEVEL and state.log_time_ms > request.not_after_s * 1000:
        # By the clocks it may still be proposed again, until they have caught up.
        until_s = state.log_time_ms // 1000 + limits.REQUEST_LIFETIME_MAX_S
    done = AppliedRequest(
        request_id=request.request_id,
        task_id=name,
        index=changes.index,
        not_after_s=request.not_after_s,
        kept_until_s=until_s,
    )
    state.note_applied(done)
    _APPLY[request.action](changes, record, name)


def _judged_at_ms(changes: Changes, request: TaskRequest) -> int:
    """The time at which to judge a request's term: log time, unless that may differ from what the
    clocks show. Then the leader's clock has judged it already, and the log only makes sure that it
    cannot have been applied before and forgotten."""
    state = changes.state
    at_ms = state.log_time_ms
    if state.level < DISTRUST_LEVEL:
        return at_ms
    if changes.stood and request.not_after_s > state.forgotten_s:
        at_ms = min(at_ms, request.not_after_s * 1000)
    return max(at_ms, request.not_before_s * 1000)


def _submit(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    kept = TaskRecord(
        task_id=name,
        signed=record.signed,
        signer=record.signer,
        grantor=record.grantor,
        index=changes.index,
        submitted_at_ms=changes.state.log_time_ms,
        judged_at=record.judged_at,
    )
    spec = parse_spec(record.signed.request.spec_json, changes.state.level)
    tasks.add(changes, kept, Task(kept, spec))


def _stop(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    tasks.stop(
        changes, target_task(record.signed.request), f"stop by {address_text(record.signer)}"
    )


def _intent(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    request = record.signed.request
    node = changes.state.node(target_node(request))
    intent = advance(INTENT, node.intent, INTENT_OF[request.action])
    assert intent is not None
    reason = f"{request.action.value} by {address_text(record.signer)}"
    changes.set_node(attrs.evolve(node, intent=intent, intent_reason=reason), reason)


def _set(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    request = record.signed.request
    value = setting_value(request, changes.state.level)
    changes.state.settings[request.target] = value
    changes.tell("setting", request.target, f"is {value}", value=value)


def _revoke(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    note_revocation(changes, revocation_of(changes.state, record.signed.request))


def _set_secret(changes: Changes, record: RequestApplied, name: TaskId) -> None:
    state, signed = changes.state, record.signed
    task = state.tasks[target_task(signed.request)]
    renewal = renewal_of(signed.request)
    kept = SecretsRenewed(
        signed=signed,
        signer=record.signer,
        grantor=record.grantor,
        index=changes.index,
        restart=renewal.restart,
        judged_at=record.judged_at,
    )
    changed = attrs.evolve(task.record, secrets=kept)
    state.put_task(attrs.evolve(task, record=changed, renewed=renewal.secrets))
    # Who could not open the last ones may open these.
    state.set_aside.drop_task(task.task_id)
    text = f"{task.spec.name} got other secrets by {address_text(record.signer)}"
    how = "restarting" if renewal.restart else "kept"
    changes.tell(
        "task", task.task_id.hex(), text, state="secrets-set", name=task.spec.name, how=how
    )


_APPLY: Mapping[Action, Callable[[Changes, RequestApplied, TaskId], None]] = {
    Action.SUBMIT: _submit,
    Action.STOP: _stop,
    Action.DRAIN: _intent,
    Action.RESUME: _intent,
    Action.BAN: _intent,
    Action.UNBAN: _intent,
    Action.SET: _set,
    Action.REVOKE: _revoke,
    Action.SET_SECRET: _set_secret,
}


def note_revocation(changes: Changes, record: Revocation) -> None:
    """Void older delegations to an account; stop its running tasks only if asked. What waits under
    them never begins."""
    state = changes.state
    old = state.revocations.get(record.delegate)
    if old is not None and old.before_s >= record.before_s and not record.stop_running:
        return
    before_s = max(record.before_s, old.before_s if old else 0)
    state.revoke(attrs.evolve(record, before_s=before_s))
    account, text = record.delegate.hex(), "its delegations are void"
    changes.tell("revocation", account, text, account=f"0x{account}", before_s=before_s)
    for task_id in state.delegates.tasks_of(record.delegate):
        given = state.tasks[task_id].delegation
        if given is None or given.not_before_s >= before_s:
            continue
        if record.stop_running:
            tasks.stop(changes, task_id, WITHDRAWN)
        else:
            tasks.withdraw(changes, task_id)


def renewal_of(request: TaskRequest) -> SecretsRenewal:
    """The secrets in a `set-secret` request; `BadSpec` if there are none."""
    return parse_renewal(request.spec_json)


def task_of(record: TaskRecord, level: FeatureLevel) -> Task:
    """A task from what a snapshot keeps of it."""
    renewed = record.secrets
    return Task(
        record,
        parse_spec(record.signed.request.spec_json, level),
        renewal_of(renewed.signed.request).secrets if renewed is not None else None,
    )


def secrets_in(request: TaskRequest, level: FeatureLevel) -> TaskSecrets:
    """The secrets that a request brings with it: those of a submission, or the new ones of a task;
    none in any other. Raises what makes it no request."""
    if request.action is Action.SUBMIT:
        return parse_spec(request.spec_json, level).secrets
    if request.action is Action.SET_SECRET:
        return renewal_of(request).secrets
    return NO_SECRETS


def target_task(request: TaskRequest) -> TaskId:
    """The task that a request is about; `Malformed` if it names none."""
    return TaskId(_hex(request.target, TASK_ID_BYTES, "a task id"))


def target_node(request: TaskRequest) -> NodeId:
    """The node that a request is about; `Malformed` if it names none."""
    return NodeId(_hex(request.target, ADDRESS_BYTES, "a node id"))


def setting_value(request: TaskRequest, level: FeatureLevel = BASE_LEVEL) -> str:
    """The value in a `set` request; `Malformed` if there is none."""
    value = _object(request, level).get("value")
    if not isinstance(value, str):
        raise Malformed('A setting needs {"value": "..."}.')
    return value


def revocation_of(state: PoolState, request: TaskRequest) -> Revocation:
    """The revocation in a `revoke` request; `Malformed` if there is none."""
    given = _object(request, state.level)
    before_s = given.get("beforeS", request.not_before_s)
    stop_running = given.get("stopRunning", False)
    if type(before_s) is not int or not 0 <= before_s < 2**63 or type(stop_running) is not bool:
        raise Malformed('A revocation is {"beforeS": seconds, "stopRunning": true or false}.')
    delegate = Address(_hex(request.target, ADDRESS_BYTES, "an account"))
    named = digests.digest(digests.task_id(state.pool, request))
    return Revocation(delegate, before_s, stop_running, named)


def _hex(text: str, length: int, what: str) -> bytes:
    digits = text.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != length or len(digits) != 2 * length:
        raise Malformed(f"{text!r} is not {what}, which has {2 * length} hex digits.")
    return value


def _object(request: TaskRequest, level: FeatureLevel) -> dict[str, object]:
    """The JSON object in a request other than a submission; empty text is an empty object.

    How deep a parser can go depends on the machine and on who calls it: replicas ask before.
    """
    if level >= DISTRUST_LEVEL and too_deep(request.spec_json):
        raise Malformed("The request's specJson is nested too deeply.")
    try:
        value = json.loads(request.spec_json or "{}")
    except ValueError as error:
        raise Malformed("The request's specJson is not JSON.") from error
    except RecursionError as error:
        raise Malformed("The request's specJson is nested too deeply.") from error
    if not isinstance(value, dict):
        raise Malformed("The request's specJson is not an object.")
    return value
