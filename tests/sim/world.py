"""N whole nodes in virtual time: real sealed bytes between them, disks, engines and a chain.

Integer milliseconds, one heap of events, one seed: a run is the same wherever it is run. An agent
awaits its disk before it does anything else of a step, as the real one does; a crash in between
loses the write or only its consequences. The network delays, loses, repeats and reorders; gossip
goes to all that are not cut off. Each machine has a clock, a view of the chain and a speed of its
own (`Machine`). What must hold is checked from outside (`tests.sim.checks`).
"""

import heapq
from collections.abc import Callable
from random import Random

from eth_account import Account
from nacl.signing import SigningKey

from p2pool.agent.gate import Gate, Sealer
from p2pool.core import effects as fx
from p2pool.core import inputs
from p2pool.core.context import NodeConfig
from p2pool.core.node import AnyInput, Node
from p2pool.core.outbox import AnyEffect
from p2pool.model import limits
from p2pool.model.chain import ChainMember, RootRecord, Roster
from p2pool.model.gossip import Hello
from p2pool.model.hardware import Gpu, Hardware, Load
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, PoolRef, StoreId
from p2pool.model.messages import Channel
from p2pool.model.raft import Voter
from p2pool.model.states import PoolStatus
from p2pool.model.timing import Now
from p2pool.wire.binding import make_binding
from tests.sim.disk import Disk
from tests.sim.engine import Engine
from tests.sim.machine import Machine, Slowness
from tests.sim.violation import Violation

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)
WALL_MS = 1_700_000_000_000
MANAGER = Account.from_key(b"\x77" * 32)
MANAGER_ADDRESS = Address(bytes.fromhex(MANAGER.address[2:]))
SPINS_MAX = 200


