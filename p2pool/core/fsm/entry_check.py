"""What the state's rules say of an entry before it is in the log.

Intuition: applying skips what does not fit, so most of what a lying leader writes does no harm.
Some of it would: a body that is none, a setting with a value that nobody may set, a feature level
that not everybody knows. No honest leader writes these, so no follower appends them.

Invariants: only what no state could make right is refused here: a leader plans on a state that a
follower may not have yet. What a later version writes passes, for here it applies as nothing.
Source: docs/design/consensus.md, "What a follower appends".
"""

from collections.abc import Callable, Mapping

from p2pool.codec.entries import Record, read_entry
from p2pool.codec.json.depth import too_deep
from p2pool.core.fsm.requests import setting_of, setting_refusal
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Malformed, P2poolError
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import PoolRef
from p2pool.model.log import entries
from p2pool.model.log.raft import Entry


def refusal(pool: PoolRef, newest: FeatureLevel, entry: Entry) -> str | None:
    """Why an entry has no place in this pool's log, or None. `newest`: the highest level that this
    program knows; an honest leader asks every voter before it raises the level beyond."""
    return read(pool, newest, entry)[0]


def read(pool: PoolRef, newest: FeatureLevel, entry: Entry) -> tuple[str | None, Record | None]:
    """`refusal`, and what the entry says: None where this program cannot read it."""
    if len(entry.body) > limits.ENTRY_MAX_BYTES:
        return f"an entry has {limits.ENTRY_MAX_BYTES} bytes at most", None
    unread, record = read_entry(entry)
    if record is None:
        return unread, None
    if isinstance(record, entries.LevelRaised) and record.level > newest:
        return f"it raises the pool to level {record.level}, which this version does not know", None
    check = _CHECKS.get(type(record))
    why = check(pool, record) if check is not None else None
    return str(why) if why is not None else None, record


def takes_request(record: Record | None) -> bool:
    """Whether a record says without a signature what people sign: earlier levels know these, and no
    leader writes them."""
    return isinstance(record, entries.Setting | entries.Revocation)


def _setting(pool: PoolRef, record: entries.Setting) -> P2poolError | None:
    return setting_refusal(record.name, record.value)


def _request(pool: PoolRef, record: entries.RequestApplied) -> P2poolError | None:
    request = record.signed.request
    if request.pool_id != pool.pool_id:
        return Malformed("The request is for another pool.")
    # What is nested deeply is right or not by the pool's level, and how deep a parser can go is
    # this machine's own: the state judges it, unread from level 2 on.
    if request.action is not Action.SET or too_deep(request.spec_json):
        return None
    try:
        setting_of(request)
    except P2poolError as error:
        return error
    return None


_CHECKS: Mapping[type, Callable[..., P2poolError | None]] = {
    entries.Setting: _setting,
    entries.RequestApplied: _request,
}
