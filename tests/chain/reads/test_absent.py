"""Every read says present, absent or unknown, in whichever way a deployment says that."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_steps import Joining, Progress
from p2pool.drivers.chain.provider.facts import Unbond
from p2pool.drivers.chain.provider.reads import Reader, read_stake
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.drivers.chain.transactions.writer import DryWriter
from p2pool.model.errors import ChainUnavailable, NotFound, TransactionFailed
from p2pool.model.ids import Address, NodeId
from tests.chain.hostile import AT, NODE, Answer, Chain, failed, told

NODE_ID = NodeId(bytes.fromhex(NODE[2:]))
ZERO = "0x" + "00" * 20
GET_NODE = function("ComputeRegistry", "getNode(address)")
GET_POOL = function("ComputePool", "getComputePool")


def panic(code: int) -> Answer:
    """The language's own revert."""
    data = keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [code])
    return failed({"code": 3, "message": "execution reverted", "data": "0x" + data.hex()})


def node_of(provider: str, node: str) -> Answer:
    values = [(provider, node, "", 1, 0, True, True)]
    return told("0x" + encode(GET_NODE.outputs, values).hex())


def pool_of(pool_id: int, creator: str, status: int = 1, total: int = 0, limit: int = 0) -> Answer:
    value = (pool_id, 0, "", creator, creator, 0, 0, 0, "", ZERO, total, limit, status)
    return told("0x" + encode(GET_POOL.outputs, [value]).hex())


def contracts(answers: dict[str, Answer]) -> PoolContracts:
    """Contracts that answer these calls, by the first bytes of their data, in such ways."""

    def answer(params: list[Any], honest: Any) -> Any:
        found = answers.get(params[0]["data"][:10])
        return found(params, honest) if found is not None else {"result": honest}

    rpc = Rpc.to(1, ["http://h.example"])
    rpc.endpoints[0].provider = Chain({"eth_call": answer})  # type: ignore[assignment]
    return PoolContracts(rpc, AT)


def selector(signature: str) -> str:
    return "0x" + keccak(text=signature)[:4].hex()


NODES, POOLS = selector(GET_NODE.signature), selector(GET_POOL.signature)
LISTED = selector("getWhitelistStatus(address)")
ABSENT = {
    "an error of its own": failed(
        {
            "code": 3,
            "message": "x",
            "data": selector("EnumerableMapNonexistentKey(bytes32)") + "0" * 64,
        }
    ),
    "a list that is too short": panic(0x32),
    "zeros": node_of(ZERO, ZERO),
    "another's record": node_of(NODE, "0x" + "0c" * 20),
}


@pytest.mark.parametrize("way", ABSENT)
async def test_a_node_that_is_gone_is_absent(way: str) -> None:
    """Its provider is gone, or somebody else took its place in a list: no node of nobody's."""
    chain = contracts({NODES: ABSENT[way]})
    assert await chain.node(NODE_ID) is None
    member = await RosterReader(chain, 7).read(await RosterReader(chain, 7).block(1))
    assert [(m.eligible, m.reason) for m in member.members] == [
        (False, "removed from the registry")
    ]


@pytest.mark.parametrize("code", [0x11, 0x01])
async def test_another_panic_is_unknown(code: int) -> None:
    """A contract that fails says nothing of a node, not even that there is none."""
    with pytest.raises(Reverted):
        await contracts({NODES: panic(code)}).node(NODE_ID)


async def test_a_provider_that_is_gone_is_not_whitelisted() -> None:
    """Where the contract fails over it, too."""
    assert not await contracts({LISTED: panic(0x32)}).whitelisted(Address(bytes(20)))
    with pytest.raises(Reverted):
        await contracts({LISTED: panic(0x11)}).whitelisted(Address(bytes(20)))


@pytest.mark.parametrize("pool_id", [0, 7])
async def test_a_pool_of_nobodys_is_no_pool(pool_id: int) -> None:
    """A deployment without a check answers zeros for any number."""
    with pytest.raises(NotFound, match=f"no pool {pool_id}"):
        await contracts({POOLS: pool_of(0, ZERO, 0)}).pool(pool_id)


