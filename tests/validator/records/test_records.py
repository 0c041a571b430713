"""Findings and documents on disk: golden bytes, a death between the two, damage, and bounds."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.codec.validation import evidence_bytes
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed
from p2pool.model.ids import Address, NodeId
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.journal.act_record import Owner, owner_line
from p2pool.validator.policy.findings import Finding, FindingKind
from p2pool.validator.process.challenges import record_of
from p2pool.validator.records.index_record import Record, read_record, record_line
from p2pool.validator.records.records import FOLDER, INDEX_NAME, Records
from p2pool.wire.validation.evidence import sign_evidence
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge

GOLDEN = Path(__file__).parent / "findings.journal"
OWNER = Owner(31337, Address(b"\x11" * 20), Address(b"\x22" * 20))
PROVIDER = Address(b"\x33" * 20)


def record(number: int, kind: FindingKind = FindingKind.OFFLINE, **more: Any) -> Record:
    """A finding without a document."""
    finding = Finding(
        finding_id=number.to_bytes(32, "big"),
        validator=OWNER.account,
        provider=PROVIDER,
        node_id=NodeId(bytes([number % 7]) * 20),
        kind=kind,
        at_ms=1_700_000_000_000 + number,
    )
    return Record(finding=attrs.evolve(finding, **more), why='a "word" – and é')


@pytest.fixture(scope="module")
def documents() -> list[SignedEvidence]:
    """Evidence on two nodes."""
    found = challenge(SimulatedNode(1), SimulatedNode(2)).evidence
    return [sign_evidence(VALIDATOR, one) for one in found.values()]


def opened(directory: Path) -> Records:
    """As the next process has it."""
    return Records.opened(directory, OWNER, record_of)


def test_the_bytes_are_as_they_were(tmp_path: Path) -> None:
    """What an earlier version wrote is what this one writes, and reads to the same findings."""
    listed = [
        record(1),
        record(2, FindingKind.WRONG_PRODUCT, proven=True, shortfall_ppm=125_000),
        attrs.evolve(record(3, FindingKind.PASSED), document_bytes=1234),
    ]
    told = owner_line(OWNER) + b"".join(map(record_line, listed))
    assert told == GOLDEN.read_bytes()
    (tmp_path / INDEX_NAME).write_bytes(told)
    # The document of the third is not there: it counts for nothing any more.
    assert list(opened(tmp_path).found.values()) == listed[:2]


def test_a_restart_loses_nothing(tmp_path: Path, documents: list[SignedEvidence]) -> None:
    """Findings come back in their order, with their documents, byte by byte."""
    records = opened(tmp_path)
    kept = [records.keep(record(1)), records.keep(record_of(documents[0], PROVIDER), documents[0])]
    again = opened(tmp_path)
    assert list(again.found.values()) == kept
    path = again.document(kept[1])
    assert path.read_bytes() == evidence_bytes(documents[0])
    assert kept[1].document_bytes == path.stat().st_size
    assert path.stat().st_mode & 0o077 == 0
    assert again.newest()[kept[1].finding.node_id] == kept[1]
    assert again.of_node(kept[0].finding.node_id) == [kept[0]]


def test_who_failed_is_known_whatever_came_after() -> None:
    """A failure counts for a while, and what others say is wanted for as long: a later pass, or
    a turn that decided nothing, does not end that."""
    kept = Records(Path("nowhere"), OWNER)
    failed, later = record(1), record(2, FindingKind.INCONCLUSIVE)
    later = attrs.evolve(later, finding=attrs.evolve(later.finding, node_id=failed.finding.node_id))
    kept.found = {one.finding.finding_id: one for one in (failed, later)}
    at_ms = failed.finding.at_ms
    assert kept.failed_since(at_ms) == {failed.finding.node_id: failed.finding.provider}
    assert kept.failed_since(at_ms + 1) == {}


def test_a_document_without_a_line_gets_it_back(
    tmp_path: Path, documents: list[SignedEvidence]
) -> None:
    """A process that died between the two has found it all the same, and left no half file."""
    records = opened(tmp_path)
    kept = records.keep(record_of(documents[0], PROVIDER), documents[0])
    (tmp_path / INDEX_NAME).write_bytes(owner_line(OWNER))
    half = records.document(kept).with_name(".half.new")
    half.write_bytes(b"half")
    (records.document(kept).parent / "note.txt").write_bytes(b"somebody's")
    (records.document(kept).parent / ("00" * 32 + ".p2pool")).write_bytes(b"no evidence")
    again = opened(tmp_path)
    assert list(again.found.values()) == [kept]
    assert not half.exists()
    assert list(opened(tmp_path).found.values()) == [kept]


def test_a_restart_at_every_byte_of_a_write(tmp_path: Path) -> None:
    """A line that was half written is as if it had never been; the next one stands behind it."""
    whole = owner_line(OWNER) + record_line(record(1)) + record_line(record(2))
    first = len(owner_line(OWNER) + record_line(record(1)))
    for length in range(first, len(whole), 7):
        (tmp_path / INDEX_NAME).write_bytes(whole[:length])
        records = opened(tmp_path)
        assert list(records.found.values()) == [record(1)]
        records.keep(record(3))
        assert list(opened(tmp_path).found.values()) == [record(1), record(3)]


def test_damage_is_told(tmp_path: Path) -> None:
    """And so is another account's index; neither is taken for an empty one."""
    line = record_line(record(1))
    for damaged in (line.replace(b"offline", b"passed_"), b"nothing\n", line[5:]):
        (tmp_path / INDEX_NAME).write_bytes(owner_line(OWNER) + damaged + line)
        with pytest.raises(Misconfigured, match="damaged"):
            opened(tmp_path)
    (tmp_path / INDEX_NAME).write_bytes(owner_line(attrs.evolve(OWNER, chain_id=1)))
    with pytest.raises(Misconfigured, match="another account"):
        opened(tmp_path)


