"""The promises of the others' stores, to show to an agent that starts from one of them.

Intuition: a disk restored from a backup, or a copy of one, does not know what it promised since.
The peers that got those promises do: the newest vote that it granted or asked for, the newest
append that it acknowledged or sent, and its furthest heartbeat, each in the envelope that it
signed. So the starting agent believes only its own signature, never a peer's word
(`voter.store_check` judges what it is shown).

Invariants: a node records only participants of the log that it holds; it writes the record to disk
now and then, so that a restarted peer remembers too.
Source: docs/design/identities.md, "Checking the store".
"""

from enum import IntEnum
from typing import Annotated

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.core.context import Context
from p2pool.core.effects import Persist
from p2pool.core.inputs import Sender
from p2pool.core.raft.raft import Frame
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.field_bounds import Index, SealedHeartbeat, Term, bounded
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.messages.queries import StoreSeenAnswered, StoreSeenRequested
from p2pool.model.messages.raft import AppendAnswered, AppendRequested, VoteAnswered, VoteRequested
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.certificates import said_by

META_TABLE = "meta"
WITNESS_KEY = b"witness"


class Kind(IntEnum):
    """The kinds of promise."""

    VOTE = 0
    ACK = 1
    BEAT = 2


@attrs.frozen
class Promise:
    """A store's furthest promise of a kind, by (term, index), as it sealed it."""

    store_id: StoreId
    kind: Kind
    term: Term
    index: Index
    sealed: SealedHeartbeat


@attrs.frozen
class Kept:
    """What the disk keeps."""

    log_id: Digest
    words: Annotated[tuple[Promise, ...], bounded(items=limits.VOTERS_SEEN_MAX)]


@attrs.define
class PeerPromises:
    """One node's record of the others' promises."""

    context: Context
    log_id: Digest | None = None
    promises: dict[tuple[StoreId, Kind], Promise] = attrs.field(factory=dict)
    dirty: bool = False
    due_ms: int = 0

    def restore(self, kept: bytes | None) -> None:
        """Restore the record from disk, if it is of the log that we hold."""
        if kept is None:
            return
        try:
            found = decode_struct(Kept, kept)
        except Malformed:
            return
        if found.log_id == self.context.pool_log.log_id:
            self.log_id = found.log_id
            self.promises = {(word.store_id, word.kind): word for word in found.words}

    # --- recording --------------------------------------------------------------------------------

    def note_frame(self, frame: Frame, verified: Verified) -> None:
        """Note the promise in a Raft frame, in the envelope of the participant that it names."""
        if frame.log_id != self.context.pool_log.log_id:
            return
        match frame:
            case VoteAnswered(granted=True, pre=False):
                voter, kind, index = frame.voter, Kind.VOTE, 0
            case VoteRequested(pre=False):
                voter, kind, index = frame.candidate, Kind.VOTE, 0
            case AppendRequested():
                voter, kind, index = frame.leader, Kind.ACK, frame.previous_index
            case AppendAnswered(ok=True):
                voter, kind, index = frame.follower, Kind.ACK, frame.match_index
            case _:
                return
        self._note(
            Promise(
                store_id=voter.store_id,
                kind=kind,
                term=frame.term,
                index=index,
                sealed=verified.sealed,
            ),
            verified,
        )

    def note_heartbeat(self, verified: Verified) -> None:
        """Note a heartbeat, as its sender sealed it."""
        said = verified.message
        assert isinstance(said, Heartbeat)
        if said.epoch == self.context.pool_log.epoch:
            index = said.applied_index
            self._note(
                Promise(
                    store_id=said.store_id,
                    kind=Kind.BEAT,
                    term=said.term,
                    index=index,
                    sealed=verified.sealed,
                ),
                verified,
            )

    def _participants(self) -> tuple[Voter, ...]:
        return self.context.pool_log.configuration.everybody

    def _note(self, word: Promise, verified: Verified) -> None:
        """Keep a participant's promise if it is further than the last: its own word alone, or a
        liar's would push out what the store's agent has to be shown."""
        log_id, key = self.context.pool_log.log_id, (word.store_id, word.kind)
        own = (v for v in self._participants() if v.store_id == word.store_id)
        if log_id is None or not any(said_by(verified, voter) for voter in own):
            return
        if self.log_id != log_id:
            self.log_id, self.promises = log_id, {}
        old = self.promises.get(key)
        further = old is None or (word.term, word.index) > (old.term, old.index)
        if further and 0 < len(word.sealed) <= limits.GOSSIP_MESSAGE_MAX_BYTES:
            self.promises[key], self.dirty = word, True

    # --- showing ----------------------------------------------------------------------------------

    def on_store_seen_requested(
        self, message: StoreSeenRequested, sender: Sender, now: Now
    ) -> None:
        """Show a peer a store's promises in the log that we hold."""
        name = self.context.pool_log.log_id
        found = (self.promises.get((message.store_id, kind)) for kind in Kind)
        shown = tuple(word.sealed for word in found if word is not None and name == self.log_id)
        self.context.tell(sender.peer_key, StoreSeenAnswered(message.request, name, shown))

    def tick(self, now: Now) -> None:
        """Write new promises to disk, not often; forget those of former participants."""
        if not self.dirty or now.mono_ms < self.due_ms or self.log_id is None:
            return
        self.dirty, self.due_ms = False, now.mono_ms + limits.WITNESS_INTERVAL_MS
        stores = {voter.store_id: None for voter in self._participants()}
        self.promises = {key: word for key, word in self.promises.items() if key[0] in stores}
        kept = Kept(self.log_id, tuple(self.promises.values()))
        self.context.effects.append(Persist((put_record(META_TABLE, WITNESS_KEY, kept),)))
