"""Documents of evidence in a data directory: a bounded number of files, each with a note beside it.

Intuition: a document has megabytes and is read rarely, so it is a file, named by its digest; the
note says whose it is, so that a start reads notes alone. Where the room is used up, what is least
asked for goes: first what a newer document by the same validator on the same node has replaced,
then the oldest. Two documents of one challenge prove that their validator contradicts itself, so
these stay, for a bounded number of challenges.

Invariants: a note stands for a whole document, for it is written after it and both are synced; what
has no note is removed at a start. No validator takes more than its share of the room, and whoever
brings something older than all that would have to go brings it in vain.
Source: docs/design/validation.md, "What becomes of a verdict".
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.codec.validation import document_digest, document_signature
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import Malformed, StoreFailed
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, NodeId
from p2pool.model.validation.verdict import Contradiction, SignedVerdict, StoredDocument

log = get_logger(__name__)
DOCUMENT, NOTE, PART = ".evidence", ".note", ".part"
Pair = tuple[NodeId, Address]


@attrs.define
class EvidenceFiles:
    """The documents of one agent; one task at a time changes them."""

    folder: Path
    notes: dict[Digest, StoredDocument] = attrs.field(factory=dict)
    contradictions: dict[Digest, Contradiction] = attrs.field(factory=dict)
    size_bytes: int = 0

    def load(self) -> None:
        """Read the notes; remove what a stop left behind. StoreFailed: the folder cannot be
        used."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            names = sorted(path.name for path in self.folder.iterdir())
        except OSError as error:
            raise StoreFailed(f"Cannot use {self.folder}: {error.strerror}.") from error
        found = [note for name in names if (note := self._noted(name)) is not None]
        for note in sorted(found, key=lambda one: one.verdict.verdict.order):
            self._count(note)
        whole = {name for digest in self.notes for name in _names(digest)}
        for name in names:
            if name not in whole and name.endswith((DOCUMENT, NOTE, PART)):
                (self.folder / name).unlink(missing_ok=True)

    def _noted(self, name: str) -> StoredDocument | None:
        """The note of this name, if it is one and its document is whole."""
        path = self.folder / name
        if path.suffix != NOTE or len(path.stem) != 2 * DIGEST_BYTES:
            return None
        try:
            with path.open("rb") as file:
                note = decode_struct(StoredDocument, file.read(limits.EVIDENCE_HEAD_MAX_BYTES + 1))
            size_bytes = path.with_suffix(DOCUMENT).stat().st_size
        except (OSError, Malformed):
            return None
        named = note.verdict.verdict.evidence.hex() == path.stem
        return note if named and size_bytes == note.size_bytes else None

    def read(self, digest: Digest) -> bytes | None:
        """A document, or None if it is not here; one that was damaged goes."""
        if digest not in self.notes:
            return None
        try:
            with (self.folder / _names(digest)[0]).open("rb") as file:
                data = file.read(limits.EVIDENCE_KEPT_DOCUMENT_MAX_BYTES + 1)
            if is_named(self.notes[digest].verdict, data):
                return data
        except (OSError, Malformed):
            pass
        log.warning("a document of evidence is damaged", digest=digest.hex())
        self.drop(digest)
        return None

    # --- keeping ----------------------------------------------------------------------------------

    def has_room(self, note: StoredDocument) -> bool:
        """Whether a document would be kept."""
        return self._in_the_way(note) is not None

    def keep(self, note: StoredDocument, data: bytes) -> bool:
        """Keep a document that was checked; False if there is no room for it. StoreFailed: the disk
        does not take it."""
        in_the_way = self._in_the_way(note)
        if in_the_way is None:
            return False
        for digest in in_the_way:
            self.drop(digest)
        document, noted = (self.folder / name for name in _names(note.verdict.verdict.evidence))
        try:
            _write(document, data)
            _write(noted, encode_struct(note))
        except OSError as error:
            raise StoreFailed(f"Evidence cannot be kept: {error.strerror}.") from error
        self._count(note)
        return True

    def drop(self, digest: Digest) -> None:
        """Remove a document, its note first."""
        note = self.notes.pop(digest, None)
        if note is None:
            return
        self.size_bytes -= note.size_bytes
        found = self.contradictions.get(note.challenge)
        if found is not None and note in (found.first, found.second):
            del self.contradictions[note.challenge]
        for name in reversed(_names(digest)):
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    def _count(self, note: StoredDocument) -> None:
        said = note.verdict.verdict
        for other in self.notes.values():
            same = (other.challenge, other.verdict.verdict.validator)
            if same == (note.challenge, said.validator):
                self.contradictions.setdefault(note.challenge, Contradiction(other, note))
                log.warning(
                    "a validator contradicts itself",
                    validator=said.validator.hex(),
                    first=other.verdict.verdict.evidence.hex(),
                    second=said.evidence.hex(),
                )
                break
        self.notes[said.evidence] = note
        self.size_bytes += note.size_bytes

    # --- room -------------------------------------------------------------------------------------

    def _in_the_way(self, note: StoredDocument) -> list[Digest] | None:
        """What has to go for a document; None: it is too large, or worth less than that. A note
        whose challenge has a document already contradicts it, and is worth more than any."""
        said = note.verdict.verdict
        if note.size_bytes > limits.EVIDENCE_KEPT_DOCUMENT_MAX_BYTES:
            return None
        kept = {**self.notes, said.evidence: note}
        by_it = [one for one in kept.values() if one.verdict.verdict.validator == said.validator]
        share = limits.EVIDENCE_PER_VALIDATOR_MAX_BYTES
        gone = self._least(by_it, sum(one.size_bytes for one in by_it) - share, 0)
        left = [one for one in kept.values() if one not in gone]
        over_bytes = sum(one.size_bytes for one in left) - limits.EVIDENCE_KEPT_MAX_BYTES
        gone += self._least(left, over_bytes, len(left) - limits.EVIDENCE_DOCUMENTS_MAX)
        return None if note in gone else [one.verdict.verdict.evidence for one in gone]

    def _least(
        self, notes: Iterable[StoredDocument], over_bytes: int, over: int
    ) -> list[StoredDocument]:
        """The documents of least worth that give back so many bytes, and so many places."""
        gone: list[StoredDocument] = []
        if over_bytes <= 0 and over <= 0:
            return gone
        for one in sorted(notes, key=self._worth(notes)):
            if over_bytes <= 0 and over <= 0:
                break
            gone.append(one)
            over_bytes -= one.size_bytes
            over -= 1
        return gone

    def _worth(self, notes: Iterable[StoredDocument]) -> "_Worth":
        newest: dict[Pair, StoredDocument] = {}
        challenges: dict[tuple[Digest, Address], int] = {}
        for one in notes:
            said = one.verdict.verdict
            pair = said.node_id, said.validator
            known = newest.get(pair)
            if known is None or known.verdict.verdict.order < said.order:
                newest[pair] = one
            named = one.challenge, said.validator
            challenges[named] = challenges.get(named, 0) + 1
        twice = [name for name, count in challenges.items() if count > 1]
        stay = frozenset(twice[: limits.CONTRADICTIONS_KEPT_MAX])
        return _Worth(frozenset(one.verdict.verdict.evidence for one in newest.values()), stay)


@attrs.frozen
class _Worth:
    """How much a document is worth: the least goes first."""

    newest: frozenset[Digest]
    twice: frozenset[tuple[Digest, Address]]

    def __call__(self, note: StoredDocument) -> tuple[bool, bool, tuple[int, Digest]]:
        said = note.verdict.verdict
        contradicts = (note.challenge, said.validator) in self.twice
        return contradicts, said.evidence in self.newest, said.order


def is_named(signed: SignedVerdict, data: bytes) -> bool:
    """Whether these bytes are the document of a verdict, its signature included: then there are no
    others. `Malformed`: they do not even begin as one."""
    named = document_digest(data) == signed.verdict.evidence
    return named and document_signature(data) == signed.signature


def _names(digest: Digest) -> tuple[str, str]:
    """The document's file, and its note's."""
    return digest.hex() + DOCUMENT, digest.hex() + NOTE


def _write(path: Path, data: bytes) -> None:
    """A whole file, or none, on the disk when this returns."""
    aside = path.with_name(path.name + PART)
    opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
