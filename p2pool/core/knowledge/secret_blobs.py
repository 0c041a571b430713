"""The blobs of secrets that this node holds beside the log, and the data keys sealed to it.

Intuition: a blob is ciphertext, so any node may keep it; voters do, so that whoever gets a copy of
the task finds it. What is here can be opened only by a node with a sealed key, and not in the core.

Invariants: a blob is known by the digest of its bytes; what the log needs is kept, whatever came
after it; what no task needs goes, at once if one needed it before, else when the request that
brought it can no longer be applied; what a copy here runs with stays, whatever the log says: after
a recovery nobody else may have it. Both tables are bounded in rows and bytes. A row is on the disk
before anybody is told that it is.
Source: docs/design/secrets.md, "Beside the log".
"""

from collections import Counter
from collections.abc import Callable, Mapping

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.digests import digest
from p2pool.codec.rows import put_record
from p2pool.model import limits
from p2pool.model.errors import Malformed, Overloaded
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Digest, NodeId, PeerKey
from p2pool.model.ports.store import SECRET_BLOBS_TABLE, SECRET_KEYS_TABLE, Delete, PersistOp, Put
from p2pool.model.tasks.secrets import SealedKey, SecretBlob


@attrs.frozen
class HeldBlob:
    """One blob. `source`: who brought it, None for this agent's own API. `since_ms`: since when,
    on the monotonic clock of this run."""

    data: bytes = attrs.field(repr=False)
    blob: SecretBlob = attrs.field(repr=False)
    source: PeerKey | None
    since_ms: int


@attrs.frozen
class ReceivedKey:
    """A data key that a holder sealed to this node, of the blob with that digest."""

    digest: Digest
    key: SealedKey


@attrs.define
class SecretBlobs:
    """All blobs at one node. `needed`: whether a task needs one, by the log; `in_use`: whether a
    copy does that is here and has not ended."""

    needed: Callable[[Digest], bool]
    in_use: Callable[[Digest], bool] = lambda _: False
    held: dict[Digest, HeldBlob] = attrs.field(factory=dict)
    received: dict[Digest, SealedKey] = attrs.field(factory=dict)
    used: dict[Digest, None] = attrs.field(factory=dict)
    size_bytes: int = 0

    def restore(self, tables: Mapping[str, Mapping[bytes, bytes]], now_ms: int) -> None:
        """What the disk has. A row that says something else than its key is none."""
        for data in tables[SECRET_BLOBS_TABLE].values():
            try:
                self._take(data, None, now_ms)
            except Malformed:
                continue
        for row in tables[SECRET_KEYS_TABLE].values():
            try:
                kept = decode_struct(ReceivedKey, row)
            except Malformed:
                continue
            self.received[kept.digest] = kept.key

    def blob(self, name: Digest) -> SecretBlob | None:
        """A blob, or None if it is not here."""
        held = self.held.get(name)
        return held.blob if held is not None else None

    def key_for(self, name: Digest, node_id: NodeId, peer_key: PeerKey) -> SealedKey | None:
        """The data key that a node can open: sealed by the submitter, or, for us, by a holder."""
        blob = self.blob(name)
        sealed = blob.key_for(node_id, peer_key) if blob is not None else None
        if sealed is not None:
            return sealed
        key = self.received.get(name)
        mine = key is not None and (key.node_id, key.peer_key) == (node_id, peer_key)
        return key if mine else None

    # --- changing: each returns what to make durable ----------------------------------------------

    def keep(
        self, data: bytes, source: PeerKey | None, now_ms: int
    ) -> tuple[Digest, list[PersistOp]]:
        """Keep a blob. `Malformed`: these bytes are none; `Overloaded`: there is no room."""
        name = digest(data)
        if name in self.held:
            return name, []
        crowded = None if self.needed(name) else self._crowded_out(source)
        if len(self.held) >= limits.SECRET_BLOBS_MAX:
            raise Overloaded(f"This node keeps {limits.SECRET_BLOBS_MAX} tasks' secrets at most.")
        if self.size_bytes + len(data) > limits.SECRET_BLOBS_MAX_BYTES:
            most = limits.SECRET_BLOBS_MAX_BYTES // 2**20
            raise Overloaded(f"This node keeps {most} MiB of encrypted secrets at most.")
        _check_blob(data)
        gone = self.drop(crowded) if crowded is not None else []
        self._take(data, source, now_ms)
        return name, [*gone, Put(SECRET_BLOBS_TABLE, bytes(name), data, DISTRUST_LEVEL)]

    def _crowded_out(self, source: PeerKey | None) -> Digest | None:
        """What has to go for one more that no request names yet, if all the room for such is taken:
        the oldest of whoever has brought most. So a few members that bring all they may keep nobody
        else from it. `Overloaded`: that would be this source itself."""
        waiting = [name for name in self.held if not (self.needed(name) or self.in_use(name))]
        brought = Counter(self.held[name].source for name in waiting)
        if brought[source] >= limits.SECRET_BLOBS_PER_SOURCE_MAX:
            raise Overloaded("Too many secrets wait for their requests.", hint="Retry in a while.")
        if len(waiting) < limits.SECRET_BLOBS_UNCLAIMED_MAX:
            return None
        most = max(brought.values())
        if brought[source] + 1 >= most:
            raise Overloaded("Too many secrets wait for their requests.", hint="Retry in a while.")
        return next(name for name in waiting if brought[self.held[name].source] == most)

    def _take(self, data: bytes, source: PeerKey | None, now_ms: int) -> None:
        self.held[digest(data)] = HeldBlob(data, _check_blob(data), source, now_ms)
        self.size_bytes += len(data)

    def receive(self, name: Digest, key: SealedKey) -> list[PersistOp]:
        """Keep a key that a holder sealed to us."""
        self.received[name] = key
        kept = ReceivedKey(name, key)
        return [put_record(SECRET_KEYS_TABLE, bytes(name), kept)]

    def sweep(self, now_ms: int) -> list[PersistOp]:
        """Forget what no task needs any more, and what none has named in time. `used` remembers
        what was needed once."""
        gone: list[PersistOp] = []
        for name, held in tuple(self.held.items()):
            if self.needed(name) or self.in_use(name):
                self.used[name] = None
            elif name in self.used or now_ms - held.since_ms >= limits.SECRET_UNCLAIMED_MS:
                gone += self.drop(name)
        for name in [name for name in self.received if name not in self.held]:
            if not self.needed(name):
                gone += self.drop(name)
        for name in [name for name in self.used if name not in self.held]:
            del self.used[name]
        return gone

    def drop(self, name: Digest) -> list[PersistOp]:
        """Forget a blob, and its key."""
        gone: list[PersistOp] = []
        held = self.held.pop(name, None)
        if held is not None:
            self.size_bytes -= len(held.data)
            gone.append(Delete(SECRET_BLOBS_TABLE, bytes(name)))
        if self.received.pop(name, None) is not None:
            gone.append(Delete(SECRET_KEYS_TABLE, bytes(name)))
        return gone


def _check_blob(data: bytes) -> SecretBlob:
    """The blob in these bytes; `Malformed` if they are none."""
    if len(data) > limits.SECRET_BLOB_MAX_BYTES:
        raise Malformed(f"A blob of secrets has {limits.SECRET_BLOB_MAX_BYTES} bytes at most.")
    return decode_struct(SecretBlob, data)
