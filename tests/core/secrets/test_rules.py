"""A holder seals a key for who was assigned a copy, as a quorum signed, and for nobody else."""

from collections.abc import Callable

import attrs
import pytest

from p2pool.client.secrets import secrets_table
from p2pool.codec.digests import task_id
from p2pool.codec.entries import Record, encode_body
from p2pool.codec.spec.secrets import renewal_json
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.core.secrets.rules import NOT_YET, KeyQuestion, holders, seal_refusal
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.roster import ChainMember
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, TaskId
from p2pool.model.log.entries import (
    NodeChanged,
    Outcome,
    Placed,
    Placement,
    ReportApplied,
    RequestApplied,
)
from p2pool.model.log.raft import Entry
from p2pool.model.states import AllocationState, Intent, Reachability
from p2pool.model.tasks.secrets import ANYONE, RecipientPolicy, SecretUse, TaskSecrets
from tests.core.fsm.records import MANAGER, NODE, NOW_S, OTHER, POOL

DIGEST = Digest(b"\xab" * 32)
PROVIDER = Address(b"p" * 20)
S = AllocationState


def feed(state: PoolState, record: Record) -> None:
    kind, body = encode_body(record, DISTRUST_LEVEL)
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, NOW_S * 1000, body))


def submit(state: PoolState, policy: RecipientPolicy = ANYONE, replicas: int = 2) -> TaskId:
    secrets = TaskSecrets((SecretUse("db"),), DIGEST.hex(), 5, policy)
    table = secrets_table(secrets)
    text = spec_json({"name": "t", "image": "busybox", "replicas": replicas, "secrets": table})
    wanted = TaskRequest(Action.SUBMIT, 0, "", text, b"r" * 32, NOW_S, NOW_S + 600)
    feed(state, RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER))
    return task_id(POOL, wanted)


def member(node_id: NodeId = OTHER) -> ChainMember:
    return ChainMember(node_id, PROVIDER, eligible=True)


class Held:
    """A task whose first copy runs on NODE, the holder, and whose second was given to OTHER."""

    def __init__(self, policy: RecipientPolicy = ANYONE) -> None:
        self.state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
        self.task = submit(self.state, policy)
        first, second = (AllocationId(self.task, number) for number in range(2))
        feed(self.state, Placement((Placed(first, 1, NODE),)))
        feed(self.state, ReportApplied(NODE, (Outcome(first, 1, S.RUNNING),)))
        feed(self.state, Placement((Placed(second, 1, OTHER),)))
        self.copy = second
        self.question = KeyQuestion(OTHER, second, 1, DIGEST)

    def refusal(
        self, question: KeyQuestion | None = None, proven: int | None = None, **of: object
    ) -> str | None:
        index = self.state.applied_index if proven is None else proven
        given = {"me": NODE, "member": member()} | of
        return seal_refusal(
            self.state,
            index,
            given["me"],  # type: ignore[arg-type]
            given["member"],  # type: ignore[arg-type]
            question or self.question,
        )


def test_who_was_assigned_a_copy_is_sealed_to() -> None:
    """All that has to hold holds."""
    assert Held().refusal() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda q: attrs.evolve(q, asker=NodeId(b"t" * 20)), "not assigned"),
        (lambda q: attrs.evolve(q, attempt=2), "not assigned"),
        (lambda q: attrs.evolve(q, allocation=AllocationId(q.allocation.task_id, 0)), "assigned"),
        (lambda q: attrs.evolve(q, allocation=AllocationId(q.allocation.task_id, 9)), "assigned"),
        (lambda q: attrs.evolve(q, allocation=AllocationId(TaskId(b"x" * 16), 0)), "no such task"),
        (lambda q: attrs.evolve(q, digest=Digest(b"x" * 32)), "other secrets"),
    ],
)
def test_who_was_not_is_refused(change: Callable[[KeyQuestion], KeyQuestion], said: str) -> None:
    """Another node, attempt, copy, task or blob."""
    held = Held()
    assert said in (held.refusal(change(held.question)) or "")


