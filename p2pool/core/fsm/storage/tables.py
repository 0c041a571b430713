"""The tables of the replicated state: which records each holds, under which keys.

Intuition: a snapshot is the state written as tables, in a fixed order of tables and in the log's
order of rows. Single values (the applied index, the hold, ...) are rows of the table `meta`; its
first row is the feature level, which says how to read the rest.

Invariants: a table or row of `meta` that a later level adds says so (`since`); below that level it
is empty, or at its default, and is not written. A record determines its key, so no two rows hold
the same thing.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import attrs

from p2pool.core.fsm.requests import task_of
from p2pool.core.fsm.state import (
    Allocation,
    AppliedRequest,
    NodeRecord,
    PoolState,
    Stray,
    TaskRecord,
)
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel, since
from p2pool.model.field_bounds import Name, bounded
from p2pool.model.ids import AllocationId, Digest, PoolRef
from p2pool.model.log.certificates import Link
from p2pool.model.log.entries import Revocation, Setting
from p2pool.model.log.raft import Voters
from p2pool.model.tasks.set_aside import SetAside

META = "meta"
INTEGER_BYTES = 8
SIGNED_OFFSET = 2**63


@attrs.frozen
class LevelRow:
    """The pool's feature level, and the version of the leader that raised it. This shape never
    changes: the level says how to read the other rows, or which version to install for that."""

    level: FeatureLevel
    version: Name


@attrs.frozen
class EpochRow:
    """The state's pool and epoch, and when the epoch began from another's log."""

    pool: PoolRef
    epoch: int
    recovered_at_ms: int


@attrs.frozen
class AppliedRow:
    """How far the log is applied."""

    index: int
    term: int
    log_time_ms: int
    history: Digest
    forgotten_s: int = since(2, default=0)


@attrs.frozen
class HoldRow:
    """Until when no copy on a vanished node is replaced, and why."""

    until_ms: int
    because: Annotated[str, bounded(text=limits.TEXT_MAX_BYTES)]


@attrs.frozen
class CommitteeRow:
    """What the links of the committee's chain start from."""

    epoch: int
    base: Voters
    dropped: int


@attrs.frozen
class MetaRow:
    """One row of `meta`: how to get it from a state, and how to put it into one. `default` is its
    value below the level that added it."""

    key: bytes
    record: type
    of: Callable[[PoolState], Any]
    take: Callable[[PoolState, Any], None]
    since: FeatureLevel = BASE_LEVEL
    default: object = None


@attrs.frozen
class Table:
    """One table: its records in the log's order, a record's key, and how a state takes it in."""

    name: str
    record: type
    key: Callable[[Any], bytes]
    records: Callable[[PoolState], Iterable[Any]]
    take: Callable[[PoolState, Any], None]
    since: FeatureLevel = BASE_LEVEL
    most: int = limits.RECORD_ITEMS_MAX


def _take_level(state: PoolState, row: LevelRow) -> None:
    state.level, state.level_version = row.level, row.version


def _take_epoch(state: PoolState, row: EpochRow) -> None:
    state.pool, state.epoch, state.recovered_at_ms = row.pool, row.epoch, row.recovered_at_ms


def _take_applied(state: PoolState, row: AppliedRow) -> None:
    state.applied_index, state.applied_term = row.index, row.term
    state.log_time_ms, state.history = row.log_time_ms, row.history
    state.forgotten_s = row.forgotten_s


def _take_hold(state: PoolState, row: HoldRow) -> None:
    state.held_until_ms, state.held_because = row.until_ms, row.because


def _take_committee(state: PoolState, row: CommitteeRow) -> None:
    state.chain = attrs.evolve(
        state.chain, epoch=row.epoch, base=row.base, links=(), dropped=row.dropped
    )


