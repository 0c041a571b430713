"""Election: PreVote first, then a vote that is durable before it is sent.

A candidate asks whether it could win before it raises its term (thesis, 9.6), so one that was cut
off disturbs nobody when it comes back. A voter that heard a leader within the shortest timeout
answers no (4.2.3). A lost connection starts no election: only the timer does.

A voter removed from the committee while it was down would campaign in vain for ever. Peers that
hold the committed removal say so; once most of the other voters have, it is released: it goes idle
and adopts the log from its peers like any follower replica, until a leader contacts it. So does a
learner that no leader contacts any more. An idle node adopts only committed entries, and the votes
it has given stay on its disk.
"""

from p2pool.core.raft import quorum
from p2pool.core.raft.progress import Progress
from p2pool.core.raft.state import RaftState
from p2pool.model.log.raft import Voter
from p2pool.model.messages.raft import VoteAnswered, VoteRequested
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now

REMOVED = "a committed change removed it"


def campaign(s: RaftState, pre: bool, now: Now, transfer: bool = False) -> bool:
    """Ask for votes; True if our own is enough (a committee of one)."""
    assert s.may_campaign
    s.leader, s.forcing = None, transfer
    s.restart_election_timer(now)
    if pre:
        s.role, term = RaftRole.PRE_CANDIDATE, s.hard.term + 1
    else:
        s.role, term = RaftRole.CANDIDATE, s.hard.term + 1
        s.save_hard(term, s.me.store_id)
    s.votes, s.grants, s.releases = {s.me.store_id: True}, {}, {}
    if not pre:
        own = VoteAnswered(
            log_id=s.log_id,
            term=term,
            candidate=s.me,
            voter=s.me,
            last_index=s.log.last_index,
            last_term=s.log.last_term,
            configuration_hash=s.hash_of(s.configuration),
            pre=False,
            granted=True,
            reason="",
        )
        s.out.seal.append(own)
    for voter in s.configuration.electors:
        if voter != s.me:
            s.tell(
                voter,
                VoteRequested(
                    log_id=s.log_id,
                    term=term,
                    candidate=s.me,
                    voter=voter,
                    last_index=s.log.last_index,
                    last_term=s.log.last_term,
                    configuration_hash=s.hash_of(s.configuration),
                    pre=pre,
                    transfer=transfer,
                ),
            )
    return _count(s, now)


def defers_campaign(s: RaftState, now: Now) -> bool:
    """Whether a reluctant voter gives the others more time to elect a leader."""
    return now.mono_ms - s.led_ms < s.patience_ms


def requested(s: RaftState, m: VoteRequested, now: Now) -> None:
    """Answer a candidate; the same step persists a granted vote."""
    if m.voter != s.me or not _plausible(s, m.candidate):
        return
    if _is_removed(s, m):
        _answer(s, m, False, REMOVED)
        return
    heard = s.leader_heard_ms
    fresh_ms = s.timing.election_timeout_min_ms
    led = heard is not None and now.mono_ms - heard < fresh_ms
    # Only a voter of our own configuration may campaign over a leader, on purpose.
    forces = m.transfer and m.candidate in s.configuration.electors
    if (led or s.role is RaftRole.LEADER) and not forces and m.term > s.hard.term:
        _answer(s, m, False, "a leader is heard")
        return
    if m.pre:
        good = m.term > s.hard.term and s.log.is_up_to_date(m.last_index, m.last_term)
        _answer(s, m, good, "" if good else "behind" if m.term > s.hard.term else "an old term")
        return
    if m.term > s.hard.term:
        s.follow(m.term, None, now)
    if m.term < s.hard.term:
        _answer(s, m, False, "an old term")
        return
    free = s.hard.voted_for in (None, m.candidate.store_id)
    good = free and s.log.is_up_to_date(m.last_index, m.last_term)
    if good:
        s.save_hard(m.term, m.candidate.store_id)
        s.restart_election_timer(now)
    _answer(s, m, good, "" if good else "behind" if free else "voted for another")


