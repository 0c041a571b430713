"""Documents of evidence on a disk: whole or not there, and within their room."""

from pathlib import Path

import pytest

from p2pool.codec.digests import digest
from p2pool.drivers.store import evidence_files
from p2pool.drivers.store.evidence_files import EvidenceFiles
from p2pool.model import limits
from p2pool.model.errors import StoreFailed
from p2pool.model.ids import Digest, NodeId
from p2pool.model.validation.verdict import StoredDocument
from tests.wire.samples import NOW_MS
from tests.wire.validation.verdicts import validator, verdict_by

KIB = 1024
NODES = [NodeId(bytes([number]) * 20) for number in range(1, 9)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for ten documents of a KiB, six of one validator; hashes are taken for good."""
    monkeypatch.setattr(limits, "EVIDENCE_KEPT_MAX_BYTES", 10 * KIB)
    monkeypatch.setattr(limits, "EVIDENCE_PER_VALIDATOR_MAX_BYTES", 6 * KIB)
    monkeypatch.setattr(limits, "EVIDENCE_KEPT_DOCUMENT_MAX_BYTES", 3 * KIB)
    monkeypatch.setattr(evidence_files, "document_digest", lambda data: Digest(data[:32]))
    monkeypatch.setattr(evidence_files, "document_signature", lambda data: data[32:97])


def note(
    by: int = 1, node: int = 0, at_s: int = 0, size: int = KIB, of: str = ""
) -> StoredDocument:
    """What is noted of a document. `of`: which challenge."""
    named = f"{by} {node} {at_s} {of}".encode()
    signed = verdict_by(validator(by), NODES[node], NOW_MS + 1_000 * at_s, document=named)
    return StoredDocument(signed, digest(of.encode() or named), size)


def data(of: StoredDocument) -> bytes:
    named = of.verdict.verdict.evidence + of.verdict.signature
    return named + bytes(of.size_bytes - len(named))


def opened(path: Path) -> EvidenceFiles:
    files = EvidenceFiles(path / "evidence")
    files.load()
    return files


def keep(files: EvidenceFiles, *notes: StoredDocument) -> list[bool]:
    return [files.keep(one, data(one)) for one in notes]


def test_a_document_outlives_a_restart(tmp_path: Path) -> None:
    """Its bytes, and whose it is."""
    first = note()
    assert keep(opened(tmp_path), first) == [True]
    again = opened(tmp_path)
    assert again.read(first.verdict.verdict.evidence) == data(first)
    assert list(again.notes.values()) == [first]
    assert again.size_bytes == KIB


def test_what_a_stop_left_behind_goes(tmp_path: Path) -> None:
    """A document without its note, a note without its document, a part, a note that is none; a
    file of somebody else stays."""
    files = opened(tmp_path)
    kept, noteless, bare = note(), note(node=1), note(node=2)
    keep(files, kept, noteless, bare)
    names = [one.verdict.verdict.evidence.hex() for one in (noteless, bare)]
    (files.folder / f"{names[0]}.note").unlink()
    (files.folder / f"{names[1]}.evidence").write_bytes(b"cut short")
    (files.folder / "x.evidence.part").write_bytes(b"")
    (files.folder / ("00" * 32 + ".note")).write_bytes(b"\x80")
    (files.folder / "README").write_text("mine")
    again = opened(tmp_path)
    assert list(again.notes.values()) == [kept]
    whole = {kept.verdict.verdict.evidence.hex() + end for end in (".evidence", ".note")}
    assert {path.name for path in files.folder.iterdir()} == {*whole, "README"}


def test_a_damaged_document_is_given_to_nobody(tmp_path: Path) -> None:
    """It goes, and can be fetched again."""
    files, one = opened(tmp_path), note()
    keep(files, one)
    name = one.verdict.verdict.evidence
    (files.folder / f"{name.hex()}.evidence").write_bytes(bytes(KIB))
    assert files.read(name) is None
    assert name not in files.notes
    assert list(files.folder.iterdir()) == []


def test_what_a_newer_document_replaced_goes_first(tmp_path: Path) -> None:
    """Then the oldest; the newest of each validator on each node stay."""
    files = opened(tmp_path)
    replaced = [note(node=0, at_s=at) for at in (50, 60)]
    newest = [note(node=0, at_s=70), *(note(node=n, at_s=n) for n in (1, 2, 3))]
    assert all(keep(files, *replaced, *newest))
    assert keep(files, note(node=4, at_s=5)) == [True]
    assert replaced[0].verdict.verdict.evidence not in files.notes
    keep(files, note(node=5, at_s=6), note(node=6, at_s=7))
    left = {one.verdict.verdict.node_id for one in files.notes.values()}
    assert left == {NODES[n] for n in (0, 2, 3, 4, 5, 6)}  # That on node 1 was the oldest.
    assert files.size_bytes == 6 * KIB


def test_no_validator_takes_more_than_its_share(tmp_path: Path) -> None:
    """However much it brings, another's documents stay."""
    files = opened(tmp_path)
    others = [note(by=2, node=n) for n in range(4)]
    keep(files, *others)
    for at in range(20):
        keep(files, note(by=1, node=at % 8, at_s=at))
    of_two = {one for one in files.notes.values() if one in others}
    assert of_two == set(others)
    assert files.size_bytes == 10 * KIB


def test_what_is_worth_less_than_all_is_not_taken(tmp_path: Path) -> None:
    """Nor what is larger than any may be; nothing goes for it."""
    files = opened(tmp_path)
    kept = [note(node=n, at_s=100 + n) for n in range(6)]
    keep(files, *kept)
    assert keep(files, note(node=6, at_s=1), note(by=2, size=4 * KIB)) == [False, False]
    assert not files.has_room(note(node=6, at_s=1))
    assert set(files.notes.values()) == set(kept)


def test_two_documents_of_one_challenge_stay(tmp_path: Path) -> None:
    """They prove that their validator contradicts itself, over a restart too."""
    files = opened(tmp_path)
    pair = [note(at_s=at, of="one challenge") for at in (1, 2)]
    keep(files, *pair)
    for at in range(10, 30):
        keep(files, note(node=at % 8, at_s=at))
    (found,) = files.contradictions.values()
    assert (found.first, found.second) == tuple(pair)
    (again,) = opened(tmp_path).contradictions.values()
    assert {again.first, again.second} == set(pair)
    files.drop(pair[0].verdict.verdict.evidence)
    assert files.contradictions == {}


def test_another_validators_document_of_it_is_no_contradiction(tmp_path: Path) -> None:
    """A challenge names its validator, so that one lies by itself."""
    files = opened(tmp_path)
    keep(files, note(by=1, of="one challenge"), note(by=2, of="one challenge"))
    assert files.contradictions == {}


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """By the name of the folder."""
    (tmp_path / "evidence").write_text("a file")
    with pytest.raises(StoreFailed, match="evidence"):
        opened(tmp_path)
