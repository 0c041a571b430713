"""Rights come from the chain and signed delegations, line by line, and nobody else has any."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.permissions import (
    RULES,
    Submission,
    may,
    may_read,
    may_set_secrets,
    may_start,
    never,
)
from p2pool.core.fsm.state import PoolState, SecretsRenewed, Task, TaskRecord
from p2pool.model.access.delegations import Delegation, Scope, SignedDelegation
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, PoolRef, TaskId
from p2pool.model.log.entries import Revocation
from p2pool.model.messages.work import Desired
from p2pool.model.states import PoolStatus
from p2pool.model.tasks.spec import TaskSpec

NOW_S = 1_700_000_000
POOL = PoolRef(31337, Address(b"c" * 20), 7)
CREATOR, MANAGER, PROVIDER, FRIEND, STRANGER, ZERO = (
    Address(c * 20) for c in (b"C", b"M", b"P", b"F", b"S", b"\0")
)
NODE, FOREIGN = NodeId(b"n" * 20), NodeId(b"f" * 20)
THEIRS, OWN = TaskId(b"t" * 16), TaskId(b"o" * 16)
ROSTER = ChainRoster(
    1,
    Digest(b"b" * 32),
    0,
    (ChainMember(NODE, PROVIDER, True),),
    CREATOR,
    MANAGER,
    PoolStatus.ACTIVE,
    None,
)
TARGETS = {
    Action.SUBMIT: "",
    Action.STOP: THEIRS.hex(),
    Action.DRAIN: NODE.hex(),
    Action.RESUME: NODE.hex(),
    Action.BAN: NODE.hex(),
    Action.UNBAN: NODE.hex(),
    Action.SET: "timing",
    Action.REVOKE: FRIEND.hex(),
    Action.SET_SECRET: THEIRS.hex(),
}
GOOD = Delegation(7, FRIEND, Scope.ADMIN, NOW_S - 100, NOW_S + 100)
BY_MANAGER = Signers(FRIEND, MANAGER)


def asked(
    action: Action, delegation: Delegation | None = None, target: str | None = None
) -> SignedRequest:
    text = spec_json({"name": "t", "image": "busybox:1"}) if action is Action.SUBMIT else ""
    where = TARGETS[action] if target is None else target
    request = TaskRequest(action, 7, where, text, b"r" * 32, NOW_S, NOW_S + 60)
    under = SignedDelegation(delegation, b"d" * 65) if delegation else None
    return SignedRequest(request, b"s" * 65, under)


def pool() -> PoolState:
    """A pool with a task of the manager's and one that the friend submitted as a delegate."""
    state = PoolState(POOL, 1)
    spec = TaskSpec("t", "busybox:1")
    for name, signer, under in ((THEIRS, MANAGER, None), (OWN, FRIEND, GOOD)):
        record = TaskRecord(name, asked(Action.SUBMIT, under), signer, None, 1, 0)
        state.tasks[name] = Task(record, spec)
    return state


def revoke(state: PoolState, before_s: int) -> PoolState:
    state.revocations[FRIEND] = Revocation(FRIEND, before_s, False, Digest(b"v" * 32))
    return state


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("account", [CREATOR, MANAGER])
def test_creator_and_manager_may_do_everything(action: Action, account: Address) -> None:
    """With and without a state."""
    assert may(ROSTER, pool(), Signers(account), asked(action), NOW_S) is None
    assert may(ROSTER, None, Signers(account), asked(action), NOW_S) is None


LEAST = {
    Action.SUBMIT: Scope.SUBMIT,
    Action.STOP: Scope.ADMIN,
    Action.DRAIN: Scope.ADMIN,
    Action.RESUME: Scope.ADMIN,
    Action.BAN: Scope.ADMIN,
    Action.UNBAN: None,
    Action.SET: None,
    Action.REVOKE: None,
    Action.SET_SECRET: Scope.ADMIN,
}


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("scope", list(Scope))
def test_a_delegate_may_do_what_its_scope_says(action: Action, scope: Scope) -> None:
    """And no delegate lifts a ban, changes settings or revokes."""
    least = LEAST[action]
    wrong = may(ROSTER, pool(), BY_MANAGER, asked(action, attrs.evolve(GOOD, scope=scope)), NOW_S)
    assert (wrong is None) == (least is not None and scope >= least)
    assert wrong is None or wrong.hint


