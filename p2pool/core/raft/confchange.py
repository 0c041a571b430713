"""Changes of the committee: which configuration may follow on which, and what a leader sees.

Intuition: two majorities of voter sets that differ by one voter always meet, so one voter more or
less at a time needs no joint consensus. A newcomer is a learner first: it counts nowhere while it
fetches the log, so that it costs the committee nothing.

Invariants: one change under way at a time, and none before an entry of the leader's own term is
committed (the correction of 2015: without it two leaders could each commit a change to the same old
configuration). None either where most of the new voters were not heard lately: they have to commit
it themselves (etcd's strict reconfiguration check). Only a learner that has caught up becomes a
voter. No node, peer key or store is in a configuration twice. Source: thesis, 4.1 to 4.2.2.
"""

import attrs

from p2pool.codec.entries import decode_body
from p2pool.core.raft import quorum
from p2pool.core.raft.progress import Progress, ProgressState
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.errors import Conflict
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, EntryKind, Voter
from p2pool.model.timing import Now


@attrs.frozen
class FollowerProgress:
    """A follower as its leader sees it. `heard_ms`: its last answer, by the monotone clock."""

    voter: Voter
    match_index: int
    heard_ms: int | None
    caught_up: bool
    installing: bool


def followers(s: RaftState) -> tuple[FollowerProgress, ...]:
    """All other participants, voters first; empty where this one does not lead."""
    if not s.leads:
        return ()
    seen = []
    for voter in s.others():
        p = s.progress_of(voter) or Progress(1)
        installing = p.state is ProgressState.SNAPSHOT
        seen.append(
            FollowerProgress(
                voter=voter,
                match_index=p.match_index,
                heard_ms=p.heard_ms,
                caught_up=caught_up(s, voter),
                installing=installing,
            )
        )
    return tuple(seen)


def caught_up(s: RaftState, voter: Voter) -> bool:
    """Whether a follower holds all but the last few entries of this leader's log."""
    if not s.leads:
        return False
    progress = s.progress_of(voter)
    if progress is None or progress.match_index == 0:
        return False
    return s.log.last_index - progress.match_index <= limits.LEARNER_CAUGHT_UP_ENTRIES


def last_removal_ms(s: RaftState) -> int | None:
    """When a voter was last removed, in log time, as far as the log is held; None for never.

    The oldest change that is held may have been a removal: what went before it is not held.
    """
    before: Configuration | None = None
    at_ms: int | None = None
    for entry in s.log.entries:
        if entry.kind != EntryKind.CONFIGURATION:
            continue
        record = decode_body(entry.kind, entry.body)
        assert isinstance(record, Configuration)
        if before is None:
            at_ms = entry.proposed_at_ms if entry.index > 1 else None
        elif any(v not in record.voters for v in before.voters):
            at_ms = entry.proposed_at_ms
        before = record
    return at_ms


def check(s: RaftState, wanted: Configuration, now: Now) -> None:
    """Raise `Conflict` where this leader may not propose a configuration now."""
    if s.transfer is not None:
        raise Conflict("Leadership is being handed on.", hint="Retry in a few seconds.")
    if s.configuration_index > s.commit_index:
        raise Conflict("The last change of the committee is not committed yet.", hint="Retry.")
    if s.log.term_at(s.commit_index) != s.hard.term:
        raise Conflict("No entry of this term is committed yet.", hint="Retry.")
    old = s.configuration
    gone = [v for v in old.voters if v not in wanted.voters]
    come = [v for v in wanted.voters if v not in old.voters]
    if len(gone) + len(come) > 1 or not wanted.voters:
        raise Conflict("The committee changes by one voter at a time, and keeps one.")
    for voter in come:
        if voter not in old.learners:
            raise Conflict("A new voter is a learner first.", hint="Add it as a learner.")
        if not caught_up(s, voter):
            raise Conflict("The learner has not caught up yet.", hint="Retry when it has.")
    if (gone or come) and not _carried(s, wanted, now):
        raise Conflict("Most of the new committee was not heard lately.", hint="Retry.")
    _well_formed(wanted)


def _carried(s: RaftState, wanted: Configuration, now: Now) -> bool:
    """Whether a majority of a configuration answers now: it has to commit itself, and one that
    cannot would end the log for good where those who are silent do not come back."""
    votes: dict[StoreId, bool] = {s.me.store_id: True}
    for store, progress in s.progress.items():
        heard_ms = progress.heard_ms
        if heard_ms is not None and now.mono_ms - heard_ms < s.timing.election_timeout_min_ms:
            votes[store] = True
    return quorum.tally(wanted, votes) is quorum.VoteResult.WON


def _well_formed(wanted: Configuration) -> None:
    everybody = wanted.everybody
    for name, found in (
        ("node", {v.node_id: v for v in everybody}),
        ("peer key", {v.peer_key: v for v in everybody}),
        ("store", {v.store_id: v for v in everybody}),
    ):
        if len(found) < len(everybody):
            raise Conflict(f"A {name} is in the committee once only.")
    # One more than the largest size is a step on the way when a voter is replaced.
    if len(wanted.voters) > limits.VOTERS_MAX + 1 or len(wanted.learners) > limits.LEARNERS_MAX:
        bounds = f"{limits.VOTERS_MAX} voters and {limits.LEARNERS_MAX} learners"
        raise Conflict(f"A committee has {bounds} at most.")
    for group in (wanted.voters, wanted.learners):
        if list(group) != sorted(group):
            raise Conflict("Voters and learners are sorted by node id.")
