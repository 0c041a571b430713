"""Leadership transfer: a leader hands over on purpose.

Intuition: a leader that wants to step down brings one voter up to date and tells it to campaign at
once, without PreVote and past the others' stickiness.

Invariants: a transfer has one election timeout to succeed; meanwhile the leader proposes nothing.
Source: Raft thesis, 3.10.
"""

import attrs

from p2pool.core.raft.state import RaftState, Transfer
from p2pool.model.errors import Conflict
from p2pool.model.log.raft import Voter
from p2pool.model.messages.raft import TimeoutNow
from p2pool.model.timing import Now


def transfer(s: RaftState, to: Voter, now: Now) -> None:
    """Start a transfer to a voter, or raise `Conflict`."""
    if to == s.me or to not in s.configuration.electors:
        raise Conflict("Leadership can go only to another voter.")
    if s.transfer is not None:
        raise Conflict("A leadership transfer is under way.", hint="Retry in a few seconds.")
    s.transfer = Transfer(to, now.mono_ms + s.timing.election_timeout_max_ms)
    push(s)


def push(s: RaftState, again: bool = False) -> None:
    """Tell the voter to campaign once it holds our whole log; `again` in case that got lost.

    It acts on it in our term only, so it campaigns once however often we tell it.
    """
    wanted = s.transfer
    if wanted is None or (wanted.told and not again):
        return
    progress = s.progress_of(wanted.to)
    if progress is not None and progress.match_index == s.log.last_index:
        s.tell(wanted.to, TimeoutNow(s.log_id, s.hard.term, s.me, wanted.to))
        s.transfer = attrs.evolve(wanted, told=True)


def give_up(s: RaftState, now: Now) -> None:
    """Drop a transfer that took too long: this leader goes on."""
    if s.transfer is not None and now.mono_ms >= s.transfer.deadline_ms:
        s.transfer = None
