"""A forged snapshot arrives as a frame at a living voter, and at a learner.

What else nobody may set, a bad setting, is asked of agents here too.
"""

import json

import attrs
import pytest

from p2pool.codec.entries import encode_snapshot
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.model.access.requests import Action
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Digest
from p2pool.model.log.raft import Snapshot
from p2pool.model.messages.raft import SnapshotAnswered, SnapshotSent
from p2pool.model.messages.registry import Message
from p2pool.model.settings import SETTINGS
from p2pool.model.states import RaftRole
from tests.sim.faults.member_liars import tell, voter
from tests.sim.harness.pool import Pool, formed, started
from tests.sim.world.machine import Machine


@attrs.define
class Forger:
    """Somebody who sends a state of its own making, and what it is answered."""

    pool: Pool
    by: Machine
    to: Machine
    answers: list[SnapshotAnswered] = attrs.field(factory=list)

    def send(self, term: int = 0) -> None:
        """In parts, as a leader of a term (its own, without one) would."""
        self.pool.world.on_send.append(self.heard)
        pool_log = self.pool.node(self.pool.leader().number).context.pool_log
        assert pool_log.raft is not None
        assert pool_log.state is not None
        ours, state = pool_log.raft.state, decode_state(encode_state(pool_log.state))
        state.applied_index, state.applied_term = ours.log.last_index + 1, ours.hard.term
        state.history, state.settings["timing"] = Digest(bytes(32)), "wan"
        made = Snapshot(
            log_id=ours.log_id,
            index=state.applied_index,
            term=state.applied_term,
            last_proposed_at_ms=state.log_time_ms,
            configuration=ours.configuration,
            state=encode_state(state),
        )
        data, names = encode_snapshot(made), (voter(self.by), voter(self.to))
        for begin in range(0, len(data), 1_000):
            part, place = data[begin : begin + 1_000], (made.index, made.term, begin, len(data))
            frame = SnapshotSent(ours.log_id, term or ours.hard.term, *names, *place, part)
            tell(self.pool, self.by, self.to, frame)
        self.pool.world.run(1_000)

    def heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        if m is self.to and to is self.by and isinstance(message, SnapshotAnswered):
            self.answers.append(message)


def in_one_state(pool: Pool) -> None:
    """All nodes come to the leader's state, and nobody's is forged."""
    pool.until(lambda: len({digest_of(s) for m in pool.world.machines if (s := state_of(m))}) == 1)
    assert all("timing" not in s.settings for m in pool.world.machines if (s := state_of(m)))


def state_of(m: Machine):  # type: ignore[no-untyped-def]
    assert m.node is not None
    return m.node.context.pool_log.state


def test_a_living_voter_installs_nothing_that_its_leader_forged() -> None:
    """The last part is answered by none of it; the follower keeps its state and follows on."""
    pool = formed(3)
    forger = Forger(pool, pool.leader(), pool.voter())
    before = digest_of(state_of(forger.to))
    forger.send()
    assert [a.received_bytes for a in forger.answers][-1] == 0
    assert digest_of(state_of(forger.to)) == before
    pool.run_task(forger.to.number)
    in_one_state(pool)


def test_a_voter_that_starts_anew_installs_nothing_either() -> None:
    """The forged state is the first that it hears from its leader."""
    pool = formed(3)
    forger = Forger(pool, pool.leader(), pool.voter())
    pool.world.crash(forger.to.number)
    pool.world.start(forger.to.number)
    pool.until(lambda: pool.node(forger.to.number).context.pool_log.leader is not None)
    forger.send()
    assert [a.received_bytes for a in forger.answers][-1] == 0
    pool.run_task(forger.to.number)
    in_one_state(pool)


@pytest.mark.parametrize("ahead", [0, 1, 2**20])
def test_a_member_that_leads_nothing_installs_nothing(ahead: int) -> None:
    """Of whatever term it says that it leads, at a voter."""
    pool = formed(4)
    roles = {m.number: pool.node(m.number).context.pool_log.role for m in pool.world.machines}
    (idle,) = [m for m in pool.world.machines if roles[m.number] is RaftRole.IDLE]
    forger = Forger(pool, idle, pool.voter())
    raft = pool.node(forger.to.number).context.pool_log.raft
    assert raft is not None
    forger.send(raft.state.hard.term + ahead)
    assert forger.answers == []
    in_one_state(pool)


def with_a_learner() -> tuple[Pool, Machine]:
    """A voter that leads, and a learner."""
    pool = started(2)
    pool.world.run(8_000)
    learner = pool.other()
    assert pool.node(learner.number).context.pool_log.role is RaftRole.LEARNER
    return pool, learner


def test_a_learner_takes_no_snapshot_of_another_than_its_leader() -> None:
    """A member that speaks as the leader in its own name is not heard."""
    pool, learner = with_a_learner()
    forger = Forger(pool, pool.leader(), learner)
    forged = attrs.evolve(voter(pool.leader()), store_id=learner.store_id)
    pool.world.run(1)
    before = digest_of(state_of(learner))
    raft = pool.node(learner.number).context.pool_log.raft
    assert raft is not None
    frame = SnapshotSent(
        raft.state.log_id, raft.state.hard.term + 1, forged, voter(learner), 99, 1, 0, 4, b"junk"
    )
    tell(pool, forger.by, learner, frame)
    pool.world.run(500)
    assert digest_of(state_of(learner)) == before


def test_a_learner_installs_nothing_that_its_leader_forged() -> None:
    """No more than a voter: a quorum has certified no such state. It follows on."""
    pool, learner = with_a_learner()
    forger = Forger(pool, pool.leader(), learner)
    before = state_of(learner).settings
    forger.send()
    assert [a.received_bytes for a in forger.answers][-1] == 0
    assert state_of(learner).settings == before
    in_one_state(pool)


def test_no_bad_setting_gets_through_an_agents_door() -> None:
    """Asked at the leader or at another node: each is answered by a refusal, and none counts."""
    pool = formed(3)
    numbers = []
    for name in (*SETTINGS, "nonsense"):
        for value in ("none", "0", "-1", "", "LAN", "4", 3, None, ["3"]):
            numbers.append(pool.sign(Action.SET, name, json.dumps({"value": value})))
            pool.send(len(numbers) % 3, numbers[-1])
    pool.until(lambda: all(n in pool.world.replies for n in numbers))
    assert all(isinstance(pool.world.replies[n], P2poolError) for n in numbers)
    assert all(s.settings == {} for m in pool.world.machines if (s := state_of(m)))
    pool.run_task(0)
