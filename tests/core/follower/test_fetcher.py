"""A follower replica fetches what it misses from any member, in order, and never gets stuck."""

from random import Random

from p2pool.core.follower.fetcher import FETCH_TIMEOUT_MS, Ask, Entries, LogFetcher, Whole
from p2pool.model import limits
from p2pool.model.ids import Digest, PeerKey, StateDigest
from p2pool.model.log.raft import Entry
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered
from p2pool.model.timing import Now

LOG = Digest(b"L" * 32)
A, B = PeerKey(b"a" * 32), PeerKey(b"b" * 32)


def at(ms: int) -> Now:
    return Now(ms, 1_700_000_000_000 + ms)


def entries(first: int, last: int) -> tuple[Entry, ...]:
    return tuple(Entry(i, 1, 0, i, b"") for i in range(first, last + 1))


def behind(target: int) -> LogFetcher:
    replica = LogFetcher(Random(1), log_id=LOG)
    replica.announced(Announcement(LOG, 1, 1, target, StateDigest(b"\x01" * 33)), 3, at(0))
    return replica


def ask(
    replica: LogFetcher, now_ms: int, peers: tuple[PeerKey, ...] = (A,), request: int = 7
) -> Ask:
    asked = replica.tick(request, peers, 3, at(now_ms))
    assert asked is not None
    return asked


def state(request: int, taken: tuple[Entry, ...], commit: int = 9) -> StateAnswered:
    return StateAnswered(request, LOG, commit, taken, 0, 0, b"")


def test_a_peer_that_is_behind_asks_and_takes_what_follows() -> None:
    """Entries before and beyond a gap are left out; the rest is asked for at once."""
    replica = behind(9)
    assert ask(replica, 100).peer_key == A
    gap = (*entries(1, 3), *entries(5, 6))
    result = replica.answered(state(7, gap), A, 8, at(101))
    assert result == Entries(entries(1, 3))
    replica.held_index = 3
    assert ask(replica, 102).message.request == 7


def test_an_answer_to_nothing_that_was_asked_is_dropped() -> None:
    """Another number, another peer or another log changes nothing that is held."""
    replica = behind(9)
    ask(replica, 100)
    assert replica.answered(state(6, entries(1, 9)), A, 8, at(101)) is None
    assert replica.answered(state(7, entries(1, 9)), B, 8, at(101)) is None
    other = StateAnswered(7, Digest(b"M" * 32), 9, entries(1, 9), 0, 0, b"")
    assert replica.answered(other, A, 8, at(101)) is None
    assert replica.held_index == 0


def test_silence_has_a_deadline_and_somebody_else_is_asked() -> None:
    """A member that does not answer is not asked again while there is another."""
    replica = behind(9)
    first = ask(replica, 100, (A, B)).peer_key
    later = 100 + FETCH_TIMEOUT_MS
    assert replica.wakeup_ms() == later
    second = replica.tick(8, (A, B), 3, at(later)) or replica.tick(8, (A, B), 3, at(later + 10))
    assert second is not None
    assert second.peer_key != first


def test_an_empty_answer_is_not_asked_for_in_a_tight_loop() -> None:
    """A member that has no more than we is left alone for a while, and the fetch goes on."""
    replica = behind(9)
    ask(replica, 100)
    assert replica.answered(state(7, ()), A, 8, at(101)) is None
    assert replica.wakeup_ms() == 101 + limits.PROBE_INTERVAL_MS


def test_where_somebody_else_had_no_time_either_the_leader_is_asked_next() -> None:
    """Soon, and once: a leader that has no more itself is left alone until somebody says more."""
    replica = LogFetcher(Random(1), log_id=LOG)
    said = Announcement(LOG, 1, 1, 9, StateDigest(b"\x01" * 33))
    replica.announced(said, 3, at(0), B)
    replica.tick(7, (A,), 3, at(100))
    assert replica.answered(state(7, ()), A, 8, at(101)) is None
    assert replica.wakeup_ms() == 101 + limits.FETCH_RETRY_MS
    assert ask(replica, 300, (A, B)).peer_key == B
    assert replica.answered(state(7, ()), B, 8, at(301)) is None
    assert replica.wakeup_ms() is None


