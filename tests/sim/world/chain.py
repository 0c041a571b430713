"""The chain as machines see it: one history, and for each machine what its endpoints tell of it.

Intuition: every second a block is made of what is true then (`World.members`). A machine reads the
head, and the block that is final by its age, as they were some time ago if its endpoints lag. A
reorg replaces the newest blocks, which are not final, by others in which what happened in them has
not happened yet; a final block is never replaced, and heights never fall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, Digest
from p2pool.model.states import PoolStatus
from tests.sim.world.machine import ChainView

if TYPE_CHECKING:
    from tests.sim.world.world import World

BLOCK_MS = 1_000
HEADS_KEPT = 200


@attrs.frozen(eq=False)
class Block:
    """What is true at a block. `branch` tells blocks of one height apart. `owners`: who signs for
    which contract account."""

    number: int
    branch: int
    at_ms: int
    members: tuple[int, ...]
    root: RootRecord | None
    owners: tuple[tuple[Address, Address], ...]
    parent: Block | None = attrs.field(repr=False)

    @property
    def name(self) -> Digest:
        """What stands for its hash."""
        return Digest(self.number.to_bytes(16, "big") + self.branch.to_bytes(16, "big"))

    def back(self, blocks: int) -> Block:
        """The block so many before this one, or the first."""
        block = self
        for _ in range(blocks):
            if block.parent is None:
                break
            block = block.parent
        return block


class Chain:
    """Blocks and heads. `finality_blocks` 0: what is true is final at once. `roots`, `left`: the
    root records that were ever there, and the machines that ever were not in the pool."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.finality_blocks = 0
        self.branch = 0
        self.hidden_until_ms = 0
        self.heads: list[Block] = []
        self.roots: set[RootRecord | None] = set()
        self.left: set[int] = set()

    def _block(self, number: int, parent: Block | None) -> Block:
        world = self.world
        members = tuple(world.members)
        if parent is not None and world.now_ms < self.hidden_until_ms:
            members = parent.members  # What was undone has to be sent again.
        self.roots.add(world.root)
        self.left |= {m.number for m in world.machines} - set(members)
        owners = tuple(world.owners.items())
        return Block(number, self.branch, world.now_ms, members, world.root, owners, parent)

    @property
    def head(self) -> Block:
        """The newest block."""
        return self.heads[-1]

    def look(self) -> None:
        """Make the block that is due."""
        number = self.world.now_ms // BLOCK_MS
        if not self.heads or number > self.head.number:
            self._add(self._block(number, self.head if self.heads else None))

    def find(self, name: Digest) -> Block | None:
        """The block of this name on the way to the newest one."""
        self.look()
        block: Block | None = self.head
        while block is not None and block.name != name:
            block = block.parent
        return block

    def _add(self, block: Block) -> None:
        self.heads = [*self.heads[-HEADS_KEPT:], block]

    def reorg(self, for_ms: int) -> None:
        """The newest blocks, all that are not final, are replaced by one that is higher and knows
        nothing of what happened in them; it happens again after a while."""
        if not self.finality_blocks:
            return
        self.look()
        base = self.head.back(self.finality_blocks)
        self.branch += 1
        self.hidden_until_ms = self.world.now_ms + for_ms
        self._add(self._block(self.head.number + 1, base))

    def seen_by(self, view: ChainView) -> tuple[ChainRoster, ChainRoster]:
        """The rosters at the newest block and at the last final one, as a machine is told."""
        self.look()
        until_ms = self.world.now_ms - view.lag_ms
        if view.stuck_ms is not None:
            until_ms = min(until_ms, view.stuck_ms)
        head = next((b for b in reversed(self.heads) if b.at_ms <= until_ms), self.heads[0])
        final = head.back(self.finality_blocks)
        return self._told(head, view), self._told(final, view)

    def _told(self, block: Block, view: ChainView) -> ChainRoster:
        """The roster at a block, with what a machine's endpoints say instead."""
        told = self.roster(block, view.members)
        return attrs.evolve(
            told,
            root=view.root or told.root,
            manager=view.manager or told.manager,
            status=PoolStatus.COMPLETED if view.ended else told.status,
        )

    def roster(self, block: Block, members: list[int] | None = None) -> ChainRoster:
        """The roster at a block, or what is said of it."""
        world = self.world
        listed = sorted(
            (
                ChainMember(world.machines[i].node_id, world.providers[i], True)
                for i in (block.members if members is None else members)
            ),
            key=lambda c: c.node_id,
        )
        return ChainRoster(
            block.number,
            block.name,
            world.true_wall_ms(block.at_ms),
            tuple(listed),
            world.manager,
            world.manager,
            PoolStatus.ACTIVE,
            block.root,
            "sim",
        )
