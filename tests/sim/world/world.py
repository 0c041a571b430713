"""N whole nodes in virtual time: real sealed bytes between them, disks, engines and a chain.

Integer milliseconds, one heap of events, one seed: a run is the same wherever it is run. What is
between machines is in `tests.sim.world.network`, their agents' loops in `tests.sim.world.loop`,
what they see of the chain in `tests.sim.world.chain`; each machine has a clock, a view of the chain
and a speed of its own (`Machine`). Every fault is a knob here or there. What must hold is checked
from outside (`tests.sim.invariants.checks`).
"""

import heapq
from collections.abc import Callable
from functools import partial
from random import Random

from eth_account import Account
from nacl.signing import SigningKey

from p2pool.agent.containers.secret_opener import SecretOpener
from p2pool.agent.wire.sealer import Sealer
from p2pool.core import inputs
from p2pool.core.context import NodeConfig
from p2pool.core.node import AnyInput, Node
from p2pool.model import features
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, PoolRef, StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.machine.hardware import Gpu, Hardware, Load
from p2pool.model.messages.registry import Channel, Message
from p2pool.model.timing import Now
from p2pool.wire.enclosures import open_one
from p2pool.wire.signers import SignerCache
from tests.sim.world.chain import Chain
from tests.sim.world.disk import Disk
from tests.sim.world.engine import Engine
from tests.sim.world.loop import Loops
from tests.sim.world.machine import Machine, SharedGate, Slowness
from tests.sim.world.network import GOSSIP, Network

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)
WALL_MS = 1_700_000_000_000
MANAGER = Account.from_key(b"\x77" * 32)
MANAGER_ADDRESS = Address(bytes.fromhex(MANAGER.address[2:]))

OnStep = Callable[[Machine], None]
OnSend = Callable[[Machine, Machine | None, Message], None]
OnBytes = Callable[[Machine, Machine | None, Channel, bytes], None]
OnGossip = Callable[[Machine, inputs.Received], None]
OnReply = Callable[[Machine, int, object], None]