def answered(s: RaftState, m: VoteAnswered, now: Now, sealed: bytes = b"") -> bool:
    """Count an answer; True if it makes us leader.

    We keep a granted vote in its envelope as long as we lead: together with our own (`own_vote`),
    these prove that we were elected.
    """
    if m.candidate != s.me or m.voter not in s.configuration.electors:
        return False
    if m.reason == REMOVED and not m.granted:
        _released(s, m)
    if not m.granted and m.term > s.hard.term:
        s.follow(m.term, None, now)
        return False
    asked = RaftRole.PRE_CANDIDATE if m.pre else RaftRole.CANDIDATE
    term = s.hard.term + 1 if m.pre else s.hard.term
    if s.role is not asked or (m.granted and not _as_asked(s, m, term)):
        return False
    s.votes[m.voter.store_id] = m.granted
    if m.granted and not m.pre and sealed:
        s.grants[m.voter.store_id] = sealed
    return _count(s, now)


def leaderless_timeout(s: RaftState, now: Now) -> None:
    """A learner that no leader has contacted for long fetches the log from its peers."""
    if s.role is RaftRole.LEARNER and now.mono_ms >= s.leaderless_ms:
        s.released_at = s.configuration_index
        s.role = s.resting_role()


def _is_removed(s: RaftState, m: VoteRequested) -> bool:
    """Whether our committed configuration lacks a candidate that cannot know it.

    Its log ends no later than ours: had it come back since, we would know that too. It may hold the
    change that removed it, and not know that this is committed: then nobody needs its log any more.
    """
    index, group = s.configuration_index, s.configuration.everybody
    if not group or m.candidate in group or index > s.commit_index:
        return False
    return (m.last_term, m.last_index) <= (s.log.last_term, s.log.last_index)


def _released(s: RaftState, m: VoteAnswered) -> None:
    """Count the voters that say we were removed; believe most of the others."""
    if s.leads or not s.may_campaign or m.last_index != s.log.last_index:
        return
    s.releases[m.voter.store_id] = True
    others = [v.store_id for v in s.configuration.electors if v != s.me]
    if sum(store in s.releases for store in others) * 2 > len(others):
        s.released_at = s.configuration_index
        s.role = s.resting_role()


def own_vote(s: RaftState, m: VoteAnswered, sealed: bytes) -> None:
    """Our own vote came back sealed: keep it with the others while it counts."""
    counts = (m.candidate, m.voter, m.term) == (s.me, s.me, s.hard.term)
    if counts and s.role in (RaftRole.CANDIDATE, RaftRole.LEADER):
        s.grants[s.me.store_id] = sealed


def _as_asked(s: RaftState, m: VoteAnswered, term: int) -> bool:
    """Whether a vote is for the very thing that we asked for; another proves nothing."""
    said = (m.term, m.last_index, m.last_term, m.configuration_hash)
    return said == (term, s.log.last_index, s.log.last_term, s.hash_of(s.configuration))


def _count(s: RaftState, now: Now) -> bool:
    result = quorum.tally(s.configuration, s.votes)
    if result is quorum.VoteResult.LOST:
        s.role = s.resting_role()
    if result is not quorum.VoteResult.WON:
        return False
    if s.role is RaftRole.PRE_CANDIDATE:
        return campaign(s, False, now, transfer=s.forcing)
    s.role, s.leader = RaftRole.LEADER, s.me
    s.quorum_check_ms = now.mono_ms + s.timing.election_timeout_max_ms
    s.progress = {v.store_id: Progress(s.log.last_index + 1) for v in s.others()}
    return True


def _answer(s: RaftState, m: VoteRequested, granted: bool, reason: str) -> None:
    """A grant names the candidate's term, a refusal our own."""
    term = m.term if granted else s.hard.term
    s.tell(
        m.candidate,
        VoteAnswered(
            log_id=s.log_id,
            term=term,
            candidate=m.candidate,
            voter=s.me,
            last_index=m.last_index,
            last_term=m.last_term,
            configuration_hash=m.configuration_hash,
            pre=m.pre,
            granted=granted,
            reason=reason,
        ),
    )


def _plausible(s: RaftState, candidate: Voter) -> bool:
    """Not a participant that we know under another store or peer key.

    A stranger may belong to a newer configuration than ours, so it gets an answer.
    """
    group = s.configuration.everybody
    return all(v == candidate for v in group if v.node_id == candidate.node_id)
