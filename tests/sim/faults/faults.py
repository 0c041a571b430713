"""Faults by name: what may happen to machines, links, disks, clocks, engines and the chain.

Each is a function of a story, draws what it needs from the story's own chance, and ends by itself
or by healing. How bad it may be is a knob of `Knobs`. Which faults a seed has is its mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from p2pool.core import inputs
from p2pool.core.raft.state import OwnClock
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Address, StoreId
from p2pool.model.log.raft import HardState
from p2pool.model.tasks.faults import Fault
from p2pool.model.timing import Now
from tests.sim.faults import operators
from tests.sim.faults.member_liars import FalseCommittee, FalseWitness, Flooder, Framer
from tests.sim.faults.usurper import usurp
from tests.sim.world.machine import ChainView, CrashPoint, Machine, Slowness

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story


@attrs.frozen
class Knobs:
    """How bad things may get: chances, and the most that a thing lasts or a value goes to."""

    loss: float = 0.3
    duplicate: float = 0.1
    reopen: float = 0.05
    delay_ms: int = 400
    flap_ms: int = 1_500
    flaps: int = 6
    hold_ms: int = 12_000
    sync_ms: int = 800
    stall_ms: int = 8_000
    jump_ms: int = 45_000
    drift_ppm: int = 50_000
    lag_ms: int = 9_000
    reorg_ms: int = 4_000
    away_ms: int = 15_000
    lasts_ms: int = 10_000
    flood_ms: int = 2_000
    suspended_ms: int = 30_000


Act = Callable[["Story"], None]


def _running(s: Story) -> list[Machine]:
    return [m for m in s.world.machines if m.node is not None]


def _one(s: Story) -> Machine:
    return s.rng.choice(s.world.machines)


def _two(s: Story) -> tuple[Machine, Machine]:
    a, b = s.rng.sample(s.world.machines, 2)
    return a, b


def _for(s: Story, most_ms: int) -> int:
    return 1 + s.rng.randrange(most_ms)


# --- agents ---------------------------------------------------------------------------------------


def crash(s: Story) -> None:
    """An agent dies; most of a committee lives."""
    running = _running(s)
    if 2 * len(running) > len(s.world.machines) + 1:
        s.crash(s.rng.choice(running))


def crash_in_step(s: Story) -> None:
    """An agent dies at its next write: before it, in it, after it, or amid what it says then."""
    running = _running(s)
    if 2 * len(running) > len(s.world.machines) + 1:
        m = s.rng.choice(running)
        m.dies = s.rng.choice(tuple(CrashPoint))
        s.crashes += 1


def restart(s: Story) -> None:
    """An agent that died is started again."""
    dead = [m for m in s.world.machines if m.node is None and m.number not in s.buried]
    if dead:
        s.world.start(s.rng.choice(dead).number)


def stand_still(s: Story) -> None:
    """A machine stands still, as one that swaps or was suspended."""
    s.world.stall(_one(s), _for(s, s.knobs.stall_ms))


def slow_down(s: Story) -> None:
    """A machine is slow for a while: each step is late, and some much."""
    m = _one(s)
    s.world.slow(m.number, Slowness(200, 1_500, 3_000))
    s.later(s.knobs.lasts_ms, partial(setattr, m, "slowness", Slowness()))


def retire(s: Story) -> None:
    """The leader is asked to stop: it hands leadership on, and is gone a moment later."""
    for m in _running(s):
        if m.node is not None and m.node.context.pool_log.leads:
            s.world.give(m, inputs.StopAsked())
            s.later(_for(s, 2_000), partial(s.crash, m, m.life))


# --- members that lie ----------------------------------------------------------------------------


def _seats(s: Story) -> tuple[list[Machine], list[Machine]]:
    """The machines without a seat in a committee that is whole, and those with one that do not
    lead; none without a leader."""
    leaders = [m for m in _running(s) if m.node is not None and m.node.context.pool_log.leads]
    if len(leaders) != 1 or leaders[0].node is None:
        return [], []
    group = leaders[0].node.context.pool_log.configuration.everybody
    seated = [v.node_id for v in group]
    if len(seated) < min(s.world.committee, len(s.world.members)):
        return [], []
    rest = [m for m in s.world.machines if m.node_id not in seated]
    return rest, [m for m in s.world.machines if m.node_id in seated and m is not leaders[0]]


def name_committee(s: Story) -> None:
    """A provider with all nodes but the leader says that one of them leads, by a committee of one;
    what their own agents believe is looked at like anybody's."""
    rest, seated = _seats(s)
    chosen = [*rest, *seated]
    if s.lied or s.wiped or len(rest) < 2:
        return
    s.lied = s.swayed = True
    for m in chosen:
        s.world.providers[m.number] = s.world.providers[chosen[0].number]
    FalseCommittee(s, chosen).begin()