def test_what_no_quorum_signed_waits() -> None:
    """The entry that assigned it is in this replica: that is one leader's word."""
    held = Held()
    copy = held.state.allocation(held.copy)
    assert copy is not None
    assert held.refusal(proven=copy.token.index - 1) == NOT_YET
    assert held.refusal(proven=copy.token.index) is None


def test_an_assignment_of_another_epoch_waits() -> None:
    """Its index means something else in this log."""
    held = Held()
    copy = held.state.allocation(held.copy)
    assert copy is not None
    held.state.put(attrs.evolve(copy, token=attrs.evolve(copy.token, epoch=0)))
    assert held.refusal() == NOT_YET


def test_who_the_chain_does_not_have_is_refused() -> None:
    """Whatever the log says."""
    assert "chain" in (Held().refusal(member=None) or "")


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (RecipientPolicy(nodes=(OTHER.hex(),)), True),
        (RecipientPolicy(nodes=(NODE.hex(),)), False),
        (RecipientPolicy(providers=(PROVIDER.hex(),)), True),
        (RecipientPolicy(providers=(MANAGER.hex(),)), False),
    ],
)
def test_the_submitters_policy_comes_first(policy: RecipientPolicy, allowed: bool) -> None:
    """A leader may assign a copy to anybody; that makes nobody a recipient."""
    found = Held(policy).refusal()
    assert found is None if allowed else "recipient" in (found or "")


def test_only_who_runs_a_copy_seals() -> None:
    """And so is a holder by the log, not by its own word."""
    held = Held()
    assert "no copy" in (held.refusal(me=NodeId(b"z" * 20)) or "")
    feed(held.state, ReportApplied(NODE, (Outcome(AllocationId(held.task, 0), 1, S.FAILED),)))
    assert "no copy" in (held.refusal() or "")


def test_a_copy_or_a_task_that_is_over_gets_none() -> None:
    """Nobody needs the key any more."""
    held = Held()
    feed(held.state, ReportApplied(OTHER, (Outcome(held.copy, 1, S.RUNNING),)))
    feed(held.state, ReportApplied(OTHER, (Outcome(held.copy, 1, S.FAILED),)))
    assert "ended" in (held.refusal() or "")
    held = Held()
    stop = TaskRequest(Action.STOP, 0, held.task.hex(), "", b"q" * 32, NOW_S, NOW_S + 600)
    feed(held.state, RequestApplied(SignedRequest(stop, b"s" * 65), NODE, MANAGER))
    assert "over" in (held.refusal() or "")


def test_holders_are_those_that_run_it_and_are_heard() -> None:
    """A copy that was only assigned holds nothing, nor does a node that was judged gone."""
    held = Held()
    task = held.state.tasks[held.task]
    assert holders(held.state, task) == (NODE,)
    assert holders(held.state, task, other_than=NODE) == ()
    gone = NodeChanged(NODE, Reachability.UNREACHABLE, Intent.ELIGIBLE)
    feed(held.state, gone)
    assert holders(held.state, held.state.tasks[held.task]) == ()
    assert isinstance(held.state.allocation(held.copy), Allocation)


def test_secrets_that_no_quorum_signed_wait() -> None:
    """A leader alone may have written who sets them, with the name of the old request and a policy
    that lets its thief in: the copy's place was signed, this was not."""
    held = Held(RecipientPolicy(nodes=(NODE.hex(),)))
    proven = held.state.applied_index
    assert "does not name" in (held.refusal(proven=proven) or "")
    table = secrets_table(TaskSecrets((SecretUse("db"),), DIGEST.hex(), 5, ANYONE))
    text = renewal_json(table, restart=False)
    held.state.applied.clear()  # Its hour is over, so that its id is free again.
    lied = TaskRequest(Action.SET_SECRET, 0, held.task.hex(), text, b"r" * 32, NOW_S, NOW_S + 600)
    feed(held.state, RequestApplied(SignedRequest(lied, b"x" * 65), NODE, MANAGER))
    assert held.state.tasks[held.task].secrets.recipients == ANYONE
    assert held.refusal(proven=proven) == NOT_YET
    assert held.refusal() is None
