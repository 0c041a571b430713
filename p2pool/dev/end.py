"""How a pool that was started for somebody ends: all of it, whatever happened, and not silently.

Invariants: everything that began inside `ended` is gone after it, unless all went well and the pool
is to stay; nothing cuts that short. A failure is one error that names the step and the place of the
logs now; a bug of ours is called one.
"""

import math
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2pool.dev.narrator import Narrator
from p2pool.dev.places import MB, free_bytes
from p2pool.dev.pool import DevPool
from p2pool.dev.processes import WRITTEN
from p2pool.dev.state import no_space
from p2pool.drivers.failures import as_known, leaves
from p2pool.model.errors import P2poolError

SCARCE_BYTES = 4 * MB


@asynccontextmanager
async def ended(
    pool: DevPool, narrator: Narrator, *, in_any_case: bool, keep_logs: bool = False
) -> AsyncIterator[None]:
    """End the pool after this block: `in_any_case`, or if the block failed.

    Keeps the logs if the block failed or the caller asks for them. Raises a failure as one
    P2poolError; bugs of ours as they are.
    """
    try:
        yield
    except BaseException as error:
        step = narrator.step
        if trio.current_effective_deadline() == -math.inf:
            await _end(pool, narrator, keep_logs=False)  # Somebody interrupted it.
            raise
        told, began = _told(pool, error), pool.claimed
        kept = await _end(pool, narrator, keep_logs=True)
        if told is None:
            narrator.tell(
                "this is a bug of p2pool, not of yours; please report it with what follows"
                + (f" and the logs in {kept}" if kept else "")
            )
            raise
        raise _placed(told, step if began else "", pool, kept) from error
    else:
        if in_any_case:
            await _end(pool, narrator, keep_logs=keep_logs)


def _told(pool: DevPool, error: BaseException) -> P2poolError | None:
    """The failure as one error; None if a bug of ours is among the causes."""
    group = isinstance(error, BaseExceptionGroup)
    found = list(leaves(error)) if isinstance(error, BaseExceptionGroup) else [error]
    known = [as_known(one) for one in found if not isinstance(one, trio.Cancelled)]
    told = [one for one in known if one is not None]
    if not told or len(told) < len(known):
        return None
    if pool.claimed and free_bytes(pool.directory) < SCARCE_BYTES:
        return no_space(pool.directory.parent)
    if not group:
        return told[0]
    message = " ".join(dict.fromkeys(one.message for one in told))
    return type(told[0])(message, hint=told[0].hint)


def _placed(error: P2poolError, step: str, pool: DevPool, kept: Path | None) -> P2poolError:
    """The error with its step, if any, and with its paths where they are now."""
    message, hint = error.message, error.hint
    if kept is not None:
        new = str(kept)
        for name in WRITTEN:
            old = str(pool.directory / name)
            message, hint = message.replace(old, new), hint.replace(old, new)
        if new not in hint:
            hint = f"{hint} The logs are in {new}.".strip()
    if step:
        message = f"While {step}: {message}"
    return type(error)(message, hint=hint)


async def _end(pool: DevPool, narrator: Narrator, *, keep_logs: bool) -> Path | None:
    """End everything and remove the directory; returns where the logs are kept."""
    if not pool.claimed:
        return None
    kept: Path | None = None
    with trio.CancelScope(shield=True):
        narrator("stopping everything")
        try:
            await pool.stop()
            if keep_logs:
                kept = _keep(pool, narrator)
            await pool.remove()
        except (P2poolError, OSError) as error:
            narrator.tell(f"something is left: {error}")
    return kept


def _keep(pool: DevPool, narrator: Narrator) -> Path | None:
    """Copy the logs aside; returns where to. None without logs, or without room for them."""
    written = [path for name in WRITTEN for path in pool.directory.glob(f"{name}/*")]
    logs = [path for path in written if path.suffix in (".log", ".out") and path.stat().st_size]
    if not logs:
        return None
    try:
        aside = Path(tempfile.mkdtemp(prefix="p2pool-logs-"))
    except OSError as error:
        narrator.tell(f"the logs cannot be kept: {error.strerror}")
        return None
    try:
        for path in logs:
            shutil.copyfile(path, aside / path.name)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        narrator.tell(f"the logs cannot be kept in {aside.parent}: {error.strerror}")
        return None
    narrator.tell(f"the logs are in {aside}")
    return aside
