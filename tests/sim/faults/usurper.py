"""A member that wants to lead though nobody elected it, and speaks at the worst time.

It waits for no chance: it makes one. The leader dies, or a follower starts anew, and for some
seconds whoever has no seat claims a vote, an office, an order and a term of every size; a voter
claims a term alone. Its agent runs on as an honest one does. Beside a lie that is refused nothing
may change, so any seed may have it.

What a lie promises for its store is left out: a voter that is shown its own word of a vote that is
not on its disk takes another store, as it should.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from p2pool.codec.entries import encode_body
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.entries import Noop
from p2pool.model.log.raft import Entry, Voter
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.messages.registry import Message
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

LIES = 20
HIGHEST = 2**53 - 1


def usurp(s: Story) -> None:
    """Somebody claims the log while nobody leads, or while a follower starts anew."""
    running = [m for m in s.world.machines if m.node is not None]
    if 2 * len(running) <= len(s.world.machines) + 1:
        return
    others = [m for m in running if not _is_seated(s, _voter(m))]
    liar = s.rng.choice(others if others and s.rng.random() < 0.8 else running)
    leaders = [m for m in running if m.node is not None and m.node.context.pool_log.leads]
    chosen = leaders if s.rng.random() < 0.7 else [m for m in running if m not in leaders]
    gone = s.rng.choice(chosen) if chosen else liar
    if gone is not liar:
        s.crash(gone)
        s.later(1 + s.rng.randrange(4_000), partial(_start, s, gone))
    for n in range(LIES):
        s.later(50 + 200 * n + s.rng.randrange(200), partial(_lie, s, liar))


def _start(s: Story, m: Machine) -> None:
    if m.node is None:
        s.world.start(m.number)


def _lie(s: Story, liar: Machine) -> None:
    """One lie to each of the others."""
    for other in s.world.machines:
        if other is liar or other.node is None or liar.node is None:
            continue
        raft = other.node.context.pool_log.raft
        if raft is None:
            continue
        me, you = _voter(liar), _voter(other)
        claim = _term if _is_seated(s, me) else _claim
        _say(s, liar, other, claim(s, me, you, other))


def _is_seated(s: Story, me: Voter) -> bool:
    """Whether anybody takes it for a voter: by a change under way it may lead by right."""
    rafts = (m.node.context.pool_log.raft for m in s.world.machines if m.node is not None)
    return any(me in raft.state.configuration.electors for raft in rafts if raft is not None)


def _claim(s: Story, me: Voter, you: Voter, other: Machine) -> Message:
    """A vote, an office or an order, from whoever has no right to any."""
    assert other.node is not None
    raft = other.node.context.pool_log.raft
    assert raft is not None
    at = raft.state
    term = s.rng.choice((at.hard.term + 1, at.hard.term + 1, at.hard.term + 2, HIGHEST))
    end, last_term = at.log.last_index, at.log.last_term
    kind, body = encode_body(Noop(me.node_id))
    entry = Entry(end + 1, term, kind, s.world.now().wall_ms, body)
    nothing = Digest(bytes(32))
    pre, forces = s.rng.random() < 0.2, s.rng.random() < 0.5
    forged = AppendRequested(at.log_id, term, me, you, end, last_term, end + 1, 1, (entry,))
    return s.rng.choice(
        (
            VoteRequested(at.log_id, term, me, you, end + 9, term - 1, nothing, pre, forces),
            *(forged, forged, forged),
            AppendRequested(at.log_id, term, me, you, 0, 0, 0, 1, ()),
            TimeoutNow(at.log_id, at.hard.term, me, you),
            _term(s, me, you, other),
        )
    )


def _term(s: Story, me: Voter, you: Voter, other: Machine) -> Message:
    """A refusal, of a term that is beyond all others."""
    assert other.node is not None
    raft = other.node.context.pool_log.raft
    assert raft is not None
    at, nothing = raft.state, Digest(bytes(32))
    return s.rng.choice(
        (
            AppendAnswered(at.log_id, HIGHEST, you, me, 1, False, 0, 0, 0),
            VoteAnswered(at.log_id, HIGHEST, you, me, 0, 0, nothing, True, False, ""),
        )
    )


def _say(s: Story, liar: Machine, to: Machine, message: Message) -> None:
    if liar.sealer is not None:
        channel, data = liar.sealer.seal(message, s.world.now(liar))
        s.world.carry(liar, to, channel, data)


def _voter(m: Machine) -> Voter:
    return Voter(m.node_id, m.peer_key, StoreId(m.store_id))
