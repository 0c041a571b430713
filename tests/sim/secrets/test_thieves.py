"""Who steals disks, listens, lies as leader or copies blobs gets no secret of a task."""

import attrs
import pytest

from p2pool.agent.containers.secret_opener import SecretOpener
from p2pool.core.fsm.state import Allocation
from p2pool.model.ids import AllocationId, Digest, TaskId, Token
from p2pool.model.messages.registry import Message
from p2pool.model.messages.secrets import SecretKeyAnswered, SecretKeyRequested
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.states import AllocationState
from tests.sim.harness.pool import Pool, formed
from tests.sim.harness.secret_tasks import (
    EACH_ALONE,
    SECRET,
    Overheard,
    SecretTasks,
    disk_bytes,
    spellings,
)
from tests.sim.world.machine import Machine


def with_level_two(size: int = 4) -> tuple[Pool, SecretTasks]:
    pool = formed(size)
    pool.until(lambda: all(pool.node(n).context.level == 2 for n in range(size)))
    return pool, SecretTasks(pool)


def found_in(data: bytes) -> list[bytes]:
    return [spelling for spelling in spellings(SECRET) if spelling in data]


def test_a_search_would_find_it() -> None:
    """As it is, in hex, or in Base64 at any offset: else the tests below could not fail."""
    import base64

    for lead in range(5):
        assert found_in(base64.b64encode(b"x" * lead + SECRET + b"y"))
    assert found_in(b"a" + SECRET + b"b")
    assert found_in(SECRET.hex().encode())


def test_no_disk_and_no_byte_between_machines_holds_it() -> None:
    """From the submission over a key that is sealed on to the end, on all machines: the running
    ones too, since values are in no store."""
    pool, secrets = with_level_two()
    overheard = Overheard.of(pool)
    name = secrets.run(0, [1], replicas=2, ports=EACH_ALONE)
    assert len(secrets.got(name)) == 2
    for m in pool.world.machines:
        assert not found_in(disk_bytes(m))
    pool.stop(0, name)
    pool.until(lambda: pool.states(name) == ["STOPPED"] * 2)
    pool.world.run(30_000)
    for m in pool.world.machines:
        assert not found_in(disk_bytes(m))
    assert overheard.said
    assert not found_in(b"\0".join(data for _, data in overheard.said))


def test_with_all_keys_but_the_recipients_nothing_opens() -> None:
    """Every other machine's disk and peer key together."""
    pool, secrets = with_level_two()
    name = secrets.run(0, [1])
    sealed = _sealed(pool, secrets, name)
    thieves = [m for m in pool.world.machines if m.number != 1]
    for thief in thieves:
        for key in sealed.blob.keys:
            assert not SecretOpener(thief.signing_key).opens(attrs.evolve(sealed, key=key))
    assert SecretOpener(pool.world.machines[1].signing_key).opens(sealed)


def _sealed(pool: Pool, secrets: SecretTasks, name: TaskId) -> SealedSecret:
    (number,) = secrets.got(name)
    engine = pool.world.machines[number].engine
    return next(one for key, one in engine.secrets.items() if key[0].task_id == name)


class Asked:
    """What a thief is told."""

    def __init__(self, pool: Pool, thief: Machine) -> None:
        self.answers: list[SecretKeyAnswered] = []
        self.pool, self.thief = pool, thief
        pool.world.on_send.append(self._heard)

    def _heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        if to is self.thief and isinstance(message, SecretKeyAnswered):
            self.answers.append(message)

    def ask(self, holder: Machine, copy: AllocationId, attempt: int, digest: Digest) -> str:
        """The refusal; a key is a failure of the test."""
        before = len(self.answers)
        question = SecretKeyRequested(7_777 + before, copy, attempt, digest)
        self.pool.world.said(self.thief, holder, question)
        self.pool.until(lambda: len(self.answers) > before)
        assert self.answers[-1].key is None
        return self.answers[-1].reason


def test_a_leader_that_says_the_copy_is_its_own_gets_no_key() -> None:
    """Its own replica says so, and it orders itself to run the copy; the holder looks into its own.
    An entry that only the holder has, and nobody signed, is no better."""
    pool, secrets = with_level_two()
    leader = pool.leader()
    holder = pool.voter()
    name = secrets.run(leader.number, [holder.number])
    (number,) = secrets.got(name)
    assert number == holder.number
    digest = Digest(bytes.fromhex(_state_of(pool, leader).tasks[name].secrets.digest))
    copy, asked = AllocationId(name, 0), Asked(pool, leader)
    assert "not assigned" in asked.ask(holder, copy, 1, digest)

    lied = Allocation(
        copy,
        AllocationState.ASSIGNED,
        attempt=2,
        node_id=leader.node_id,
        token=Token(1, pool.node(leader.number).context.pool_log.term, 10**6),
    )
    _state_of(pool, leader).put(lied)
    assert "not assigned" in asked.ask(holder, copy, 2, digest)
    assert "no such task" in asked.ask(holder, AllocationId(TaskId(b"x" * 16), 0), 1, digest)
    assert "other secrets" in asked.ask(holder, copy, 1, Digest(b"x" * 32))


@pytest.mark.parametrize("proven", [True, False])
def test_an_assignment_counts_once_a_quorum_signed_it(proven: bool) -> None:
    """The holder's replica has the entry; without the voters' signatures it waits for them."""
    pool, secrets = with_level_two()
    holder = pool.world.machines[1]
    name = secrets.run(0, [1], replicas=2, ports=EACH_ALONE)
    later = next(number for number in secrets.got(name) if number != 1)
    state = _state_of(pool, holder)
    copy = next(c for c in state.of_task(name) if c.node_id == pool.world.machines[later].node_id)
    digest = Digest(bytes.fromhex(state.tasks[name].secrets.digest))
    if proven:
        told: list[SecretKeyAnswered] = []
        pool.world.on_send.append(
            lambda m, to, message: (
                told.append(message) if isinstance(message, SecretKeyAnswered) else None
            )
        )
        question = SecretKeyRequested(9, copy.allocation, copy.attempt, digest)
        pool.world.said(pool.world.machines[later], holder, question)
        pool.until(lambda: bool(told))
        assert told[0].key is not None
        return
    histories = pool.node(1).context.pool_log.histories
    histories.ours.clear()
    histories.proven_index = copy.token.index - 1
    asked = Asked(pool, pool.world.machines[later])
    assert "have not signed" in asked.ask(holder, copy.allocation, copy.attempt, digest)


def _state_of(pool: Pool, m: Machine):  # type: ignore[no-untyped-def]
    state = pool.node(m.number).context.pool_log.state
    assert state is not None
    return state


def test_another_tasks_blob_opens_for_no_copy() -> None:
    """An account names another task's blob in a submission of its own: no copy of it starts, on no
    node, though all of them can open the blob for the task that it was made for."""
    pool, secrets = with_level_two()
    name = secrets.run(0, range(4))
    spec = _state_of(pool, pool.leader()).tasks[name].spec
    thief = secrets.task(secrets.copy_of(0, spec.secrets, None))
    pool.until(lambda: bool(pool.states(thief)))
    pool.world.run(30_000)
    # The simulated engine opens nothing by itself: what an agent's opener would say.
    for m in pool.world.machines:
        for key, sealed in m.engine.secrets.items():
            if key[0].task_id == thief:
                assert not SecretOpener(m.signing_key).opens(sealed)
