"""How each kind of log entry changes the replicated state: one table, and nothing beside it.

Intuition: an entry is a leader's wish. If it no longer fits when it is applied (another copy holds
the GPU, the copy was replaced, the state cannot follow), it changes nothing: every replica refuses
alike, so a leader that planned on an older state does no harm.

Invariants: applying reads only the entry, and `proposed_at_ms` is the only time; a placement
applies whole or not at all; no GPU gets a second holder, and no node more copies than an order
holds (`order_room`); no delegate gets a place beyond its quota, or under a delegation that was
revoked (`access`); allocation states follow `states.ALLOCATION`, where a new attempt is a new
machine; whatever the log's feature level lacks (kinds, fields, keys of a specification) applies as
nothing, even if the program knows it.
Source: docs/design/consensus.md, "The log and the state".
"""

from collections.abc import Callable, Mapping

import attrs

from p2pool.codec.entries import Record, decode_body
from p2pool.core.fsm import committee_chain, nodes, tasks
from p2pool.core.fsm.access.quotas import QuotaRoom, added
from p2pool.core.fsm.access.revocations import withdrawn
from p2pool.core.fsm.adoption import adopt
from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.order_room import OrderRoom, room_on, task_order_bytes
from p2pool.core.fsm.permissions import refused_by_state
from p2pool.core.fsm.requests import apply_request, note_revocation
from p2pool.core.fsm.state import PoolState, history_after
from p2pool.model.access.requests import Signers
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import NodeId, Token
from p2pool.model.log import entries
from p2pool.model.log.raft import Configuration, Entry
from p2pool.model.ports.view import Event
from p2pool.model.states import AllocationState, Intent, Reachability

REPORTABLE = (
    AllocationState.PULLING,
    AllocationState.STARTING,
    AllocationState.RUNNING,
    AllocationState.STOPPING,
    AllocationState.SUCCEEDED,
    AllocationState.FAILED,
    AllocationState.STOPPED,
    AllocationState.LOST,
)
GONE = (AllocationState.SUCCEEDED, AllocationState.FAILED, AllocationState.STOPPED)


def apply_entry(state: PoolState, entry: Entry) -> tuple[Event, ...]:
    """Decode an entry's body and apply it; see `apply`."""
    return apply(state, entry, decode_body(entry.kind, entry.body, state.level))


def apply(state: PoolState, entry: Entry, record: Record | None) -> tuple[Event, ...]:
    """Change the state by the next entry and return the events.

    Entries come without a gap. `record` is the entry's decoded body, None for an unknown kind.
    """
    assert entry.index == state.applied_index + 1, (entry.index, state.applied_index)
    state.applied_index, state.applied_term = entry.index, entry.term
    stood = entry.proposed_at_ms <= state.log_time_ms
    state.log_time_ms = max(state.log_time_ms, entry.proposed_at_ms)
    state.history = history_after(state.history, entry)
    changes = Changes(state, entry.index, stood)
    if record is not None:
        _TABLE[type(record)](changes, record)
        tasks.finish(changes)
    return tuple(changes.events)


def _noop(changes: Changes, record: entries.Noop) -> None:
    leader = record.leader.hex()
    term = changes.state.applied_term
    changes.tell("leader", leader, "became the leader", node_id=f"0x{leader}", term=term)


def _configuration(changes: Changes, record: Configuration) -> None:
    """The chain of committees follows once the outgoing voters are left: they sign that."""
    if record.flaw is not None:
        return
    count = len(record.voters)
    if record.is_joint:
        before = len(record.outgoing)
        text = f"passes from {before} to {count}"
        changes.tell("committee", "committee", text, state="passing", voters=count, outgoing=before)
        return
    text = f"has {count} voter{'' if count == 1 else 's'}"
    changes.tell("committee", "committee", text, state="settled", voters=count)
    state = changes.state
    state.chain = committee_chain.extended(
        state.chain,
        state.epoch,
        record.voters,
        changes.index,
        state.applied_term,
        state.log_time_ms,
    )


def _certify(changes: Changes, record: entries.Certify) -> None:
    """The voters sign the state as it is here; nothing changes."""


def _certificate(changes: Changes, record: entries.ChangeCertified) -> None:
    state = changes.state
    before = state.chain
    if state.level >= DISTRUST_LEVEL:
        state.chain = committee_chain.merged(before, record, state.log_time_ms)
    else:
        state.chain = committee_chain.certified(before, record)
    if state.chain != before:
        link = next(one for one in state.chain.links if one.index == record.index)
        how = "is certified" if committee_chain.complete(state.chain, link) else "lacks signatures"
        how = "is not certified: too few answered" if link.given_up else how
        state_now = "given-up" if link.given_up else how.removeprefix("is ").replace(" ", "-")
        text = f"its change at {record.index} {how}"
        changes.tell("committee", "committee", text, state=state_now, index=record.index)


def _placement(changes: Changes, record: entries.Placement) -> None:
    """Place all copies, or none if one no longer fits."""
    state = changes.state
    taken: dict[tuple[bytes, str], None] = {}
    orders: dict[NodeId, OrderRoom] = {}
    quotas = QuotaRoom(state)
    for placed in record.placed:
        if not _fits(state, placed) or not _finds_room(state, orders, placed):
            return
        task = state.tasks[placed.allocation.task_id]
        copies = added(state.allocation(placed.allocation))
        if quotas.refusal(task, copies) is not None:
            return
        quotas.take(task, copies)
        for uuid in placed.gpus:
            if (placed.node_id, uuid) in taken:
                return
            taken[placed.node_id, uuid] = None
    names = [placed.allocation for placed in record.placed]
    if len(dict.fromkeys(names)) != len(names):
        return
    token = Token(state.epoch, state.applied_term, state.applied_index)
    for placed in record.placed:
        tasks.place(changes, placed, token)


