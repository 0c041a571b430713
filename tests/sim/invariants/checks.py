"""What must hold whatever happens, looked at from outside after every step of every node.

Safety, among the machines that follow the protocol (`World.liars` do not, and nothing is expected
of them): one leader for each term, and nobody follows whom nobody elected; committed entries agree
by index, term and bytes; commit and applied index never fall while an agent lives; states agree
where their index does; a store votes for one candidate in a term, restarts or not, and says nothing
that is not on its disk; tokens that a node obeys only grow; an attempt of a copy is begun on one
node, and ends only by itself or because somebody who may said so; what runs on a node that its
leader hears is not lost for long; what was acknowledged is there, under one index; a consistent
read sees what was committed before it was asked; no single clock moves log time. Liveness is in
`tests.sim.invariants.liveness`.
"""

from functools import partial

import attrs

from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.fsm.tasks import should_run
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import (
    ZERO_TOKEN,
    AllocationId,
    Digest,
    NodeId,
    StateDigest,
    StoreId,
    TaskId,
    Token,
)
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.messages.certificates import (
    CertificateSigned,
    ConfigurationSigned,
    HistorySigned,
)
from p2pool.model.messages.raft import AppendAnswered, SnapshotAnswered, VoteAnswered, VoteRequested
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import OrderAnswered
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import AllocationState, RaftRole, Reachability
from p2pool.model.tasks.spec import OnDisconnect
from tests.sim.invariants import liveness
from tests.sim.invariants.committee_history import Trails
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import World

DIGEST_EVERY = 4
"""States are compared at each index that is a multiple of this: a digest costs a while."""
Key = tuple[AllocationId, int]
Place = tuple[Digest, int]
"""A term or an index of a log."""
LOG_TIME_AHEAD_MAX_MS = 120_000
"""Log time is no more ahead of a good clock, as long as only one clock at a time is far off."""
LOST_MAX_MS = 40_000
"""So long a leader may miss that a copy runs on a node that it hears."""
UNWANTED = (AllocationState.LOST, AllocationState.STOPPING, AllocationState.STOPPED)


@attrs.define
class Seen:
    """How far one life of an agent had come in one log at its last step, since it began anew."""

    life: tuple[int, Digest, int | None] = (-1, Digest(b""), None)
    commit_index: int = 0
    applied_index: int = 0
    checked_index: int = 0
    token: Token = ZERO_TOKEN


