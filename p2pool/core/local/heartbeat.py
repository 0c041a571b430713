"""Our own heartbeat: its content, and when to send it.

This node also hears its own heartbeat, so it knows itself as the others know it.
"""

import attrs

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.text.clip import clipped
from p2pool.core.context import Context
from p2pool.core.fsm.state import PoolState
from p2pool.core.local.machine import Machine
from p2pool.core.worker.worker import Worker
from p2pool.model import limits
from p2pool.model.messages.gossip import AllocationStatus, Heartbeat
from p2pool.model.states import AllocationState, Intent
from p2pool.model.timing import Now


@attrs.define
class HeartbeatSender:
    """Sends one node's heartbeats. `said_last`: it has sent its last one and fallen silent."""

    context: Context
    worker: Worker
    machine: Machine
    said_last: bool = False

    @property
    def speaks(self) -> bool:
        """Whether this node sends heartbeats: a member that knows its hardware does."""
        return self.machine.hardware is not None and self.context.roster.belongs(self.context.me)

    def wakeup_ms(self) -> int | None:
        """When the next one is due."""
        return self.context.heartbeats.wakeup_ms() if self.speaks else None

    def send(self, now: Now) -> None:
        """Send a heartbeat if due."""
        context = self.context
        context.duplicates_now(now)
        content = self._content(now)
        if content is None:
            return
        context.heartbeats.offer(content)
        due = context.heartbeats.take_due(content, context.roster.size(), now)
        context.heartbeats.hear_own(context.me, content, context.config.incarnation, now)
        context.roster.heard(context.me, now)
        if due is not None:
            context.publish(_in_one_message(due))

    def last_word(self, now: Now) -> Heartbeat | None:
        """The last heartbeat, once, before this node falls silent for another with its keys."""
        if self.said_last or self.context.bindings.superseded is None:
            return None
        self.said_last = True
        return self._content(now)

    def _allocations(self, state: PoolState | None) -> tuple[AllocationStatus, ...]:
        """The states of our copies, as far as they fit: first those that the log takes for lost,
        so that the leader takes them back."""
        said = self.worker.statuses()
        if state is not None and len(said) > limits.ALLOCATIONS_PER_HEARTBEAT_MAX:
            copies = state.on_node(self.context.me)
            lost = {c.allocation: None for c in copies if c.state is AllocationState.LOST}
            said = tuple(sorted(said, key=lambda status: status.allocation not in lost))
        return said[: limits.ALLOCATIONS_PER_HEARTBEAT_MAX]

    def _content(self, now: Now) -> Heartbeat | None:
        """What a heartbeat would say now."""
        context, machine, pool_log = self.context, self.machine, self.context.pool_log
        if machine.hardware is None or not self.speaks:
            return None
        state = pool_log.state
        intent = state.node(context.me).intent if state is not None else Intent.ELIGIBLE
        reason = clipped(machine.reason or "", limits.NAME_MAX_BYTES)
        return Heartbeat(
            agent_version=context.config.agent_version,
            feature_level=context.config.newest_level,
            addresses=machine.addresses[: limits.ADDRESSES_MAX],
            store_id=context.config.me.store_id,
            intent=intent,
            role=pool_log.role,
            leader=context.leader(now),
            epoch=pool_log.epoch,
            term=pool_log.term,
            applied_index=pool_log.applied_index,
            hardware_digest=machine.digest,
            hardware=machine.hardware,
            free=self.worker.free(machine.hardware),
            allocations=self._allocations(state),
            load=machine.load,
            healthy=machine.trouble is None,
            reason=reason,
        )


def _in_one_message(content: Heartbeat) -> Heartbeat:
    """The heartbeat as far as gossip takes it: without its hardware, which others then ask for, and
    with fewer of its copies and addresses, where all of it is too long. What says that we live is
    never too long."""
    room_bytes = limits.GOSSIP_MESSAGE_MAX_BYTES - limits.ENVELOPE_OVERHEAD_MAX_BYTES
    while len(encode_struct(content)) > room_bytes:
        if content.hardware is not None:
            content = attrs.evolve(content, hardware=None)
        elif content.allocations:
            content = attrs.evolve(
                content, allocations=content.allocations[: len(content.allocations) // 2]
            )
        elif content.addresses:
            content = attrs.evolve(content, addresses=content.addresses[:-1])
        else:
            gpus = content.load.gpus[: len(content.load.gpus) // 2]
            content = attrs.evolve(content, load=attrs.evolve(content.load, gpus=gpus))
    return content
