"""Proofs that voters lied: kept on the disk, a few for each voter, and repeated in turn.

Intuition: whoever publishes a proof tells those that are connected then. So a proof is kept, and
every later leader repeats those that it holds, one at a time.

Invariants: there is one proof for each log, term and voter, a few for each voter, and a bounded
memory for all; what is forgotten here is deleted from the disk in the same write.
Source: docs/design/certificates.md, "Equivocation" and "Bad appends".
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.certificates import LieProof
from p2pool.model.ports.store import Delete, PersistOp
from p2pool.model.timing import Now

Name = tuple[Digest, int, StoreId]
"""A proof's name: log, term, store."""
P = TypeVar("P", bound=LieProof)


@attrs.define
class KeptProofs(Generic[P]):
    """The proofs of one kind that one node holds, in their table of the store. `most`: how
    many at a time."""

    table: str
    kind: type[P]
    most: Callable[[], int]
    by_name: "OrderedDict[Name, P]" = attrs.field(factory=OrderedDict)
    repeat_due_ms: int = 0
    turn: int = 0

    def restore(self, rows: Iterable[bytes]) -> None:
        """Restore the proofs from disk."""
        for row in rows:
            try:
                self._put(decode_struct(self.kind, row))
            except Malformed:
                continue  # Another version wrote it; what it holds will come again.

    def keep(self, proof: P) -> tuple[PersistOp, ...]:
        """Keep a proof; what to write. Nothing if we have it, or enough of that voter."""
        name = _name(proof)
        of_voter = sum(one.voter == proof.voter for one in self.by_name.values())
        if name in self.by_name or of_voter >= limits.EVIDENCE_PER_VOTER_MAX:
            return ()
        displaced = self._put(proof)
        kept = put_record(self.table, _key(name), proof)
        return (kept, *(Delete(self.table, _key(one)) for one in displaced))

    def take_due(self, now: Now) -> P | None:
        """The proof to repeat now, if one is due: each in its turn."""
        if not self.by_name or now.mono_ms < self.repeat_due_ms:
            return None
        self.put_off(now)
        proofs = tuple(self.by_name.values())
        proof = proofs[self.turn % len(proofs)]
        self.turn += 1
        return proof

    def put_off(self, now: Now) -> None:
        """Repeat the next one after a while: one was told right now."""
        self.repeat_due_ms = now.mono_ms + limits.EVIDENCE_REPEAT_MS

    def _put(self, proof: P) -> list[Name]:
        """Keep it in memory; return the names that it displaces."""
        self.by_name[_name(proof)] = proof
        gone: list[Name] = []
        while len(self.by_name) > self.most():
            gone.append(self.by_name.popitem(last=False)[0])
        return gone


def _name(proof: LieProof) -> Name:
    return proof.log_id, proof.term, proof.voter.store_id


def _key(name: Name) -> bytes:
    return b"".join((name[0], name[1].to_bytes(8, "big"), name[2]))
