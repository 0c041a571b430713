"""Who may do what: pure rules that the leader and every node apply.

Intuition: rights come from the chain alone. The pool's creator and manager may do everything; an
account with a delegation from one of them may do what its scope says; a provider may drain and
resume its own machine. Nobody else may do anything.

Invariants: each action has one line in `RULES`; a signature alone gives no right; a delegate's
rights never exceed what its grantor has now, by the current roster, nor what a submission may ask
by the quota in its delegation. `wire.typed_data` recovers the
signers; here `Signers` is trusted to match the signatures.

The caller chooses the time: a submission in the log is judged at the time when it was applied, so a
delegation that expires later does not undo what began under it.
Source: docs/design/tasks.md, "Rights".
"""

from collections.abc import Mapping

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.json.hex import address_text
from p2pool.core.fsm.access.quotas import quota_flaws
from p2pool.core.fsm.access.revocations import revoked
from p2pool.core.fsm.requests import target_node
from p2pool.core.fsm.state import NOBODY, PoolState, Task
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Scope
from p2pool.model.access.quotas import quota_refusal
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.errors import Malformed, NotAllowed
from p2pool.model.features import FeatureLevel, newest
from p2pool.model.ids import Address, NodeId, PoolRef, TaskId
from p2pool.model.messages.work import Desired

REVOKED = "The delegation was revoked."


@attrs.frozen
class Submission:
    """A submission whose signatures this node has verified: who signed it, and by what right."""

    signer: Address
    delegation: Delegation | None = None


@attrs.frozen
class Rule:
    """Who, besides creator and manager, may take an action.

    `delegate`: a delegate's least scope, None if no delegate may. `own_task`: the least scope for
    the signer's own task. `provider`: whether the target node's provider may, too.
    """

    delegate: Scope | None
    own_task: Scope | None = None
    provider: bool = False


RULES: Mapping[Action, Rule] = {
    Action.SUBMIT: Rule(Scope.SUBMIT),
    Action.STOP: Rule(Scope.ADMIN, own_task=Scope.SUBMIT),
    Action.DRAIN: Rule(Scope.ADMIN, provider=True),
    Action.RESUME: Rule(Scope.ADMIN, provider=True),
    Action.BAN: Rule(Scope.ADMIN),
    Action.UNBAN: Rule(None),
    Action.SET: Rule(None),
    Action.REVOKE: Rule(None),
    Action.SET_SECRET: Rule(Scope.ADMIN, own_task=Scope.SUBMIT),
}


def may(
    roster: ChainRoster,
    state: PoolState | None,
    signers: Signers,
    signed: SignedRequest,
    at_s: int,
    owner: Address | None = None,
) -> NotAllowed | None:
    """Why these signers may not make this request, or None if they may. `at_s`: Unix seconds.
    `owner`: who submitted the task, where that was verified; else the state says it.

    Without a state (this node has none yet) no revocation is known, and no task counts as the
    signer's own; the leader, which has one, judges again.
    """
    request = signed.request
    delegation = signed.delegation.delegation if signed.delegation else None
    if state is not None and request.pool_id != state.pool.pool_id:
        return NotAllowed("The request is for another pool.", hint="Sign one for this pool.")
    rule = RULES[request.action]
    if delegation is None and rule.provider and _provides(roster, signers, request):
        return None
    wrong = _principal_wrong(roster, signers, delegation, _doing(request.action))
    if wrong is not None or delegation is None:
        return wrong
    if delegation.pool_id != request.pool_id:
        return NotAllowed(
            "The delegation is for another pool.", hint="Ask this pool's manager for one."
        )
    wrong = _delegation_wrong(state, delegation, at_s) or _scope_wrong(
        _least_scope(state, rule, signers, request, owner), delegation, request.action
    )
    return wrong or _over_quota(signed, newest() if state is None else state.level)


def never(pool: PoolRef, signed: SignedRequest, signers: Signers) -> str | None:
    """Why no roster and no state could let these signers make this request, or None. Rights of the
    accounts apart: who rules a pool changes, and so does what is revoked and whose a task is."""
    request, rule = signed.request, RULES[signed.request.action]
    if request.pool_id != pool.pool_id:
        return "the request is for another pool"
    if (signers.grantor is None) != (signed.delegation is None):
        return "its delegation does not match its signers"
    if signed.delegation is None:
        return None
    delegation = signed.delegation.delegation
    if delegation.pool_id != pool.pool_id:
        return "its delegation is for another pool"
    if delegation.delegate != signers.signer:
        return "its delegation is made out to another account"
    least = rule.own_task if rule.own_task is not None else rule.delegate
    if least is None or delegation.scope < least:
        return f"no delegate of that scope may {_doing(request.action)}"
    skew_s = limits.CLOCK_SKEW_MAX_MS // 1000
    before_s, after_s = request.not_before_s - skew_s, request.not_after_s + skew_s
    if delegation.not_after_s < before_s or delegation.not_before_s - skew_s > after_s:
        return "its delegation is not in force while the request is"
    # What only a later version reads, that one judges.
    flaws = quota_flaws(signed, newest())
    return f"it is over the quota of its delegation: {flaws[0]}" if flaws else None


