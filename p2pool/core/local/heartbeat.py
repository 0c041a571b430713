"""What a heartbeat says of this node."""

from p2pool.core.context import Context
from p2pool.core.worker.worker import Worker
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.machine.hardware import Hardware, Load
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.states import Intent
from p2pool.model.timing import Now


def heartbeat(
    context: Context,
    worker: Worker,
    hardware: Hardware,
    digest: Digest,
    load: Load,
    addresses: tuple[str, ...],
    healthy: bool,
    reason: str,
    now: Now,
) -> Heartbeat:
    """What this node would say now. `digest` is that of `hardware`."""
    pool_log = context.pool_log
    state = pool_log.state
    intent = state.node(context.me).intent if state is not None else Intent.ELIGIBLE
    return Heartbeat(
        context.config.agent_version,
        addresses[: limits.ADDRESSES_MAX],
        context.config.me.store_id,
        intent,
        pool_log.role,
        context.leader(now),
        pool_log.epoch,
        pool_log.term,
        pool_log.applied_index,
        digest,
        hardware,
        worker.free(hardware),
        worker.statuses()[: limits.ALLOCATIONS_PER_HEARTBEAT_MAX],
        load,
        healthy,
        reason.encode()[: limits.NAME_MAX_BYTES].decode(errors="ignore"),
    )