@pytest.mark.parametrize("action", [Action.STOP, Action.SET_SECRET])
def test_a_delegate_changes_its_own_task_with_the_scope_it_submitted_with(action: Action) -> None:
    """Reading is not enough for that, and an unknown task is nobody's own."""
    for scope, allowed in ((Scope.READ, False), (Scope.SUBMIT, True)):
        under = attrs.evolve(GOOD, scope=scope)
        stop = asked(action, under, OWN.hex())
        assert (may(ROSTER, pool(), BY_MANAGER, stop, NOW_S) is None) is allowed
        assert may(ROSTER, None, BY_MANAGER, stop, NOW_S)
        assert may(ROSTER, pool(), BY_MANAGER, asked(action, under, "no task"), NOW_S)


@pytest.mark.parametrize("action", list(Action))
def test_a_provider_drains_and_resumes_its_own_node_and_nothing_else(action: Action) -> None:
    """Not another's node, not a node outside the pool, not through a delegate of its own."""
    mine = action in (Action.DRAIN, Action.RESUME)
    assert (may(ROSTER, pool(), Signers(PROVIDER), asked(action), NOW_S) is None) is mine
    elsewhere = asked(action, target=FOREIGN.hex())
    assert may(ROSTER, pool(), Signers(PROVIDER), elsewhere, NOW_S)
    assert may(ROSTER, pool(), Signers(ZERO), elsewhere, NOW_S)
    through = Signers(FRIEND, PROVIDER)
    assert may(ROSTER, pool(), through, asked(action, GOOD), NOW_S)


@pytest.mark.parametrize(
    ("delegation", "signers", "at_s"),
    [
        (GOOD, BY_MANAGER, NOW_S + 101),
        (GOOD, BY_MANAGER, NOW_S - 131),
        (GOOD, Signers(FRIEND, STRANGER), NOW_S),
        (GOOD, Signers(STRANGER, MANAGER), NOW_S),
        (GOOD, Signers(FRIEND), NOW_S),
        (None, BY_MANAGER, NOW_S),
        (attrs.evolve(GOOD, pool_id=8), BY_MANAGER, NOW_S),
    ],
)
def test_a_delegation_that_does_not_fit_gives_nothing(
    delegation: Delegation | None, signers: Signers, at_s: int
) -> None:
    """Expired, not yet, by or for another account, missing, of another pool."""
    assert may(ROSTER, pool(), signers, asked(Action.SUBMIT, delegation), at_s)
    assert may_read(ROSTER, pool(), signers, delegation, None, at_s)


def test_a_delegation_counts_to_its_last_second() -> None:
    """Both ends are inside, and a clock may be wrong by the skew that is allowed."""
    for at_s in (NOW_S + 100, NOW_S - 100, NOW_S - 130):
        assert may(ROSTER, pool(), BY_MANAGER, asked(Action.SUBMIT, GOOD), at_s) is None


def test_a_revocation_voids_what_was_signed_before_it() -> None:
    """A delegation of that very second or later is good; own log lines go with the delegation."""
    request = asked(Action.SUBMIT, GOOD)
    void, kept = (revoke(pool(), GOOD.not_before_s + later) for later in (1, 0))
    assert may(ROSTER, void, BY_MANAGER, request, NOW_S)
    assert may(ROSTER, kept, BY_MANAGER, request, NOW_S) is None
    assert may_read(ROSTER, void, BY_MANAGER, GOOD, None, NOW_S)
    assert may_read(ROSTER, void, Signers(FRIEND), None, Submission(FRIEND, GOOD), NOW_S)
    assert may_read(ROSTER, kept, Signers(FRIEND), None, Submission(FRIEND, GOOD), NOW_S) is None
    assert may_read(ROSTER, kept, BY_MANAGER, GOOD, None, NOW_S) is None


