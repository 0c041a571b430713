"""A pool's root record is followed wherever it stands, and moves without a moment's absence."""

import attrs
import pytest

from p2pool.codec.text.data_uri import format_root, requirements, with_root
from p2pool.drivers.chain.founding import NewPool, create_pool, move_record, start_pool, write_root
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.transactions.writer import DryWriter
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict
from p2pool.model.ids import NodeId, PeerKey, StoreId
from tests.chain.conftest import World
from tests.chain.rosters import settle

pytestmark = pytest.mark.chain

ROOT = RootRecord(1, NodeId(b"n" * 20), PeerKey(b"p" * 32), StoreId(b"s" * 16))
NEXT = attrs.evolve(ROOT, epoch=2)
OTHER = attrs.evolve(ROOT, founder=NodeId(b"o" * 20))
NEEDS = "gpu:count=8;;ram_mb=1"
BOOT = "p2pool:bootstrap=/ip4/127.0.0.1/tcp/1/p2p/x"


def follower(world: World) -> RosterFollower:
    return RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0, poll_ms=50)


@pytest.fixture
async def recorded(world: World) -> World:
    """A pool on a chain that has PoolRoot."""
    await world.chain.create_root(world.deployment.federator)
    return world


async def test_a_record_is_followed_without_a_full_read_of_its_own(recorded: World) -> None:
    """The event says that the pool's changed; another pool's is none of its business."""
    chain, following = recorded.chain, follower(recorded)
    assert (await following.observe()).latest.root is None
    await chain.set_record(recorded.creator, recorded.pool_id, with_root(BOOT, ROOT))
    seen = (await following.observe()).latest
    assert (seen.root, seen.bootstrap) == (ROOT, ("/ip4/127.0.0.1/tcp/1/p2p/x",))
    other = await chain.create_pool(recorded.creator, 0, recorded.manager.address, "other")
    await settle(recorded)
    await following.observe()
    reads = following.full_reads
    await chain.set_record(recorded.creator, other, with_root("", OTHER))
    assert (await following.observe()).latest.root == ROOT
    assert following.full_reads == reads


async def test_of_two_records_the_higher_epoch_counts_and_of_one_the_contracts(
    recorded: World,
) -> None:
    """So a recovery that an older program wrote into the data URI is one; a record that nobody can
    read hides none."""
    chain, pool_id = recorded.chain, recorded.pool_id
    await chain.update_uri(recorded.creator, pool_id, with_root(NEEDS, ROOT))
    assert (await chain.pool(pool_id)).root == ROOT
    await chain.set_record(recorded.creator, pool_id, "p2pool:root=1/nonsense")
    assert (await chain.pool(pool_id)).root == ROOT
    await chain.set_record(recorded.creator, pool_id, with_root("", OTHER))
    assert (await chain.pool(pool_id)).root == OTHER
    await chain.update_uri(recorded.creator, pool_id, with_root(NEEDS, NEXT))
    info = await chain.pool(pool_id)
    assert (info.root, info.is_recorded) == (NEXT, False)


async def test_a_record_is_written_where_the_pools_stands(world: World) -> None:
    """Agents that read the data URI alone find it there; a pool without one takes the contract,
    and its data URI stays what other tools read."""
    chain, pool_id = world.chain, world.pool_id
    await chain.update_uri(world.creator, pool_id, NEEDS)
    await write_root(chain, world.creator, await chain.pool(pool_id), ROOT)
    await chain.create_root(world.deployment.federator)
    await write_root(chain, world.creator, await chain.pool(pool_id), NEXT)
    info = await chain.pool(pool_id)
    assert (info.root, info.record, info.data_uri) == (NEXT, "", with_root(NEEDS, NEXT))
    asked = NewPool("fresh", f"{NEEDS};{BOOT}")
    fresh = await create_pool(chain, world.creator, 0, world.creator.address, asked)
    done = await start_pool(chain, world.creator, fresh, ROOT)
    info = await chain.pool(fresh)
    assert (info.data_uri, info.record) == (NEEDS, with_root(BOOT, ROOT))
    assert (done.root_written, done.replaced) == (True, False)
    assert not (await start_pool(chain, world.creator, fresh, ROOT)).root_written
    with pytest.raises(Conflict, match="another identity"):
        await start_pool(chain, world.creator, fresh, OTHER)


async def test_a_pool_that_was_founded_without_the_contract_moves(world: World) -> None:
    """The contract first, then the record, then the data URI, which keeps the rest to the byte;
    every block in between has the root record, and a second time sends nothing."""
    chain, pool_id, writer = world.chain, world.pool_id, world.manager_writer
    uri = f"gpu:count=8;p2pool:later=1;{BOOT};;ram_mb=1;p2pool:root={format_root(ROOT)}"
    await chain.update_uri(writer, pool_id, uri)
    begun = await chain.rpc.quantity("eth_blockNumber")
    dry = DryWriter(writer.address)
    await move_record(chain, dry, await chain.pool(pool_id))
    assert [one.split("(")[0].split()[-1] for one in dry.said] == [
        "PoolRoot.create",
        "PoolRoot.setRecord",
        "ComputePool.updateComputePoolURI",
    ]
    moved = await move_record(chain, writer, await chain.pool(pool_id))
    assert (moved.created, moved.recorded, moved.cleaned) == (True, True, True)
    info = await chain.pool(pool_id)
    assert (info.data_uri, requirements(info.data_uri)) == ("gpu:count=8;;ram_mb=1",) * 2
    assert info.record == f"p2pool:later=1;p2pool:root={format_root(ROOT)};{BOOT}"
    assert (info.root, info.bootstrap) == (ROOT, ("/ip4/127.0.0.1/tcp/1/p2p/x",))
    for block in range(begun, await chain.rpc.quantity("eth_blockNumber") + 1):
        assert (await chain.pool(pool_id, block)).root == ROOT
    again = await move_record(chain, writer, info)
    assert (again.created, again.recorded, again.cleaned) == (False, False, False)
    await write_root(chain, writer, info, NEXT)
    info = await chain.pool(pool_id)
    assert (info.root, "root" in info.data_uri) == (NEXT, False)


async def test_requirements_that_are_too_long_are_unknown_and_not_none(world: World) -> None:
    """The roster says so where it would say what the pool asks for."""
    await world.chain.update_uri(world.creator, world.pool_id, "ram_mb=1;x=" + "y" * 16384)
    seen = (await follower(world).observe()).latest
    assert seen.requirements.startswith("unknown: The pool's data URI has 16395 bytes")
