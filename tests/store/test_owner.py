"""A data directory knows whose it is, and is opened for no other node and no other pool."""

from pathlib import Path

import pytest

from p2pool.drivers.store import Store
from p2pool.drivers.store.owner import BOOTSTRAP
from p2pool.model.errors import DataDirInUse
from p2pool.model.ids import Address, NodeId, PoolRef
from tests.store.samples import POOL

ONE, TWO = NodeId(b"\x01" * 20), NodeId(b"\x02" * 20)


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (ONE, TWO, "belongs to the node 0x0101.*, not to the node 0x0202"),
        (ONE, BOOTSTRAP, "belongs to the node 0x0101.*, not to a bootstrap node"),
        (BOOTSTRAP, ONE, "belongs to a bootstrap node, not to the node 0x0101"),
    ],
)
async def test_another_node_is_refused_and_changes_nothing(
    first: NodeId, second: NodeId, named: str, tmp_path: Path
) -> None:
    """Its own node opens it again afterwards, with the next start that it counts."""
    path = tmp_path / "data"
    async with Store.open(path, POOL, wall_ms=1, node_id=first) as store:
        before = store.restored
    for _ in range(2):
        with pytest.raises(DataDirInUse, match=named):
            async with Store.open(path, POOL, wall_ms=1, node_id=second):
                pass
    async with Store.open(path, POOL, wall_ms=1, node_id=first) as store:
        assert store.restored.store_id == before.store_id
        assert store.restored.incarnation == before.incarnation + 1


@pytest.mark.parametrize(
    "other",
    [
        PoolRef(POOL.chain_id + 1, POOL.contract, POOL.pool_id),
        PoolRef(POOL.chain_id, Address(b"\x12" * 20), POOL.pool_id),
        PoolRef(POOL.chain_id, POOL.contract, POOL.pool_id + 1),
    ],
)
async def test_another_pool_chain_or_contract_is_refused_also_for_the_same_node(
    other: PoolRef, tmp_path: Path
) -> None:
    """Each part of a pool's name counts."""
    async with Store.open(tmp_path / "data", POOL, node_id=ONE):
        pass
    with pytest.raises(DataDirInUse, match="belongs to pool"):
        async with Store.open(tmp_path / "data", other, node_id=ONE):
            pass


async def test_a_directory_from_before_gets_its_owner_at_the_next_start(tmp_path: Path) -> None:
    """Until then it is anybody's in the pool; from then on it is not."""
    path = tmp_path / "data"
    async with Store.open(path, POOL):
        pass
    async with Store.open(path, POOL, node_id=ONE):
        pass
    with pytest.raises(DataDirInUse):
        async with Store.open(path, POOL, node_id=TWO):
            pass
