"""One participant of three, given frames by hand: what the tests of figure 2 share."""

from random import Random

from p2pool.codec.digests import configuration_hash
from p2pool.codec.entries import encode_snapshot
from p2pool.core.raft.raft import Frame, Raft, RaftRestored
from p2pool.core.raft.state import Ready
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Snapshot
from p2pool.model.messages.raft import AppendAnswered, AppendRequested, VoteAnswered, VoteRequested
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.raft.harness.cluster import LOG_ID, voter

THREE = Configuration((voter(0), voter(1), voter(2)))
ME, A, B = THREE.voters
TIMING = TIMINGS[Profile.DEFAULT]


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.NODE, 0, b"x")


def made(
    *terms: int, term: int, voted_for: StoreId | None = None, group: Configuration = THREE
) -> Raft:
    """A follower whose log has entries of these terms, at time 0."""
    base = encode_snapshot(Snapshot(LOG_ID, 0, 0, 0, group, b""))
    entries = tuple(entry(i, t) for i, t in enumerate(terms, 1))
    kept = RaftRestored(HardState(term, voted_for), base, entries)
    return Raft(ME, LOG_ID, TIMING, kept, Random(1), configuration_hash, at(0))


def at(ms: int) -> Now:
    return Now(ms, 1_700_000_000_000 + ms)


def append(term: int, after: tuple[int, int], *terms: int, commit: int = 0) -> AppendRequested:
    """AppendEntries of leader A."""
    entries = tuple(entry(after[0] + i, t) for i, t in enumerate(terms, 1))
    return AppendRequested(LOG_ID, term, A, ME, *after, commit, 1, entries)


def ask(
    term: int, last: tuple[int, int], candidate: int = 1, *, pre: bool = False
) -> VoteRequested:
    """RequestVote of a candidate."""
    digest = configuration_hash(THREE)
    return VoteRequested(LOG_ID, term, voter(candidate), ME, *last, digest, pre, False)


def give(raft: Raft, frame: Frame, ms: int = 5_000, *, proven: bool = False) -> Ready:
    """A frame arrives over the connection of whom it names."""
    speakers = {
        AppendRequested: "leader",
        VoteRequested: "candidate",
        VoteAnswered: "voter",
        AppendAnswered: "follower",
    }
    peer_key = getattr(frame, speakers[type(frame)]).peer_key
    return raft.receive(frame, peer_key, at(ms), b"sealed", proven=proven)


def appended(out: Ready) -> AppendAnswered:
    ((_, answer),) = out.send
    assert isinstance(answer, AppendAnswered)
    return answer


def voted(out: Ready) -> VoteAnswered:
    ((_, answer),) = out.send
    assert isinstance(answer, VoteAnswered)
    return answer


def requests(out: Ready) -> list[VoteRequested]:
    return [m for _, m in out.send if isinstance(m, VoteRequested)]


def granted(raft: Raft, m: VoteRequested) -> VoteAnswered:
    return VoteAnswered(
        LOG_ID,
        m.term,
        m.candidate,
        m.voter,
        m.last_index,
        m.last_term,
        m.configuration_hash,
        m.pre,
        True,
        "",
    )


def elected(*terms: int, term: int, group: Configuration = THREE) -> tuple[Raft, Ready]:
    """A leader of the next term, by the votes of all; what it sends first."""
    raft = made(*terms, term=term, group=group)
    out = raft.tick(at(5_000))
    for _ in range(2):
        for m in requests(out):
            out = raft.receive(granted(raft, m), m.voter.peer_key, at(5_000), b"sealed")
            if raft.state.leads or requests(out):
                break
    assert raft.state.leads
    return raft, out


def acknowledge(raft: Raft, who: int, index: int) -> Ready:
    """A follower holds all up to an index."""
    s = raft.state
    answer = AppendAnswered(LOG_ID, s.hard.term, ME, voter(who), s.round, True, index, 0, 0)
    return give(raft, answer)
