"""How transcripts put things: frames, entries, roles and writes in a few words."""

from collections.abc import Callable, Sequence
from itertools import groupby

from p2pool.core.raft.state import RaftState
from p2pool.model.log.raft import Entry, EntryKind, Voter
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import (
    AppendEntries,
    CompactTo,
    PersistOp,
    SaveHardState,
    SaveSnapshot,
    TruncateFrom,
)
from p2pool.model.states import RaftRole

KINDS: dict[int, str] = {EntryKind.NOOP: "(noop)", EntryKind.CONFIGURATION: "(config)"}
KINDS[EntryKind.NODE] = ""
NameOf = Callable[[bytes], str]
"""The letter of a participant by its store id."""


def entries(several: Sequence[Entry]) -> str:
    """`4/2 5/2`: index and term of each, and what it is where that is not plain data.

    Four or more plain ones of a term in a row are `4/2..9/2`.
    """
    runs = [
        list(run) for _, run in groupby(several, key=lambda e: (e.term, e.kind == EntryKind.NODE))
    ]
    return " ".join(
        f"{run[0].index}/{run[0].term}..{run[-1].index}/{run[-1].term}"
        if len(run) > 3 and not _kind(run[0])
        else " ".join(f"{e.index}/{e.term}{_kind(e)}" for e in run)
        for run in runs
    )


def _kind(e: Entry) -> str:
    return KINDS.get(e.kind, f"(kind {e.kind})")


def frame(m: Message) -> str:
    """One frame without its sender and receiver."""
    match m:
        case VoteRequested():
            kind = "prevote?" if m.pre else "vote?"
            told = ", told to by the leader" if m.transfer else ""
            # The leader's order is shown too, and told of already.
            votes = len(m.shown) - m.transfer
            shows = f", shows {votes}" if votes > 0 else ""
            return f"{kind} t{m.term}, log ends at {m.last_index}/{m.last_term}{told}{shows}"
        case VoteAnswered():
            kind = "prevote" if m.pre else "vote"
            return f"{kind} t{m.term}: {'yes' if m.granted else 'no, ' + m.reason}"
        case AppendRequested():
            new = f": {entries(m.entries)}" if m.entries else ", empty"
            after = f"after {m.previous_index}/{m.previous_term}"
            return f"append t{m.term} {after}{new}, commit {m.commit_index}"
        case AppendAnswered(ok=True):
            return f"append t{m.term}: ok up to {m.match_index}"
        case AppendAnswered():
            term = f", term {m.conflict_term} begins there" if m.conflict_term else ""
            where = f"conflict at {m.conflict_index}{term}" if m.conflict_index else "an old term"
            return f"append t{m.term}: no, {where}"
        case SnapshotSent():
            end = m.offset + len(m.data)
            part = f"bytes {m.offset}-{end} of {m.total_bytes}"
            return f"snapshot t{m.term} of {m.last_index}/{m.last_term}, {part}"
        case SnapshotAnswered():
            return f"snapshot t{m.term} of {m.last_index}: {m.received_bytes} bytes are here"
        case TimeoutNow():
            return f"campaign now, t{m.term}"
        case _:
            raise AssertionError(m)


def writes(operations: Sequence[PersistOp], name_of: NameOf) -> str:
    """What a step wants on the disk."""
    return "; ".join(_write(op, name_of) for op in operations)


def _write(op: PersistOp, name_of: NameOf) -> str:
    match op:
        case SaveHardState():
            voted = op.hard_state.voted_for
            return f"term {op.hard_state.term}" + (f", vote {name_of(voted)}" if voted else "")
        case AppendEntries():
            return f"entries {entries(op.entries)}"
        case TruncateFrom():
            return f"cut from {op.index}"
        case CompactTo():
            return f"drop up to {op.index}"
        case SaveSnapshot():
            return "snapshot"
        case _:
            raise AssertionError(op)


def role(s: RaftState, name_of: NameOf) -> str:
    """`follower t3 of a`."""
    names = {RaftRole.IDLE: "idle", RaftRole.PRE_CANDIDATE: "pre-candidate"}
    of = ""
    if s.leader is not None and not s.leads:
        of = f" of {name_of(s.leader.store_id)}"
    return f"{names.get(s.role, s.role.name.lower())} t{s.hard.term}{of}"


def log(s: RaftState) -> str:
    """`[4/2] 2 3x5`: the base, and the term of each entry after it (3x5: five of term 3)."""
    runs = [(term, len(list(group))) for term, group in groupby(e.term for e in s.log.entries)]
    terms = " ".join(
        f"{term}x{count}" if count > 4 else " ".join([str(term)] * count) for term, count in runs
    )
    base = f"[{s.log.base_index}/{s.log.base_term}] " if s.log.base_index else ""
    return f"{base}{terms}".strip() or "empty"


def group(voters: Sequence[Voter], name_of: NameOf) -> str:
    """`a,b,c`."""
    return ",".join(name_of(v.store_id) for v in voters) or "none"
