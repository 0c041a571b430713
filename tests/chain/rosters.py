"""What the tests of rosters share: the names in one, and a chain that has settled."""

from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import NodeId
from tests.chain.conftest import World


def ids(roster: ChainRoster) -> set[NodeId]:
    return {m.node_id for m in roster.members}


async def settle(world: World, blocks: int = 3) -> None:
    """Let the chain finalize what it has."""
    await world.chain.rpc.request("anvil_mine", hex(blocks))