def refused_by_state(
    state: PoolState, signed: SignedRequest, signers: Signers
) -> NotAllowed | None:
    """Why the state leaves a delegate no right to a request: its delegation was revoked, or is too
    small for a task that is not its own, or for what it submits. All replicas judge alike, when
    they apply it."""
    if signed.delegation is None:
        return None
    delegation, action = signed.delegation.delegation, signed.request.action
    if _revoked(state, delegation):
        return NotAllowed(REVOKED, hint="Ask the pool's manager for a new one.")
    wrong = _scope_wrong(
        _least_scope(state, RULES[action], signers, signed.request), delegation, action
    )
    return wrong or _over_quota(signed, state.level)


def may_read(
    roster: ChainRoster,
    state: PoolState | None,
    signers: Signers,
    delegation: Delegation | None,
    submission: Submission | None,
    at_s: int,
) -> NotAllowed | None:
    """Why these signers may not read the log lines of a task, or None if they may.

    Creator, manager, any delegate and the task's submitter may, unless the delegation was revoked.
    Nobody judges this again, so without a state no delegation counts, and who submitted the task is
    what this node verified itself before it ran it: what the log says may be a leader's lie.
    """
    if delegation is None and _submitted(state, signers, submission):
        return None
    wrong = _principal_wrong(roster, signers, delegation, "read this task's log lines")
    if wrong is not None or delegation is None:
        return wrong
    if state is None:
        return NotAllowed(
            "This node does not know yet which delegations were revoked.",
            hint="Try again in a moment, or ask another node.",
        )
    if delegation.pool_id != state.pool.pool_id:
        return NotAllowed(
            "The delegation is for another pool.", hint="Ask this pool's manager for one."
        )
    return _delegation_wrong(state, delegation, at_s)


def _doing(action: Action) -> str:
    return f"ask for {action.value!r}"


def _rules_the_pool(roster: ChainRoster, account: Address) -> bool:
    return account != NOBODY and account in (roster.creator, roster.manager)


def _principal_wrong(
    roster: ChainRoster, signers: Signers, delegation: Delegation | None, what: str
) -> NotAllowed | None:
    """Check that the principal is creator or manager, and delegates to whoever signed."""
    if (signers.grantor is None) != (delegation is None):
        return NotAllowed("The delegation does not match its signer.", hint="Sign it again.")
    who = address_text(signers.principal)
    if not _rules_the_pool(roster, signers.principal):
        if delegation is None:
            return NotAllowed(
                f"The account {who} may not {what} in this pool.",
                hint="Sign as the pool's creator or manager.",
            )
        return NotAllowed(
            f"The delegation is by {who}, which is neither the pool's creator nor its manager.",
            hint="Ask the pool's manager for a delegation.",
        )
    if delegation is not None and delegation.delegate != signers.signer:
        return NotAllowed(
            f"The delegation is made out to {address_text(delegation.delegate)}, not to"
            " the account "
            f"that signed, {address_text(signers.signer)}.",
            hint="Sign with the account that the delegation names.",
        )
    return None


def _delegation_wrong(
    state: PoolState | None, delegation: Delegation, at_s: int
) -> NotAllowed | None:
    """Check that a delegation was in force at a time, and not revoked."""
    if at_s * 1000 < delegation.not_before_s * 1000 - limits.CLOCK_SKEW_MAX_MS:
        ahead_s = delegation.not_before_s - at_s
        return NotAllowed(
            f"The delegation takes effect in {ahead_s} s.", hint="Wait, or compare the clocks."
        )
    if at_s > delegation.not_after_s:
        return NotAllowed(
            f"The delegation expired {at_s - delegation.not_after_s} s ago.",
            hint="Ask the pool's manager for a new one.",
        )
    if _revoked(state, delegation):
        return NotAllowed(REVOKED, hint="Ask the pool's manager for a new one.")
    return None


