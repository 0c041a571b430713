"""Gives a node another peer key: the one by which its peers know the connection, not its name.

Intuition: the node key names the node, so tasks, volumes, provider and membership stay. What is
tied to the peer key is the seat in the log's committee, and the secrets that were sealed to it. The
seat is given up like that of a lost disk: the store takes a new id, keeps its entries, and the
leader gives the node a seat again. The secrets are sealed on to the new key before the old one
goes.

Invariants: only while no agent holds the directory; the new key lies beside the old one, synced,
before anything in the store depends on it, and takes its place last, so an interrupted rotation is
ended by the next one; a node without which the committee has no majority keeps its key.
Source: docs/design/identities.md, "Another peer key".
"""

import secrets
from pathlib import Path

import attrs
import trio
from nacl.signing import SigningKey

from p2pool import __version__
from p2pool.agent.clock import read_clock
from p2pool.core.context import NodeConfig
from p2pool.core.node import Node
from p2pool.drivers.keys import keystore
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.drivers.store.owner import NODE_KEY
from p2pool.drivers.store.store import DATABASE_NAME, Store
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import STORE_ID_BYTES, NodeId, PeerKey, PoolRef, StoreId
from p2pool.model.log.raft import HardState, Voter
from p2pool.model.ports.store import OWNER_TABLE, PersistOp, RenewStore, Restored, SaveHardState
from p2pool.wire.sealed_box import seal_again

VOTERS_MIN = 3
"""With fewer the rest has no majority to give the node a seat again."""


@attrs.frozen(kw_only=True)
class Rotation:
    """What became of it. `voters`: of the committee that it had a seat in, 0 without a seat."""

    node_id: NodeId
    old: PeerKey
    new: PeerKey
    voters: int
    secrets: int


async def rotate_peer_key(directory: Path, pool: PoolRef, *, force: bool = False) -> Rotation:
    """Replace the peer key of a data directory. `force`: also of a node without which the committee
    has no majority. Raises `NotFound` (no agent has run there), `DataDirInUse`, `Conflict`, and
    what opening a store raises."""
    if not (directory / DATABASE_NAME).exists():
        raise NotFound(
            f"No agent has run with its data in {directory}.",
            hint="Name the directory of the agent: --data-dir DIR.",
        )
    with DataDirLock(directory):
        return await _rotated(directory, pool, force)


async def _rotated(directory: Path, pool: PoolRef, force: bool) -> Rotation:
    old = SigningKey(keystore.load_peer_seed(directory))
    async with Store.open(directory, pool, held=True) as store:
        restored = store.restored
    owner = restored.tables[OWNER_TABLE].get(NODE_KEY)
    if owner is None:
        raise NotFound("This directory does not say whose it is: start its agent once.")
    node = _node(pool, NodeId(owner), old, restored)
    voters = _seat(node)
    if 0 < voters < VOTERS_MIN and not force:
        others = "no other voter" if voters == 1 else "one other voter"
        raise Conflict(
            f"The committee has {others}, and this node's seat goes with its peer key: the pool"
            " would stand still.",
            hint="Let more nodes join until the committee has three voters, then try again.",
        )
    new = SigningKey(keystore.make_next_peer_seed(directory))
    batch, moved = _batch(node, old, new, restored)
    async with Store.open(directory, pool, held=True) as store:
        await store.write(tuple(batch))
    keystore.take_next_peer_seed(directory)
    return Rotation(
        node_id=NodeId(owner),
        old=PeerKey(bytes(old.verify_key)),
        new=PeerKey(bytes(new.verify_key)),
        voters=voters,
        secrets=moved,
    )


def _node(pool: PoolRef, node_id: NodeId, key: SigningKey, restored: Restored) -> Node:
    """The node as its disk has it; it is never stepped."""
    me = Voter(node_id, PeerKey(bytes(key.verify_key)), restored.store_id)
    about = NodeConfig(
        pool=pool, me=me, incarnation=restored.incarnation, agent_version=__version__
    )
    return Node(about, restored, 0, read_clock())


def _seat(node: Node) -> int:
    """How many voters there are, if this node is one of them."""
    configuration = node.context.pool_log.configuration
    mine = [v for v in configuration.electors if v.node_id == node.context.me]
    return len(configuration.electors) if mine else 0


def _batch(
    node: Node, old: SigningKey, new: SigningKey, restored: Restored
) -> tuple[list[PersistOp], int]:
    """What the store has to hold for the new key, and how many secrets are sealed on."""
    batch: list[PersistOp] = []
    books, me = node.context.secrets, node.context.me
    to = (me, PeerKey(bytes(new.verify_key)))
    for name in [*books.held]:
        key = books.key_for(name, me, PeerKey(bytes(old.verify_key)))
        if key is not None and (again := seal_again(key, old, to)) is not None:
            batch += books.receive(name, again)
    moved = len(batch)
    batch.append(RenewStore(StoreId(secrets.token_bytes(STORE_ID_BYTES))))
    if restored.log_id is not None and node.context.pool_log.previous_epoch is None:
        batch.append(SaveHardState(restored.log_id, HardState()))
    return batch, moved


def rotate(directory: Path, pool: PoolRef, *, force: bool) -> Rotation:
    """The same for a command."""

    async def main() -> Rotation:
        return await rotate_peer_key(directory, pool, force=force)

    return trio.run(main)
