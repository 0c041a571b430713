"""Faults that wait for the worst moment of a change of the committee, and a leader that forges one.

A change is in flight for a few milliseconds, so faults at random hardly ever meet it. These watch
what leaders send, and act when the change's entry is on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from p2pool.codec.entries import configuration_in, encode_body, encode_configuration
from p2pool.core.fsm.committee_chain import open_link
from p2pool.core.raft.acceptance import log_time
from p2pool.model.access.requests import Action
from p2pool.model.errors import P2poolError
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.log.entries import ChangeCertified
from p2pool.model.log.raft import Configuration, Entry, Voter
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Message
from tests.sim.faults import faults
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

SPLIT_MS, UNSEATED_MS, HEALED_MS = 12_000, 20_000, 70_000
Worst = Callable[["Story", Machine, Machine, Configuration], bool]


def _on_change(s: Story, act: Worst) -> None:
    """Do something once, when a leader first sends a configuration to somebody."""
    armed = [True]

    def told(m: Machine, to: Machine | None, message: Message) -> None:
        if not armed[0] or s.healed or to is None or not isinstance(message, AppendRequested):
            return
        for entry in message.entries:
            wanted = configuration_in(entry)
            uncommitted = entry.index > message.commit_index
            if wanted is not None and uncommitted and act(s, m, to, wanted):
                armed[0] = False

    s.world.on_send.append(told)


def _unseat(s: Story) -> None:
    """Have the committee change: a voter is banned for a while."""
    leaders = [m for m in s.world.machines if m.node and m.node.context.pool_log.leads]
    if not leaders or leaders[0].node is None:
        return
    first = leaders[0]
    assert first.node is not None
    group = first.node.context.pool_log.configuration.voters
    others = [v.node_id for v in group if v.node_id != first.node_id]
    if len(others) > 1:
        gone = s.rng.choice(others).hex()
        s.send(first.number, s.sign(Action.BAN, gone, ""))
        for wait_ms in (UNSEATED_MS, 2 * UNSEATED_MS, HEALED_MS):
            s.world.later(wait_ms, lambda: s.send(0, s.sign(Action.UNBAN, gone, "")))


def split_change(s: Story) -> None:
    """The next joint change is heard by a majority of the new committee only, and the rest, which
    are a majority of the old one, hear nothing for a while."""
    _on_change(s, _split)
    _unseat(s)


def _split(s: Story, m: Machine, to: Machine, wanted: Configuration) -> bool:
    if not wanted.is_joint:
        return False
    come = [v for v in wanted.voters if v not in wanted.outgoing]
    stay = [v for v in wanted.voters if v in wanted.outgoing and v.store_id != m.store_id]
    size = len(wanted.voters) // 2 + 1
    keep = {v.store_id for v in [*come, *stay][: size - 1]} | {m.store_id}
    inside = [one.number for one in s.world.machines if one.store_id in keep]
    outside = [one.number for one in s.world.machines if one.store_id not in keep]
    s.world.cut = {(a, b) for a in inside for b in outside}
    s.later(SPLIT_MS, s.world.cut.clear)
    return True


def strand_change(s: Story) -> None:
    """The next change that removes a voter gets to that voter alone, and the leader's disk is lost:
    nobody can be elected without the log of the one that is removed."""
    _on_change(s, _strand)
    _unseat(s)


def _strand(s: Story, m: Machine, to: Machine, wanted: Configuration) -> bool:
    others = [v for v in wanted.voters if v.store_id != m.store_id]
    here = [one.store_id for one in s.world.machines if one.node is not None]
    alone = to.store_id in here and all(v.store_id != to.store_id for v in wanted.everybody)
    spoilt = s.wiped or s.false_log or s.swayed
    if not alone or len(others) < 2 or spoilt or any(v.store_id not in here for v in others):
        return False
    ends = [(m.number, o.number) for o in s.world.machines if o is not to]
    s.world.one_way |= set(ends)
    s.wiped += 1  # Decided now, so that no other disk is lost before.
    wiped = s.wiped

    def lose() -> None:
        s.world.one_way.difference_update(ends)
        if m.node is not None:
            s.crash(m)
        faults.blank(m, wiped)

    s.world.later(3 * s.knobs.delay_ms, lose)
    return True


def forge_change(s: Story) -> None:
    """A leader tells its followers that the committee is itself alone, and that this is committed;
    what it says otherwise is right."""
    leaders = [m for m in s.world.machines if m.node and m.node.context.pool_log.leads]
    if not leaders:
        return
    m = s.rng.choice(leaders)
    assert m.node is not None
    s.world.expected = (*s.world.expected, "a leader's entries are refused")
    s.world.perjured.add(m.store_id)
    raft, me = m.node.context.pool_log.raft, m.node.context.pool_log.me
    assert raft is not None
    state = raft.state
    kind, body = encode_configuration(Configuration((me,)))
    last = state.log.last_index
    entry = Entry(last + 1, state.hard.term, kind, log_time.last_ms(state), body)
    for voter in state.others():
        to = next((o for o in s.world.machines if o.peer_key == voter.peer_key), None)
        if to is not None and m.sealer is not None and len(state.configuration.voters) > 2:
            frame = _append(m, voter, entry)
            channel, data = m.sealer.seal(frame, s.world.now(m))
            s.world.network.send(m, to, channel, data)


def give_up_change(s: Story) -> None:
    """A leader lies about the next change of the voters: as soon as it is in the log, nobody has
    signed it in time. Its own core writes that, so it is the log of whoever follows."""
    s.world.expected = (*s.world.expected, "a leader's entries are refused")
    _on_change(s, _give_up)
    _unseat(s)


def _give_up(s: Story, m: Machine, to: Machine, wanted: Configuration) -> bool:
    if wanted.is_joint:
        return False

    written: list[int] = []

    def write(one: Machine) -> None:
        pool_log = one.node.context.pool_log if one is m and one.node is not None else None
        if pool_log is None or pool_log.state is None or s.healed or not pool_log.leads:
            return
        link, level = open_link(pool_log.chain), pool_log.state.level
        alone = len(pool_log.configuration.voters) < 3
        if link is None or link.index in written or alone or level < DISTRUST_LEVEL:
            return
        if s.wiped or (s.false_log and not written):
            return  # A liar and a lost disk are more than a committee bears.
        s.false_log = True
        written.append(link.index)
        with suppress(P2poolError):
            pool_log.propose(*encode_body(ChangeCertified(link.index, ())), s.world.now(m))

    s.world.on_step.append(write)
    return True


def _append(m: Machine, to: Voter, entry: Entry) -> AppendRequested:
    assert m.node is not None
    raft = m.node.context.pool_log.raft
    assert raft is not None
    return AppendRequested(
        log_id=raft.state.log_id,
        term=raft.state.hard.term,
        leader=raft.state.me,
        follower=to,
        previous_index=entry.index - 1,
        previous_term=raft.state.log.last_term,
        commit_index=entry.index,
        round=raft.state.round,
        entries=(entry,),
    )