def test_a_line_is_read_as_strictly_as_it_is_written() -> None:
    """A finding that is none is refused, whatever its check says."""
    good = record_line(record(1))
    assert record_line(read_record(good)) == good
    for wrong in (
        record(1, shortfall_ppm=1_000_001),
        record(1, finding_id=b"short"),
        record(1, at_ms=-1),
    ):
        with pytest.raises(Malformed):
            read_record(record_line(wrong))


def test_what_is_kept_is_bounded(
    tmp_path: Path, documents: list[SignedEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest findings go first, a document goes with its finding, and the newest never."""
    monkeypatch.setattr(limits, "VALIDATOR_FINDINGS_MAX", 3)
    records = opened(tmp_path)
    records.keep(record_of(documents[0], PROVIDER), documents[0])
    for number in range(1, 4):
        records.keep(record(number))
    assert list(records.found.values()) == [record(1), record(2), record(3)]
    assert list((tmp_path / FOLDER).glob("*/*")) == []
    monkeypatch.setattr(limits, "VALIDATOR_EVIDENCE_MAX_BYTES", 1)
    kept = [records.keep(record_of(one, PROVIDER), one) for one in documents]
    assert list((tmp_path / FOLDER).glob("*/*")) == [records.document(kept[1])]
    assert kept[1].finding.finding_id in records.found


def test_the_index_is_written_anew_once_that_halves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten leaves the file too."""
    monkeypatch.setattr(limits, "VALIDATOR_FINDINGS_MAX", 2)
    monkeypatch.setattr(limits, "POLICY_ACTS_MAX", 1)
    records = opened(tmp_path)
    for number in range(1, 8):
        records.keep(record(number))
    records.compact()
    assert records.lines == 2
    assert list(opened(tmp_path).found.values()) == [record(6), record(7)]


def test_a_full_disk_keeps_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is not in memory either."""
    records = opened(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("p2pool.validator.journal.disk.append_synced", full)
        with pytest.raises(StoreFailed, match="No space left"):
            records.keep(record(1))
    assert records.found == {}
    records.keep(record(1))
    assert list(opened(tmp_path).found.values()) == [record(1)]