def test_the_rights_of_a_delegation_end_with_those_of_who_gave_it() -> None:
    """A manager that is replaced on the chain has no delegates any more."""
    later = attrs.evolve(ROSTER, manager=Address(b"m" * 20))
    assert may(later, pool(), BY_MANAGER, asked(Action.SUBMIT, GOOD), NOW_S)


def test_log_lines_are_for_the_pools_people_and_the_submitter() -> None:
    """Any scope reads any task; a submitter its own; without a state only the chain's word."""
    state, reader = pool(), attrs.evolve(GOOD, scope=Scope.READ)
    for task in (Submission(STRANGER), Submission(FRIEND), None):
        assert may_read(ROSTER, state, Signers(CREATOR), None, task, NOW_S) is None
        assert may_read(ROSTER, state, BY_MANAGER, reader, task, NOW_S) is None
        assert may_read(ROSTER, None, BY_MANAGER, reader, task, NOW_S)
        assert may_read(ROSTER, None, Signers(MANAGER), None, task, NOW_S) is None
        assert may_read(ROSTER, state, Signers(PROVIDER), None, task, NOW_S)
    assert may_read(ROSTER, state, Signers(FRIEND), None, Submission(FRIEND), NOW_S) is None
    assert may_read(ROSTER, state, Signers(FRIEND), None, Submission(STRANGER), NOW_S)


def test_who_submitted_a_task_is_no_matter_of_the_log() -> None:
    """A lying leader may log a task of somebody else under any account that it likes."""
    state = pool()
    assert state.tasks[OWN].record.signer == FRIEND
    assert may_read(ROSTER, state, Signers(FRIEND), None, None, NOW_S)
    assert may_read(ROSTER, state, Signers(FRIEND), None, Submission(STRANGER), NOW_S)


def test_a_request_for_another_pool_is_nobodys() -> None:
    """Even the manager's."""
    signed = asked(Action.SET)
    other = attrs.evolve(signed, request=attrs.evolve(signed.request, pool_id=8))
    assert may(ROSTER, pool(), Signers(MANAGER), other, NOW_S)


def test_every_action_has_its_line() -> None:
    """An action without a rule would be a crash at the leader."""
    assert list(RULES) == list(Action)


strangers = st.sampled_from([STRANGER, ZERO, Address(b"x" * 20), Address(NODE)])
anybody = st.one_of(strangers, st.sampled_from([CREATOR, MANAGER, PROVIDER, FRIEND]))
delegations = st.builds(
    Delegation,
    st.just(7),
    anybody,
    st.sampled_from(list(Scope)),
    st.integers(0, 2 * NOW_S),
    st.integers(0, 2 * NOW_S),
)
targets = st.one_of(
    st.sampled_from([*TARGETS.values(), OWN.hex(), FOREIGN.hex(), "0x", "é"]), st.text(max_size=8)
)


@given(
    action=st.sampled_from(list(Action)),
    signer=strangers,
    grantor=st.one_of(st.none(), strangers, st.just(PROVIDER), st.just(FRIEND)),
    delegation=st.one_of(st.none(), delegations),
    target=targets,
    at_s=st.integers(0, 2 * NOW_S),
    known=st.booleans(),
)
def test_nobody_without_a_relation_to_the_pool_is_ever_allowed(
    action: Action,
    signer: Address,
    grantor: Address | None,
    delegation: Delegation | None,
    target: str,
    at_s: int,
    known: bool,
) -> None:
    """Whatever they ask for, whenever, under whatever a non-manager signed; nor may they read."""
    state, signers = pool() if known else None, Signers(signer, grantor)
    roster = attrs.evolve(ROSTER, manager=ZERO)
    for each in (ROSTER, roster):
        assert may(each, state, signers, asked(action, delegation, target), at_s)
        assert may_read(each, state, signers, delegation, None, at_s)


