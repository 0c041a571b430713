"""The state as release 0.1.0 wrote it, one array: we read it from that release's disks, and encode
it if a root record of that time names its digest (algorithm 0).

This format is frozen. It leaves out fields that later levels add to these records.
"""

from typing import Annotated

import attrs

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.codec.spec.spec import parse_spec
from p2pool.core.fsm.state import (
    Allocation,
    AppliedRequest,
    NodeRecord,
    PoolState,
    Stray,
    Task,
    TaskRecord,
)
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import Digest, PoolRef
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import Revocation, Setting


@attrs.frozen
class PoolArray:
    """The whole state, its fields in the order written."""

    pool: PoolRef
    epoch: int
    applied_index: int
    applied_term: int
    log_time_ms: int
    tasks: Annotated[tuple[TaskRecord, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    allocations: Annotated[tuple[Allocation, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    strays: Annotated[tuple[Stray, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    nodes: Annotated[tuple[NodeRecord, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    settings: Annotated[tuple[Setting, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    revocations: Annotated[tuple[Revocation, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    applied: Annotated[tuple[AppliedRequest, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    recovered_at_ms: int
    chain: CommitteeChain
    held_until_ms: int
    held_because: str
    history: Digest


def encode_array(state: PoolState) -> bytes:
    """The bytes that 0.1.0 would have written for this state."""
    kept = PoolArray(
        pool=state.pool,
        epoch=state.epoch,
        applied_index=state.applied_index,
        applied_term=state.applied_term,
        log_time_ms=state.log_time_ms,
        tasks=tuple(task.record for task in state.tasks.values()),
        allocations=tuple(state.all_allocations()),
        strays=tuple(state.strays.values()),
        nodes=tuple(state.nodes.values()),
        settings=tuple(Setting(name, value) for name, value in state.settings.items()),
        revocations=tuple(state.revocations.values()),
        applied=tuple(state.applied.values()),
        recovered_at_ms=state.recovered_at_ms,
        chain=state.chain,
        held_until_ms=state.held_until_ms,
        held_because=state.held_because,
        history=state.history,
    )
    return encode_struct(kept, BASE_LEVEL)


def decode_array(data: bytes) -> PoolState:
    """The state in 0.1.0's bytes; `Malformed` (or `BadSpec`) for any others."""
    kept = decode_struct(PoolArray, data, BASE_LEVEL)
    state = PoolState(
        pool=kept.pool,
        epoch=kept.epoch,
        applied_index=kept.applied_index,
        applied_term=kept.applied_term,
        log_time_ms=kept.log_time_ms,
    )
    for record in kept.tasks:
        spec = parse_spec(record.signed.request.spec_json, BASE_LEVEL)
        state.put_task(Task(record, spec))
    for copy in kept.allocations:
        state.put(copy)
    state.strays = {(s.allocation, s.attempt): s for s in kept.strays}
    state.nodes = {n.node_id: n for n in kept.nodes}
    state.settings = {s.name: s.value for s in kept.settings}
    for revocation in kept.revocations:
        state.revoke(revocation)
    for request in kept.applied:
        state.note_applied(request)
    state.recovered_at_ms = kept.recovered_at_ms
    state.chain = kept.chain
    state.held_until_ms, state.held_because = kept.held_until_ms, kept.held_because
    state.history = kept.history
    return state