BANNED = {
    "provider": selector("isProviderBlacklistedFromPool(uint256,address)"),
    "node": selector("isNodeBlacklistedFromPool(uint256,address)"),
}
USED = selector("getComputePoolTotalCompute(uint256)")
NINE = told("0x" + (9).to_bytes(32, "big").hex())
YES = told("0x" + (1).to_bytes(32, "big").hex())


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ({POOLS: pool_of(0, ZERO, 0)}, NotFound),
        ({POOLS: pool_of(7, NODE, status=0)}, "pool started: the pool is not active"),
        (
            {POOLS: pool_of(7, NODE, total=9, limit=9), USED: NINE},
            "room made: the pool is full: 9 of 9 units, 1",
        ),
        ({BANNED["provider"]: YES}, TransactionFailed),
        ({BANNED["node"]: YES}, TransactionFailed),
    ],
)
async def test_nobody_pays_before_the_pool_can_be_joined(answers: Any, waits: Any) -> None:
    """It is there, it runs, it has room, and it bars neither provider nor node: else nothing is
    sent, and it is said what is waited for."""
    writer = DryWriter(Address(b"\x0f" * 20))

    async def nothing() -> None:
        return None

    chain = contracts({NODES: ABSENT["zeros"], **answers})
    joining = Joining(chain, 7, new_account(), 1, nothing, writer)
    if not isinstance(waits, str):
        with pytest.raises(waits):
            await joining.next_step()
    else:
        step = await joining.next_step()
        assert step.progress is Progress.WAITING
        assert f"{step.name}: {step.detail}".startswith(waits)
    assert writer.said == []


async def test_a_node_of_another_provider_is_told_by_its_address() -> None:
    """Only one that is there: nobody is sent to look for the key of 0x000."""
    writer = DryWriter(Address(b"\x0f" * 20))

    async def nothing() -> None:
        return None

    node = new_account()
    other = "0x" + "0b" * 20
    chain = contracts({NODES: node_of(other, node.address)})
    with pytest.raises(TransactionFailed, match=other):
        await Joining(chain, 7, node, 1, nothing, writer).next_step()


async def test_stake_that_was_paid_out_is_on_its_way_no_more() -> None:
    """A deployment keeps its entry, of nothing and due never."""
    unbonds = function("StakeManager", "getPendingUnbonds")
    data = told("0x" + encode(unbonds.outputs, [[(0, 0), (5, 9), (0, 0), (7, 3)]]).hex())
    chain = contracts({selector(unbonds.signature): data})
    found = await (await Reader.at_head(chain)).stake(Address(bytes(20)))
    assert found.unbonds.value == (Unbond(7, 3), Unbond(5, 9))


async def test_a_bar_that_cannot_be_read_is_no_leave_to_join() -> None:
    """The panic of a list that is too short says only of a registry that there is none."""
    barred = selector("isNodeBlacklistedFromPool(uint256,address)")
    chain = contracts({barred: panic(0x32), NODES: panic(0x32)})
    found = await (await Reader.at_head(chain)).node(7, NODE_ID)
    assert found.registry.is_absent
    with pytest.raises(ChainUnavailable, match="refuses to be read"):
        _ = found.is_barred


async def test_the_stake_of_nobody_yet_has_a_minimum() -> None:
    """Where a deployment fails over a provider that it does not know: that of one without nodes."""
    stakes = {
        selector("calculateMinimumStake(address,uint256)"): panic(0x32),
        selector("getStakeMinimum()"): told("0x" + encode(["uint256"], [3]).hex()),
        selector("getStake(address)"): told("0x" + encode(["uint256"], [0]).hex()),
    }
    found = await read_stake(contracts(stakes), Address(bytes(20)), 4)
    assert (found.staked_wei, found.needed_wei) == (0, 15)
