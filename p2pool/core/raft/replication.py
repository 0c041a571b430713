"""Replication: the leader's appends, the followers' checks, and what that commits.

The leader pipelines batches, bounded by number and bytes for each follower; a refusal says where
the follower's conflicting term begins, so a long divergence costs one round for each term (Raft,
5.3). Only an answer clears an append in flight: a follower refuses whatever follows a lost one. So
a follower that answers nothing gets one empty append for each interval, and no flood. What
it is sent a second time has a budget. Only entries of the leader's own term count for commitment
(5.4.2, figure 8).

While a follower receives a snapshot, the leader keeps its authority with appends at index 0, which
fit any log. CheckQuorum: a leader that hears no majority for the longest timeout steps down.
"""

from p2pool.core.raft import quorum, snapshot
from p2pool.core.raft.acceptance import append_check, log_time
from p2pool.core.raft.progress import Leaving, Progress, ProgressState
from p2pool.core.raft.state import Offer, RaftState
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Configuration, Entry, Voter
from p2pool.model.messages.raft import AppendAnswered, AppendRequested, SnapshotAnswered, TimeoutNow
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now


def broadcast(s: RaftState, now: Now) -> None:
    """Send to every participant what it lacks, or an empty append to keep authority."""
    s.append_due_ms = now.mono_ms + s.timing.append_interval_ms
    s.last_read_round = s.round
    for one in [one for one in s.leaving if now.mono_ms >= one.deadline_ms]:
        _forget(s, one)
    for voter in s.audience():
        progress = s.progress.setdefault(voter.store_id, Progress(s.log.last_index + 1))
        progress.repeats.refill(now.mono_ms)
        if progress.sending is not None:
            progress.sending.waited += 1
        send(s, voter, even_empty=True)


def replicate(s: RaftState) -> None:
    """Send new entries to whoever has room for them."""
    for voter in s.audience():
        send(s, voter, even_empty=False)


def tell_commit(s: RaftState, to: tuple[NodeId, ...]) -> None:
    """Append, empty if need be, to those of these participants that lack the commit index."""
    for voter in s.others():
        if voter.node_id in to and s.progress[voter.store_id].told_commit < s.commit_index:
            send(s, voter, even_empty=True)


def read_round(s: RaftState) -> None:
    """Send one frame to each voter now; the answers confirm the reads that began before it."""
    s.last_read_round = s.round
    for voter in s.others():
        if voter in s.configuration.electors:
            send(s, voter, even_empty=True)


def send(s: RaftState, to: Voter, even_empty: bool) -> None:
    """Send what fits its window, or a part of the snapshot if the log no longer holds what it
    lacks.

    An empty append goes out even to a follower that has no room for more entries. Once the logs
    agree, its whole window is filled: catching up is not one batch for each round trip.
    """
    progress = s.progress[to.store_id]
    previous = progress.next_index - 1
    if progress.sending is None and s.log.term_at(previous) is None:
        if not snapshot.sendable(s):
            if even_empty:
                _append(s, to, 0, 0, ())
            return
        snapshot.begin(s, progress)
    if progress.sending is not None:
        if even_empty:
            _append(s, to, 0, 0, ())
        if progress.sending.waited >= limits.SNAPSHOT_RESEND_AFTER_APPENDS:
            snapshot.send_part(s, to, progress)
        return
    entries = s.log.after(previous) if progress.has_room else ()
    while entries or even_empty:
        previous_term = s.log.term_at(previous)
        assert previous_term is not None
        _append(s, to, previous, previous_term, entries)
        if not entries:
            return
        progress.sent(entries)
        previous, even_empty = entries[-1].index, False
        entries = s.log.after(previous) if progress.has_room else ()


def _append(
    s: RaftState, to: Voter, previous: int, previous_term: int, entries: tuple[Entry, ...]
) -> None:
    # One counter for all followers and the whole term: a follower that leaves and comes back within
    # it cannot confirm a read by an answer from before.
    s.round += 1
    s.progress[to.store_id].told_commit = s.commit_index
    s.tell(
        to,
        AppendRequested(
            log_id=s.log_id,
            term=s.hard.term,
            leader=s.me,
            follower=to,
            previous_index=previous,
            previous_term=previous_term,
            commit_index=s.commit_index,
            round=s.round,
            entries=entries,
        ),
    )


def notify_removed(s: RaftState, old: Configuration, now: Now) -> None:
    """After a change: keep sending to the removed for a while, then forget them.

    A newcomer that names the store of one that goes takes nothing over from it, and the one that
    goes is forgotten at once: what we know of a participant stands under its store."""
    group = s.others()
    deadline_ms = now.mono_ms + 2 * s.timing.election_timeout_max_ms
    gone = [v for v in old.everybody if v not in group and v != s.me]
    leaving = [one for one in s.leaving if one.voter not in group]
    leaving += [Leaving(v, s.configuration_index, deadline_ms) for v in gone]
    left = {one.voter.store_id for one in leaving}
    taken = {v.store_id for v in group if v.store_id in left}
    s.leaving = [one for one in leaving if one.voter.store_id not in taken]
    known = {v.store_id for v in s.audience()} - taken
    s.progress = {store: p for store, p in s.progress.items() if store in known}


