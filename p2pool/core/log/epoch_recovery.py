"""Recovery: the next epoch begins with the state of a log that survived.

Intuition: a log whose quorum is gone for good can go on only by somebody's word. The manager writes
that word on the chain: a root record of a higher epoch that names one identity, the log that it
holds, how far, and the digest of the state there. Exactly that identity founds the new log with
that state as its base snapshot, itself the only voter; everybody else fetches it.

What the founder takes over is all that it holds, beyond what it knew to be committed: the end of
its log may have been acknowledged to a client by voters that are lost. The longest log, by (last
term, last index), holds every entry that was committed and survives anywhere: the leader of its
last term had all that was committed before (Raft, 5.4.3), and within a term logs are prefixes of
one another. Entries that only lost voters held are lost; containers that run are adopted by their
signed submissions (`core.fsm.adoption`).

Invariants: a log that is held is given up only for the first entries of the next one, so a record
that nobody can found loses nothing; where the record does not fit, the founder refuses and says
why. Source: docs/design/consensus.md, "Epochs".
"""

import attrs

from p2pool.codec.entries import decode_snapshot, encode_snapshot
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.state import PoolState, from_bytes
from p2pool.core.raft.raft import Raft, RaftRestored
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.raft import Configuration, Entry, HardState, Snapshot, Voter
from p2pool.model.timing import Now

AGAIN = "The manager founds the next epoch: `p2pool pool recover`."


@attrs.define
class StoredLog:
    """A log that a node holds, founded by `root`; `state` is as far as it is committed."""

    root: RootRecord
    raft: Raft
    state: PoolState

    def end_digest(self) -> Digest:
        """The digest of the state at the end of the log, all of it applied."""
        state = self.state_at(self.raft.state.log.last_index)
        assert state is not None, "a log holds its own end"
        return state.digest()

    def state_at(self, index: int) -> PoolState | None:
        """The state after an entry, committed or not; None where it is not held (any more)."""
        s = self.raft.state
        if not s.log.base_index <= index <= s.log.last_index:
            return None
        state = PoolState(self.state.pool, self.root.epoch)
        if s.snapshot is not None:
            state = from_bytes(decode_snapshot(s.snapshot).state)
        # The snapshot reaches further than the base: some entries that it covers are kept.
        if index < state.applied_index:
            return None
        for entry in s.log.between(state.applied_index + 1, index):
            _apply(state, entry)
        return state


def _apply(state: PoolState, entry: Entry) -> None:
    """As every replica would, had it been committed."""
    try:
        apply_entry(state, entry)
    except Malformed:
        apply(state, entry, None)


def refusal(me: Voter, root: RootRecord, held: StoredLog | None) -> str:
    """Why this node cannot found the log of a root record that names it, or ""."""
    if (root.peer_key, root.store_id) != (me.peer_key, me.store_id):
        return (
            f"The root record of epoch {root.epoch} names this node with another data directory "
            f"(store {root.store_id.hex()}, this one is {me.store_id.hex()}): the disk was wiped, "
            f"copied or replaced since, so it founds nothing. {AGAIN}"
        )
    if root.previous is None:
        if held is None:
            return ""
        return (
            f"The root record of epoch {root.epoch} names no previous log, and this node holds one "
            f"of epoch {held.root.epoch}, which would be lost: it founds nothing. {AGAIN}"
        )
    return _unfit(root, root.previous, held)


def _unfit(root: RootRecord, previous: PreviousLog, held: StoredLog | None) -> str:
    """Why the log that is held is not the one that a recovery goes on from, or ""."""
    begins = f"The root record of epoch {root.epoch} goes on from log {previous.log_id.hex()[:16]}"
    if held is None:
        return f"{begins}, and this node holds no log: it founds nothing. {AGAIN}"
    if held.raft.state.log_id != previous.log_id:
        name = held.raft.state.log_id.hex()[:16]
        return f"{begins}, and this node holds log {name}: it founds nothing. {AGAIN}"
    state = held.state_at(previous.base_index)
    log = held.raft.state.log
    if state is None:
        return (
            f"{begins} at index {previous.base_index}, and this node holds {log.base_index} to "
            f"{log.last_index}: it founds nothing. {AGAIN}"
        )
    if state.digest() != previous.state_digest:
        return (
            f"{begins} at index {previous.base_index}, where this node has another state than the "
            f"record says: it founds nothing. {AGAIN}"
        )
    return ""


def base(me: Voter, root: RootRecord, name: Digest, held: StoredLog, now: Now) -> RaftRestored:
    """What the new log begins with: a snapshot of the old one's state, in the new epoch."""
    assert root.previous is not None
    index = root.previous.base_index
    state = held.state_at(index)
    term = held.raft.state.log.term_at(index)
    assert state is not None
    assert term is not None
    state.begin_epoch(root.epoch, max(now.wall_ms, state.log_time_ms))
    state.chain = CommitteeChain(root.epoch, (me,))
    snapshot = Snapshot(
        log_id=name,
        index=index,
        term=term,
        last_proposed_at_ms=state.log_time_ms,
        configuration=Configuration((me,)),
        state=state.to_bytes(),
    )
    # Terms go on, so that nobody who reads a log across epochs sees one fall.
    return RaftRestored(HardState(term, me.store_id), encode_snapshot(snapshot))
