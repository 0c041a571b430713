"""How a node that is no participant catches up with the log: asks, takes, and begins anew.

What may be taken is decided in `core.following`, whom to ask when in `core.replica`; what is taken
goes into the same log and the same state as a voter's. Source: design, section 7.
"""

from p2pool.core.follower.fetcher import Ask, Entries, Whole
from p2pool.core.fsm.state import NO_HISTORY, PoolState
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.log.snapshot_check import readable
from p2pool.core.raft.raft import RaftRestored
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.ports.store import SaveHardState
from p2pool.model.timing import Now


def want(ledger: PoolLog, index: int, holder: PeerKey | None, members: int, now: Now) -> None:
    """Somebody here waits for what is committed up to an index, which `holder` has."""
    ledger.following.wanted_of(holder)
    ledger.following.place(ledger.commit_index)
    ledger.replica.want(index, members, now, holder)


def ask(
    ledger: PoolLog, request: int, connected: tuple[PeerKey, ...], members: int, now: Now
) -> Ask | None:
    """The question to put to a peer now, if any."""
    if not ledger.fetches:
        return None
    if ledger.replica.insists:
        ledger.following.candidate = None  # What waits is of another than who is asked next.
    peers = ledger.following.peers(connected, now)
    ledger.following.place(ledger.commit_index)
    return ledger.replica.tick(request, peers, members, now)


def heard(
    ledger: PoolLog, said: Announcement, members: int, sender: PeerKey | None, now: Now
) -> None:
    """An announcement of a certified leader: what it vouches for, and how far it is."""
    if not ledger.fetches or said.log_id != ledger.log_id:
        return
    ledger.following.vouch(said.commit_index, said.history)
    _prove(ledger, now)
    ledger.following.place(ledger.commit_index)
    ledger.replica.heard(said, members, now, sender)


def answered(
    ledger: PoolLog,
    answer: StateAnswered,
    peer: PeerKey,
    next_request: int,
    leader: PeerKey | None,
    now: Now,
) -> Ask | None:
    """A peer's answer; the next question, where one follows at once. `leader`: by a certificate in
    force, whose own word needs no other."""
    raft, following = ledger.raft, ledger.following
    if not ledger.fetches or raft is None:
        return None
    following.place(ledger.commit_index)
    taken = ledger.replica.answered(answer, peer, next_request, now, leader)
    if isinstance(taken, Entries):
        following.add(taken.entries, peer, now)
        if peer == leader:
            ledger.absorb(raft.adopt(following.release()))
        _prove(ledger, now)
        if following.candidate is not None and ledger.replica.holder not in (None, peer):
            following.candidate = None  # Somebody waits, and another can vouch for it.
            ledger.replica.fetch_at_ms = now.mono_ms
    elif isinstance(taken, Whole):
        if readable(taken.snapshot, ledger.pool, ledger.epoch):
            ledger.absorb(raft.adopt_snapshot(taken.snapshot))
        else:
            # A mistake or a lie: on the disk it would end this agent at each start.
            ledger.refused.append(peer)
            ledger.replica.distrust(peer, now)
    return taken if isinstance(taken, Ask) else None


def _prove(ledger: PoolLog, now: Now) -> None:
    """Take what waits, as far as somebody vouches for it."""
    begun = ledger.state if ledger.former is None else None
    history = begun.history if begun is not None else NO_HISTORY
    proven = ledger.following.prove(history, now)
    if proven:
        assert ledger.raft is not None
        ledger.absorb(ledger.raft.adopt(proven))


def discard(ledger: PoolLog, now: Now) -> bool:
    """Throw away what is held, being no participant, and fetch it anew; not too often."""
    last_ms, raft, root = ledger.discarded_ms, ledger.raft, ledger.root
    soon = last_ms is not None and now.mono_ms - last_ms < limits.DISCARD_PAUSE_MS
    if soon or not ledger.fetches or raft is None or root is None or ledger.former is not None:
        return False
    name, hard = raft.state.log_id, raft.state.hard
    ledger.discarded_ms = now.mono_ms
    ledger.persist += [*ledger.opening(root, name), SaveHardState(name, hard)]
    ledger.state = PoolState(ledger.pool, root.epoch)
    ledger.begin(RaftRestored(hard), now)
    return True
