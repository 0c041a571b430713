"""A learner applies what a quorum of the voters signed, whatever its leader says is committed."""

import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.fsm.state import history_after
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.raft.state import Ready
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import SignedHistory
from p2pool.model.log.entries import Noop
from p2pool.model.log.raft import Configuration, Entry
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME
from tests.core.log.led_voter import led_voter
from tests.raft.harness.cluster import voter

LEARNING = Configuration((ME,), (voter(2),))
FIRST, LAST = 2, 5


def led(level: FeatureLevel, seats: Configuration) -> PoolLog:
    """A node that a leader leads, of a pool that has reached a level."""
    pool_log = led_voter(level, seats)
    pool_log.absorb(Ready())
    return pool_log


def entries() -> tuple[Entry, ...]:
    kind, body = encode_body(Noop(ME.node_id))
    return tuple(Entry(index, 1, kind, 10_000, body) for index in range(FIRST, LAST + 1))


def told(pool_log: PoolLog, *given: Entry) -> None:
    """Its leader sends these, and says that they are committed."""
    assert pool_log.log_id is not None
    names = pool_log.log_id, 1, ME, voter(2)
    before = given[0].index - 1
    pool_log.receive(
        AppendRequested(*names, before, 1, given[-1].index, 1, given), ME.peer_key, Now(6, 6)
    )
    assert pool_log.last_index == given[-1].index, "it is held all the same"


def signed(pool_log: PoolLog, index: int, *, true: bool = True) -> None:
    """A quorum signs the log up to an index."""
    history = pool_log.history
    for entry in entries():
        if pool_log.applied_index < entry.index <= index:
            history = history_after(history, entry)
    pool_log.histories.sign(SignedHistory(index, history if true else Digest(b"x" * 32)))
    pool_log.commit_signed()


def test_it_applies_what_is_signed_when_it_holds_it() -> None:
    """Whichever comes first, and no more than that."""
    pool_log = led(DISTRUST_LEVEL, LEARNING)
    told(pool_log, *entries()[:3])
    assert pool_log.applied_index == FIRST - 1
    signed(pool_log, 3)
    assert pool_log.applied_index == pool_log.commit_index == 3
    signed(pool_log, LAST)
    assert pool_log.applied_index == 3
    told(pool_log, *entries()[3:])
    assert pool_log.applied_index == LAST


def test_what_contradicts_the_quorum_is_not_applied() -> None:
    """It notes where, and takes what was signed before."""
    pool_log = led(DISTRUST_LEVEL, LEARNING)
    signed(pool_log, 3)
    signed(pool_log, LAST, true=False)
    told(pool_log, *entries())
    assert pool_log.applied_index == 3
    assert pool_log.histories.contradicted_index == LAST


@pytest.mark.parametrize(
    ("level", "seats"),
    [(BASE_LEVEL, LEARNING), (DISTRUST_LEVEL, Configuration((ME, voter(2))))],
    ids=["an earlier level", "a voter"],
)
def test_who_takes_the_leaders_word(level: FeatureLevel, seats: Configuration) -> None:
    """Below level 2 nobody signs; a voter's own word is part of the quorum's."""
    pool_log = led(level, seats)
    told(pool_log, *entries())
    assert pool_log.applied_index == LAST