def requested(s: RaftState, m: AppendRequested, now: Now) -> None:
    """A leader's append: check, append, commit, answer (figure 2, AppendEntries)."""
    if m.follower != s.me or not _coherent(m):
        return
    if m.term < s.hard.term:
        _answer(s, m, False, 0, 0, 0)
        return
    if s.role is RaftRole.LEADER and m.term == s.hard.term:
        return  # A second leader of our own term is a lie: Raft has one.
    if append_check.is_doubted(s, m.term, m.leader):
        return
    known = s.log.term_at(m.previous_index)
    fits = known == m.previous_term and m.previous_index >= s.log.base_index
    fresh = _fresh(s, m) if fits else ()
    why, refused = _contradiction(s, m, known, fresh), None
    if why is None:
        refused = append_check.refusal(s, fresh, Offer(m.term, m.leader, now, s.led))
        why = refused.why if refused is not None and not refused.waits else None
    if why is not None:
        index, may_pass = m.previous_index + len(m.entries), False
        if refused is not None:
            index, may_pass = fresh[refused.position].index, refused.may_pass
        append_check.doubt(s, m.term, m.leader, index, why, may_pass=may_pass)
        return
    s.follow(m.term, m.leader, now)
    if m.previous_index < s.log.base_index:
        # Our snapshot covers that, so it is committed: say how far we are.
        _answer(s, m, True, s.commit_index, 0, 0)
        return
    if known is None:
        _answer(s, m, False, 0, s.log.last_index + 1, 0)
        return
    if known != m.previous_term:
        index, term = s.log.first_of_term(m.previous_index)
        _answer(s, m, False, 0, index, term)
        return
    if fresh and fresh[0].index <= s.log.last_index:
        s.cut_from(fresh[0].index)
    taken = log_time.taken(s, fresh, now)
    if refused is not None:
        taken = min(taken, refused.position)
    s.append(fresh[:taken])
    matched = m.previous_index + len(m.entries) - len(fresh[taken:])
    if not append_check.waits_for_histories(s):
        s.commit_to(min(m.commit_index, matched))
    s.role = s.resting_role()
    if taken < len(fresh):
        _answer(s, m, False, matched, matched + 1, 0)
        return
    _answer(s, m, True, matched, 0, 0)


def _fresh(s: RaftState, m: AppendRequested) -> tuple[Entry, ...]:
    """The entries of a fitting frame from the first that the log does not hold just so. Raft
    compares terms alone; two entries of one term and index are a leader's lie to one of two."""
    for position, entry in enumerate(m.entries):
        if entry.index > s.log.last_index or s.log.at(entry.index) != entry:
            return m.entries[position:]
    return ()


def _contradiction(
    s: RaftState, m: AppendRequested, known: int | None, fresh: tuple[Entry, ...]
) -> str | None:
    """Whether a frame says something else than what is committed here: no leader of a log lacks
    that (5.4)."""
    differs = known not in (None, m.previous_term) and m.previous_index <= s.commit_index
    if differs or (fresh and fresh[0].index <= s.commit_index):
        return "it contradicts what is committed"
    return None


def _coherent(m: AppendRequested) -> bool:
    """Whether the entries follow the frame's previous one, without gaps or falling terms, in
    numbers that a disk holds."""
    index, term, most = m.previous_index, m.previous_term, limits.LOG_NUMBER_MAX
    if not (0 <= index < most and 0 <= term <= m.term < most):
        return False
    for entry in m.entries:
        if entry.index != index + 1 or not term <= entry.term <= m.term:
            return False
        if not (0 <= entry.kind < most and 0 <= entry.proposed_at_ms < most):
            return False
        index, term = entry.index, entry.term
    return True


def _answer(
    s: RaftState, m: AppendRequested, ok: bool, match: int, conflict: int, term: int
) -> None:
    s.tell(
        m.leader,
        AppendAnswered(
            log_id=s.log_id,
            term=s.hard.term,
            leader=m.leader,
            follower=s.me,
            round=m.round,
            ok=ok,
            match_index=match,
            conflict_index=conflict,
            conflict_term=term,
        ),
    )


def answered(s: RaftState, m: AppendAnswered, now: Now) -> None:
    """A follower's answer: move its progress, and the commit index with it."""
    if m.leader != s.me:
        return
    if m.term > s.hard.term:
        s.follow(m.term, None, now)
        return
    progress = s.progress_of(m.follower)
    stale = m.term < s.hard.term or s.role is not RaftRole.LEADER
    if stale or progress is None or m.round > s.round:
        return
    progress.active, progress.heard_ms = True, now.mono_ms
    progress.answered_round = max(progress.answered_round, m.round)
    if log_time.is_refusal(m):
        log_time.refused(s, m, progress, now)
        advance_commit(s)
        return
    if not m.ok:
        # One that refuses what it agreed to before gets the next append at the next interval.
        if progress.state is not ProgressState.SNAPSHOT and _backed_up(s, m, progress):
            send(s, m.follower, even_empty=True)
        return
    _agreed(s, m.match_index, progress)
    advance_commit(s)
    if not _let_go(s, m):
        send(s, m.follower, even_empty=False)


