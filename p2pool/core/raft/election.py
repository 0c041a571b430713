"""Election: who is heeded, PreVote first, then a vote that is durable before it is sent.

A candidate asks whether it could win before it raises its term (thesis, 9.6), so one that was cut
off disturbs nobody when it comes back. A voter that heard a leader within the shortest timeout
answers no (4.2.3), unless that leader hands its office on, or the voter itself reads that the
leader is out. A lost connection starts no election: only the timer does.

A participant votes for and follows only a voter of a configuration that it knows, or one that is
proven. A committee may be ahead of its own log, so a stranger shows votes: those of a majority of
the voters known here and the stranger. A candidate gathers them as it goes: whoever does not know
it is asked again with the votes of those who do. A leader that a stranger has become is asked for
its proof (`follower.certificate_exchange`). Nobody else changes anything here, learners included.

While a leader is heard, no bare append by another puts it aside, in its term or a later one.

A term that a majority's votes or a certificate prove is taken at any height. The bare word of a
voter raises the term by at most `limits.TERM_RAISE_MAX` in a shortest timeout; what lies beyond is
reached bit by bit. So one liar cannot use up all terms, and whoever is far behind comes back.

A voter removed from the committee while it was down would campaign in vain for ever. Peers that
hold the committed removal say so; once most of the other voters have, it is released: it goes idle
and adopts the log from its peers like any follower replica, until a leader contacts it. So does a
learner that no leader contacts any more. An idle node adopts only committed entries, and the votes
it has given stay on its disk.
"""

from collections.abc import Collection, Iterator

import attrs

from p2pool.core.raft import quorum
from p2pool.core.raft.acceptance.append_check import configuration_before, held_back
from p2pool.core.raft.progress import Progress
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.messages.raft import TimeoutNow, VoteAnswered, VoteRequested
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now
from p2pool.proofs.certificates import Opened, electors, handed_over

REMOVED = "a committed change removed it"
UNPROVEN = "it is no voter here, and shows too few votes"
FAR = "its term is too far ahead"


# --- who is heeded --------------------------------------------------------------------------------


def committees(s: RaftState) -> Iterator[Configuration]:
    """The configurations whose voters count: the latest, the committed one before it, and a later
    one that is certified."""
    yield s.configuration
    if s.configuration_index > s.commit_index:
        yield configuration_before(s, s.commit_index + 1)
    if s.certified_change_index > s.configuration_index:
        yield Configuration(s.certified_voters)


def knows(s: RaftState, voter: Voter) -> bool:
    """Whether exactly this participant is a voter, to our knowledge."""
    return any(voter in group.electors for group in committees(s))


def is_led(s: RaftState, now: Now) -> bool:
    """Whether we lead, or heard a leader within the shortest timeout that gets things done."""
    heard = s.leader_heard_ms
    lately = heard is not None and now.mono_ms - heard < s.timing.election_timeout_min_ms
    return s.leads or (lately and not s.leader_unproven)


def follows(s: RaftState, leader: Voter, term: int, now: Now) -> bool:
    """Whether to follow a leader without proof: one that we chose or follow already, or a voter
    while nobody else leads.

    A second leader of a term is a lie, unless the first one was: it has to show the votes. So does
    one of a later term while ours is heard. In a pool of the first level nobody can show them.
    Without any configuration the caller has to have asked for proof (`core.dispatch`).
    """
    if not s.configuration.everybody:
        return True
    if term == s.hard.term and leader in (s.leader, s.chosen):
        return True
    if not knows(s, leader):
        return False
    if not s.shows:
        return True
    return s.leader is None if term == s.hard.term else not is_led(s, now)


def is_far(s: RaftState, term: int) -> bool:
    """Whether a voter's bare word does not lead to a term at once."""
    return term - s.hard.term > limits.TERM_RAISE_MAX


def is_elected(s: RaftState, candidate: Voter, votes: Collection[Voter]) -> bool:
    """Whether these voters, and the candidate, are a majority in a configuration that we know.

    It need not be in it, since it may be of a newer one: then it counts beside its voters, as the
    one voter more. But another voter has to stand for it: in a small committee we alone, or it
    alone, must not be enough.
    """
    for group in committees(s):
        named = [v for v in votes if v in group.electors and v.store_id != candidate.store_id]
        if candidate not in group.electors:
            group = attrs.evolve(group, voters=(*group.voters, candidate))
            if all(v == s.me for v in named):
                continue
        if group.has_quorum([candidate.store_id, *(v.store_id for v in named)]):
            return True
    return False


