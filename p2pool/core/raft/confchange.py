"""Changes of the committee: which configuration may follow which, and what a leader sees.

Intuition: two majorities of voter sets that differ by one voter always meet, so one voter more or
less at a time needs no joint consensus. Any other change passes through a joint configuration,
where a majority of each committee has to agree; once that is committed, whoever leads leaves it by
a second entry. So three voters replace a dead one without passing through two, of which both have
to live. A newcomer starts as a learner: it never counts while it catches up, so it costs the
committee nothing.

Invariants: `step_refusal` alone (`model.log.configuration_steps`) says which configuration may
follow which; followers ask it before they append one, so a leader that lies gets no other into the
log. One change is in flight at a
time, and none before the leader has committed an entry of its own term (the correction of 2015:
without it two leaders could each commit a change to the same old configuration). None either unless
a majority of the new voters answered lately: they have to commit it themselves (etcd's strict
reconfiguration check). Only a caught-up learner becomes a voter. A joint configuration keeps a
majority of the old voters. Source: Raft, section 6; thesis, 4.1 to 4.3; etcd's `raft/confchange`.
"""

import attrs

from p2pool.codec.entries import configuration_in
from p2pool.core.raft.progress import Progress, ProgressState
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.errors import Conflict
from p2pool.model.ids import StoreId
from p2pool.model.log.configuration_steps import step_refusal
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.timing import Now


@attrs.frozen
class FollowerProgress:
    """A follower as its leader sees it. `heard_ms`: its last answer, on the monotonic clock."""

    voter: Voter
    match_index: int
    heard_ms: int | None
    caught_up: bool
    installing: bool


def followers(s: RaftState) -> tuple[FollowerProgress, ...]:
    """All other participants, voters first; empty unless this one leads."""
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
    """When the log last removed a voter, in log time, as far back as it reaches; None for never.

    The oldest change in the log counts as a removal: the one before it is compacted away.
    """
    before: Configuration | None = None
    at_ms: int | None = None
    for entry in s.log.entries:
        record = configuration_in(entry)
        if record is None:
            continue
        if before is None:
            at_ms = entry.proposed_at_ms if entry.index > 1 else None
        elif any(v not in record.voters for v in before.voters):
            at_ms = entry.proposed_at_ms
        before = record
    return at_ms


def check(s: RaftState, wanted: Configuration, now: Now) -> None:
    """Raise `Conflict` if this leader may not propose a configuration now."""
    if s.transfer is not None:
        raise Conflict("A leadership transfer is under way.", hint="Retry in a few seconds.")
    if s.configuration_index > s.commit_index:
        raise Conflict("The last change of the committee is not committed yet.", hint="Retry.")
    if s.log.term_at(s.commit_index) != s.hard.term:
        raise Conflict("No entry of this term is committed yet.", hint="Retry.")
    old = s.configuration
    refused = step_refusal(old, wanted)
    if refused is not None:
        raise Conflict(refused)
    come = [v for v in wanted.voters if v not in old.voters]
    for voter in come:
        if not caught_up(s, voter):
            raise Conflict("The learner has not caught up yet.", hint="Retry when it has.")
    if wanted.voters != old.voters and not _carried(s, wanted, now):
        raise Conflict("No majority of the new committee answered lately.", hint="Retry.")


def may_leave(s: RaftState) -> bool:
    """Whether this leader has to leave a joint configuration now: it is committed, and known to be
    so by an entry of this leader's own term."""
    if not (s.leads and s.configuration.is_joint) or s.transfer is not None:
        return False
    settled = s.configuration_index <= s.commit_index
    return settled and s.log.term_at(s.commit_index) == s.hard.term


def _carried(s: RaftState, wanted: Configuration, now: Now) -> bool:
    """Whether a majority of a configuration answers now: it has to commit itself. One that cannot
    would end the log for good unless its silent voters come back."""
    heard: list[StoreId] = [s.me.store_id]
    for store, progress in s.progress.items():
        heard_ms = progress.heard_ms
        if heard_ms is not None and now.mono_ms - heard_ms < s.timing.election_timeout_min_ms:
            heard.append(store)
    return wanted.has_quorum(heard)
