"""What SQLite says of a store, as a sentence for people."""

import apsw

from p2pool.model.errors import StoreFailed

RESTART_HINT = "Look at the disk (space, health), then start the agent again."
REOPEN_HINT = "Look at the disk (space, health): the agent opens its store again by itself."
DAMAGED_HINT = "Move its store.db* files away; the node starts again as a learner."


def store_failure(what: str, error: apsw.Error | OSError) -> StoreFailed:
    """The error to raise for one of SQLite's, or of the system's; `what` begins its sentence."""
    if isinstance(error, apsw.FullError):
        return StoreFailed(f"{what}: the disk is full.", hint="Free some space, then start again.")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return StoreFailed(f"{what}: it is damaged ({error}).", hint=DAMAGED_HINT)
    return StoreFailed(f"{what}: {error}.", hint=RESTART_HINT)


def is_damaged(error: StoreFailed) -> bool:
    """Whether the store itself is damaged, so that opening it again helps nobody."""
    return error.hint == DAMAGED_HINT