@attrs.define
class Checks:
    """The memory of an observer who sees all machines."""

    world: World
    leaders: dict[Place, int] = attrs.field(factory=dict)
    led_since_ms: dict[Place, int] = attrs.field(factory=dict)
    chosen: dict[Place, Entry] = attrs.field(factory=dict)
    chosen_in: dict[Place, int] = attrs.field(factory=dict)
    counted: dict[Place, int] = attrs.field(factory=dict)
    newest: dict[Digest, int] = attrs.field(factory=dict)
    furthest: PoolState | None = None
    believed: set[tuple[Digest, int, NodeId]] = attrs.field(factory=set)
    seen: dict[int, Seen] = attrs.field(factory=dict)
    digests: dict[Place, StateDigest] = attrs.field(factory=dict)
    histories: dict[Place, Digest] = attrs.field(factory=dict)
    votes: dict[tuple[Digest, int, StoreId], StoreId] = attrs.field(factory=dict)
    obeyed: dict[StoreId, Token] = attrs.field(factory=dict)
    begun: dict[tuple[Key, int], tuple[int, int]] = attrs.field(factory=dict)
    applied: dict[tuple[Digest, bytes], int] = attrs.field(factory=dict)
    reads: dict[int, dict[Digest, int]] = attrs.field(factory=dict)
    acknowledged: dict[tuple[int, int], Accepted] = attrs.field(factory=dict)
    reads_answered: int = 0
    lost_since_ms: tuple[int, dict[Key, int]] = (-1, {})
    """Of the leader that was looked at last: what it has for lost although it runs, since when."""
    trails: Trails = attrs.field(factory=Trails)

    def __attrs_post_init__(self) -> None:
        """Watch every step, every message, every answer and every container."""
        world = self.world
        world.on_step.append(self.look)
        world.on_send.append(self.heard)
        world.on_reply.append(self.answered)
        for m in world.machines:
            m.engine.on_start = partial(self.started, m)
            m.engine.on_stop = partial(self.stopped, m)

    # --- steps ------------------------------------------------------------------------------------

    def look(self, m: Machine) -> None:
        """After a step of one machine."""
        assert m.node is not None
        if m.number in self.world.liars:
            return
        pool_log = m.node.context.pool_log
        if pool_log.raft is None:
            return
        self._follows(m)
        name = pool_log.raft.state.log_id
        if pool_log.state is not None:
            # What a leader decided and obeyed before it crashed counts, though no other knows yet.
            known = self.furthest
            if known is None or _stamp(pool_log.state) >= _stamp(known):
                self.furthest = pool_log.state
            ahead_ms = pool_log.state.log_time_ms - self.world.true_wall_ms(self.world.now_ms)
            if ahead_ms > LOG_TIME_AHEAD_MAX_MS:
                raise Violation(f"log time is {ahead_ms // 1000} s ahead")
        if pool_log.role is RaftRole.LEADER:
            first = self.leaders.setdefault((name, pool_log.term), m.number)
            self.led_since_ms.setdefault((name, pool_log.term), self.world.now_ms)
            if first != m.number:
                raise Violation(f"two leaders in term {pool_log.term}")
            self._complete(pool_log.raft.state)
            if pool_log.state is not None and pool_log.previous_epoch is None:
                self._takes_back(m, pool_log.state)
        seen = self.seen.setdefault(m.number, Seen())
        if seen.life != (life := (m.life, name, m.node.parts.replica.discarded_ms)):
            seen = self.seen[m.number] = Seen(life)
        token = m.node.parts.worker.high_water
        if token < max(seen.token, self.obeyed.get(m.store_id, ZERO_TOKEN)):
            raise Violation(f"node {m.number} obeys an older token than it did")
        seen.token = token
        self._log(name, pool_log, seen, m.number)

    def _takes_back(self, leader: Machine, state: PoolState) -> None:
        """A copy that runs on a node which its leader holds for healthy is not lost for long."""
        lost: dict[Key, int] = {}
        for m in self.world.machines:
            if state.node(m.node_id).reachability is not Reachability.HEALTHY:
                continue
            for copy in state.on_node(m.node_id) if m.node is not None else ():
                key = (copy.allocation, copy.attempt)
                runs = key in m.engine.containers and not m.engine.containers[key].ended
                if copy.state is AllocationState.LOST and runs and should_run(state, copy):
                    lost[key] = self.lost_since_ms[1].get(key, self.world.now_ms)
        if self.lost_since_ms[0] != leader.number:
            lost = dict.fromkeys(lost, self.world.now_ms)
        self.lost_since_ms = (leader.number, lost)
        for key, since_ms in lost.items():
            if self.world.now_ms - since_ms > LOST_MAX_MS:
                raise Violation(f"{key} runs on a healthy node, and is lost to the log")

    def _follows(self, m: Machine) -> None:
        """Whoever it believes to lead was elected for that term, as far as that is expected."""
        assert m.node is not None
        announced, log_id = m.node.context.announced, m.node.context.pool_log.log_id
        if announced.node_id is None or log_id is None:
            return
        believed = (log_id, announced.term, announced.node_id)
        if believed in self.believed:
            return
        by = next(o for o in self.world.machines if o.node_id == announced.node_id)
        led = self.leaders.get((log_id, announced.term))
        if led != by.number and by.number not in self.world.liars:
            raise Violation(f"node {m.number} follows node {by.number}, whom nobody elected")
        self.believed.add(believed)

    def _complete(self, s: RaftState) -> None:
        """Leader Completeness, and that only entries of its own term are counted (figure 8)."""
        name, term = s.log_id, s.hard.term
        commit_index = self.counted.get((name, term))
        if commit_index is None:
            for index in range(s.log.base_index + 1, self.newest.get(name, 0) + 1):
                chosen = self.chosen.get((name, index))
                # Chosen in an earlier term: another's may have been chosen since it was elected.
                if chosen is None or self.chosen_in[name, index] >= term:
                    continue
                if s.log.term_at(index) != chosen.term:
                    raise Violation(f"the leader of term {term} lacks entry {index}")
        elif s.commit_index > commit_index and s.log.term_at(s.commit_index) != term:
            raise Violation(f"the leader of term {term} counts entries of an old one")
        self.counted[name, term] = s.commit_index

    def _log(self, name: Digest, pool_log: PoolLog, seen: Seen, number: int) -> None:
        assert pool_log.raft is not None
        commit_index, applied_index = pool_log.commit_index, pool_log.applied_index
        held = pool_log.previous_epoch is None
        if commit_index < seen.commit_index or (held and applied_index < seen.applied_index):
            raise Violation(f"the commit index of node {number} falls")
        seen.commit_index = commit_index
        log = pool_log.raft.state.log
        for entry in log.between(max(seen.checked_index, log.base_index) + 1, commit_index):
            self._choose((name, entry.index), entry, pool_log.term)
        seen.checked_index = commit_index
        state = pool_log.state
        if state is None or pool_log.previous_epoch is not None:
            return  # Of the log before a recovery, until that of this one is there.
        # Again and again: others may get to an index only after somebody claimed to be there.
        if self.histories.setdefault((name, applied_index), state.history) != state.history:
            raise Violation(f"two histories lead to index {applied_index}")
        if applied_index == seen.applied_index:
            return
        seen.applied_index = applied_index
        if applied_index % DIGEST_EVERY == 0:
            place = (name, applied_index)
            if self.digests.setdefault(place, digest_of(state)) != digest_of(state):
                raise Violation(f"two states at index {applied_index}")
        _given_up_in_time(state)
        _within_bounds(state)
        for request_id, done in state.applied.items():
            if self.applied.setdefault((name, request_id), done.index) != done.index:
                raise Violation(f"a request was applied at {done.index} once more")

    def _choose(self, place: Place, entry: Entry, term: int) -> None:
        old = self.chosen.get(place)
        if old is None:
            self.chosen[place], self.chosen_in[place] = entry, term
            self.trails.chosen(place[0], entry)
            self.newest[place[0]] = max(self.newest.get(place[0], 0), place[1])
        elif old is not entry and old != entry:
            raise Violation(f"two entries are committed at {entry.index}")

    # --- what is said -----------------------------------------------------------------------------

    def heard(self, m: Machine, to: Machine | None, message: Message) -> None:
        """A message leaves a machine: what it claims has to be on its disk."""
        if m.number in self.world.liars:
            return
        hard = m.disk.hard
        match message:
            case VoteRequested(pre=False):
                self._voted(m, message)
            case VoteAnswered(pre=False, granted=True):
                self._voted(m, message)
            case AppendAnswered(ok=True) if message.log_id == m.disk.log_id or message.match_index:
                held = max(m.disk.entries, default=0)
                below = m.disk.snapshot is not None and message.match_index <= m.disk.base_index
                if hard.term < message.term or not (held >= message.match_index or below):
                    raise Violation(f"node {m.number} claims an entry that is not on its disk")
            case HistorySigned() | CertificateSigned() | ConfigurationSigned():
                signed = (
                    message.commit_index
                    if isinstance(message, CertificateSigned)
                    else message.index
                )
                if m.disk.log_id == message.log_id and signed > m.disk.commit_index():
                    raise Violation(f"node {m.number} signs a commit that is not on its disk")
            case SnapshotAnswered():
                if hard.term < message.term:
                    raise Violation(f"node {m.number} is in a term that is not on its disk")
            case OrderAnswered(ok=True):
                self.obeyed[m.store_id] = message.token
                if message.token > m.disk.token():
                    raise Violation(f"node {m.number} obeys a token that is not on its disk")
            case _:
                pass

    def _voted(self, m: Machine, said: VoteRequested | VoteAnswered) -> None:
        term, candidate = said.term, said.candidate.store_id
        if self.votes.setdefault((said.log_id, term, m.store_id), candidate) != candidate:
            raise Violation(f"a store voted twice in term {term}")
        if m.disk.hard.term <= term and m.disk.hard != HardState(term, candidate):
            raise Violation(f"a vote of term {term} was told before it was durable")

    # --- people -----------------------------------------------------------------------------------

    def asked_to_read(self, request_id: int) -> None:
        """A consistent read was asked: it has to see all that is committed by now."""
        self.reads[request_id] = dict(self.newest)

    def answered(self, m: Machine, request_id: int, result: object) -> None:
        """An answer to a read, or to a submission."""
        if not isinstance(result, Accepted) or m.number in self.world.liars:
            return
        if request_id in self.reads:
            newest = self.reads.pop(request_id)
            assert m.node is not None
            pool_log = m.node.context.pool_log
            assert pool_log.raft is not None
            floor = newest.get(pool_log.raft.state.log_id, 0)
            self.reads_answered += 1
            if min(result.index, pool_log.applied_index) < floor:
                raise Violation(f"a read at {result.index} misses what was committed at {floor}")
        else:
            epoch = m.node.context.pool_log.epoch if m.node is not None else 0
            old = self.acknowledged.setdefault((epoch, request_id), result)
            if result.index != old.index:
                raise Violation(f"request {request_id} was acknowledged at two indexes")

    # --- containers -------------------------------------------------------------------------------

    def started(self, m: Machine, key: Key, epoch: int) -> None:
        """A container begins: no other machine ever began this attempt of that epoch."""
        number, _ = self.begun.setdefault((key, epoch), (m.number, self.world.now_ms))
        if number != m.number:
            raise Violation(f"{key} was begun on two nodes")

    def stopped(self, m: Machine, key: Key, epoch: int) -> None:
        """A container that runs is ended: by the log as far as anybody has it, or because the node
        is out of the pool, never for any other reason."""
        if m.number in self.world.liars:
            return
        state = self.furthest
        assert state is not None
        allocation, attempt = key
        copy = state.allocation(allocation)
        task = state.tasks.get(allocation.task_id)
        if copy is None or task is None or task.stop_requested or copy.attempt != attempt:
            return
        if copy.state in UNWANTED or copy.node_id != m.node_id:
            return
        if task.spec.on_disconnect is OnDisconnect.STOP and m.node is not None:
            led_ms = m.node.parts.worker.led_ms
            window_ms = task.spec.reconnect_window_s * 1000
            if led_ms is not None and self.world.now(m).mono_ms - led_ms >= window_ms >= 0:
                return  # It heard no leader for so long, and its submitter signed that.
        _, begun_ms = self.begun.get((key, epoch), (m.number, 0))
        if self.world.out_ms.get(m.number, -1) < begun_ms:
            raise Violation(f"{key} was ended on node {m.number}, and the log wants it to run")

    # --- at the end -------------------------------------------------------------------------------

    def converged(self) -> bool:
        """Whether everything has come to rest."""
        return not liveness.unsettled(self.world)

    def finish(self, submitted: dict[int, TaskId]) -> None:
        """What an acknowledgement promised is there, everywhere, once, and nothing runs that
        should not."""
        why = liveness.disagreement(self.world)
        if why:
            raise Violation(why)
        for m in self.world.machines:
            parts = m.node.parts if m.node is not None else None
            logs = (parts.equivocation, parts.bad_appends) if parts else ()
            proofs = [name for log in logs for name in log.kept.by_name]
            honest = [proof for proof in proofs if proof[2] not in self.world.perjured]
            if honest and not self.world.liars:
                raise Violation(f"node {m.number} holds proof against a voter that never lied")
        state = liveness.a_state(self.world)
        for request_id, result in self.world.replies.items():
            name = submitted.get(request_id)
            if isinstance(result, Accepted) and name is not None and name not in state.tasks:
                raise Violation(f"an acknowledged submission is lost: {request_id}")


def _stamp(state: PoolState) -> tuple[int, int]:
    return state.epoch, state.applied_index


def _given_up_in_time(state: PoolState) -> None:
    """No change of the committee is given up before its deadline."""
    last = state.chain.links[-1] if state.chain.links else None
    if last is None or not last.given_up or state.level < DISTRUST_LEVEL:
        return
    if state.log_time_ms - last.at_ms < limits.VOTER_REPLACE_AFTER_MS:
        raise Violation(f"the committee's change at {last.index} was given up early")


def _within_bounds(state: PoolState) -> None:
    """All tasks that have not ended fit into what a pool holds."""
    if state.level < DISTRUST_LEVEL:
        return
    live = [task for task in state.tasks.values() if not task.finished]
    copies = sum(len(state.of_task(task.task_id)) for task in live)
    size = sum(len(task.record.signed.request.spec_json) for task in live)
    if copies > limits.STATE_COPIES_MAX or size > limits.STATE_MAX_BYTES:
        raise Violation(f"{len(live)} tasks have {copies} copies and {size} bytes")
