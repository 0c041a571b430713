"""What a disk holds, as this version reads it: the form of the facts beside each golden disk."""

from pathlib import Path
from typing import Any

from p2pool.codec.entries import decode_snapshot
from p2pool.core.context import NodeConfig
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import digest_by
from p2pool.core.node import Node
from p2pool.drivers.keys.keystore import peer_key_of
from p2pool.drivers.store import Store
from p2pool.model.ids import NodeId, PoolRef
from p2pool.model.log.raft import Voter
from p2pool.model.log.state_digests import DigestAlgorithm
from p2pool.model.ports.store import Restored
from p2pool.model.timing import Now

PEER_KEY_NAME = "peer.key"
WITHOUT_ALGORITHM = ("0.1.0",)
"""Releases whose digests do not say by which algorithm they were made: it is 0."""


async def restored_from(path: Path, pool: PoolRef) -> Restored:
    """What a start finds in a data directory; it is migrated on the way, where it has to be."""
    async with Store.open(path, pool, wall_ms=1) as store:
        return store.restored


def node_from(restored: Restored, path: Path, pool: PoolRef, node_id: NodeId) -> Node:
    """A node that comes back from what was found."""
    seed = (path / PEER_KEY_NAME).read_bytes()
    me = Voter(node_id, peer_key_of(seed), restored.store_id)
    config = NodeConfig(pool, me, restored.incarnation, "test")
    return Node(config, restored, 1, Now(0, 1))


def facts_in(restored: Restored, node: Node, algorithm: DigestAlgorithm) -> dict[str, Any]:
    """How far the log is, and what the state at its known end says."""
    state, snapshot = node.context.pool_log.state, restored.snapshot
    assert state is not None
    digest = digest_by(algorithm, state)
    assert digest is not None
    return {
        "node_id": _text(node.context.me),
        "store_id": restored.store_id.hex(),
        "term": restored.hard_state.term,
        "snapshot_index": decode_snapshot(snapshot).index if snapshot is not None else 0,
        "first_entry": restored.entries[0].index,
        "last_entry": restored.entries[-1].index,
        "applied_index": state.applied_index,
        "applied_term": state.applied_term,
        "state_digest": (digest[1:] if algorithm is DigestAlgorithm.ARRAY else digest).hex(),
        "history": state.history.hex(),
        "log_time_ms": state.log_time_ms,
        "rows": {name: len(rows) for name, rows in restored.tables.items() if rows},
        **_content(state),
    }


def _content(state: PoolState) -> dict[str, Any]:
    """Tasks and nodes."""
    return {
        "copies": {
            f"{copy.allocation.task_id.hex()}.{copy.allocation.replica}": [
                copy.state.name.lower(),
                copy.attempt,
                _text(copy.node_id) if copy.node_id is not None else None,
            ]
            for copy in state.all_allocations()
        },
        "settings": dict(state.settings),
        "intents": {_text(n.node_id): n.intent.name.lower() for n in state.nodes.values()},
        "revocations": [_text(delegate) for delegate in state.revocations],
        "stopped": sorted(t.task_id.hex() for t in state.tasks.values() if t.stop_requested),
        "finished": sorted(t.task_id.hex() for t in state.tasks.values() if t.finished),
    }


def _text(name: bytes) -> str:
    return f"0x{name.hex()}"
