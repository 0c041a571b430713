"""Work that waits on this machine for the chain, as `p2pool agent run --dry-run` shows it.

Intuition: what the agent will submit lies in its journal, so whoever asks before a start sees the
same pieces, each as the call that the agent would send if it looked at the chain now.

Invariants: nothing is sent and nothing is written; a piece of which nobody can say is told as that.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from p2pool.model.errors import P2poolError

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.model.ports.signer import Signer


@attrs.frozen
class WaitingWork:
    """`would_send`: the calls, in order. `notes`: what else there is to know."""

    submits: bool
    waiting: int
    would_send: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def waiting_work(
    settings: "AgentConfig", directory: Path, node: "Signer", provider: "Signer | None"
) -> WaitingWork:
    """What of it would be submitted now."""
    from p2pool.agent.work.journal import PieceJournal
    from p2pool.agent.work.reporter import NO_KEY
    from p2pool.agent.work.submission import Submitter
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.model.ids import Address, NodeId

    node_id = NodeId(bytes.fromhex(node.address[2:]))
    journal = PieceJournal.of(directory, node_id)
    try:
        await journal.load()
    except P2poolError as error:
        return WaitingWork(settings.work.submit, 0, notes=(str(error),))
    waiting = tuple(journal.open.values())
    if not settings.work.submit:
        off = (f"{len(waiting)} pieces wait, and [work] submit is false",) if waiting else ()
        return WaitingWork(False, len(waiting), notes=off)
    if provider is None:
        return WaitingWork(True, len(waiting), notes=(NO_KEY,))
    account = Address(bytes.fromhex(provider.address[2:]))
    submitter = Submitter(PoolContracts.of(settings.chain), settings.pool.id, node_id)
    calls: list[str] = []
    notes: dict[str, None] = {}
    for piece in waiting:
        try:
            found = await submitter.look(piece, account)
        except P2poolError as error:
            notes[str(error)] = None
            break
        if found.over is not None:
            notes[f"{piece.source}: {found.over.why}"] = None
        elif found.plan is not None:
            calls += [call.purpose for call in found.plan.ready]
            notes |= dict.fromkeys(found.plan.notes)
    return WaitingWork(True, len(waiting), tuple(calls), tuple(notes))