def may_start(
    pool: PoolRef,
    roster: ChainRoster | None,
    state: PoolState | None,
    desired: Desired,
    signers: Signers | None,
    at_s: int,
) -> str | None:
    """Why a copy must not start, or None. Judged as of its submission, so a delegation that has
    expired since does not undo what began under it."""
    request = desired.signed.request
    if signers is None:
        return "its submission's signature is bad"
    if roster is None:
        return "this node does not know the pool's roster"
    if request.action is not Action.SUBMIT:
        return "the request in its order is no submission"
    if desired.allocation.task_id != task_id(pool, request):
        return "its task id does not match its submission"
    within_s = min(max(at_s, request.not_before_s), request.not_after_s)
    denied = may(roster, state, signers, desired.signed, within_s)
    return denied.message if denied is not None else None


def _over_quota(signed: SignedRequest, level: FeatureLevel) -> NotAllowed | None:
    """Why the quota of its delegation never lets a submission be carried out, or None."""
    flaws = quota_flaws(signed, level)
    return quota_refusal(flaws) if flaws else None


def may_set_secrets(
    pool: PoolRef,
    roster: ChainRoster | None,
    state: PoolState | None,
    desired: Desired,
    signers: Signers | None,
    owner: Signers | None,
    at_s: int,
) -> str | None:
    """Why the secrets that were set since a copy's submission do not count, or None. `owner`: who
    signed that submission, as this node verified; its log may not have come that far.

    What this node's log has applied, all replicas judged by what was revoked before. A revocation
    since then takes nothing of it back, as it stops nothing that runs.
    """
    signed = desired.secrets
    if signed is None:
        return None
    request = signed.request
    if signers is None:
        return "the signature of who set its secrets is bad"
    if roster is None:
        return "this node does not know the pool's roster"
    if request.action is not Action.SET_SECRET or request.pool_id != pool.pool_id:
        return "the request in its order sets no secrets here"
    if _task_of(request.target) != desired.allocation.task_id:
        return "its secrets were set for another task"
    within_s = min(max(at_s, request.not_before_s), request.not_after_s)
    task = _find(state, desired.allocation.task_id)
    kept = task.record.secrets if task is not None else None
    applied = kept is not None and kept.signed == signed
    by = owner.signer if owner is not None else None
    denied = may(roster, None if applied else state, signers, signed, within_s, by)
    return denied.message if denied is not None else None


def _revoked(state: PoolState | None, delegation: Delegation) -> bool:
    return state is not None and revoked(state, delegation)


def _least_scope(
    state: PoolState | None,
    rule: Rule,
    signers: Signers,
    request: TaskRequest,
    owner: Address | None = None,
) -> Scope | None:
    """The scope that a delegate needs for this request."""
    if rule.own_task is None:
        return rule.delegate
    if owner is None and (task := _find(state, _task_of(request.target))) is not None:
        owner = task.record.signer
    return rule.own_task if owner == signers.signer else rule.delegate


def _scope_wrong(least: Scope | None, delegation: Delegation, action: Action) -> NotAllowed | None:
    if least is None:
        return NotAllowed(
            f"No delegate may {_doing(action)}.", hint="Sign as the pool's creator or manager."
        )
    if delegation.scope < least:
        of_others = action in (Action.STOP, Action.SET_SECRET)
        theirs = " of a task that another account submitted" if of_others else ""
        return NotAllowed(
            f"The delegation's scope is {delegation.scope.name.lower()}, and {action.value!r}"
            f"{theirs} needs {least.name.lower()}.",
            hint="Ask the pool's manager for a delegation of that scope.",
        )
    return None


def _provides(roster: ChainRoster, signers: Signers, request: TaskRequest) -> bool:
    """Whether the signer is the provider of the node that the request is about."""
    try:
        node: NodeId = target_node(request)
    except Malformed:
        return False
    member = roster.member(node)
    owner = member.provider if member is not None else NOBODY
    return signers.grantor is None and owner == signers.signer != NOBODY


def _submitted(state: PoolState | None, signers: Signers, submission: Submission | None) -> bool:
    """Whether the signer itself submitted that task, by a right that still stands."""
    if state is None or submission is None or signers.grantor is not None:
        return False
    if submission.signer != signers.signer:
        return False
    return submission.delegation is None or not _revoked(state, submission.delegation)


def _find(state: PoolState | None, name: TaskId | None) -> Task | None:
    return state.tasks.get(name) if state is not None and name is not None else None


def _task_of(text: str) -> TaskId | None:
    """The task id in a hex text, or None: then nobody can say whose it is."""
    try:
        return TaskId(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        return None
