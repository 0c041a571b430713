"""Which entries a follower appends: it takes no leader's word for what an entry holds.

Intuition: Raft's followers append whatever their leader sends. Here a leader may lie, and what is
in the log is read by every later leader and for as long as the log lasts. So a follower checks each
entry before it appends it: a configuration here, the rest by the state's rules (`entry_check`, see
`core.fsm.entry_check`). A leader whose entry it
refuses gets no answer and is not heard any more in its term: a majority of such followers elects
another one. Some entries are only not acceptable yet: those are refused as a date is (`log_time`).
A snapshot's learners are its giver's word, since no digest covers them: until an entry says who
learns, a change is judged by its voters alone.

Invariants: only the bytes and the log decide what is refused for good, so that all followers judge
alike. Entries up to an index that a quorum certified are taken whatever the checks say: the quorum
holds them, and a voter of an earlier version may have let them in. What is committed here is never
replaced.
Source: docs/design/consensus.md, "What a follower appends".
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.entries import configuration_in
from p2pool.core.raft.state import Offer, RaftState
from p2pool.model.log.configuration_steps import step_refusal
from p2pool.model.log.raft import Configuration, Entry, EntryKind, Voter


@attrs.frozen
class Refused:
    """The first of some entries that is not appended, and why; `waits`: not yet; `may_pass`: once
    we know better."""

    position: int
    why: str
    waits: bool = False
    may_pass: bool = False


def refusal(s: RaftState, entries: Sequence[Entry], offer: Offer) -> Refused | None:
    """Which of the entries that follow one another, and follow what the log holds before the first,
    may not be appended; None if all may. What follows on one that waits is not looked at."""
    if not entries:
        return None
    # What the log holds from there on gives way, its configurations too.
    before = configuration_before(s, entries[0].index)
    known = not s.wants_proof or _is_held(s, entries[0].index)
    for position, entry in enumerate(entries):
        if entry.index > s.certified_index:
            refused = s.entry_check(entry, offer)
            if refused is not None:
                return Refused(position, refused.why, refused.waits, refused.may_pass)
            if entry.kind == EntryKind.CONFIGURATION:
                why = _configuration_wrong(before, entry, known)
                if why is not None:
                    return Refused(position, why)
        found = configuration_in(entry)
        before, known = found or before, known or found is not None
    return None


def doubt(
    s: RaftState, term: int, leader: Voter, index: int, why: str, *, may_pass: bool = False
) -> None:
    """Heed this leader no more in this term, unless a quorum certifies the log up to what we
    refused; no word of its own keeps us from campaigning."""
    s.doubted, s.doubt_may_pass = (term, leader.store_id, index), may_pass
    s.out.doubted.append((leader, why))
    if s.leader == leader and s.hard.term == term:
        s.leader = s.leader_heard_ms = None


def is_doubted(s: RaftState, term: int, leader: Voter) -> bool:
    """Whether we refused an entry of this leader in this term."""
    if s.doubted is None or s.doubted[:2] != (term, leader.store_id):
        return False
    return s.doubted[2] > s.certified_index


def awaits_word(s: RaftState) -> bool:
    """Whether this term's leader is doubted until a quorum certifies what we refused. The committee
    may change meanwhile, so that we do not know who signs for it."""
    if s.doubted is None or s.doubted[0] != s.hard.term:
        return False
    return s.doubted[2] > s.certified_index


def held_back(s: RaftState, candidate: Voter, last_index: int) -> bool:
    """Whether a candidate's log may still hold what we refused, of any term: it would be elected
    for the length of that log, refused, and elected again. A refusal for what we know of the chain
    does not count: we may know better by then, and its log may be the only one that is whole."""
    if s.doubted is None or s.doubt_may_pass or s.doubted[1] != candidate.store_id:
        return False
    index = s.doubted[2]
    return last_index >= index > max(s.certified_index, s.commit_index)


def waits_for_histories(s: RaftState) -> bool:
    """Whether we take no leader's word for what is committed, but what a quorum signed: a learner
    does, since no quorum counts it. A voter's own word is part of the quorum's, that of a voter on
    its removal too until the removal is committed: the others wait for its signature."""
    if not s.wants_proof or s.is_voter:
        return False
    if s.configuration_index <= s.commit_index:
        return True
    return s.me not in configuration_before(s, s.commit_index + 1).electors


def configuration_before(s: RaftState, index: int) -> Configuration:
    """The configuration in force before an index that the log reaches."""
    if s.configuration_index < index:
        return s.configuration
    for entry in reversed(s.log.between(s.log.base_index + 1, index - 1)):
        found = configuration_in(entry)
        if found is not None:
            return found
    return s.base_configuration


def _is_held(s: RaftState, index: int) -> bool:
    """Whether the log holds the entry of the configuration before an index, so that it was judged
    here; else it is a snapshot's."""
    if s.configuration_index < index:
        return s.configuration_index > s.log.base_index
    held = s.log.between(s.log.base_index + 1, index - 1)
    return any(configuration_in(entry) is not None for entry in held)


def _configuration_wrong(before: Configuration, entry: Entry, known: bool) -> str | None:
    """Why a configuration may not follow the one before it, whose learners are `known` if an entry
    said so; None if it may."""
    wanted = configuration_in(entry)
    if wanted is None:
        return "it holds a configuration that nobody can follow"
    return step_refusal(before, wanted, learners_known=known)
