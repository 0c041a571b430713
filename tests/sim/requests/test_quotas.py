"""A delegate in a pool of real nodes gets what its quota allows, and no more, whatever a leader
does; and after a revocation nothing of it begins."""

import attrs
import pytest

from p2pool.codec.digests import task_id
from p2pool.codec.entries import encode_body
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.core.fsm.access.revocations import WITHDRAWN
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Quota, Scope
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.errors import Conflict, NotAllowed
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.log.entries import Placed, Placement, RequestApplied
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import RestartMode, RestartPolicy, TaskSpec
from p2pool.wire.typed_data import sign_delegation, sign_request
from tests.sim.faults.leader_liars import DELEGATE, DELEGATE_ADDRESS
from tests.sim.harness.pool import ENDLESS, Pool, formed
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS

S = AllocationState
REFUSED = "a leader's entries are refused"
FIRST_NUMBER = 5_000_000
OVER = "over the quota of the delegation: 1 of 1 replicas in use"


@attrs.define
class Delegated:
    """A pool, and a delegate that may have one copy at a time."""

    pool: Pool
    quota: Quota = Quota(max_replicas=1)
    number: int = FIRST_NUMBER

    def now_s(self) -> int:
        return (WALL_MS + self.pool.world.now_ms) // 1000

    def signed(self, name: str, **spec: object) -> SignedRequest:
        """A task that runs until it is stopped."""
        self.number += 1
        wanted = TaskSpec(name=name, image="i", command=ENDLESS, reconnect_window_s=5)
        given = Delegation(
            pool_id=POOL.pool_id,
            delegate=DELEGATE_ADDRESS,
            scope=Scope.SUBMIT,
            not_before_s=self.now_s() - 60,
            not_after_s=self.now_s() + 3_600,
            quota=self.quota,
        )
        request = TaskRequest(
            action=Action.SUBMIT,
            pool_id=POOL.pool_id,
            target="",
            spec_json=spec_json(attrs.evolve(wanted, **spec)),  # type: ignore[arg-type]
            request_id=self.number.to_bytes(32, "big"),
            not_before_s=self.now_s() - 1,
            not_after_s=self.now_s() + 600,
        )
        return sign_request(POOL, DELEGATE, request, sign_delegation(POOL, MANAGER, given))

    def submit(self, name: str, **spec: object) -> object:
        """What an agent that does not lead answers to it."""
        signed = self.signed(name, **spec)
        signers = Signers(DELEGATE_ADDRESS, MANAGER_ADDRESS)
        command = SubmitCommand(signed, DELEGATE_ADDRESS)
        self.pool.world.give(self.pool.other(), inputs.Asked(self.number, command, signers))
        reply = self.pool.reply(self.number)
        return task_id(POOL, signed.request) if isinstance(reply, Accepted) else reply

    def state(self) -> PoolState:
        node = self.pool.leader().node
        assert node is not None
        state = node.context.pool_log.state
        assert state is not None
        return state

    def copy(self, name: object) -> Allocation:
        found = self.state().allocation(AllocationId(TaskId(name), 0))  # type: ignore[arg-type]
        assert found is not None
        return found

    def until(self, name: object, state: AllocationState) -> None:
        self.pool.until(lambda: self.copy(name).state is state)

    def started(self, name: object) -> int:
        """How many containers of a task there were, on all machines."""
        machines = self.pool.world.machines
        return sum(key[0].task_id == name for m in machines for key in m.engine.containers)

    def begun(self) -> int:
        """When the last container began, on all machines."""
        machines = self.pool.world.machines
        return max(c.started_at_ms for m in machines for c in m.engine.containers.values())

    def stop(self, name: object) -> None:
        self.pool.stop(self.pool.other().number, TaskId(name))  # type: ignore[arg-type]

    def revoke(self, text: str = "") -> None:
        number = self.pool.sign(Action.REVOKE, DELEGATE_ADDRESS.hex(), text)
        self.pool.send(self.pool.other().number, number)
        assert isinstance(self.pool.reply(number), Accepted)


@pytest.fixture
def friend() -> Delegated:
    """Three voters at the level that knows quotas."""
    made = Delegated(formed(3))
    made.pool.until(lambda: made.state().level >= DISTRUST_LEVEL)
    return made


