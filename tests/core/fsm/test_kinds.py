"""Every kind of log entry has a record, and every record a way to be applied."""

from typing import get_args

from p2pool.codec.entries import RECORDS, Record
from p2pool.core.fsm import apply
from p2pool.model.log.raft import EntryKind


def test_every_kind_has_a_record() -> None:
    """A kind without one is applied as nothing, as if a newer version had written it."""
    assert set(RECORDS) == set(EntryKind)
    assert set(get_args(Record)) == set(RECORDS.values())


def test_every_record_is_applied() -> None:
    """One that has no row raises at every replica that comes to it, again after each start."""
    assert set(apply._TABLE) == set(RECORDS.values())
