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
    ledger = context.ledger
    state = ledger.state
    intent = state.node(context.me).intent if state is not None else Intent.ELIGIBLE
    return Heartbeat(
        agent_version=context.config.agent_version,
        addresses=addresses[: limits.ADDRESSES_MAX],
        store_id=context.config.me.store_id,
        intent=intent,
        role=ledger.role,
        leader=context.leader(now),
        epoch=ledger.epoch,
        term=ledger.term,
        applied_index=ledger.applied_index,
        hardware_digest=digest,
        hardware=hardware,
        free=worker.free(hardware),
        allocations=worker.statuses()[: limits.ALLOCATIONS_PER_HEARTBEAT_MAX],
        load=load,
        healthy=healthy,
        reason=reason.encode()[: limits.NAME_MAX_BYTES].decode(errors="ignore"),
    )