def bury(s: Story) -> None:
    """A node dies until the log says so, and another answers for it that it lives."""
    rest, _ = _seats(s)
    running = [m for m in rest if m.node is not None]
    if s.lied or s.healed or len(running) < 2 or len(s.world.machines) < 5:
        return
    s.lied = True
    dead, liar = s.rng.sample(running, 2)
    s.buried.add(dead.number)
    s.crash(dead)
    FalseWitness(s, liar).begin()


def frame(s: Story) -> None:
    """A member signs votes under its own key, in the name of others."""
    if not s.lied and _running(s):
        s.lied = True
        Framer(s, s.rng.choice(_running(s))).begin()


def flood(s: Story) -> None:
    """A member asks another for all that is long, and claims what it never had, for a while."""
    running = _running(s)
    if len(running) > 1:
        m, at = s.rng.sample(running, 2)
        Flooder(s, m, at).begin(_for(s, s.knobs.flood_ms))


# --- links ----------------------------------------------------------------------------------------


def partition(s: Story) -> None:
    """Cut some machines off from the rest, or nobody any more."""
    size = len(s.world.machines)
    some = s.rng.sample(range(size), s.rng.randrange(size // 2 + 1))
    s.world.cut = {(a, b) for a in some for b in range(size) if b not in some}


def one_way(s: Story) -> None:
    """Nothing gets from one machine to some others, though all of theirs gets to it."""
    a = _one(s).number
    others = [m.number for m in s.world.machines if m.number != a]
    links = {(a, b) for b in s.rng.sample(others, 1 + s.rng.randrange(len(others)))}
    s.world.one_way |= links
    s.later(_for(s, s.knobs.lasts_ms), partial(s.world.one_way.difference_update, links))


def cut_leader_off(s: Story) -> None:
    """The leader is heard no more, hears no more, or is heard late, while people go on asking."""
    leaders = [m for m in _running(s) if m.node is not None and m.node.context.pool_log.leads]
    if not leaders:
        return
    m, world = s.rng.choice(leaders), s.world
    others = [o for o in world.machines if o is not m]
    lasts_ms = 1_000 + _for(s, s.knobs.lasts_ms)
    how = s.rng.randrange(3)
    if how == 0:
        for o in others:
            world.network.stall(m, o)
            s.later(lasts_ms, partial(world.network.release, (m.number, o.number)))
    else:
        ends = [(m.number, o.number) for o in others]
        links = set(ends if how == 1 else [(b, a) for a, b in ends])
        world.one_way |= links
        s.later(lasts_ms, partial(world.one_way.difference_update, links))
    for at_ms in range(200, lasts_ms, 400):
        s.later(at_ms, partial(operators.submit if s.rng.random() < 0.3 else operators.read, s))


def kill_leader(s: Story) -> None:
    """The leader dies while links are slow, so that several campaign at once."""
    leaders = [m for m in _running(s) if m.node is not None and m.node.context.pool_log.leads]
    if leaders and 2 * len(_running(s)) > len(s.world.machines) + 1:
        s.world.delay_ms = s.rng.choice((s.world.delay_ms, 2 * s.knobs.delay_ms))
        s.crash(s.rng.choice(leaders))


def flap(s: Story) -> None:
    """A connection is reset again and again."""
    a, b = _two(s)
    at_ms = 0
    for _ in range(1 + s.rng.randrange(s.knobs.flaps)):
        at_ms += _for(s, s.knobs.flap_ms)
        s.later(at_ms, partial(s.world.network.reset, a, b))


def hold(s: Story) -> None:
    """A link stands still and brings what it held late."""
    a, b = _two(s)
    s.world.network.stall(a, b)
    link = (a.number, b.number)
    s.later(_for(s, s.knobs.hold_ms), partial(s.world.network.release, link))


def lossy(s: Story) -> None:
    """All links lose, repeat, delay and overlap, or none does any more."""
    world, k = s.world, s.knobs
    world.loss = s.rng.choice((0.0, k.loss / 6, k.loss))
    world.duplicate = s.rng.choice((0.0, k.duplicate))
    world.reopen = s.rng.choice((0.0, k.reopen))
    world.delay_ms = s.rng.choice((5, 50, k.delay_ms))


# --- disks ----------------------------------------------------------------------------------------


def slow_disk(s: Story) -> None:
    """A disk takes long to sync."""
    m = _one(s)
    m.sync_max_ms = _for(s, s.knobs.sync_ms)
    s.later(_for(s, s.knobs.lasts_ms), partial(setattr, m, "sync_max_ms", 5))


def refuse(s: Story) -> None:
    """A disk refuses the next write; somebody mends it and starts the agent again."""
    running = _running(s)
    if 2 * len(running) > len(s.world.machines) + 1:
        m = s.rng.choice(running)
        m.refuses = True
        s.later(_for(s, s.knobs.lasts_ms), partial(s.crash, m, m.life))


def renamed(store_id: StoreId, wiped: int) -> StoreId:
    """The name that a disk gets which is made anew."""
    return StoreId(bytes([store_id[0], 0xE0 + wiped]) * 8)


def wipe(s: Story) -> None:
    """A disk is lost with all that is on it, while every other voter still has its own."""
    running = _running(s)
    newest = max(running, key=lambda m: m.node.context.pool_log.commit_index, default=None)  # type: ignore[union-attr]
    if newest is None or newest.node is None:
        return
    group = newest.node.context.pool_log.configuration
    stores = {m.store_id for m in s.world.machines}
    m = _one(s)
    small = any(len(half) < 3 for half in group.halves)
    lost = any(v.store_id not in stores for v in group.electors)
    if small or lost or s.wiped or s.false_log or s.swayed:
        return
    s.wiped += 1
    if m.node is not None:
        s.crash(m)
    blank(m, s.wiped)


def blank(m: Machine, wiped: int) -> None:
    """A machine has a new disk, with nothing on it."""
    m.disk = attrs.evolve(
        m.disk,
        store_id=renamed(m.store_id, wiped),
        log_id=None,
        hard=HardState(),
        snapshot=None,
        entries={},
        unsynced=[],
        base_index=0,
        last_index=0,
        tables={name: {} for name in m.disk.tables},
        incarnation=0,
    )


# --- clocks ---------------------------------------------------------------------------------------


def jump(s: Story) -> None:
    """A clock jumps, ahead or back."""
    _one(s).wall_offset_ms = _for(s, 2 * s.knobs.jump_ms) - s.knobs.jump_ms


LEAPS_MS = (60_000, 3_600_000, 86_400_000, 30 * 86_400_000, 3 * 365 * 86_400_000)


def leap(s: Story) -> None:
    """One clock, preferably the leader's, leaps by minutes to years, ahead or back, and is mended
    after a while; people go on asking. All other clocks are about right meanwhile."""
    world = s.world
    if any(abs(m.wall_offset_ms) > s.knobs.jump_ms for m in world.machines):
        return
    leaders = [m for m in _running(s) if m.node is not None and m.node.context.pool_log.leads]
    m = s.rng.choice(leaders) if leaders and s.rng.random() < 0.7 else _one(s)
    m.wall_offset_ms = s.rng.choice(LEAPS_MS) * s.rng.choice((1, 1, -1))
    lasts_ms = 1_000 + _for(s, s.knobs.lasts_ms)
    s.later(lasts_ms, partial(setattr, m, "wall_offset_ms", 0))
    for at_ms in (0, 300, 1_500):
        s.later(at_ms, partial(operators.submit, s))


class LyingClocks(OwnClock):
    """What a leader that lies goes by: a day ahead of any clock, and of what others may take."""

    def time_ms(self, now: Now) -> int:
        return now.wall_ms + LEAPS_MS[2]


def date_ahead(s: Story) -> None:
    """A leader lies: it dates what it writes a day ahead, and whoever leads meanwhile does not."""
    rafts = [m.node.context.pool_log.raft for m in _running(s) if m.node is not None]
    lies = any(raft is not None and isinstance(raft.state.clocks, LyingClocks) for raft in rafts)
    for raft in rafts if not (lies or s.wiped) else ():
        # Who is alone needs nobody to take its dates.
        if raft is None or not raft.state.leads or len(raft.state.configuration.voters) < 3:
            continue
        s.false_log = True
        honest, raft.state.clocks = raft.state.clocks, LyingClocks()
        s.world.later(_for(s, s.knobs.lasts_ms), partial(setattr, raft.state, "clocks", honest))
        operators.submit(s)
        return


def suspend(s: Story) -> None:
    """A machine is suspended for long: the boot clock goes on, the process does not, and peers hang
    up meanwhile."""
    m, lasts_ms = _one(s), _for(s, s.knobs.suspended_ms)
    s.world.stall(m, lasts_ms)
    for o in s.world.machines:
        if o is not m:
            s.later(lasts_ms // 2, partial(s.world.network.reset, m, o))


def drift(s: Story) -> None:
    """A clock goes fast or slow."""
    _one(s).drift_ppm = _for(s, 2 * s.knobs.drift_ppm) - s.knobs.drift_ppm


# --- the chain ------------------------------------------------------------------------------------


def chain_away(s: Story) -> None:
    """No endpoint answers anybody, or they do again."""
    s.world.chain_up = not s.world.chain_up


def chain_lags(s: Story) -> None:
    """A machine's endpoints are behind, stand still, or do not answer."""
    m, now_ms = _one(s), s.world.now_ms
    m.chain = s.rng.choice(
        (
            ChainView(),
            ChainView(lag_ms=_for(s, s.knobs.lag_ms)),
            ChainView(stuck_ms=now_ms),
            ChainView(up=False),
        )
    )


def endpoint_lies(s: Story) -> None:
    """One machine's only endpoint says what never was: another root record or manager, the pool's
    end, or that somebody is out. It lies on over restarts, for a while."""
    m, world = _one(s), s.world
    if world.endpoint_liar is not None or m.node is None:
        return
    founder, victim = _one(s), s.rng.choice(world.members)
    root = RootRecord(999, founder.node_id, founder.peer_key, founder.store_id)
    m.chain = s.rng.choice(
        (
            ChainView(root=root),
            ChainView(manager=Address(b"\x66" * 20)),
            ChainView(ended=True),
            ChainView(members=[n for n in world.members if n != victim]),
            ChainView(members=[]),
        )
    )
    world.endpoint_liar = m.number

    def stop() -> None:
        m.chain, world.endpoint_liar = ChainView(), None

    s.later(1_000 + _for(s, s.knobs.lasts_ms), stop)


def leave(s: Story) -> None:
    """A member leaves the pool, and joins it again after a while."""
    members = s.world.members
    if len(members) > len(s.world.machines) // 2 + 1:
        gone = s.rng.choice(members)
        members.remove(gone)
        s.later(_for(s, s.knobs.away_ms), partial(s.join, gone))


def reorg(s: Story) -> None:
    """The newest blocks are replaced by others in which what happened did not happen yet."""
    s.world.chain.reorg(_for(s, s.knobs.reorg_ms))


def engine_away(s: Story) -> None:
    """A container engine goes away, or comes back."""
    engine = _one(s).engine
    engine.away = not engine.away


def refuse_starts(s: Story) -> None:
    """A machine starts nothing for a while: its owner's will, a taken port, or it is broken."""
    engine = _one(s).engine
    code, fault = s.rng.choice(
        (
            ("image-refused", Fault.NODE),
            ("node-cannot-start", Fault.NODE),
            ("host-port-taken", Fault.NODE_NOW),
            ("registry-unavailable", Fault.WORLD),
        )
    )
    engine.refuses = (code, "not here", fault)
    s.later(_for(s, s.knobs.away_ms), partial(setattr, engine, "refuses", None))


FAULTS: Mapping[str, tuple[int, Act]] = {
    "crash": (3, crash),
    "crash-in-step": (4, crash_in_step),
    "restart": (8, restart),
    "stand-still": (2, stand_still),
    "slow": (1, slow_down),
    "retire": (2, retire),
    "partition": (4, partition),
    "one-way": (3, one_way),
    "name-committee": (1, name_committee),
    "bury": (1, bury),
    "frame": (1, frame),
    "flood": (1, flood),
    "cut-leader-off": (3, cut_leader_off),
    "kill-leader": (3, kill_leader),
    "flap": (2, flap),
    "hold": (3, hold),
    "lossy": (3, lossy),
    "slow-disk": (2, slow_disk),
    "refuse": (1, refuse),
    "wipe": (1, wipe),
    "jump": (1, jump),
    "drift": (1, drift),
    "leap": (2, leap),
    "date-ahead": (1, date_ahead),
    "suspend": (1, suspend),
    "chain-away": (2, chain_away),
    "chain-lags": (2, chain_lags),
    "endpoint-lies": (2, endpoint_lies),
    "leave": (2, leave),
    "reorg": (1, reorg),
    "engine-away": (2, engine_away),
    "usurp": (1, usurp),
}
"""Each fault with its weight: how often it comes where a seed has it."""

BY_NAME: Mapping[str, tuple[int, Act]] = {"refuse-starts": (4, refuse_starts)}
"""Faults that no seed draws: whoever wants them names them in a shape of its own."""