def test_who_is_known_to_have_it_is_asked_at_once() -> None:
    """A reader waits: there is no spread, and no guess at who may have it."""
    for seed in range(10):
        replica = LogFetcher(Random(seed), log_id=LOG)
        replica.want(9, 1000, at(5), B)
        assert replica.wakeup_ms() == 5
        assert ask(replica, 5, (A, B)).peer_key == B


def test_a_snapshot_is_taken_only_whole() -> None:
    """Chunks are put together in order; one out of order gives the fetch up."""
    replica = behind(9)
    ask(replica, 100)
    more = replica.answered(StateAnswered(7, LOG, 9, (), 4, 0, b"ab"), A, 8, at(101), A)
    assert isinstance(more, Ask)
    assert more.message == SnapshotRequested(8, LOG, 2)
    whole = replica.answered(StateAnswered(8, LOG, 9, (), 4, 2, b"cd"), A, 9, at(102), A)
    assert whole == Whole(b"abcd")

    replica = behind(9)
    ask(replica, 100)
    assert replica.answered(StateAnswered(7, LOG, 9, (), 4, 2, b"cd"), A, 8, at(101), A) is None
    assert replica.fetch is None
    assert not replica.parts


def test_a_snapshot_is_taken_of_the_leader_alone() -> None:
    """No history names what is in it: who has compacted what is asked for is left for the leader,
    connected or not; where nobody is known to lead, one is waited for."""
    replica = behind(9)
    ask(replica, 100, (A,))
    told = StateAnswered(7, LOG, 9, (), 2, 0, b"ab")
    assert replica.answered(told, A, 8, at(101), B) is None
    again = ask(replica, 101, (A,), 8)
    assert again.peer_key == B
    assert replica.answered(StateAnswered(8, LOG, 9, (), 2, 0, b"ab"), B, 9, at(102), B) == Whole(
        b"ab"
    )

    replica = behind(9)
    ask(replica, 100, (A,))
    assert replica.answered(told, A, 8, at(101), None) is None
    assert replica.wakeup_ms() == 101 + limits.PROBE_INTERVAL_MS


FAR = limits.LOG_NUMBER_MAX - 1


def asks(replica: LogFetcher, peers: tuple[PeerKey, ...], until_ms: int, commit: int) -> int:
    """How often it asks peers that hold no more than it does."""
    count, ms = 0, 0
    while (due_ms := replica.wakeup_ms()) is not None and due_ms <= until_ms:
        ms = max(ms, due_ms)
        asked = replica.tick(7, peers, 3, at(ms))
        if asked is not None:
            count += 1
            replica.answered(state(7, (), commit), asked.peer_key, 8, at(ms))
    return count


def test_a_peer_that_claims_more_than_it_has_is_asked_once() -> None:
    """In its answers, in what a caller was told, or in an announcement: it keeps nobody asking."""
    liar = behind(9)
    ask(liar, 100)
    liar.answered(state(7, entries(1, 9), FAR), A, 8, at(101))
    liar.held_index = 9
    assert liar.target_index == FAR
    assert asks(liar, (A, B), 600_000, FAR) <= 2 + limits.FETCH_MISSES_MAX
    assert liar.target_index <= liar.held_index
    liar.want(FAR, 3, at(0), A)
    assert asks(liar, (A, B), 600_000, 9) <= 2
    announced = Announcement(LOG, 1, 1, FAR, StateDigest(b"\x01" * 33))
    liar.announced(announced, 3, at(0), A)
    assert asks(liar, (A, B), 600_000, 9) <= 2


def test_a_claim_of_somebody_who_cannot_be_asked_is_given_up_in_time() -> None:
    """Several others have no more; what comes again counts again."""
    replica = behind(9)
    said = Announcement(LOG, 1, 1, FAR, StateDigest(b"\x01" * 33))
    for _ in range(2):
        replica.announced(said, 3, at(0), B)
        assert asks(replica, (A,), 600_000, 9) <= limits.FETCH_MISSES_MAX + 1
        assert replica.target_index == 0


def test_what_a_quorum_signed_is_asked_for_until_it_is_there() -> None:
    """Somebody has it, whoever has it not."""
    replica = LogFetcher(Random(1), log_id=LOG)
    said = Announcement(LOG, 1, 1, 9, StateDigest(b"\x01" * 33))
    replica.announced(said, 3, at(0), B, 9)
    assert asks(replica, (A, B), 600_000, 3) >= 600_000 // limits.PROBE_INTERVAL_MS - 2
