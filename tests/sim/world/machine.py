"""One machine of the simulated world: what survives its agent, and how it differs from others."""

from collections import OrderedDict
from enum import Enum
from typing import ClassVar

import attrs
from eth_account.signers.local import LocalAccount
from nacl.signing import SigningKey

from p2pool.agent.wire.ingress import Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.core.node import AnyInput, Node
from p2pool.model.access.verdicts import Validity
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Address, NodeId, PeerKey, StoreId
from p2pool.model.messages.registry import Channel, Verified
from tests.sim.world.disk import Disk
from tests.sim.world.engine import Engine

OPENED_SHARED_MAX = 4096


@attrs.define
class ChainView:
    """What a machine's endpoints tell it.

    `members` None: the truth. `up` False: nothing. `lag_ms`: what was true so long ago.
    `stuck_ms`: the moment at which they stand still, though they answer (None: they move on).
    `root`, `manager`: another root record or manager than the true one (None: the truth). `ended`:
    that the pool has ended. `agreed`: there are two, and both say all this. `judges`: what they say
    of every contract account, whatever it signed.
    """

    members: list[int] | None = None
    root: RootRecord | None = None
    manager: Address | None = None
    ended: bool = False
    agreed: bool = False
    judges: Validity | None = None
    up: bool = True
    lag_ms: int = 0
    stuck_ms: int | None = None


@attrs.frozen
class Slowness:
    """How slow a machine is: each step begins up to `step_ms` late, and every `every_ms` on average
    it stands still for up to `stall_ms` (0: never)."""

    step_ms: int = 0
    stall_ms: int = 0
    every_ms: int = 60_000


class CrashPoint(Enum):
    """Where in a step an agent dies: each is a different thing for the disk and for the peers."""

    BEFORE_WRITE = "before the write"
    IN_WRITE = "in the write"
    AFTER_WRITE = "after the write, before anything was said"
    IN_SENDS = "after some of the sends"


@attrs.define
class Machine:
    """One machine: what survives its agent, and the agent while it runs.

    `wall_offset_ms`, `drift_ppm`: how far its clock is ahead of the world's, and how fast that
    grows. `sync_max_ms`: how long its disk may take. `refuses`: its next write fails. `dies`: where
    its agent dies at the next write.
    """

    number: int
    account: LocalAccount
    signing_key: SigningKey
    node_id: NodeId
    peer_key: PeerKey
    disk: Disk
    engine: Engine
    node: Node | None = None
    gate: Ingress | None = None
    sealer: Sealer | None = None
    life: int = 0
    queue: list[AnyInput] = attrs.field(factory=list)
    busy: bool = False
    woken: bool = False
    wake_ms: int | None = None
    wall_offset_ms: int = 0
    drift_ppm: int = 0
    chain: ChainView = attrs.field(factory=ChainView)
    slowness: Slowness = Slowness()
    stalled_ms: int = 0
    held: list[AnyInput] = attrs.field(factory=list)
    sync_max_ms: int = 5
    refuses: bool = False
    dies: CrashPoint | None = None

    @property
    def store_id(self) -> StoreId:
        return self.disk.store_id

    def ahead_ms(self, now_ms: int) -> int:
        """How far its clock is ahead of a good one at a moment of the world."""
        return self.wall_offset_ms + now_ms * self.drift_ppm // 10**6


class SharedGate(Ingress):
    """A gate that takes another's word for what gossip is: all machines get the same bytes, and
    opening them is a pure function. Who may be believed is still each one's own question."""

    shared: ClassVar["OrderedDict[tuple[Channel, bytes], Verified]"] = OrderedDict()

    def check_gossip(self, channel: Channel, data: bytes) -> bool:
        """As `Ingress` does it, once for all machines."""
        known = self.shared.get((channel, data))
        if known is not None:
            self._opened[data] = known
            return True
        if not super().check_gossip(channel, data):
            return False
        self.shared[channel, data] = self._opened[data]
        while len(self.shared) > OPENED_SHARED_MAX:
            self.shared.popitem(last=False)
        return True