def test_what_is_over_its_quota_waits_until_there_is_room(friend: Delegated) -> None:
    """With the reason, on every replica; a lying leader's placement of it starts nothing."""
    first, second = friend.submit("first"), friend.submit("second")
    friend.until(first, S.RUNNING)
    friend.pool.until(lambda: friend.copy(second).reason == OVER)
    liar, victim = friend.pool.leader(), friend.pool.other()
    assert liar.node is not None
    placed = Placed(friend.copy(second).allocation, 1, victim.node_id, ())
    body = encode_body(Placement((placed,)), DISTRUST_LEVEL)
    liar.node.context.pool_log.propose(*body, friend.pool.world.now(liar))
    friend.pool.world.run(10_000)
    assert (friend.copy(second).state, friend.started(second)) == (S.PENDING, 0)
    friend.stop(first)
    friend.until(second, S.RUNNING)
    assert friend.state().delegates.used(MANAGER_ADDRESS, DELEGATE_ADDRESS).replicas == 1


def test_the_leader_changes_and_the_quota_holds(friend: Delegated) -> None:
    """Counts follow from the log: who leads next has the same."""
    first, second = friend.submit("first"), friend.submit("second")
    friend.until(first, S.RUNNING)
    friend.pool.world.crash(friend.pool.leader().number)
    friend.pool.until(lambda: any(m.node and m.node.context.pool_log.leads
                                  for m in friend.pool.world.machines))  # fmt: skip
    friend.pool.world.run(60_000)
    assert friend.copy(first).state is S.RUNNING
    assert (friend.copy(second).state, friend.started(second)) == (S.PENDING, 0)


def test_what_a_quota_never_lets_in_is_nobodys(friend: Delegated) -> None:
    """An agent passes it on, the leader refuses it; a leader that writes it stays alone with it."""
    refused = friend.submit("large", replicas=2)
    assert isinstance(refused, NotAllowed)
    assert "it asks for 2 replicas, and 1 is the most" in refused.message
    signed, liar = friend.signed("large", replicas=2), friend.pool.leader()
    friend.pool.world.expected = (REFUSED,)
    friend.pool.world.perjured.add(liar.store_id)
    assert liar.node is not None
    record = RequestApplied(signed, liar.node_id, DELEGATE_ADDRESS, MANAGER_ADDRESS)
    body = encode_body(record, DISTRUST_LEVEL)
    liar.node.context.pool_log.propose(*body, friend.pool.world.now(liar))
    friend.pool.world.run(15_000)
    friend.pool.until(lambda: len(_leading(friend.pool)) == 1)
    assert isinstance(friend.submit("small"), bytes)
    for m in friend.pool.world.machines:
        assert m.node is not None
        state = m.node.context.pool_log.state
        assert state is not None
        assert task_id(POOL, signed.request) not in state.tasks


def _leading(pool: Pool) -> list[object]:
    return [m for m in pool.world.machines if m.node and m.node.context.pool_log.leads]


def test_a_pool_of_an_earlier_level_has_no_words_for_a_quota(friend: Delegated) -> None:
    """The leader refuses it, and goes on: an entry with it could not be written."""
    state = friend.state()
    state.level = BASE_LEVEL
    refused = friend.submit("early")
    state.level = DISTRUST_LEVEL
    assert isinstance(refused, Conflict)
    assert "feature level 1" in refused.message
    assert isinstance(friend.submit("later"), bytes)


def test_after_a_revocation_nothing_begins(friend: Delegated) -> None:
    """What waits ends, what runs goes on, and when its machine is lost it is not replaced."""
    first, second = friend.submit("first"), friend.submit("second")
    friend.until(first, S.RUNNING)
    friend.revoke()
    friend.until(second, S.STOPPED)
    assert friend.copy(second).reason == WITHDRAWN
    friend.pool.world.run(5_000)
    assert (friend.copy(first).state, friend.started(first)) == (S.RUNNING, 1)
    assert isinstance(friend.submit("third"), NotAllowed)
    friend.revoke('{"stopRunning":true}')
    friend.until(first, S.STOPPED)
    assert friend.state().tasks[TaskId(first)].finished  # type: ignore[arg-type]


def test_a_restart_by_policy_ends_with_the_right(friend: Delegated) -> None:
    """A copy that ends every few seconds is started again until the revocation, and not after."""
    policy = RestartPolicy(RestartMode.ALWAYS, attempts=1000, backoff_ms=1000)
    name = friend.submit("again", command=("run", "2000", "0"), restart=policy)
    friend.until(name, S.RUNNING)
    begun = friend.begun()
    friend.pool.until(lambda: friend.begun() > begun, 120_000)
    friend.revoke()
    begun = friend.begun()
    friend.pool.until(lambda: friend.copy(name).terminal, limits.RESTART_BACKOFF_MAX_MS + 60_000)
    assert friend.begun() == begun
    assert friend.copy(name).reason == "not allowed: The delegation was revoked."
    assert friend.state().tasks[TaskId(name)].finished  # type: ignore[arg-type]
