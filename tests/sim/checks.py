"""What must hold whatever happens, looked at from outside after every step of every node."""

import attrs

from p2pool.codec.messages import decode_body
from p2pool.core.pool.state import Allocation
from p2pool.model.entries import ChangeCertified
from p2pool.model.ids import Digest, TaskId
from p2pool.model.ports import Accepted
from p2pool.model.raft import Configuration, Entry, Voter
from p2pool.model.runtime import ContainerStatus
from p2pool.model.states import RaftRole
from tests.sim.machine import Machine
from tests.sim.violation import Violation
from tests.sim.world import World


@attrs.define
class Trail:
    """The changes of one log's voters, up to an entry; `waits`: one that is not certified yet."""

    index: int
    voters: tuple[Voter, ...] | None = None
    waits: int | None = None


@attrs.define
class Checks:
    """The memory of an observer who sees all machines."""

    world: World
    leaders: dict[tuple[Digest, int], int] = attrs.field(factory=dict)
    chosen: dict[tuple[Digest, int], Entry] = attrs.field(factory=dict)
    checked: dict[tuple[Digest, int, int], int] = attrs.field(factory=dict)
    accepted: dict[int, Accepted] = attrs.field(factory=dict)
    trails: dict[Digest, Trail] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Watch every step."""
        self.world.on_step.append(self.look)

    def look(self, m: Machine) -> None:
        """After a step of one machine."""
        assert m.node is not None
        ledger = m.node.context.ledger
        raft = ledger.raft
        if raft is None:
            return
        name = raft.state.log_id
        if ledger.role is RaftRole.LEADER:
            first = self.leaders.setdefault((name, ledger.term), m.number)
            if first != m.number:
                raise Violation(f"two leaders in term {ledger.term}")
        key = (name, m.number, m.life)
        log = raft.state.log
        begin = max(self.checked.get(key, 0), log.base_index)
        for entry in log.between(begin + 1, raft.state.commit_index):
            if self.chosen.setdefault((name, entry.index), entry) != entry:
                raise Violation(f"entry {entry.index} was committed twice")
            self._check_certified(self.trails.setdefault(name, Trail(entry.index - 1)), entry)
        self.checked[key] = raft.state.commit_index

    def _check_certified(self, trail: Trail, entry: Entry) -> None:
        """The voters change only once the change before is certified, or given up in the log."""
        if entry.index != trail.index + 1:
            return  # Looked at before, on another machine.
        trail.index = entry.index
        body = decode_body(entry.kind, entry.body)
        if isinstance(body, Configuration):
            if trail.voters is not None and body.voters != trail.voters:
                if trail.waits is not None:
                    raise Violation(f"the voters changed before {trail.waits} was certified")
                trail.waits = entry.index
            trail.voters = body.voters
        elif isinstance(body, ChangeCertified) and body.index == trail.waits:
            trail.waits = None

    # --- at the end -------------------------------------------------------------------------------

    def converged(self) -> bool:
        """Whether all nodes agree, somebody leads, and every task has come to its end."""
        nodes = [m.node for m in self.world.machines if m.node is not None]
        states = [n.context.ledger.state for n in nodes]
        if any(s is None or s.applied_index != states[0].applied_index for s in states
               if states[0] is not None):  # fmt: skip
            return False
        if not any(n.context.ledger.leads for n in nodes) or states[0] is None:
            return False
        return all(task.finished for task in states[0].tasks.values())

    def finish(self, submitted: dict[int, TaskId]) -> None:
        """What an acknowledgement promised is there, everywhere, and nothing runs on."""
        states = [m.node.context.ledger.state for m in self.world.machines if m.node is not None]
        digests = {s.digest() for s in states if s is not None}
        if len(digests) != 1 or len(states) != len(self.world.machines):
            raise Violation("the nodes do not agree in the end")
        state = states[0]
        assert state is not None
        for request_id, result in self.world.replies.items():
            name = submitted.get(request_id)
            if isinstance(result, Accepted) and name is not None and name not in state.tasks:
                raise Violation(f"an acknowledged submission is lost: {request_id}")
        for machine in self.world.machines:
            for container in machine.engine.containers.values():
                self._check_idle(container, state.allocation(container.allocation))

    def _check_idle(self, container: ContainerStatus, copy: Allocation | None) -> None:
        if not container.ended:
            raise Violation(f"{container.allocation} runs on, and its task is {copy}")
