"""A peer that hands out a state which is none ends no agent, and nothing of it reaches the disk."""

from random import Random

import attrs
import pytest

from p2pool.codec.messages import decode_snapshot
from p2pool.codec.structs import encode_struct
from p2pool.core.ledger import Ledger
from p2pool.core.pool.state import from_bytes
from p2pool.core.replica import Ask
from p2pool.model import limits
from p2pool.model.ids import Address, PeerKey, PoolRef
from p2pool.model.query import StateAnswered
from p2pool.model.raft import Snapshot
from p2pool.model.storage import SaveSnapshot
from p2pool.model.timing import Now
from tests.core.test_ledger_timing import POOL, ROOT, founded, setting
from tests.raft.cluster import voter

LIAR, HONEST = PeerKey(b"l" * 32), PeerKey(b"h" * 32)


def whole() -> bytes:
    """A snapshot of a log that is long enough to have one."""
    ledger = founded()
    for _ in range(limits.SNAPSHOT_AFTER_ENTRIES + 1):
        ledger.propose(*setting("wan"), Now(12_000, 12_000))
    assert ledger.raft is not None
    snapshot = ledger.raft.state.snapshot
    assert snapshot is not None
    return snapshot


def follower() -> tuple[Ledger, Ask]:
    """One that is behind, and has asked the liar."""
    ledger = Ledger(voter(2), POOL, Random(3))
    ledger.follow_root(ROOT, Now(0, 0))
    ledger.replica.want(10_000, 1, Now(0, 0), LIAR)
    ask = ledger.ask(1, (LIAR, HONEST), 1, Now(1, 1))
    assert ask is not None
    assert ask.peer_key == LIAR
    return ledger, ask


def tell(ledger: Ledger, ask: Ask, data: bytes, now: Now) -> None:
    """The whole of a snapshot in one answer."""
    request, name = ask.message.request, ledger.log_id
    assert name is not None
    answer = StateAnswered(request, name, 10_000, (), len(data), 0, data)
    assert ledger.answered(answer, ask.peer_key, 2, now) is None


def damaged(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, state=snapshot.state[:-1])


def of_another_pool(snapshot: Snapshot) -> Snapshot:
    state = from_bytes(snapshot.state)
    state.pool = PoolRef(31337, Address(b"d" * 20), 2)
    return attrs.evolve(snapshot, state=state.to_bytes())


def later_than_it_says(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, index=snapshot.index + 5)


@pytest.mark.parametrize("lie", [damaged, of_another_pool, later_than_it_says])
def test_a_state_that_is_none_is_left_and_another_peer_asked(lie: object) -> None:
    """The next answer, of an honest peer, is taken."""
    assert callable(lie)
    good = whole()
    ledger, ask = follower()
    ledger.take_persist()
    tell(ledger, ask, encode_struct(lie(decode_snapshot(good))), Now(2, 2))
    assert [o for o in ledger.take_persist() if isinstance(o, SaveSnapshot)] == []
    assert ledger.commit_index == 0
    again = ledger.ask(3, (LIAR, HONEST), 1, Now(60_000, 60_000))
    assert again is not None
    assert again.peer_key == HONEST
    tell(ledger, again, good, Now(60_001, 60_001))
    assert ledger.commit_index == decode_snapshot(good).index