class World:
    """All machines and what is between them."""

    def __init__(self, seed: int, size: int = 5, gpus: int = 1) -> None:
        self.rng = Random(seed)
        self.now_ms = 0
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.number = 0
        self.loss = self.duplicate = 0.0
        self.delay_ms = 5
        self.cut: set[tuple[int, int]] = set()
        self.chain_up = True
        self.gpus = gpus
        self.replies: dict[int, object] = {}
        self.on_step: list[Callable[[Machine], None]] = []
        self.events = 0
        self.spins: dict[int, tuple[int, int]] = {}
        self.machines = [self._machine(i) for i in range(size)]
        self.members = [m.number for m in self.machines]
        self.providers = [Address(bytes([i + 1]) * 20) for i in range(size)]
        first = self.machines[0]
        self.root: RootRecord | None = RootRecord(1, first.node_id, first.peer_key, first.store_id)

    def _machine(self, i: int) -> Machine:
        account = Account.from_key(bytes([i + 1]) * 32)
        key = SigningKey(bytes([i + 1]) * 32)
        engine = Engine(Random(self.rng.randrange(2**32)), self.later, lambda: self.now_ms)
        return Machine(
            i, account, key, NodeId(bytes.fromhex(account.address[2:])),
            PeerKey(bytes(key.verify_key)), Disk(StoreId(bytes([i + 1]) * 16)), engine,
        )  # fmt: skip

    # --- time -------------------------------------------------------------------------------------

    def now(self, m: Machine | None = None) -> Now:
        """The time, by a machine's own clock."""
        return Now(self.now_ms, WALL_MS + self.now_ms + (m.wall_offset_ms if m else 0))

    def later(self, delay_ms: int, act: Callable[[], None]) -> None:
        self.number += 1
        heapq.heappush(self.heap, (self.now_ms + delay_ms, self.number, act))

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        end_ms = self.now_ms + for_ms
        while self.heap and self.heap[0][0] <= end_ms:
            self.now_ms, _, act = heapq.heappop(self.heap)
            self.events += 1
            act()
        self.now_ms = end_ms

    def run_until(self, done: Callable[[], bool], most_ms: int) -> bool:
        """Let time pass until something holds; whether it came to hold."""
        end_ms = self.now_ms + most_ms
        while not done():
            if self.now_ms >= end_ms:
                return False
            self.run(100)
        return True

    # --- agents -----------------------------------------------------------------------------------

    def start(self, i: int) -> None:
        """(Re)start an agent from its disk."""
        m = self.machines[i]
        assert m.node is None
        restored = m.disk.read(self.now(m).wall_ms)
        me = Voter(m.node_id, m.peer_key, m.store_id)
        config = NodeConfig(POOL, me, restored.incarnation, "0.1.0")
        node = Node(config, restored, self.rng.randrange(2**32), self.now(m))
        m.node, m.life, m.queue, m.busy = node, m.life + 1, [], False
        m.wake_ms, m.woken, m.stalled_ms, m.held = None, False, 0, []
        m.gate = Gate(POOL, node.context.peers.key_of)
        m.sealer = Sealer(POOL, m.node_id, m.peer_key, restored.incarnation, m.signing_key)
        cards = tuple(Gpu(f"GPU-{i}-{n}", "h100", 2**36) for n in range(self.gpus))
        hardware = Hardware("cpu", 8000, 2**34, 2**38, cards, "1", "docker", "x86_64")
        self.give(m, inputs.HardwareObserved(hardware, Load()))
        self.give(m, inputs.RuntimeObserved(True))
        self.give(m, inputs.AddressesObserved((f"/ip4/10.0.0.{i}/tcp/4001",)))
        self._poll_chain(m, m.life)
        self._stall_later(m, m.life)
        for other in self.machines:
            if other is not m and other.node is not None:
                self._connect(m, other)

    def crash(self, i: int) -> None:
        """The process is gone; containers run on, and the disk has what it has."""
        m = self.machines[i]
        m.node = m.gate = m.sealer = None
        m.life += 1
        m.disk.crash(self.rng)
        for other in self.machines:
            if other.node is not None and other is not m:
                self.give(other, inputs.PeerDisconnected(m.peer_key), 1)

    def _poll_chain(self, m: Machine, life: int) -> None:
        if m.life != life or m.node is None:
            return
        if self.chain_up and m.chain.up:
            seen = self.roster(m.chain.members)
            self.give(m, inputs.ChainObserved(seen, seen))
        else:
            self.give(m, inputs.ChainUnreachable("no endpoint answers"))
        self.later(1_000, lambda: self._poll_chain(m, life))

    def roster(self, seen: list[int] | None = None) -> Roster:
        """Who belongs now, or is said to."""
        members = sorted(
            (ChainMember(self.machines[i].node_id, self.providers[i], True)
             for i in (self.members if seen is None else seen)),
            key=lambda c: c.node_id,
        )  # fmt: skip
        block = self.now_ms // 1000
        name = Digest(block.to_bytes(32, "big"))
        return Roster(
            block, name, WALL_MS + self.now_ms, tuple(members), MANAGER_ADDRESS, MANAGER_ADDRESS,
            PoolStatus.ACTIVE, self.root, "sim",
        )  # fmt: skip

    # --- the network ------------------------------------------------------------------------------

    def can(self, a: Machine, b: Machine) -> bool:
        return (a.number, b.number) not in self.cut and (b.number, a.number) not in self.cut

    def _connect(self, a: Machine, b: Machine) -> None:
        """Both sides meet and say hello, unless they are cut off: then they try again."""
        if a.node is None or b.node is None:
            return
        if not self.can(a, b):
            lives = (a.life, b.life)
            self.later(500, lambda: self._again(a, b, lives))
            return
        for one, other in ((a, b), (b, a)):
            self.give(one, inputs.PeerConnected(other.peer_key))
            self._hello(one, other)

    def _again(self, a: Machine, b: Machine, lives: tuple[int, int]) -> None:
        if (a.life, b.life) == lives:
            self._connect(a, b)

    def _hello(self, a: Machine, b: Machine) -> None:
        assert a.sealer is not None
        binding = make_binding(
            POOL,
            a.account,
            a.signing_key,
            (WALL_MS + self.now_ms) // 1000 - 5,
        )
        hello = Hello("0.1.0", binding, a.store_id, (f"/ip4/10.0.0.{a.number}/tcp/4001",))
        channel, data = a.sealer.seal(hello, self.now(a))
        self.deliver(a, b, channel, data, sure=True)

    def deliver(
        self, a: Machine, b: Machine, channel: Channel, data: bytes, *, sure: bool = False
    ) -> None:
        """Bytes from one machine to another; streams keep their order, gossip does not."""
        if not sure and self.rng.random() < self.loss:
            return
        times = 1 if sure or self.rng.random() >= self.duplicate else 2
        life = b.life
        for _ in range(times):
            jitter_ms = self.rng.randrange(self.delay_ms) if not sure else 0
            self.later(1 + jitter_ms, lambda: self._arrive(a, b, life, channel, data))

    def _arrive(self, a: Machine, b: Machine, life: int, channel: Channel, data: bytes) -> None:
        if b.node is None or b.gate is None or b.life != life or not self.can(a, b):
            return
        if channel in (Channel.BEAT, Channel.ANNOUNCE):
            taken = b.gate.gossip(channel, data, self.now(b))
        else:
            taken = b.gate.frame(channel, a.peer_key, data, self.now(b))
        for event in taken:
            self.give(b, event)

    # --- a step -----------------------------------------------------------------------------------

    def give(self, m: Machine, event: AnyInput, delay_ms: int = 0) -> None:
        """Queue an input of an agent."""
        if delay_ms:
            life = m.life
            self.later(delay_ms, lambda: self.give(m, event) if m.life == life else None)
            return
        if self.now_ms < m.stalled_ms:
            m.held.append(event)
            return
        m.queue.append(event)
        self._wake(m)

    def stall(self, m: Machine, for_ms: int) -> None:
        """A machine stands still. When it goes on its loop notices that it is late, and only then
        does it read what came meanwhile, as a process does that was stopped and continued."""
        life = m.life
        m.stalled_ms = max(m.stalled_ms, self.now_ms + for_ms)
        self.later(m.stalled_ms - self.now_ms, lambda: self._go_on(m, life, for_ms))

    def _go_on(self, m: Machine, life: int, late_ms: int) -> None:
        if m.life != life or self.now_ms < m.stalled_ms:
            return
        if late_ms > limits.LOOP_LAG_MAX_MS:
            self.give(m, inputs.LoopLagged(late_ms))
        held, m.held = m.held, []
        for event in held:
            self.give(m, event, 2)
        self._wake(m)

    def slow(self, i: int, slowness: Slowness) -> None:
        """From now on a machine is so slow."""
        m = self.machines[i]
        m.slowness = slowness
        self._stall_later(m, m.life)

    def _stall_later(self, m: Machine, life: int) -> None:
        slow = m.slowness
        if slow.stall_ms:
            after_ms = 1 + self.rng.randrange(2 * slow.every_ms)
            self.later(after_ms, lambda: self._stall_again(m, life, slow))

    def _stall_again(self, m: Machine, life: int, slow: Slowness) -> None:
        if m.life == life and m.slowness is slow:
            self.stall(m, 1 + self.rng.randrange(slow.stall_ms))
            self._stall_later(m, life)

    def _wake(self, m: Machine) -> None:
        if m.woken or m.busy or m.node is None:
            return
        m.woken = True
        life = m.life
        late_ms = self.rng.randrange(m.slowness.step_ms) if m.slowness.step_ms else 0
        self.later(late_ms, lambda: self._step(m, life))

    def _step(self, m: Machine, life: int) -> None:
        if m.life != life or m.node is None:
            return
        m.woken = False
        if self.now_ms < m.stalled_ms:
            return  # It goes on when it goes on.
        if m.busy:
            return
        batch, m.queue = m.queue, []
        out = m.node.step(batch or [inputs.Ticked()], self.now(m))
        for check in self.on_step:
            check(m)
        first = out[0] if out and isinstance(out[0], fx.Persist) else None
        if any(isinstance(e, fx.Persist) for e in out[1:]):
            raise Violation("a step has more than one Persist, or it is not the first")
        if first is None:
            self._carry_out(m, life, out)
            return
        m.busy = True
        m.disk.begin(first.operations)
        self.later(1 + self.rng.randrange(4), lambda: self._synced(m, life, out[1:]))

    def _synced(self, m: Machine, life: int, rest: list[AnyEffect]) -> None:
        if m.life != life:
            return
        if self.now_ms < m.stalled_ms:
            self.later(m.stalled_ms - self.now_ms, lambda: self._synced(m, life, rest))
            return
        m.disk.sync()
        m.busy = False
        self._carry_out(m, life, rest)

    def _carry_out(self, m: Machine, life: int, effects: list[AnyEffect]) -> None:
        for effect in effects:
            self._carry(m, effect)
        if m.queue:
            self._wake(m)
        else:
            self._sleep(m, life)

    def _carry(self, m: Machine, effect: AnyEffect) -> None:
        assert m.sealer is not None
        match effect:
            case fx.SendTo():
                to = next((o for o in self.machines if o.peer_key == effect.peer_key), None)
                if to is not None and to.node is not None:
                    channel, data = m.sealer.seal(effect.message, self.now(m))
                    self.deliver(m, to, channel, data)
            case fx.Publish():
                channel, data = m.sealer.seal(effect.message, self.now(m))
                # Gossip streams are opened to members alone.
                for other in (self.machines[i] for i in self.members):
                    if other is not m:
                        self.deliver(m, other, channel, data)
            case fx.Reply():
                self.replies[effect.request_id] = effect.result
            case fx.Log():
                # A disk that was told to fail may say so; any other error is a finding.
                if effect.level is fx.Level.ERROR and m.node and not m.node.condition.failed:
                    raise Violation(f"node {m.number}: {effect.event} {effect.fields}")
            case fx.AdmitPeer() | fx.LearnPeer() | fx.Emit() | fx.TakeInvite():
                pass
            case fx.Persist():
                raise Violation("persist after other effects")
            case _:
                life = m.life
                m.engine.do(effect, lambda event: self.give(m, event) if m.life == life else None)

    def _sleep(self, m: Machine, life: int) -> None:
        assert m.node is not None
        due_ms = m.node.next_wakeup_ms
        if due_ms <= self.now_ms:
            at_ms, count = self.spins.get(m.number, (self.now_ms, 0))
            count = count + 1 if at_ms == self.now_ms else 1
            self.spins[m.number] = (self.now_ms, count)
            if count > SPINS_MAX:
                raise Violation(f"node {m.number} spins at {self.now_ms} ms")
        wait_ms = max(0, due_ms - self.now_ms)
        if m.wake_ms is not None and self.now_ms < m.wake_ms <= self.now_ms + wait_ms:
            return
        m.wake_ms = self.now_ms + wait_ms
        self.later(wait_ms, lambda: self._due(m, life))

    def _due(self, m: Machine, life: int) -> None:
        if m.life == life:
            m.wake_ms = None
            self._wake(m)
