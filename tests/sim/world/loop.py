"""The loops of all agents: inputs in, effects out, the disk in between, as `agent.loop` does it.

A loop awaits its disk before it does anything else of a step; while it waits, inputs queue up. It
may die at any point of that (`CrashPoint`), stand still, be slow, or be refused by its disk. One
that finds itself late says so to its node, before it reads what came meanwhile.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from p2pool.core import effects as fx
from p2pool.core import inputs
from p2pool.core.effects import AnyEffect
from p2pool.core.node import AnyInput
from p2pool.model import limits
from p2pool.model.states import Standing
from tests.sim.world.contract_accounts import judged
from tests.sim.world.machine import CrashPoint, Machine, Slowness
from tests.sim.world.violation import Violation

if TYPE_CHECKING:
    from tests.sim.world.world import World

SPINS_MAX = 200
CALL_MS = 300
"""How long an endpoint takes to run a contract, at most."""


class Loops:
    """The loops of all machines of a world. `speaks_first` is a planted fault: a loop that does
    not wait for its disk."""

    speaks_first = False

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = Random(seed)
        self.spins: dict[int, tuple[int, int]] = {}

    # --- inputs -----------------------------------------------------------------------------------

    def give(self, m: Machine, event: AnyInput, delay_ms: int = 0) -> None:
        """Queue an input of an agent."""
        world = self.world
        if delay_ms:
            life = m.life
            world.later(delay_ms, lambda: self.give(m, event) if m.life == life else None)
        elif m.stalled_ms > 0 and world.now_ms <= m.stalled_ms:
            m.held.append(event)
        else:
            self._queue(m, event)

    def _queue(self, m: Machine, event: AnyInput) -> None:
        m.queue.append(event)
        self._wake(m)

    def stall(self, m: Machine, for_ms: int) -> None:
        """A machine stands still. When it goes on its loop notices that it is late, and only then
        does it read what came meanwhile, as a process does that was stopped and continued."""
        life = m.life
        m.stalled_ms = max(m.stalled_ms, self.world.now_ms + for_ms)
        wait_ms = m.stalled_ms - self.world.now_ms
        self.world.later(wait_ms, lambda: self._go_on(m, life, for_ms))

    def _go_on(self, m: Machine, life: int, late_ms: int) -> None:
        if m.life != life or self.world.now_ms < m.stalled_ms:
            return
        if late_ms > limits.LOOP_LAG_MAX_MS:
            self._queue(m, inputs.LoopLagged(late_ms))
        self._wake(m)
        self.world.later(1, lambda: self._read(m, life))

    def _read(self, m: Machine, life: int) -> None:
        if m.life == life and self.world.now_ms > m.stalled_ms:
            held, m.held = m.held, []
            for event in held:
                self._queue(m, event)

    def slow(self, m: Machine, slowness: Slowness) -> None:
        """From now on a machine is so slow."""
        m.slowness = slowness
        self.stall_later(m, m.life)

    def stall_later(self, m: Machine, life: int) -> None:
        """Plan the next moment at which a slow machine stands still."""
        slow = m.slowness
        if slow.stall_ms:
            after_ms = 1 + self.rng.randrange(2 * slow.every_ms)
            self.world.later(after_ms, lambda: self._stall_again(m, life, slow))

    def _stall_again(self, m: Machine, life: int, slow: Slowness) -> None:
        if m.life == life and m.slowness is slow:
            for_ms = 1 + self.rng.randrange(slow.stall_ms)
            self.world.stall(m, for_ms)
            # The next one is planned when this is over: two never make one that is longer.
            self.world.later(for_ms, lambda: self.stall_later(m, life))

    # --- a step -----------------------------------------------------------------------------------

    def _wake(self, m: Machine) -> None:
        if m.woken or m.busy or m.node is None:
            return
        m.woken = True
        life = m.life
        late_ms = self.rng.randrange(m.slowness.step_ms) if m.slowness.step_ms else 0
        self.world.later(late_ms, lambda: self._step(m, life))

    def _step(self, m: Machine, life: int) -> None:
        world = self.world
        if m.life != life or m.node is None:
            return
        m.woken = False
        if world.now_ms < m.stalled_ms or m.busy:
            return  # It goes on when it goes on.
        most = limits.INPUTS_PER_STEP_MAX
        batch, m.queue = m.queue[:most], m.queue[most:]
        out = m.node.step(batch or [inputs.Ticked()], world.now(m))
        for check in world.on_step:
            check(m)
        first = out[0] if out and isinstance(out[0], fx.Persist) else None
        if any(isinstance(e, fx.Persist) for e in out[1:]):
            raise Violation("a step has more than one Persist, or it is not the first")
        if first is None:
            self._carry_out(m, life, out)
            return
        if m.dies is CrashPoint.BEFORE_WRITE:
            world.crash(m.number)
            return
        m.busy = True
        m.disk.begin(first.operations)
        wait_ms = 1 + self.rng.randrange(max(1, m.sync_max_ms - 1))
        if m.dies is CrashPoint.IN_WRITE:
            world.later(wait_ms // 2, lambda: self._die(m, life))
        rest = out[1:]
        if self.speaks_first:
            for effect in rest:
                self._carry(m, effect)
            rest = []
        world.later(wait_ms, lambda: self._synced(m, life, rest))

    def _die(self, m: Machine, life: int) -> None:
        if m.life == life and m.node is not None:
            self.world.crash(m.number)

    def _synced(self, m: Machine, life: int, rest: list[AnyEffect]) -> None:
        world = self.world
        if m.life != life or m.node is None:
            return
        if world.now_ms < m.stalled_ms:
            world.later(m.stalled_ms - world.now_ms, lambda: self._synced(m, life, rest))
            return
        m.busy = False
        if m.refuses:
            # What of it is on the disk shows when the store is opened again.
            rest = m.node.step(inputs.PersistFailed("the disk is full"), world.now(m))
        else:
            m.disk.sync()
        if m.dies is CrashPoint.AFTER_WRITE:
            world.crash(m.number)
            return
        if m.dies is CrashPoint.IN_SENDS and rest:
            rest = rest[: self.rng.randrange(len(rest))]
            self._carry_out(m, life, rest)
            world.crash(m.number)
            return
        self._carry_out(m, life, rest)

    def _carry_out(self, m: Machine, life: int, effects: list[AnyEffect]) -> None:
        for effect in effects:
            self._carry(m, effect)
        if m.queue:
            self._wake(m)
        else:
            self._sleep(m, life)

    def _carry(self, m: Machine, effect: AnyEffect) -> None:
        world = self.world
        assert m.sealer is not None
        match effect:
            case fx.SendTo():
                to = world.by_key.get(effect.peer_key)
                if to is not None:
                    world.said(m, to, effect.message)
            case fx.Publish():
                world.said(m, None, effect.message)
            case fx.Seal():
                self.give(m, inputs.Sealed(m.sealer.sealed(effect.message, world.now(m))))
            case fx.Reply():
                world.replies[effect.request_id] = effect.result
                for told in world.on_reply:
                    told(m, effect.request_id, effect.result)
            case fx.Log():
                # A disk that was told to fail may say so, and what a scenario is about; any other
                # error is a finding.
                allowed = (
                    m.node is None or m.node.context.status.silent or effect.event in world.expected
                )
                if effect.level is fx.Level.ERROR and not allowed:
                    raise Violation(f"node {m.number}: {effect.event} {effect.fields}")
            case fx.AdmitPeer(standing=Standing.REFUSED):
                refused = world.by_key.get(effect.peer_key)
                if refused is not None:
                    world.network.reset(m, refused)
            case fx.JudgeContractSignatures():
                verdict = judged(world, m, effect)
                answer = inputs.ContractSignaturesJudged(effect.signed, effect.at, verdict)
                self.give(m, answer, 1 + self.rng.randrange(CALL_MS))
            case fx.ReadValidatorRole():
                up = world.chain_up and m.chain.up
                holds = effect.account in world.validators if up else None
                role = inputs.ValidatorRoleRead(effect.account, holds)
                self.give(m, role, 1 + self.rng.randrange(CALL_MS))
            case fx.BeginAnew():
                life = m.life
                world.later(1, lambda: self._begin_anew(m, life))
            case fx.AdmitPeer() | fx.LearnPeer() | fx.Emit() | fx.TakeInvite():
                pass
            case fx.Persist():
                raise Violation("persist after other effects")
            case _:
                life = m.life
                m.engine.do(effect, lambda event: self.give(m, event) if m.life == life else None)

    def _begin_anew(self, m: Machine, life: int) -> None:
        if m.life == life and m.node is not None:
            self.world.crash(m.number)
            self.world.start(m.number)

    def _sleep(self, m: Machine, life: int) -> None:
        world = self.world
        assert m.node is not None
        due_ms = m.node.next_wakeup_ms
        if due_ms <= world.now_ms:
            at_ms, count = self.spins.get(m.number, (world.now_ms, 0))
            count = count + 1 if at_ms == world.now_ms else 1
            self.spins[m.number] = (world.now_ms, count)
            if count > SPINS_MAX:
                raise Violation(f"node {m.number} spins at {world.now_ms} ms")
        wait_ms = max(0, due_ms - world.now_ms)
        if m.wake_ms is not None and world.now_ms < m.wake_ms <= world.now_ms + wait_ms:
            return
        m.wake_ms = world.now_ms + wait_ms
        world.later(wait_ms, lambda: self._due(m, life))

    def _due(self, m: Machine, life: int) -> None:
        if m.life == life:
            m.wake_ms = None
            self._wake(m)
