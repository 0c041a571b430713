"""Replicas of two versions apply one log alike: what decides is the level of the log alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest

from p2pool.codec import entries as codec
from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.spec import spec
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm import apply as fsm
from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.model.access.requests import Action
from p2pool.model.errors import Malformed
from p2pool.model.features import BASE_LEVEL, FeatureLevel, since
from p2pool.model.log.entries import LevelRaised, ReplacementHeld, Setting
from p2pool.model.log.raft import Entry, EntryKind
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.core.fsm.records import POOL, ask, request

pytestmark = pytest.mark.usefixtures("as_first_version")


@attrs.frozen
class LaterSetting:
    """A setting as the next version has it."""

    name: str
    value: str
    note: str = since(NEXT_LEVEL, default="")


def note(changes: Changes, record: LaterSetting) -> None:
    """What the next version does with it."""
    changes.state.settings[record.name] = record.value + record.note


@contextmanager
def newer(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The next version: a record has one field more, and there is one kind more."""
    with next_version(), patch.context() as its:
        its.setitem(codec.RECORDS, EntryKind.SETTING, LaterSetting)
        its.setitem(codec.KINDS_SINCE, EntryKind.HOLD, NEXT_LEVEL)
        its.setitem(fsm._TABLE, LaterSetting, note)
        yield


@contextmanager
def older(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """This version, as if it did not know that kind."""
    with patch.context() as its:
        its.setattr(codec, "KIND_NUMBERS", codec.KIND_NUMBERS - {int(EntryKind.HOLD)})
        yield


def feed(state: PoolState, kind: int, body: bytes) -> None:
    """Apply the next entry as `PoolLog` does."""
    entry = Entry(state.applied_index + 1, 1, kind, 5, body)
    try:
        fsm.apply_entry(state, entry)
    except Malformed:
        fsm.apply(state, entry, None)


def raised(to: int) -> tuple[int, bytes]:
    return codec.encode_body(LevelRaised(FeatureLevel(to), "0.3.0"))


@pytest.fixture
def noted() -> bytes:
    """A setting with the later field, as the next version writes it."""
    with next_version():
        return encode_struct(LaterSetting("timing", "lan", "!"), NEXT_LEVEL)


HOLD = encode_struct(ReplacementHeld(9, "many vanished"))
BEFORE = encode_struct(Setting("committee", "3"))


def test_what_is_above_the_level_changes_nothing_old_or_new(
    monkeypatch: pytest.MonkeyPatch, noted: bytes
) -> None:
    """A later kind, a later field, a kind that nobody knows: only the history goes on, alike."""
    setting, hold = EntryKind.SETTING, EntryKind.HOLD
    log = [(setting, BEFORE), (setting, noted), (hold, HOLD), (99, b"\x80")]
    states = []
    for version in (older, newer):
        state = PoolState(POOL, 1)
        with version(monkeypatch):
            for kind, body in log:
                feed(state, kind, body)
            states.append((digest_of(state), state.settings, state.held_until_ms))
    assert states[0] == states[1]
    assert states[0][1:] == ({"committee": "3"}, 0)


def test_from_its_level_on_it_counts_and_what_was_written_before_is_read(
    monkeypatch: pytest.MonkeyPatch, noted: bytes
) -> None:
    """Entries of both forms lie in the log after the level was raised: some were on their way."""
    state = PoolState(POOL, 1)
    with newer(monkeypatch):
        for kind, body in (raised(2), (EntryKind.SETTING, BEFORE), (EntryKind.SETTING, noted)):
            feed(state, kind, body)
        feed(state, EntryKind.HOLD, HOLD)
    assert state.settings == {"committee": "3", "timing": "lan!"}
    assert state.held_until_ms == 9


def test_the_level_rises_one_at_a_time_and_never_sinks() -> None:
    """Whatever is written: the next one, or nothing; the state keeps it, and who raised it."""
    state = PoolState(POOL, 1)
    for written, is_then in ((1, 1), (3, 1), (2, 2), (2, 2), (1, 2), (4, 2), (3, 3)):
        feed(state, *raised(written))
        assert state.level == is_then
    with next_version(FeatureLevel(3)):
        again = decode_state(encode_state(state))
    assert (again.level, again.level_version) == (3, "0.3.0")


def test_what_a_level_does_not_have_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that proposes it is our own bug."""
    with newer(monkeypatch):
        held = ReplacementHeld(9, "")
        with pytest.raises(AssertionError, match="HOLD is of level 2, not 1"):
            codec.encode_body(held, BASE_LEVEL)
        assert codec.encode_body(held, NEXT_LEVEL)[0] is EntryKind.HOLD


def test_a_key_of_a_later_level_is_refused_below_it_by_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And taken from that level on, from the log as from a snapshot."""
    later = {BASE_LEVEL: {"env": "is of a later level"}, NEXT_LEVEL: {}}
    monkeypatch.setattr(spec, "_later_keys", later.get)
    with next_version():
        text = spec_json({"name": "t", "image": "busybox:1", "env": {"A": "1"}})
    asked = attrs.evolve(request(Action.SUBMIT, 1), spec_json=text)
    state = PoolState(POOL, 1)
    ask(state, asked)
    assert state.tasks == {}
    with next_version():
        ask(state, asked)
        assert state.tasks == {}
        feed(state, *raised(2))
        name = ask(state, attrs.evolve(request(Action.SUBMIT, 2), spec_json=text))
        assert list(state.tasks) == [name]
        assert decode_state(encode_state(state)).tasks == state.tasks


def test_an_event_tells_that_the_level_rose() -> None:
    """So that people see when an upgrade is done."""
    state = PoolState(POOL, 1)
    (event,) = fsm.apply_entry(state, Entry(1, 1, *raised(2)[:1], 5, raised(2)[1]))
    assert (event.kind, event.subject, event.text) == ("pool", "feature level", "is 2")
