"""One machine of the simulated world: what survives its agent, and how it differs from others."""

import attrs
from eth_account.signers.local import LocalAccount
from nacl.signing import SigningKey

from p2pool.agent.gate import Gate, Sealer
from p2pool.core.node import AnyInput, Node
from p2pool.model.ids import NodeId, PeerKey, StoreId
from tests.sim.disk import Disk
from tests.sim.engine import Engine


@attrs.define
class ChainView:
    """What a machine's endpoints tell it. `members` None: the truth; `up` False: nothing."""

    members: list[int] | None = None
    up: bool = True


@attrs.frozen
class Slowness:
    """How slow a machine is: each step begins up to `step_ms` late, and every `every_ms` on average
    it stands still for up to `stall_ms` (0: never)."""

    step_ms: int = 0
    stall_ms: int = 0
    every_ms: int = 60_000


@attrs.define
class Machine:
    """One machine: what survives its agent, and the agent while it runs. `wall_offset_ms`: how far
    its clock is ahead of the world's."""

    number: int
    account: LocalAccount
    signing_key: SigningKey
    node_id: NodeId
    peer_key: PeerKey
    disk: Disk
    engine: Engine
    node: Node | None = None
    gate: Gate | None = None
    sealer: Sealer | None = None
    life: int = 0
    queue: list[AnyInput] = attrs.field(factory=list)
    busy: bool = False
    woken: bool = False
    wake_ms: int | None = None
    wall_offset_ms: int = 0
    chain: ChainView = attrs.field(factory=ChainView)
    slowness: Slowness = Slowness()
    stalled_ms: int = 0
    held: list[AnyInput] = attrs.field(factory=list)

    @property
    def store_id(self) -> StoreId:
        return self.disk.store_id
