"""Every record that travels or is kept has the fields that it had, each since the level it had.

A field more, fewer, or elsewhere is bytes that the released versions do not read. A new field
stands last and says since which level it is there: `since(<level>, default=...)`. After that, and
for a new record, `P2POOL_REWRITE_GOLDEN=1 pytest tests/codec/test_shapes.py` writes the file anew.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest

from p2pool.codec import entries
from p2pool.codec.cbor.structs import fields_of, fields_since
from p2pool.core.fsm.storage.array import PoolArray
from p2pool.core.fsm.storage.tables import META_ROWS, TABLES
from p2pool.core.knowledge.leadership.last_certificate import CertificateSeen
from p2pool.core.knowledge.secret_blobs import ReceivedKey
from p2pool.core.log.kept_certificate import SnapshotCertificate
from p2pool.core.voter import peer_promises, signatures
from p2pool.core.worker import attempt
from p2pool.model import ids
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.features import BASE_LEVEL
from p2pool.model.log import raft
from p2pool.model.log.certificates import BadAppend, Evidence
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.messages.registry import TYPES
from p2pool.model.tasks.secrets import KeyStatement, SecretBlob, SecretContents
from p2pool.model.validation.verdict import StoredDocument

FILE = Path(__file__).parent.parent / "golden" / "shapes.json"
HINT = (
    "A released record never changes, but for fields at its end that say since which feature level "
    "they are there: `since(<level>, default=...)`. See tests/codec/test_shapes.py."
)
KEPT: tuple[type, ...] = (
    raft.Entry, raft.Snapshot, raft.HardState, RootRecord, PeerKnown, ids.Token, PoolArray,
    attempt.StoredAttempt, Evidence, BadAppend, ChainRoster, peer_promises.Kept,
    signatures.Confirmed, CertificateSeen, SnapshotCertificate, SecretBlob, SecretContents,
    KeyStatement, ReceivedKey, StoredDocument,
)  # fmt: skip


def _reached(hint: Any, seen: set[type]) -> Iterator[type]:
    """A class, and all that stand in it."""
    if isinstance(hint, type) and attrs.has(hint) and hint not in seen:
        seen.add(hint)
        yield hint
        for _, inner in fields_of(hint):
            yield from _reached(inner, seen)
    for inner in get_args(hint):
        yield from _reached(inner, seen)


def _shapes(roots: list[type]) -> dict[str, list[list[Any]]]:
    """Fields of each class, in their order, each with its level."""
    seen: set[type] = set()
    found = {cls for root in roots for cls in _reached(root, seen)}
    return {
        cls.__name__: [[name, since] for name, since in fields_since(cls)]
        for cls in sorted(found, key=lambda cls: cls.__name__)
    }


ROOTS: list[type] = [*TYPES.values(), *entries.RECORDS.values(), *KEPT]
ROOTS += [one.record for one in META_ROWS]
ROOTS += [one.record for one in TABLES]
CURRENT = _shapes(ROOTS)

if os.environ.get("P2POOL_REWRITE_GOLDEN") == "1":
    lines = [f" {json.dumps(name)}: {json.dumps(CURRENT[name])}" for name in CURRENT]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")

GOLDEN: dict[str, list[list[Any]]] = json.loads(FILE.read_text())


def test_every_record_is_known() -> None:
    """None is new, and none is gone, without being seen."""
    assert set(CURRENT) == set(GOLDEN), HINT
    assert len(CURRENT) > 80


@pytest.mark.parametrize("name", GOLDEN)
def test_a_record_has_the_shape_that_it_had(name: str) -> None:
    """Whoever adds a field without its level is told here."""
    assert CURRENT.get(name) == GOLDEN[name], HINT


def test_a_forgotten_level_is_seen() -> None:
    """The same record with one field more is not the golden one."""
    more = {"more": attrs.field(default=0, type=int)}
    grown = attrs.make_class("HardState", more, (raft.HardState,), frozen=True)
    assert _shapes([grown])["HardState"] == [*GOLDEN["HardState"], ["more", BASE_LEVEL]]
