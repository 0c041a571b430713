"""Log time: the date that a leader gives an entry, and the dates that a voter takes.

Intuition: deadlines are in log time, so one wrong clock must not move it: a date a day ahead would
end tasks at once, and stand still for a day after. So a leader dates an entry by what most clocks
show, not by its own alone (`VoterClocks`), and by no more than a majority of voters takes. A voter
takes no leader's word for the time: an entry dated above what its own clock allows stays out.

Invariants: dates in a log never fall; while log time is ahead of the clocks it stands still. Only
what moves log time is refused, so an honest leader can always go on. A refusal is an answer: it is
no mismatch of logs, and counts as heard. A leader whose entries cannot reach a majority for that
reason hands leadership to the slowest of the refusing clocks that agree: what that one writes, the
others take. Entries up to a certified index are always taken.
Source: docs/design/consensus.md, "Log time".
"""

from p2pool.core.raft import quorum
from p2pool.core.raft.progress import NotYet, Progress, ProgressState
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Entry, Voter
from p2pool.model.messages.raft import AppendAnswered, TimeoutNow
from p2pool.model.timing import Now


def date_ms(s: RaftState, now: Now) -> int:
    """The date of an entry that this leader writes now."""
    time_ms = s.clocks.time_ms(now)
    clocks = {s.me.store_id: time_ms}
    for voter in s.configuration.electors:
        clock_ms = s.clocks.clock_of_ms(voter.node_id, now) if voter != s.me else None
        if clock_ms is not None:
            clocks[voter.store_id] = clock_ms
    # The highest time that a majority has reached; 0 where too few clocks are known.
    reached_ms = quorum.committed(s.configuration, clocks)
    if reached_ms:
        time_ms = min(time_ms, reached_ms + limits.CLOCK_SKEW_MAX_MS)
    return max(time_ms, last_ms(s))


def last_ms(s: RaftState) -> int:
    """The date at the end of the log."""
    return s.log.entries[-1].proposed_at_ms if s.log.entries else s.snapshot_at_ms


def taken(s: RaftState, fresh: tuple[Entry, ...], now: Now) -> int:
    """How many of the entries that come next in the log this voter takes for their dates."""
    if not fresh or not s.is_voter or fresh[-1].index <= s.certified_index:
        return len(fresh)
    last_date_ms, latest_ms = last_ms(s), s.clocks.latest_ms(now)
    for position, entry in enumerate(fresh):
        ahead = entry.proposed_at_ms > max(last_date_ms, latest_ms)
        if ahead and entry.index > s.certified_index:
            return position
        last_date_ms = max(last_date_ms, entry.proposed_at_ms)
    return len(fresh)


def is_refusal(m: AppendAnswered) -> bool:
    """Whether a follower does not take an entry yet, for its date or for who signed it: it holds
    the log up to `match_index`. A mismatch names no such index; to a leader of an earlier version
    this is one, and it sends the entry again at each interval."""
    return not m.ok and m.match_index > 0


def refused(s: RaftState, m: AppendAnswered, progress: Progress, now: Now) -> None:
    """A follower took what came before an entry, but not the entry: it gets it again with the next
    append."""
    fits = progress.match_index <= m.match_index <= s.log.last_index
    if progress.state is ProgressState.SNAPSHOT or not fits:
        return
    progress.agreed(m.match_index)
    progress.refused(m.match_index + 1)
    known = progress.not_yet
    since_ms = known.since_ms if known is not None else now.mono_ms
    progress.not_yet = NotYet(since_ms, progress.match_index + 1)


def hand_on(s: RaftState, now: Now) -> None:
    """Hand leadership on if our entries cannot reach a majority because of their dates, or of who
    signed them: whoever refuses one lacks it, and is elected by the others that do."""
    patience_ms = limits.TIME_REFUSED_ROUNDS * s.timing.election_timeout_max_ms
    refusing: dict[StoreId, bool] = {}
    clocks: list[tuple[int, Voter]] = []
    for voter in s.configuration.electors:
        progress = s.progress_of(voter) if voter != s.me else None
        known = progress.not_yet if progress is not None else None
        if known is None or known.index > s.log.last_index:
            continue
        if now.mono_ms - known.since_ms >= patience_ms:
            refusing[voter.store_id] = False
            clock_ms = s.clocks.clock_of_ms(voter.node_id, now)
            clocks.append((clock_ms if clock_ms is not None else s.clocks.time_ms(now), voter))
    if not clocks or quorum.tally(s.configuration, refusing) is not quorum.VoteResult.LOST:
        return
    clocks.sort()
    middle_ms = clocks[len(clocks) // 2][0]
    slowest = next(v for ms, v in clocks if middle_ms - ms <= limits.CLOCK_SKEW_MAX_MS)
    s.tell(slowest, TimeoutNow(s.log_id, s.hard.term, s.me, slowest))
    s.follow(s.hard.term, None, now)
    s.leader_heard_ms = None