META_ROWS: tuple[MetaRow, ...] = (
    MetaRow(b"level", LevelRow, lambda s: LevelRow(s.level, s.level_version), _take_level),
    MetaRow(
        b"epoch", EpochRow, lambda s: EpochRow(s.pool, s.epoch, s.recovered_at_ms), _take_epoch
    ),
    MetaRow(
        b"applied",
        AppliedRow,
        lambda s: AppliedRow(
            index=s.applied_index,
            term=s.applied_term,
            log_time_ms=s.log_time_ms,
            history=s.history,
            forgotten_s=s.forgotten_s,
        ),
        _take_applied,
    ),
    MetaRow(b"hold", HoldRow, lambda s: HoldRow(s.held_until_ms, s.held_because), _take_hold),
    MetaRow(
        b"committee",
        CommitteeRow,
        lambda s: CommitteeRow(s.chain.epoch, s.chain.base, s.chain.dropped),
        _take_committee,
    ),
)
"""The rows of `meta`, in order."""


def _number(value: int) -> bytes:
    """The bytes of any integer that a field may hold; they sort like the numbers."""
    return (value + SIGNED_OFFSET).to_bytes(INTEGER_BYTES + 1, "big")


def _copy_key(copy: AllocationId) -> bytes:
    return copy.task_id + _number(copy.replica)


def _take_task(state: PoolState, record: TaskRecord) -> None:
    state.put_task(task_of(record, state.level))


def _take_stray(state: PoolState, stray: Stray) -> None:
    state.strays[(stray.allocation, stray.attempt)] = stray


def _take_node(state: PoolState, node: NodeRecord) -> None:
    state.nodes[node.node_id] = node


def _take_setting(state: PoolState, setting: Setting) -> None:
    state.settings[setting.name] = setting.value


def _take_link(state: PoolState, link: Link) -> None:
    state.chain = attrs.evolve(state.chain, links=(*state.chain.links, link))


def _take_set_aside(state: PoolState, row: SetAside) -> None:
    state.set_aside.put(row)


TABLES: tuple[Table, ...] = (
    Table(
        name="tasks",
        record=TaskRecord,
        key=lambda task: bytes(task.task_id),
        records=lambda s: (task.record for task in s.tasks.values()),
        take=_take_task,
    ),
    Table(
        name="allocations",
        record=Allocation,
        key=lambda copy: _copy_key(copy.allocation),
        records=PoolState.all_allocations,
        take=PoolState.put,
    ),
    Table(
        name="strays",
        record=Stray,
        key=lambda stray: _copy_key(stray.allocation) + _number(stray.attempt),
        records=lambda s: s.strays.values(),
        take=_take_stray,
    ),
    Table(
        name="nodes",
        record=NodeRecord,
        key=lambda node: bytes(node.node_id),
        records=lambda s: s.nodes.values(),
        take=_take_node,
    ),
    Table(
        name="settings",
        record=Setting,
        key=lambda setting: setting.name.encode(),
        records=lambda s: (Setting(name, value) for name, value in s.settings.items()),
        take=_take_setting,
    ),
    Table(
        name="revocations",
        record=Revocation,
        key=lambda revocation: bytes(revocation.delegate),
        records=lambda s: s.revocations.values(),
        take=PoolState.revoke,
    ),
    Table(
        name="applied",
        record=AppliedRequest,
        key=lambda request: bytes(request.request_id),
        records=lambda s: s.applied.values(),
        take=PoolState.note_applied,
    ),
    Table(
        name="links",
        record=Link,
        key=lambda link: _number(link.index),
        records=lambda s: s.chain.links,
        take=_take_link,
        most=limits.CHAIN_LINKS_MAX,
    ),
    Table(
        name="set_aside",
        record=SetAside,
        key=lambda row: bytes(row.task_id) + bytes(row.node_id),
        records=lambda s: s.set_aside,
        take=_take_set_aside,
        since=DISTRUST_LEVEL,
        most=limits.SET_ASIDE_MAX,
    ),
)
"""The tables after `meta`, in order."""
