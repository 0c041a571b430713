"""Whether this program knows the feature level of a log, and what to tell people if not.

Intuition: an entry that raises the level says that later entries may have a form that older
programs lack. Such a program stops before that entry: if it went on, its state would diverge from
the others'. Its disk stays readable to it; it refuses a disk that a newer program has written,
whole.
"""

from p2pool.codec.entries import decode_body
from p2pool.codec.rows import split_rows
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import level_in, state_of
from p2pool.model.errors import Malformed, TooNew, TooOld
from p2pool.model.features import FeatureLevel
from p2pool.model.log.entries import LevelRaised
from p2pool.model.log.raft import Entry, EntryKind


def level_beyond(state: PoolState, entry: Entry, newest: FeatureLevel) -> TooOld | None:
    """Why this program cannot apply an entry that raises the level; None if it can."""
    if entry.kind != EntryKind.FEATURE_LEVEL:
        return None
    try:
        record = decode_body(entry.kind, entry.body, state.level)
    except Malformed:
        return None
    assert isinstance(record, LevelRaised)
    if record.level != state.level + 1 or record.level <= newest:
        return None
    return too_old(f"is at feature level {record.level}", newest, record.version)


def readable_state(data: bytes, newest: FeatureLevel) -> PoolState:
    """The state in a snapshot's bytes; `TooOld` if a newer program wrote it, `Malformed` (or
    `BadSpec`) if they hold none."""
    try:
        rows = split_rows(data)
        said = level_in(rows)
        if said.level > newest:
            raise too_old(f"is at feature level {said.level}", newest, said.version)
        return state_of(rows)
    except TooNew as error:
        raise too_old("has a state in a later form", newest, "") from error


def too_old(what: str, newest: FeatureLevel, version: str) -> TooOld:
    """The sentence for people: the pool's level, and what to install."""
    wanted = f"p2pool {version} or later" if version else "the p2pool that the others run"
    return TooOld(
        f"The pool {what}, and this version of p2pool knows levels up to {newest}: "
        "it withdraws from the pool.",
        hint=f"Install {wanted} on this machine, then start the agent again; another agent's "
        "`p2pool node ls` shows what the others run.",
    )