def _fits(state: PoolState, placed: entries.Placed) -> bool:
    """Whether the pool can now place this copy on this node."""
    task = state.tasks.get(placed.allocation.task_id)
    if task is None or not tasks.wants_copy(state, task, placed.allocation.replica):
        return False
    copy = state.allocation(placed.allocation)
    if placed.attempt != (copy.next_attempt if copy else 1):
        return False
    if withdrawn(state, task):
        return False
    node = state.node(placed.node_id)
    if (node.reachability, node.intent) != (Reachability.HEALTHY, Intent.ELIGIBLE):
        return False
    if len(placed.gpus) != task.spec.resources.gpu.count:
        return False
    wanted = dict.fromkeys(placed.gpus)
    return not any(uuid in wanted for h in state.holders(placed.node_id) for uuid in h.gpus)


def _finds_room(state: PoolState, orders: dict[NodeId, OrderRoom], placed: entries.Placed) -> bool:
    """Whether its node's order has room for this copy, beside those of the entry before it."""
    if state.level < DISTRUST_LEVEL:
        return True
    if placed.node_id not in orders:
        orders[placed.node_id] = room_on(state, placed.node_id)
    room, task = orders[placed.node_id], state.tasks[placed.allocation.task_id]
    size_bytes = task_order_bytes(task.record)
    found = room.refusal(size_bytes, len(placed.gpus)) is None
    room.add(size_bytes, len(placed.gpus))
    return found


def _report(changes: Changes, record: entries.ReportApplied) -> None:
    for outcome in record.outcomes:
        _outcome(changes, record, outcome)


def _outcome(changes: Changes, record: entries.ReportApplied, o: entries.Outcome) -> None:
    """Apply one copy's outcome, if it belongs to the current attempt and may follow."""
    state = changes.state
    stray = state.strays.get((o.allocation, o.attempt))
    if stray is not None:
        if stray.node_id == record.node_id and o.state in GONE:
            del state.strays[(o.allocation, o.attempt)]
            changes.tell(
                "allocation",
                str(o.allocation),
                "an older copy of it is gone",
                state="gone",
                attempt=o.attempt,
                node_id=f"0x{record.node_id.hex()}",
            )
        elif (
            stray.node_id == record.node_id
            and o.state is AllocationState.RUNNING
            and tasks.may_take_back(state, stray)
        ):
            tasks.take_back(changes, stray, o.reason)
        return
    copy = state.allocation(o.allocation)
    if copy is None or copy.attempt != o.attempt:
        return
    if copy.node_id is None:
        if o.state is copy.state is AllocationState.PENDING and o.reason != copy.reason:
            changes.set(attrs.evolve(copy, reason=o.reason))
        else:
            tasks.fail_waiting(changes, copy, o)
        return
    if o.state is AllocationState.PENDING and tasks.waits_anew(state, copy):
        changes.set(attrs.evolve(copy, reason=o.reason))
        return
    fits = o.state in REPORTABLE and tasks.follows(state, copy, o.state)
    if copy.node_id == record.node_id and fits:
        tasks.take_outcome(changes, copy, o)


def _request(changes: Changes, record: entries.RequestApplied) -> None:
    """Apply a request, unless the state has taken its delegate's right to it: it was judged before
    it was appended, and another entry may have come in between."""
    if not _void(changes.state, record):
        apply_request(changes, record)


def _adopted(changes: Changes, record: entries.Adopted) -> None:
    if not _void(changes.state, record):
        adopt(changes, record)


def _void(state: PoolState, record: entries.RequestApplied | entries.Adopted) -> bool:
    if state.level < DISTRUST_LEVEL:
        return False
    signers = Signers(record.signer, record.grantor)
    return refused_by_state(state, record.signed, signers) is not None


def _setting(changes: Changes, record: entries.Setting) -> None:
    """Earlier levels set it, whatever the value; whoever reads one takes its default for what is
    none. Now it takes a signed request."""
    if changes.state.level >= DISTRUST_LEVEL:
        return
    changes.state.settings[record.name] = record.value
    changes.tell("setting", record.name, f"is {record.value}", value=record.value)


def _revocation(changes: Changes, record: entries.Revocation) -> None:
    """Earlier levels took a leader's word for it."""
    if changes.state.level < DISTRUST_LEVEL:
        note_revocation(changes, record)


def _level(changes: Changes, record: entries.LevelRaised) -> None:
    """Raise the level by one; it never skips or falls, and a repeated entry does nothing."""
    state = changes.state
    if record.level == state.level + 1:
        state.level, state.level_version = record.level, record.version
        changes.tell("pool", "feature level", f"is {record.level}", level=record.level)


_TABLE: Mapping[type, Callable[..., None]] = {
    entries.Noop: _noop,
    Configuration: _configuration,
    entries.RequestApplied: _request,
    entries.Placement: _placement,
    entries.ReportApplied: _report,
    entries.NodeChanged: nodes.judge,
    entries.NodesMoved: nodes.move,
    entries.ReplacementHeld: nodes.hold,
    entries.Setting: _setting,
    entries.Revocation: _revocation,
    entries.Adopted: _adopted,
    entries.Certify: _certify,
    entries.ChangeCertified: _certificate,
    entries.LevelRaised: _level,
}
