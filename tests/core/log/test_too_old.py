"""A program stops before what it cannot read, keeps what it can, and says what to install."""

from random import Random

import attrs
import pytest

from p2pool.codec.cbor import canonical
from p2pool.codec.entries import encode_body
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.core.log import epoch_recovery
from p2pool.core.log.level_check import readable_state
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import TooOld
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import StateDigest
from p2pool.model.log.entries import LevelRaised, RequestApplied
from p2pool.model.timing import Now
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.core.log.founded_log import ME, POOL, founded, setting, written

pytestmark = pytest.mark.usefixtures("as_first_version")

SENTENCE = (
    "The pool is at feature level 2, and this version of p2pool knows levels up to 1: it "
    "withdraws from the pool. Install p2pool 0.3.0 or later on this machine"
)
LATER = Now(11_000, 11_000)


def raised() -> PoolLog:
    """A log in which the level was raised beyond this program, and then a setting was made."""
    pool_log = founded()
    pool_log.propose(*setting("lan"), LATER)
    pool_log.propose(*encode_body(LevelRaised(NEXT_LEVEL, "0.3.0")), LATER)
    pool_log.propose(*asked("wan"), LATER)
    return pool_log


def asked(value: str) -> tuple[int, bytes]:
    """A setting as people make it, which counts at every level."""
    text = f'{{"value":"{value}"}}'
    wanted = TaskRequest(Action.SET, POOL.pool_id, "timing", text, bytes(32), 10, 20)
    return encode_body(RequestApplied(SignedRequest(wanted, b"s" * 65), ME.node_id, POOL.contract))


def test_nothing_is_applied_from_the_raise_on() -> None:
    """Neither the raise nor what follows; what is held stays what this program reads."""
    pool_log = raised()
    state = pool_log.state
    assert state is not None
    assert pool_log.raft is not None
    last = pool_log.raft.state.log.last_index
    assert pool_log.commit_index == last
    assert (state.applied_index, state.level, state.settings["timing"]) == (last - 2, 1, "lan")
    assert str(pool_log.too_old).startswith(SENTENCE)
    assert decode_state(encode_state(state)).applied_index == last - 2


def test_what_is_compacted_is_before_the_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of this program never goes beyond what it applied."""
    pool_log = raised()
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 1)
    pool_log.propose(*setting("lan"), LATER)
    assert pool_log.raft is not None
    assert pool_log.state is not None
    s = pool_log.raft.state
    assert s.snapshot is not None
    assert s.snapshot_index == pool_log.state.applied_index < s.log.last_index


def test_a_disk_beyond_it_is_refused_and_taken_up_by_the_newer_program() -> None:
    """The old one says what to install; the newer one goes on where the log is."""
    kept = written(raised())
    with pytest.raises(TooOld) as refused:
        PoolLog(ME, POOL, Random(2)).restore(kept, LATER)
    assert str(refused.value).startswith(SENTENCE)
    newer = PoolLog(ME, POOL, Random(2), newest_level=NEXT_LEVEL)
    newer.restore(kept, LATER)
    assert newer.state is not None
    assert (newer.state.level, newer.state.settings["timing"]) == (NEXT_LEVEL, "wan")
    assert newer.too_old is None


def test_a_raise_that_is_not_the_next_stops_nobody() -> None:
    """It changes nothing for those who know the level either."""
    pool_log = founded()
    pool_log.propose(*encode_body(LevelRaised(type(BASE_LEVEL)(9), "9.0.0")), LATER)
    pool_log.propose(*setting("lan"), LATER)
    assert pool_log.too_old is None
    assert pool_log.state is not None
    assert pool_log.state.settings == {"timing": "lan"}


@pytest.mark.parametrize("newest", [BASE_LEVEL, NEXT_LEVEL])
def test_a_state_of_a_newer_program_is_refused_with_what_to_install(newest: int) -> None:
    """Whether the codec knows more than the node is told to, or not even that."""
    with next_version():
        state = PoolState(POOL, 1, level=NEXT_LEVEL, level_version="0.3.0")
        data = encode_state(state)
    with next_version(type(BASE_LEVEL)(newest)), pytest.raises(TooOld) as refused:
        readable_state(data, BASE_LEVEL)
    assert str(refused.value).startswith(SENTENCE)


def test_a_later_form_of_the_state_is_refused_with_what_to_do() -> None:
    """A table that nobody here knows, at a level that is known."""
    items = canonical.decode(encode_state(PoolState(POOL, 1)))
    assert isinstance(items, list)
    data = canonical.encode([*items, ["volumes", b"k", 1, b"\x80"]])
    with pytest.raises(
        TooOld, match=r"a state in a later form.*Install the p2pool that the others"
    ):
        readable_state(data, BASE_LEVEL)


def test_a_log_that_goes_on_beyond_it_is_not_founded_on() -> None:
    """A recovery from its end would apply what this program does not know."""
    held = raised().held_log
    assert held is not None
    last = held.raft.state.log.last_index
    with pytest.raises(TooOld):
        held.end_digest()
    assert held.state_at(last - 2) is not None
    previous = PreviousLog(held.raft.state.log_id, last, StateDigest(b"\1" * 33))
    root = RootRecord(2, ME.node_id, ME.peer_key, ME.store_id, previous)
    assert "founds nothing. The pool is at feature level 2" in epoch_recovery.refusal(
        ME, root, held
    )
    assert attrs.evolve(held, newest_level=NEXT_LEVEL).state_at(last) is not None
