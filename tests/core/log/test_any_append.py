"""Whatever can be decoded may come from a leader: nothing raises, and nothing committed goes."""

from functools import partial

import attrs
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import RECORDS, encode_snapshot
from p2pool.core.fsm.storage.rows import digest_of, encode_state
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Digest
from p2pool.model.log.entries import ChangeCertified, LevelRaised, NodesMoved, Setting
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from p2pool.model.timing import Now
from p2pool.wire.enclosures import open_one
from tests.codec.samples import example, instances
from tests.core.log.founded_log import ME, POOL
from tests.core.log.led_voter import led_voter, of_two
from tests.raft.harness.cluster import voter

SPEAKERS = (ME, voter(2), voter(3), attrs.evolve(ME, store_id=voter(5).store_id))
GOOD = of_two()
SNAPSHOT = encode_snapshot(GOOD)
EDGES = (0, 1, 2, 3, limits.LOG_NUMBER_MAX - 1, limits.LOG_NUMBER_MAX)


def _made() -> list[bytes]:
    """What would do harm if it counted."""
    return [
        encode_struct(record, DISTRUST_LEVEL)
        for record in (
            Configuration(()),
            Configuration((ME,)),
            Configuration((voter(3),), (), (ME, voter(2))),
            Configuration((ME, voter(2)), (voter(3),)),
            Setting("committee", "none"),
            Setting("", ""),
            ChangeCertified(1, ()),
            ChangeCertified(0, (b"junk",)),
            LevelRaised(DISTRUST_LEVEL, ""),
            NodesMoved(()),
        )
    ]


