"""Recovery: the next epoch begins with the state of a surviving log.

Intuition: a log whose quorum is gone for good can go on only by somebody's word. The manager writes
that word on the chain: a root record of a higher epoch that names one identity, the log that it
holds, how far, and the digest of the state there. Exactly that identity founds the new log with
that state as its base snapshot and itself as the only voter; all others fetch it.

The founder takes over its whole log, even past its commit index: voters that are now lost may have
acknowledged the end of it to a client. The longest log, by (last term, last index), holds every
committed entry that survives anywhere: the leader of its last term had everything committed before
(Raft, 5.4.3), and within a term logs are prefixes of one another. Entries that only lost voters
held are lost; the pool adopts running containers by their signed submissions (`core.fsm.adoption`).

Invariants: a node gives up its log only for the first entries of the next one, so a record that
nobody can found loses nothing; if the record does not fit, the founder refuses and says why.
Source: docs/design/consensus.md, "Epochs".
"""

import attrs

from p2pool.codec.entries import decode_snapshot, encode_snapshot
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_by, digest_of, encode_state
from p2pool.core.log.level_check import level_beyond
from p2pool.core.raft.raft import Raft, RaftRestored
from p2pool.model import limits
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Malformed, TooOld
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.raft import Configuration, Entry, HardState, Snapshot, Voter
from p2pool.model.log.state_digests import algorithm_of

AGAIN = "The manager founds the next epoch: `p2pool pool recover`."


@attrs.define
class StoredLog:
    """A log that a node holds, founded by `root`; `state` is that at its commit index.
    `newest_level`: the highest feature level that this program knows."""

    root: RootRecord
    raft: Raft
    state: PoolState
    newest_level: FeatureLevel

    def end_digest(self) -> StateDigest:
        """The digest of the state at the end of the log, all of it applied. `TooOld` if the log
        rises to a level that this program does not know."""
        if self.state.applied_index == self.raft.state.log.last_index:
            return digest_of(self.state)
        state = self.state_at(self.raft.state.log.last_index)
        assert state is not None, "a log holds its own end"
        return digest_of(state)

    def state_at(self, index: int) -> PoolState | None:
        """The state after an entry, committed or not; None if the log does not hold it (any more).
        `TooOld` as for `end_digest`."""
        s = self.raft.state
        if not s.log.base_index <= index <= s.log.last_index:
            return None
        state = PoolState(self.state.pool, self.root.epoch)
        if s.snapshot is not None:
            state = decode_state(decode_snapshot(s.snapshot).state)
        # The snapshot reaches past the base: the log keeps some entries that it covers.
        if index < state.applied_index:
            return None
        for entry in s.log.between(state.applied_index + 1, index):
            beyond = level_beyond(state, entry, self.newest_level)
            if beyond is not None:
                raise beyond
            _apply(state, entry)
        return state


def _apply(state: PoolState, entry: Entry) -> None:
    """Apply an entry as every replica would if it were committed."""
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
    """Why a recovery cannot go on from the log that this node holds, or ""."""
    begins = f"The root record of epoch {root.epoch} goes on from log {previous.log_id.hex()[:16]}"
    if held is None:
        return f"{begins}, and this node holds no log: it founds nothing. {AGAIN}"
    if held.raft.state.log_id != previous.log_id:
        name = held.raft.state.log_id.hex()[:16]
        return f"{begins}, and this node holds log {name}: it founds nothing. {AGAIN}"
    try:
        state = held.state_at(previous.base_index)
    except TooOld as error:
        return f"{begins} at index {previous.base_index}, and this node founds nothing. {error}"
    log = held.raft.state.log
    if state is None:
        return (
            f"{begins} at index {previous.base_index}, and this node holds {log.base_index} to "
            f"{log.last_index}: it founds nothing. {AGAIN}"
        )
    if digest_by(algorithm_of(previous.state_digest), state) != previous.state_digest:
        return (
            f"{begins} at index {previous.base_index}, where this node's state differs from the "
            f"record's: it founds nothing. {AGAIN}"
        )
    return ""


def bridged(root: RootRecord, held: StoredLog | None) -> int:
    """Up to which index of the new log nothing happened that this node has not applied in the one
    that it holds: its base, or 0."""
    previous = root.previous
    if previous is None or held is None or held.raft.state.log_id != previous.log_id:
        return 0
    return previous.base_index if held.state.applied_index >= previous.base_index else 0


def base(me: Voter, root: RootRecord, name: Digest, held: StoredLog, time_ms: int) -> RaftRestored:
    """The new log's base: a snapshot of the old one's state, in the new epoch. `time_ms`: what time
    it is; the old log's time goes on only if it is not ahead of that."""
    assert root.previous is not None
    index = root.previous.base_index
    state = held.state_at(index)
    term = held.raft.state.log.term_at(index)
    assert state is not None
    assert term is not None
    if state.log_time_ms > time_ms + limits.CLOCK_SKEW_MAX_MS:
        state.turn_back(time_ms)
    state.begin_epoch(root.epoch, max(time_ms, state.log_time_ms))
    state.chain = CommitteeChain(root.epoch, (me,))
    snapshot = Snapshot(
        log_id=name,
        index=index,
        term=term,
        last_proposed_at_ms=state.log_time_ms,
        configuration=Configuration((me,)),
        state=encode_state(state),
    )
    # Terms go on, so that a reader of logs across epochs never sees one fall.
    return RaftRestored(HardState(term, me.store_id), encode_snapshot(snapshot))
