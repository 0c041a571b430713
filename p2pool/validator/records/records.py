"""Findings and documents of evidence in a validator's directory.

    findings.journal              a line for each finding, oldest first
    evidence/PROVIDER/DIGEST.p2pool   the signed document behind it

Intuition: a document is written first, then its line, so a line never names what is not there. A
process that dies between the two leaves a document without a line; the next one makes the line
from the document, which says all but the provider, and its folder says that.

Invariants: all of it is on the disk when `keep` returns; a last line without its end is of a write
that nobody acted on, and is cut off; any other damage is told, and never taken for an empty index.
Both are bounded: the oldest findings are forgotten first, and of the documents first those that no
one needs: of nodes that pass, all but the newest of each. Use it within `ActJournal.opened`, whose
lock is that of the directory.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from p2pool.codec.validation import evidence_bytes, evidence_of
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, P2poolError, StoreFailed
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.journal import disk
from p2pool.validator.journal.act_record import Owner, owner_line, read_owner
from p2pool.validator.policy.findings import FindingKind
from p2pool.validator.records.index_record import Record, read_record, record_line

log = get_logger(__name__)

INDEX_NAME = "findings.journal"
FOLDER = "evidence"
ENDING = ".p2pool"

ToRecord = Callable[[SignedEvidence, Address], Record]
"""The record of a document that has none: of whose node it is."""


@attrs.define
class Records:
    """What was found so far, oldest first, by its id. Use `opened`."""

    directory: Path
    owner: Owner
    found: dict[bytes, Record] = attrs.field(factory=dict)
    lines: int = 0

    @classmethod
    def opened(cls, directory: Path, owner: Owner, to_record: ToRecord) -> "Records":
        """Those of a directory. `Misconfigured`: the index is damaged, or another account's."""
        records = cls(directory, owner)
        try:
            (directory / FOLDER).mkdir(mode=0o700, exist_ok=True)
            records._load()
            records._take_in_left(to_record)
            records._make_room()
        except OSError as error:
            raise records._unwritable(error) from error
        return records

    @property
    def index(self) -> Path:
        """The file with a line for each."""
        return self.directory / INDEX_NAME

    def of_node(self, node_id: NodeId) -> list[Record]:
        """Those of a node, oldest first."""
        return [one for one in self.found.values() if one.finding.node_id == node_id]

    def newest(self) -> dict[NodeId, Record]:
        """The last one of each node."""
        return {one.finding.node_id: one for one in self.found.values()}

    def failed_since(self, at_ms: int) -> dict[NodeId, Address]:
        """The nodes that failed since a time, by whose they were at the last failure."""
        return {
            one.finding.node_id: one.finding.provider
            for one in self.found.values()
            if one.finding.is_failure and one.finding.at_ms >= at_ms
        }

    def keep(self, record: Record, signed: SignedEvidence | None = None) -> Record:
        """Keep what was found, with its document if there is one; the record as it was kept."""
        try:
            if signed is not None:
                data = evidence_bytes(signed)
                path = self.document(record)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                disk.replace_whole(path, data)
                record = attrs.evolve(record, document_bytes=len(data))
            self._append(record)
            self._make_room()
        except OSError as error:
            raise self._unwritable(error) from error
        return record

    def document(self, record: Record) -> Path:
        """Where the document of a finding is, or would be."""
        return place_of(self.directory, record)

    def compact(self) -> None:
        """Write the index anew without what is forgotten, once that halves it."""
        if self.lines <= 2 * len(self.found) + limits.POLICY_ACTS_MAX:
            return
        lines = [owner_line(self.owner), *map(record_line, self.found.values())]
        try:
            disk.replace_whole(self.index, b"".join(lines))
        except OSError as error:
            raise self._unwritable(error) from error
        self.lines = len(self.found)

    # --- the disk -------------------------------------------------------------------------------

    def _append(self, record: Record) -> None:
        disk.append_synced(self.index, record_line(record))
        self._remember(record)

    def _remember(self, record: Record) -> None:
        self.found.pop(record.finding.finding_id, None)
        self.found[record.finding.finding_id] = record
        self.lines += 1

    def _make_room(self) -> None:
        while len(self.found) > limits.VALIDATOR_FINDINGS_MAX:
            self._forget(next(iter(self.found.values())))
        kept_bytes = sum(one.document_bytes for one in self.found.values())
        for record in self._least_needed():
            if kept_bytes <= limits.VALIDATOR_EVIDENCE_MAX_BYTES:
                return
            kept_bytes -= record.document_bytes
            self._forget(record)

    def _least_needed(self) -> Iterable[Record]:
        """Those with a document, in the order in which they go; the newest never."""
        newest = {one.finding.finding_id for one in self.newest().values()}
        held = [one for one in self.found.values() if one.document_bytes]
        held.sort(
            key=lambda one: (
                one.finding.finding_id in newest,
                one.finding.kind is not FindingKind.PASSED,
                one.finding.at_ms,
            )
        )
        return held[:-1]

    def _forget(self, record: Record) -> None:
        del self.found[record.finding.finding_id]
        self.document(record).unlink(missing_ok=True)

    def _load(self) -> None:
        try:
            with self.index.open("rb") as file:
                data = file.read(limits.VALIDATOR_INDEX_MAX_BYTES + 1)
        except FileNotFoundError:
            disk.append_synced(self.index, owner_line(self.owner), new=True)
            return
        try:
            if len(data) > limits.VALIDATOR_INDEX_MAX_BYTES:
                raise Malformed(f"more than {limits.VALIDATOR_INDEX_MAX_BYTES} bytes")
            self._take_in(data)
        except Malformed as error:
            raise Misconfigured(
                f"{self.index}, which says what this validator has found, is damaged:"
                f" {error.message}.",
                hint="Bring back a copy of it; or move it away: the findings with a document come"
                " back from evidence/, and the others count for nothing any more.",
            ) from error

    def _take_in(self, data: bytes) -> None:
        *lines, torn = data.split(b"\n")
        if not lines:
            disk.append_synced(self.index, owner_line(self.owner), new=True)
            return
        owner = read_owner(lines[0])
        if owner != self.owner:
            raise Misconfigured(
                f"{self.index} is another account's, or of another network.",
                hint="Name another directory for this account: each has findings of its own.",
            )
        for line in lines[1:]:
            self._remember(read_record(line))
        for record in list(self.found.values()):
            if record.document_bytes and not self.document(record).is_file():
                # It went for lack of room, and its line with the next compaction.
                del self.found[record.finding.finding_id]
        if torn:
            disk.cut_to(self.index, len(data) - len(torn))

    def _take_in_left(self, to_record: ToRecord) -> None:
        """Documents that a process wrote, and died before it wrote their lines."""
        known = {self.document(one) for one in self.found.values()}
        for path in sorted((self.directory / FOLDER).glob("*/*")):
            if path in known:
                continue
            if path.name.startswith("."):
                path.unlink(missing_ok=True)
                continue
            with suppress(ValueError):
                provider = bytes.fromhex(path.parent.name)
                if path.suffix == ENDING and len(provider) == ADDRESS_BYTES:
                    self._take_in_document(path, Address(provider), to_record)

    def _take_in_document(self, path: Path, provider: Address, to_record: ToRecord) -> None:
        data = (
            path.read_bytes() if path.stat().st_size <= limits.EVIDENCE_DOCUMENT_MAX_BYTES else b""
        )
        try:
            record = to_record(evidence_of(data), provider)
        except P2poolError as error:
            log.warning("a document of evidence is none", file=str(path), reason=error.message)
            return
        record = attrs.evolve(record, document_bytes=len(data))
        if self.document(record) == path:
            self._append(record)

    def _unwritable(self, error: OSError) -> StoreFailed:
        return StoreFailed(
            f"Findings cannot be kept in {self.directory}: {error.strerror}.",
            hint="Nothing follows from what cannot be kept. Make room on that disk, or check whose"
            " it is.",
        )


def place_of(directory: Path, record: Record) -> Path:
    """Where the document of a finding is in a validator's directory."""
    found = record.finding
    return directory / FOLDER / found.provider.hex() / (found.finding_id.hex() + ENDING)
