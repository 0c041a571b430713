"""A chain is told by its first block too: one that began anew under the same id is another one."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.agent.agent import run_agent
from p2pool.agent.observers import learn_first_block
from p2pool.agent.options import AgentOptions
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.rpc import OtherChain, Rpc
from p2pool.drivers.store.owner import first_block_of, first_block_row
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.errors import DataDirInUse
from tests.chain.endpoints import serving
from tests.chain.hostile import Chain, failed, hash_of, told
from tests.first_run.harness.configuration import config_of
from tests.store.samples import POOL


def other_first(params: list[Any], honest: Any) -> Any:
    """The chain from its beginning on another day."""
    return {"result": {**honest, "hash": hash_of(999)} if params[0] == "0x0" else honest}


def rpc_of(*chains: Chain) -> Rpc:
    made = Rpc.to(1, [f"http://h{i}.example" for i in range(len(chains))])
    for one, chain in zip(made.endpoints, chains, strict=True):
        one.provider = chain  # type: ignore[assignment]
    return made


OTHER: dict[str, Any] = {"eth_getBlockByNumber": other_first}


async def test_an_endpoint_of_another_beginning_is_never_believed() -> None:
    """Alone it is another chain; beside an honest one it is passed over."""
    rpc = rpc_of(Chain(OTHER))
    rpc.first_block = hash_of(0)
    with pytest.raises(OtherChain, match="its first block is 0x"):
        await rpc.request("eth_blockNumber")
    rpc = rpc_of(Chain(OTHER), Chain())
    rpc.first_block = hash_of(0)
    await rpc.request("eth_blockNumber")
    assert rpc.first == 1
    assert [one.first_block for one in rpc.singles()] == [hash_of(0)] * 2
    assert await rpc.others("eth_chainId", read=str) == []


@pytest.mark.parametrize("lie", [told(None), failed({"code": -32000, "message": "pruned"})])
async def test_an_endpoint_that_has_forgotten_its_first_block_is_believed(lie: Any) -> None:
    """It serves everything else; a chain id it has still to tell."""

    def forgets(params: list[Any], honest: Any) -> Any:
        return lie(params, honest) if params[0] == "0x0" else {"result": honest}

    rpc = rpc_of(Chain({"eth_getBlockByNumber": forgets}))
    rpc.first_block = hash_of(0)
    assert await rpc.request("eth_chainId") == "0x1"


@pytest.mark.parametrize(
    ("chains", "found"),
    [
        ([Chain()], hash_of(0)),
        ([Chain(), Chain()], hash_of(0)),
        ([Chain(), Chain(OTHER)], None),
        ([Chain(), Chain({"eth_getBlockByNumber": told(None)})], None),
        ([Chain({"eth_getBlockByNumber": told("x")})], None),
        ([Chain({"eth_chainId": told("0x2")})], None),
    ],
)
async def test_a_beginning_is_learnt_from_a_lone_endpoint_or_from_two_that_agree(
    chains: list[Chain], found: str | None
) -> None:
    """A lie at the first start would shut the honest ones out for good."""
    assert await rpc_of(*chains).agreed_first_block() == found


async def test_the_first_start_writes_it_down_and_the_next_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the chain is out of reach for a while at first."""
    monkeypatch.setattr(limits, "CHAIN_COMPARE_PAUSE_MS", 10)
    async with Store.open(tmp_path / "data", POOL) as store:
        assert first_block_of(store.restored) is None
        chain = Chain({"eth_getBlockByNumber": told(None)})
        rpc = rpc_of(chain)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(learn_first_block, rpc, store)
            await trio.sleep(0.05)
            unknown = rpc.first_block
            chain.lies.clear()
        assert (unknown, rpc.first_block) == (None, hash_of(0))
    async with Store.open(tmp_path / "data", POOL) as store:
        assert first_block_of(store.restored) == hash_of(0)


async def test_an_agent_refuses_the_directory_of_a_chain_that_began_anew(tmp_path: Path) -> None:
    """Before it reads a roster, whose silence about its node would end all its tasks."""
    path, node = tmp_path / "data", new_account()
    chain = Chain({"eth_chainId": told(hex(31337)), **OTHER})
    async with serving(chain.make_request) as url:
        config = config_of()
        config = attrs.evolve(config, chain=attrs.evolve(config.chain, endpoints=(url,)))
        async with Store.open(path, config.pool_ref) as store:
            await store.write((first_block_row(hash_of(0)),))
        refused: list[DataDirInUse] = []
        with trio.fail_after(20):
            try:
                await run_agent(AgentOptions(path, config, node), trio.Event(), lambda url: None)
            except* DataDirInUse as group:
                refused += [one for one in group.exceptions if isinstance(one, DataDirInUse)]
        assert "belongs to another chain" in refused[0].message