@given(
    action=st.sampled_from(list(Action)),
    signer=anybody,
    delegation=delegations,
    target=targets,
    at_s=st.integers(0, 2 * NOW_S),
)
def test_no_delegation_gives_more_than_its_time_name_and_scope(
    action: Action, signer: Address, delegation: Delegation, target: str, at_s: int
) -> None:
    """Whoever is allowed under one is named by it, in its time, in scope, and not revoked."""
    state = revoke(pool(), NOW_S)
    wrong = may(ROSTER, state, Signers(signer, MANAGER), asked(action, delegation, target), at_s)
    if wrong is None:
        assert delegation.delegate == signer
        assert delegation.not_before_s - 30 <= at_s <= delegation.not_after_s
        assert signer != FRIEND or delegation.not_before_s >= NOW_S
        assert action not in (Action.SET, Action.UNBAN, Action.REVOKE)
        assert delegation.scope >= Scope.SUBMIT


@given(
    begins_s=st.integers(-200, 200),
    lasts_s=st.integers(0, 200),
    given_s=st.integers(-200, 200),
    holds_s=st.integers(0, 200),
    at_s=st.integers(-300, 300),
)
def test_what_a_leader_adopts_no_follower_refuses_for_good(
    begins_s: int, lasts_s: int, given_s: int, holds_s: int, at_s: int
) -> None:
    """Whatever the dates of a submission and of its delegation, one long before or after the other:
    a leader that judged otherwise than its followers would lose its office for a member's claim."""
    under = attrs.evolve(GOOD, not_before_s=NOW_S + given_s, not_after_s=NOW_S + given_s + holds_s)
    signed = asked(Action.SUBMIT, under)
    first_s = NOW_S + begins_s
    request = attrs.evolve(signed.request, not_before_s=first_s, not_after_s=first_s + lasts_s)
    signed = attrs.evolve(signed, request=request)
    claim = Desired(AllocationId(task_id(POOL, request), 0), 1, signed, ())
    if may_start(POOL, ROSTER, pool(), claim, BY_MANAGER, NOW_S + at_s) is None:
        assert never(POOL, signed, BY_MANAGER) is None


# --- secrets that were set since, at a node ------------------------------------------------------


def set_since(under: Delegation | None = None) -> Desired:
    """A copy of the friend's task, with secrets that the friend set."""
    first = asked(Action.SUBMIT, under)
    name = task_id(POOL, first.request)
    request = asked(Action.SET_SECRET, under, name.hex())
    return Desired(AllocationId(name, 0), 1, first, (), secrets=request)


def denied(
    of: Desired,
    state: PoolState | None,
    signers: Signers = BY_MANAGER,
    owner: Signers | None = BY_MANAGER,
) -> str | None:
    return may_set_secrets(POOL, ROSTER, state, of, signers, owner, NOW_S)


def test_whose_task_it_is_the_submission_says() -> None:
    """A node's log may be behind the order, or not here yet: the delegate's right to its own task
    follows from signatures alone. To others' tasks it has none."""
    own = set_since(attrs.evolve(GOOD, scope=Scope.SUBMIT))
    for state in (None, PoolState(POOL, 1)):
        assert denied(own, state) is None
        assert denied(own, state, owner=Signers(MANAGER)) is not None
        assert denied(own, state, owner=None) is not None


def test_a_revocation_undoes_no_secrets_that_the_log_has() -> None:
    """They were set by right, as all replicas judged. What the log does not have is void."""
    given = set_since(GOOD)
    state = revoke(pool(), NOW_S + 1)
    assert denied(given, state, owner=Signers(MANAGER)) is not None
    assert given.secrets is not None
    name = given.allocation.task_id
    record = TaskRecord(
        name,
        given.signed,
        MANAGER,
        None,
        1,
        0,
        secrets=SecretsRenewed(given.secrets, FRIEND, MANAGER, 2, restart=False),
    )
    state.tasks[name] = Task(record, TaskSpec("t", "busybox:1"))
    assert denied(given, state, owner=Signers(MANAGER)) is None
    other = attrs.evolve(given, secrets=attrs.evolve(given.secrets, signature=b"x" * 65))
    assert denied(other, state, owner=Signers(MANAGER)) is not None
