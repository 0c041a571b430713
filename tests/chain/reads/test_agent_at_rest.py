"""A whole agent at rest costs two calls a block; an event of its provider's, one look at that."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from p2pool.agent.agent import run_agent
from p2pool.agent.options import AgentOptions
from p2pool.client.discovery import agent_in
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund_tokens, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.ids import NodeId
from tests.chain.conftest import World
from tests.chain.endpoints import Proxy, proxy
from tests.chain.harness import acts
from tests.chain.reads.modes import mine, rich
from tests.chain.transactions.configuration import config_of

pytestmark = pytest.mark.chain
BLOCKS = 6
DEADLINE_S = 120
LOOK = {"eth_call": 7, "eth_getBalance": 1}
"""What one look at a provider asks, beside the newest block."""


@attrs.define
class Scene:
    """An agent that runs, and the one endpoint that it has. `looked`: it asks for events."""

    anvil: Anvil
    made: Proxy
    directory: Path
    looked: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        def told(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getLogs":
                self.looked.set()
            return result

        self.made.twist = told

    async def block(self) -> None:
        """Make a block, and wait until the agent asks for events."""
        self.looked = trio.Event()
        await mine(self.anvil)
        await self.looked.wait()

    async def get(self, path: str) -> Any:
        """What the agent's API answers."""
        reached = agent_in(self.directory)
        headers = {"Authorization": f"Bearer {reached.token}"}
        return await trio.to_thread.run_sync(
            lambda: httpx2.get(f"{reached.url}{path}", headers=headers)
        )

    async def calls(self) -> Counter[str]:
        """What the agent counts itself."""
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families((await self.get("/metrics")).text):
            for sample in family.samples:
                if sample.name == "p2pool_chain_calls_total":
                    found[sample.labels["event"]] = int(sample.value)
        return found

    async def agent(self) -> dict[str, Any]:
        """What the agent says of itself."""
        found: dict[str, Any] = (await self.get("/v1/agent")).json()["agent"]
        return found

    async def blocks_until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Make blocks until something is so."""
        while not await done():
            await self.block()


@asynccontextmanager
async def running(
    world: World, anvil: Anvil, options: Callable[[str], AgentOptions]
) -> AsyncIterator[Scene]:
    """An agent behind the proxy, once it has read its provider."""
    with trio.fail_after(DEADLINE_S):
        async with proxy(anvil) as made, trio.open_nursery() as nursery:
            chosen = options(made.url)
            scene = Scene(anvil, made, chosen.directory)
            stop, up = trio.Event(), trio.Event()
            nursery.start_soon(run_agent, chosen, stop, lambda url: up.set())
            await up.wait()

            async def knows() -> bool:
                provider = (await scene.agent())["provider"]
                return provider is not None and provider["stake_wei"] is not None

            await scene.blocks_until(knows)
            yield scene
            stop.set()


async def test_a_whole_agent_at_rest_costs_two_calls_a_block(
    world: World, anvil: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own metric and by what the endpoint was asked, between the looks at what no event
    tells of. A slash costs one look at the provider, and is told once."""
    for name in ("CHAIN_FINAL_LOOK_MS", "CHAIN_MEMBER_READ_MS", "CHAIN_STILL_LOOK_MS"):
        monkeypatch.setattr(limits, name, 10**9)
    monkeypatch.setattr(limits, "CHAIN_CHANGE_WATCH_MS", 0)
    monkeypatch.setattr(limits, "PROVIDER_PAUSE_MS", 100)
    node, key = new_account(), new_account()
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    provider = KeyWriter(world.chain.rpc, key)
    await _member(world, provider, node, node_id)

    def options(url: str) -> AgentOptions:
        config = config_of(world, url)
        return AgentOptions(tmp_path / "data", config, node, key, skip_checks=True)

    async with running(world, anvil, options) as scene:

        async def rests() -> bool:
            scene.made.asked.clear()
            for _ in range(2):
                await scene.block()
            return set(scene.made.asked) == {"eth_getBlockByNumber", "eth_getLogs"}

        await scene.blocks_until(rests)
        before = await scene.calls()
        scene.made.asked.clear()
        for _ in range(BLOCKS):
            await scene.block()
        spent = await scene.calls() - before
        assert set(spent) == {"eth_getBlockByNumber", "eth_getLogs"}
        assert spent["eth_getLogs"] == BLOCKS
        assert spent.total() <= 2 * BLOCKS + 1
        assert spent == Counter(scene.made.asked)

        before = await scene.calls()
        await world.deployment.federator.send(
            world.chain.at.network,
            function("PrimeNetwork", "slash"),
            provider.address,
            await world.chain.stake(provider.address) // 2,
            b"",
        )

        async def warned() -> bool:
            return any("provider stake add" in one for one in (await scene.agent())["warnings"])

        await scene.blocks_until(warned)
        said = await scene.agent()
        assert sum("stake" in one for one in (*said["warnings"], *said["problems"])) == 1
        spent = await scene.calls() - before
        assert {name: spent[name] for name in LOOK} == LOOK


async def _member(world: World, provider: KeyWriter, node: Any, node_id: NodeId) -> None:
    """A node in the pool, whose provider has staked just what is needed."""
    chain, federator = world.chain, world.deployment.federator
    await rich(world, provider)
    await fund_tokens(world.deployment, provider.address)
    stake_wei = await chain.stake_needed(provider.address, 1)
    await acts.approve(chain, provider, stake_wei)
    await acts.register_provider(chain, provider, stake_wei)
    await chain.whitelist(federator, provider.address)
    await acts.add_compute_node(chain, provider, node, 1)
    await chain.validate_node(federator, provider.address, node_id)
    invite = world.manager.sign_invite(0, world.pool_id, node_id, await world.soon())
    await acts.join_pool(chain, provider, world.pool_id, invite)