class World:
    """All machines and what is between them.

    Knobs of the network: `loss`, `duplicate` (chances), `delay_ms` (most), `cut` (pairs that are
    cut off from each other), `one_way` (directed pairs), `reopen` (chance that a frame goes on a
    new stream), `relays` (whether members pass gossip on). `committee`: how large it is to be.
    `liars`: machines of which nothing is expected; `endpoint_liar`: one whose endpoints lie, though
    it does not; `out_ms`: when one last read that it is finally out of the pool. `skipped_ms`: by
    how much all clocks were set forward; `perjured`: stores in whose name a liar signed. `owners`:
    who signs for which contract account. `validators`: who holds the role of a validator.
    """

    def __init__(self, seed: int, size: int = 5, gpus: int = 1) -> None:
        self.rng = Random(seed)
        self.now_ms = 0
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.number = 0
        self.pool, self.manager = POOL, MANAGER_ADDRESS
        self.signers = SignerCache(self.pool)
        self.loss = self.duplicate = self.reopen = 0.0
        self.delay_ms = 5
        self.cut: set[tuple[int, int]] = set()
        self.one_way: set[tuple[int, int]] = set()
        self.relays = False
        self.chain_up = True
        self.owners: dict[Address, Address] = {}
        self.validators: set[Address] = set()
        self.gpus = gpus
        self.committee = 3
        self.known: dict[int, FeatureLevel] = {}
        self.trusted: dict[int, tuple[Digest, ...]] = {}
        self.expected: tuple[str, ...] = ()
        self.skipped_ms = 0
        self.perjured: set[StoreId] = set()
        self.replies: dict[int, object] = {}
        self.on_step: list[OnStep] = []
        self.on_send: list[OnSend] = []
        self.on_reply: list[OnReply] = []
        self.on_bytes: list[OnBytes] = []
        self.on_gossip: list[OnGossip] = []
        self.on_crash: list[OnStep] = []
        self.liars: set[int] = set()
        self.endpoint_liar: int | None = None
        self.out_ms: dict[int, int] = {}
        self.events = 0
        self.loops = Loops(self, seed + 1)
        self.network = Network(self, seed + 2)
        self.machines = [self._machine(i) for i in range(size)]
        self.by_key = {m.peer_key: m for m in self.machines}
        self.members = [m.number for m in self.machines]
        self.providers = [Address(bytes([i + 1]) * 20) for i in range(size)]
        first = self.machines[0]
        self.root: RootRecord | None = RootRecord(1, first.node_id, first.peer_key, first.store_id)
        self.chain = Chain(self)

    def _machine(self, i: int) -> Machine:
        account = Account.from_key(bytes([i + 1]) * 32)
        key = SigningKey(bytes([i + 1]) * 32)
        engine = Engine(Random(self.rng.randrange(2**32)), self.later, lambda: self.now_ms)
        return Machine(
            i,
            account,
            key,
            NodeId(bytes.fromhex(account.address[2:])),
            PeerKey(bytes(key.verify_key)),
            Disk(StoreId(bytes([i + 1]) * 16)),
            engine,
        )

    # --- time -------------------------------------------------------------------------------------

    def now(self, m: Machine | None = None) -> Now:
        """The time, by a machine's own clock."""
        ahead_ms = m.ahead_ms(self.now_ms) if m is not None else 0
        return Now(self.now_ms, WALL_MS + self.now_ms + ahead_ms)

    def true_wall_ms(self, at_ms: int) -> int:
        """What a good clock shows at a moment of this world."""
        return WALL_MS + at_ms + self.skipped_ms

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
        now = self.now(m)
        restored = m.disk.read(now.wall_ms)
        me = Voter(m.node_id, m.peer_key, m.store_id)
        known = self.known.get(i, features.newest())
        config = NodeConfig(
            POOL,
            me,
            restored.incarnation,
            f"0.{known + 1}.0",
            self.committee,
            newest_level=known,
            opens=partial(open_one, POOL),
            recovers=self.signers.signers,
            trusted=self.trusted.get(i, ()),
            secret_keys=SecretOpener(m.signing_key),
        )
        node = Node(config, restored, self.rng.randrange(2**32), now)
        m.node, m.life, m.queue, m.busy = node, m.life + 1, [], False
        m.wake_ms, m.woken, m.stalled_ms, m.held = None, False, 0, []
        m.refuses, m.dies = False, None
        m.gate = SharedGate(
            POOL,
            node.context.bindings.key_of,
            node.dispatch.worth_verifying,
            node.dispatch.is_participant_or_member,
        )
        m.sealer = Sealer(POOL, m.node_id, m.peer_key, restored.incarnation, m.signing_key)
        cards = tuple(Gpu(f"GPU-{i}-{n}", "h100", 2**36) for n in range(self.gpus))
        hardware = Hardware("cpu", 8000, 2**34, 2**38, cards, "1", "docker", "x86_64")
        self.give(m, inputs.HardwareObserved(hardware, Load()))
        self.give(m, inputs.RuntimeObserved(True))
        self.give(m, inputs.AddressesObserved((f"/ip4/10.0.0.{i}/tcp/4001",)))
        self._poll_chain(m, m.life)
        self.loops.stall_later(m, m.life)
        for other in self.machines:
            if other is not m and other.node is not None:
                self.network.connect(m, other)

    def crash(self, i: int) -> None:
        """The process is gone; containers run on, and the disk has what it has."""
        m = self.machines[i]
        for gone in self.on_crash:
            gone(m)
        m.node = m.gate = m.sealer = None
        m.life += 1
        m.disk.crash(self.rng)
        self.network.gone(m)

    def _poll_chain(self, m: Machine, life: int) -> None:
        if m.life != life or m.node is None:
            return
        if self.chain_up and m.chain.up:
            latest, final = self.chain.seen_by(m.chain)
            if all(c.node_id != m.node_id for c in (*latest.members, *final.members)):
                self.out_ms[m.number] = self.now_ms
            self.give(m, inputs.ChainObserved(latest, final, agreed=m.chain.agreed))
        else:
            self.give(m, inputs.ChainUnreachable("no endpoint answers"))
        self.later(1_000, lambda: self._poll_chain(m, life))

    def roster(self, seen: list[int] | None = None) -> ChainRoster:
        """Who belongs now, or is said to."""
        self.chain.look()
        return self.chain.roster(self.chain.head, seen)

    def give(self, m: Machine, event: AnyInput, delay_ms: int = 0) -> None:
        """Queue an input of an agent."""
        self.loops.give(m, event, delay_ms)

    def stall(self, m: Machine, for_ms: int) -> None:
        """A machine stands still for a while."""
        self.loops.stall(m, for_ms)

    def slow(self, i: int, slowness: Slowness) -> None:
        """From now on a machine is so slow."""
        self.loops.slow(self.machines[i], slowness)

    # --- bytes ------------------------------------------------------------------------------------

    def said(self, m: Machine, to: Machine | None, message: Message) -> None:
        """An agent sends a message to a peer, or gossips it."""
        for told in self.on_send:
            told(m, to, message)
        assert m.sealer is not None
        channel, data = m.sealer.seal(message, self.now(m))
        self.carry(m, to, channel, data)

    def carry(self, m: Machine, to: Machine | None, channel: Channel, data: bytes) -> None:
        """Sealed bytes on their way."""
        for told in self.on_bytes:
            told(m, to, channel, data)
        if to is not None:
            self.network.send(m, to, channel, data)
        elif channel in GOSSIP:
            self.network.publish(m, channel, data)