def proves(s: RaftState, log_id: Digest, term: int, leader: Voter, opened: Opened) -> bool:
    """Whether sealed votes show that a majority elected a leader in a term."""
    votes = electors(opened, log_id, term, leader)
    return log_id == s.log_id and is_elected(s, leader, votes)


def reach(s: RaftState, term: int, now: Now) -> bool:
    """Come to a later term by a voter's bare word; False if only part of the way was allowed.

    The bound is on the sum within a shortest timeout, not on each word: candidates that compete
    raise the term by one, several times in a second.
    """
    if term <= s.hard.term:
        return True
    if now.mono_ms >= s.raise_due_ms:
        s.raise_due_ms = now.mono_ms + s.timing.election_timeout_min_ms
        s.raise_left = limits.TERM_RAISE_MAX
    step = min(term - s.hard.term, s.raise_left)
    s.raise_left -= step
    if step and s.hard.term + step < term:
        s.follow(s.hard.term + step, None, now)
    return s.hard.term + step == term


# --- candidates -----------------------------------------------------------------------------------


def campaign(
    s: RaftState, pre: bool, now: Now, transfer: bool = False, *, handover: bytes = b""
) -> bool:
    """Ask for votes; True if our own is enough (a committee of one). `handover`: the leader's
    TimeoutNow, sealed."""
    assert s.may_campaign
    s.leader, s.forcing, s.handover = None, transfer, handover
    s.restart_election_timer(now)
    if pre:
        s.role, term = RaftRole.PRE_CANDIDATE, s.hard.term + 1
    else:
        s.role, term = RaftRole.CANDIDATE, s.hard.term + 1
        s.save_hard(term, s.me.store_id)
        s.chosen = s.me
    s.votes, s.grants, s.releases, s.doubters = {s.me.store_id: True}, {}, {}, {}
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
            _ask(s, voter)
    return _count(s, now)


def _ask(s: RaftState, voter: Voter) -> None:
    """Ask for a vote, with what speaks for us so far."""
    pre = s.role is RaftRole.PRE_CANDIDATE
    others = (sealed for store, sealed in s.grants.items() if store != s.me.store_id)
    shown = (*((s.handover,) if s.handover else ()), *others)[: limits.VOTERS_MAX + 1]
    s.tell(
        voter,
        VoteRequested(
            log_id=s.log_id,
            term=s.hard.term + 1 if pre else s.hard.term,
            candidate=s.me,
            voter=voter,
            last_index=s.log.last_index,
            last_term=s.log.last_term,
            configuration_hash=s.hash_of(s.configuration),
            pre=pre,
            transfer=s.forcing,
            shown=shown if s.shows else (),
        ),
    )


def _convince(s: RaftState) -> None:
    """Ask those again that do not know us, once for each vote that we have got since."""
    for voter in s.configuration.electors:
        shown = s.doubters.get(voter.store_id)
        if shown is not None and shown < len(s.grants):
            s.doubters[voter.store_id] = len(s.grants)
            _ask(s, voter)


def overrules(s: RaftState, term: int, now: Now) -> bool:
    """Whether we ask for votes over the leader of a term: it could send appends faster than votes
    come, so none of them counts until the votes are lost or a timeout has passed."""
    asks = s.role is RaftRole.PRE_CANDIDATE and s.forcing and s.shows
    return asks and term == s.hard.term and now.mono_ms < s.election_deadline_ms


def defers_campaign(s: RaftState, now: Now) -> bool:
    """Whether a reluctant voter gives the others more time to elect a leader."""
    return now.mono_ms - s.led_ms < s.patience_ms


def answered(s: RaftState, m: VoteAnswered, now: Now, sealed: bytes = b"") -> bool:
    """Count an answer; True if it makes us leader.

    We keep a granted vote in its envelope as long as we lead: together with our own (`own_vote`),
    these prove that we were elected. Until then they speak for us to those who do not know us.
    """
    if m.candidate != s.me or m.voter not in s.configuration.electors:
        return False
    if m.reason == REMOVED and not m.granted:
        _released(s, m)
    if not m.granted and m.term > s.hard.term:
        if reach(s, m.term, now):
            s.follow(m.term, None, now)
        return False
    asked = RaftRole.PRE_CANDIDATE if m.pre else RaftRole.CANDIDATE
    term = s.hard.term + 1 if m.pre else s.hard.term
    if s.role is not asked or (m.granted and not _as_asked(s, m, term)):
        return False
    if s.shows and not m.granted and m.reason == UNPROVEN:
        s.doubters.setdefault(m.voter.store_id, 0)
        _convince(s)
        return False
    s.votes[m.voter.store_id] = m.granted
    if m.granted and sealed:
        s.doubters.pop(m.voter.store_id, None)
        s.grants[m.voter.store_id] = sealed
    won = _count(s, now)
    if s.role is asked:
        _convince(s)
    return won


