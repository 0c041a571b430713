"""Drives a node's way into a pool to its end, for an agent that has other work to do.

Intuition: most of the way is waiting for people (a validator, a manager, somebody who sends coin).
So nothing that a person can fix stops the driver: it reports the wait once and looks again at
growing intervals up to a cap, or at once when `wake` returns, as when an invite comes by the API.

Invariants: a wait is reported when it begins, not at each look; two looks have a pause between
them unless a step was done; cancelling loses nothing, because every step reads first.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.requests import read_invite
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.chain.join_waits import mending_of
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import refusal
from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Malformed, NotFound, TransactionFailed, WrongChain

OnStep = Callable[[JoinStep], None]
Wake = Callable[[], Awaitable[object]]

MANY_WORDS = ("chain", "transaction", "fees")
INVITE_FILE_NAME = "invite.json"


async def drive_joining(
    joining: Joining,
    on_step: OnStep,
    *,
    poll_ms: int = limits.JOIN_POLL_MIN_MS,
    wake: Wake | None = None,
) -> None:
    """Take steps until the node is in the pool; `on_step` receives each step, and each wait once.

    It looks at a wait again after `poll_ms`, then twice that, up to JOIN_POLL_MAX_MS; `wake`
    returns when an earlier look is worth it. Raises only `Conflict`: the pool has ended.
    """
    told: JoinStep | None = None
    pause_ms = poll_ms
    while True:
        step = await _next(joining)
        same = told is not None and _key(step) == _key(told)
        if not same:
            pause_ms = poll_ms
            on_step(step)
        if step.name == "joined" and step.progress is Progress.DONE:
            return
        # The same transaction twice: the effect of the first is not visible yet, so wait for it.
        again = told is not None and step.name == told.name
        told = step
        if step.progress is Progress.WAITING or again:
            await _pause(pause_ms, wake)
            pause_ms = min(2 * pause_ms, max(poll_ms, limits.JOIN_POLL_MAX_MS))


async def _next(joining: Joining) -> JoinStep:
    """One step; a problem that a person has to fix becomes a wait for that person."""
    try:
        return await joining.next_step()
    except Reverted as reverted:
        error: TransactionFailed | NotFound | WrongChain = refusal("Reading the chain", reverted)
        error.__cause__ = reverted
    except (TransactionFailed, NotFound, WrongChain) as refused:
        error = refused
    provider = address_text(joining.writer.address) if joining.writer is not None else "of the node"
    mending = mending_of(error, provider, address_text(joining.chain.at.token))
    return JoinStep(
        name="refused",
        progress=Progress.WAITING,
        detail=f"{error.message} {error.hint}".strip(),
        waiting_on=mending.whom,
        command=mending.command,
    )


def _key(step: JoinStep) -> JoinStep:
    """Identifies a wait: endpoints fail in many words, and prices change, but it is one wait."""
    return attrs.evolve(step, detail="") if step.name in MANY_WORDS else step


async def _pause(pause_ms: int, wake: Wake | None) -> None:
    with trio.move_on_after(pause_ms / 1000):
        if wake is None:
            await trio.sleep_forever()
        else:
            await wake()


async def find_in_file(path: Path) -> Invite | None:
    """The invite in a file, as `p2pool pool invite --json` writes it; None if there is none.

    A malformed file (half written, say) counts as no invite, until it becomes one.
    """
    try:
        data = await trio.to_thread.run_sync(_read_bounded, path)
        return read_invite(unwrapped(json.loads(data)))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError, Malformed):
        return None


def _read_bounded(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(limits.GOSSIP_MESSAGE_MAX_BYTES).decode()