def _turned(body: bytes, at: int) -> bytes:
    if not body:
        return body
    turned = bytearray(body)
    turned[at // 8 % len(body)] ^= 1 << at % 8
    return bytes(turned)


RECORD_CLASSES = list(RECORDS.values())
WHOLE = [encode_struct(example(cls, DISTRUST_LEVEL), DISTRUST_LEVEL) for cls in RECORD_CLASSES]
KINDS = st.sampled_from([*(int(kind) for kind in RECORDS), 99])


def _bodies(kind: int) -> st.SearchStrategy[bytes]:
    """A body of this kind, of another, cut or changed, or any bytes."""
    some = st.sampled_from([*WHOLE, *_made()])
    if kind not in RECORDS:
        return some
    own = instances(RECORDS[EntryKind(kind)]).map(encode_struct)
    cut = st.builds(lambda body, at: body[: at % (len(body) + 1)], own, st.integers(0, 500))
    turned = st.builds(_turned, st.one_of(own, some), st.integers(0, 4_000))
    return st.one_of(own, own, some, cut, turned, st.binary(max_size=40))


BODIES = {kind: _bodies(kind) for kind in (*map(int, RECORDS), 99)}


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(KINDS)
    body = draw(BODIES[kind])
    dated = draw(st.sampled_from((0, 5, 20_000, limits.LOG_NUMBER_MAX - 1)))
    return Entry(draw(st.sampled_from(EDGES)), draw(st.integers(0, 4)), kind, dated, body)


@st.composite
def frames(draw: st.DrawFn) -> AppendRequested:
    """An append of any numbers."""
    some = draw(st.lists(entries(), max_size=5))
    return AppendRequested(
        log_id=Digest(bytes(32)),
        term=draw(st.sampled_from((1, 1, 2, 3, *EDGES))),
        leader=draw(st.sampled_from(SPEAKERS)),
        follower=voter(2),
        previous_index=draw(st.sampled_from(EDGES)),
        previous_term=draw(st.sampled_from((1, 0, 2, *EDGES))),
        commit_index=draw(st.sampled_from((0, 1, 3, limits.LOG_NUMBER_MAX))),
        round=draw(st.integers(-1, 3)),
        entries=tuple(some),
    )


def _fitted(frame: AppendRequested, s: RaftState, back: int) -> AppendRequested:
    """The same, by the leader of today, after what the log holds or a little before its end."""
    previous = max(s.log.base_index, s.log.last_index - back)
    term = max(1, s.hard.term)
    some = [attrs.evolve(e, index=previous + n, term=term) for n, e in enumerate(frame.entries, 1)]
    return attrs.evolve(
        frame,
        term=term,
        leader=ME,
        previous_index=previous,
        previous_term=s.log.term_at(previous) or 0,
        entries=tuple(some),
    )


def _holds(pool_log: PoolLog, committed: list[Entry]) -> None:
    """What was committed is there still, and the state can be kept."""
    raft, state = pool_log.raft, pool_log.state
    assert raft is not None
    assert state is not None
    s = raft.state
    assert s.commit_index <= s.log.last_index
    assert state.applied_index == s.commit_index
    held = s.log.between(s.log.base_index + 1, s.commit_index)
    assert list(held[: len(committed)]) == committed
    committed[:] = held
    assert s.configuration.flaw is None
    assert digest_of(state)
    assert encode_state(state)


@given(
    st.lists(st.tuples(frames(), st.sampled_from((0, 0, 0, 1, 3, None))), max_size=8),
    st.sampled_from((0, 3, limits.LOG_NUMBER_MAX)),
    st.sampled_from((BASE_LEVEL, DISTRUST_LEVEL)),
)
def test_no_append_raises(
    sent: list[tuple[AppendRequested, int | None]], certified: int, level: FeatureLevel
) -> None:
    """Entries in any order, of any kind, with any bodies; also where a quorum vouches for the
    index, so that they are taken whatever the checks say."""
    pool_log = led_voter(level)
    pool_log.opens = partial(open_one, POOL)
    assert pool_log.raft is not None
    s = pool_log.raft.state
    s.certified_index = certified
    committed: list[Entry] = []
    for number, (frame, back) in enumerate(sent):
        at = Now(1_000 + 10 * number, 1_000 + 10 * number)
        made = _fitted(frame, s, back) if back is not None else frame
        made = attrs.evolve(made, log_id=s.log_id)
        pool_log.receive(made, made.leader.peer_key, at)
        if pool_log.too_old is not None:
            return  # A quorum vouched for a level beyond this program: the agent says so.
        _holds(pool_log, committed)
        pool_log.tick(at)
        pool_log.take_persist()


def test_a_certificate_of_a_later_form_passes() -> None:
    """It has a field that nobody here knows, as another version may write it, or a liar."""
    pool_log = led_voter(DISTRUST_LEVEL)
    pool_log.opens = partial(open_one, POOL)
    assert pool_log.raft is not None
    s = pool_log.raft.state
    later = canonical.encode([1, [], 0, 0, 0, 0])
    entry = Entry(1, 1, EntryKind.CERTIFICATE, 5, later)
    frame = AppendRequested(s.log_id, 1, ME, voter(2), 0, 1, 0, 0, (entry,))
    made = _fitted(frame, s, 0)
    pool_log.receive(made, ME.peer_key, Now(1_000, 1_000))
    assert s.log.entries[-1].body == later


@given(st.data())
def test_no_part_of_a_snapshot_raises(data: st.DataObject) -> None:
    """Parts of any place and length, of a state that is whole, changed, or none."""
    pool_log, good = led_voter(), GOOD
    assert pool_log.log_id is not None
    whole = data.draw(st.sampled_from((SNAPSHOT, SNAPSHOT[:-1], b"", b"junk" * 9)))
    if data.draw(st.booleans()):
        whole = _turned(whole, data.draw(st.integers(0, 8 * len(SNAPSHOT))))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.sampled_from((0, 0, 1, len(whole), limits.LOG_NUMBER_MAX)))
        frame = SnapshotSent(
            pool_log.log_id,
            data.draw(st.sampled_from((0, 1, 2, limits.LOG_NUMBER_MAX))),
            data.draw(st.sampled_from(SPEAKERS)),
            voter(2),
            data.draw(st.sampled_from((good.index, 0, 1, limits.LOG_NUMBER_MAX))),
            data.draw(st.sampled_from((good.term, 0, limits.LOG_NUMBER_MAX))),
            begin,
            data.draw(st.sampled_from((len(whole), 0, 1, limits.SNAPSHOT_MAX_BYTES + 1))),
            whole[begin:],
            data.draw(st.sampled_from(((), (b"junk",)))),
        )
        pool_log.receive(frame, frame.leader.peer_key, Now(50, 50))
        _holds(pool_log, [])