def _agreed(s: RaftState, match_index: int, progress: Progress) -> None:
    """A follower's log matches ours up to an index; in SNAPSHOT that may prove nothing yet."""
    if not progress.match_index <= match_index <= s.log.last_index:
        return
    sending = progress.sending
    if sending is not None:
        held = match_index and s.log.term_at(match_index) is not None
        if held or match_index >= sending.index:
            progress.installed(match_index)
        return
    progress.agreed(match_index)


def _let_go(s: RaftState, m: AppendAnswered) -> bool:
    """A removed participant holds its removal: send it the commit index last, and forget it."""
    known = min(m.match_index, s.commit_index)
    done = [one for one in s.leaving if one.voter == m.follower and one.index <= known]
    for one in done:
        send(s, one.voter, even_empty=True)
        _forget(s, one)
    return bool(done)


def _forget(s: RaftState, one: Leaving) -> None:
    s.leaving.remove(one)
    del s.progress[one.voter.store_id]


def _backed_up(s: RaftState, m: AppendAnswered, progress: Progress) -> bool:
    """Fast back-up: to our last entry of the follower's term, else past all later terms, because
    the follower has none of those before the conflict.

    False if that is no step back: the refusal came late, or twice, or answers what left before the
    last one did: whatever follows a lost frame is refused, and it is sent again once.
    """
    if m.round <= progress.refused_round:
        return False
    wanted = m.conflict_index
    if m.conflict_term:
        ours = s.log.last_up_to(m.conflict_term)
        same = s.log.term_at(ours) == m.conflict_term
        wanted = ours + 1 if same else min(wanted, ours + 1)
    wanted = max(progress.match_index + 1, wanted, 1)
    if wanted >= progress.next_index:
        return False
    progress.refused(wanted)
    progress.refused_round = s.round
    return True


def advance_commit(s: RaftState) -> None:
    """Commit what a majority holds, if it ends in an entry of our own term."""
    matched = {store: p.match_index for store, p in s.progress.items()}
    matched[s.me.store_id] = s.log.last_index
    index = quorum.committed(s.configuration, matched)
    if index > s.commit_index and s.log.term_at(index) == s.hard.term:
        s.commit_to(index)


def step_down_if_removed(s: RaftState, now: Now) -> None:
    """A leader that is no longer a voter leads until its removal commits (thesis, 4.2.2)."""
    if s.leads and not s.is_voter and s.configuration_index <= s.commit_index:
        # The others learn of it now; one that holds the whole log may campaign at once.
        broadcast(s, now)
        for voter in s.configuration.voters:
            if s.progress[voter.store_id].match_index == s.log.last_index:
                s.tell(voter, TimeoutNow(s.log_id, s.hard.term, s.me, voter))
                break
        s.follow(s.hard.term, None, now)
        s.leader_heard_ms = None


def check_quorum(s: RaftState, now: Now) -> None:
    """Step down unless a majority answered since the last check (thesis, 6.2)."""
    if now.mono_ms < s.quorum_check_ms:
        return
    s.quorum_check_ms = now.mono_ms + s.timing.election_timeout_max_ms
    heard = [s.me.store_id, *(store for store, p in s.progress.items() if p.active)]
    for progress in s.progress.values():
        progress.active = False
    if not s.configuration.has_quorum(heard):
        s.follow(s.hard.term, None, now)
        s.leader_heard_ms = None


def snapshot_answered(s: RaftState, m: SnapshotAnswered, now: Now) -> None:
    """A follower holds this much of the snapshot: send the next part, or go on with entries."""
    if m.leader != s.me:
        return
    if m.term > s.hard.term:
        s.follow(m.term, None, now)
        return
    progress = s.progress_of(m.follower)
    if m.term < s.hard.term or not s.leads or progress is None:
        return
    progress.active, progress.heard_ms = True, now.mono_ms
    sending = progress.sending
    if sending is None or m.last_index != sending.index or m.received_bytes < 0:
        return  # That snapshot is done or gone: the next interval shows what is missing.
    if m.received_bytes >= len(sending.data):
        progress.installed(sending.index)
        advance_commit(s)
        send(s, m.follower, even_empty=False)
        return
    # A repeated answer must not start a second stream of parts, and no answer one between them.
    received_bytes = m.received_bytes - m.received_bytes % limits.SNAPSHOT_CHUNK_BYTES
    moved = received_bytes > sending.offset
    sending.offset = received_bytes
    if moved:
        snapshot.send_part(s, m.follower, progress)