# --- voters ---------------------------------------------------------------------------------------


def requested(s: RaftState, m: VoteRequested, now: Now, opened: Opened = ()) -> None:
    """Answer a candidate; the same step persists a granted vote. `opened`: what it shows."""
    if m.voter != s.me or not _plausible(s, m.candidate):
        return
    if _is_removed(s, m):
        _answer(s, m, False, REMOVED)
        return
    if is_led(s, now) and m.term > s.hard.term and not _may_force(s, m, opened):
        _answer(s, m, False, "a leader is heard")
        return
    if held_back(s, m.candidate, m.last_index):
        _answer(s, m, False, "it holds entries that may not stand")
        return
    votes = electors(opened, s.log_id, m.term, m.candidate, pre=m.pre)
    proven = bool(votes - {s.me}) and is_elected(s, m.candidate, votes - {s.me})
    stands = proven or knows(s, m.candidate) or is_elected(s, m.candidate, {*votes, s.me})
    if not stands:
        _answer(s, m, False, UNPROVEN)
        return
    if not proven and is_far(s, m.term - m.pre) and not reach(s, m.term - m.pre, now):
        _answer(s, m, False, FAR)
        return
    if m.pre:
        good = m.term > s.hard.term and s.log.is_up_to_date(m.last_index, m.last_term)
        _answer(s, m, good, "" if good else "behind" if m.term > s.hard.term else "an old term")
        return
    if m.term > s.hard.term:
        if not proven and not reach(s, m.term, now):
            _answer(s, m, False, FAR)
            return
        s.follow(m.term, None, now)
    _vote(s, m, now)


def _vote(s: RaftState, m: VoteRequested, now: Now) -> None:
    """Vote in the term that we are in."""
    if m.term < s.hard.term:
        _answer(s, m, False, "an old term")
        return
    free = s.hard.voted_for in (None, m.candidate.store_id)
    good = free and s.log.is_up_to_date(m.last_index, m.last_term)
    if good:
        s.save_hard(m.term, m.candidate.store_id)
        s.chosen = m.candidate
        s.restart_election_timer(now)
    _answer(s, m, good, "" if good else "behind" if free else "voted for another")


def _may_force(s: RaftState, m: VoteRequested, opened: Opened) -> bool:
    """Whether a voter may campaign over the leader that we hear: by that leader's own order in this
    term, or because we read ourselves that it is out; never that leader, by its order to itself. In
    a pool of the first level nobody can show the order, and a voter's word has to do."""
    if not m.transfer or m.candidate not in s.configuration.electors:
        return False
    if not s.shows:
        return True
    if s.leader == m.candidate:
        return False
    if s.leader_out:
        return True
    if s.leader is None:
        return False
    return handed_over(opened, TimeoutNow(s.log_id, s.hard.term, s.leader, m.candidate))


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
    if s.configuration.without(s.me.node_id).has_quorum(s.releases):
        s.released_at = s.configuration_index
        s.role = s.resting_role()


def own_vote(s: RaftState, m: VoteAnswered, sealed: bytes) -> None:
    """Our own vote came back sealed: keep it with the others while it counts."""
    counts = (m.candidate, m.voter, m.term) == (s.me, s.me, s.hard.term)
    if counts and s.role in (RaftRole.CANDIDATE, RaftRole.LEADER):
        s.grants[s.me.store_id] = sealed


def _as_asked(s: RaftState, m: VoteAnswered, term: int) -> bool:
    """Whether a vote is for the very thing that we asked for; another proves nothing. Nor does one
    with a reason: it need not fit where votes are shown."""
    said = (m.term, m.last_index, m.last_term, m.configuration_hash, m.reason)
    return said == (term, s.log.last_index, s.log.last_term, s.hash_of(s.configuration), "")


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
