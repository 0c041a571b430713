"""Bad days on contracts that others deployed: what each role is told, and what goes on."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_driver import drive_joining
from p2pool.drivers.chain.join_steps import JoinStep, Progress
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import Conflict, TransactionFailed
from tests.chain.endpoints import Twist, proxy
from tests.chain.harness import acts
from tests.chain.rosters import ids, settle
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import PAUSE, KeyWriter, foreign, selector
from tests.contracts.foreign.harness.desk import Desk
from tests.contracts.foreign.harness.joins import JOIN, invited, joining_of

pytestmark = pytest.mark.chain

WALK_S = 300
POLL_MS = 20
REGISTER = function("PrimeNetwork", "registerProvider")
LEAVE = function("ComputePool", "leaveComputePool(uint256,address,address)")


class Watch:
    """What the driver told, and the wait for a step of some kind."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self.steps: list[JoinStep] = []
        self.told = trio.Event()

    def __call__(self, step: JoinStep) -> None:
        """As the driver's `on_step`."""
        self.steps.append(step)
        self.told.set()
        self.told = trio.Event()

    async def until(self, wanted: Callable[[JoinStep], bool]) -> JoinStep:
        """The first step of that kind."""
        while not (found := [step for step in self.steps if wanted(step)]):
            await self.told.wait()
        return found[0]


def waits(step: JoinStep) -> bool:
    """Whether a step waits for a person."""
    return step.progress is Progress.WAITING


async def test_paused_contracts_are_waited_for(world: ForeignWorld) -> None:
    """Registering and joining wait as long as the pause lasts, and go on by themselves."""
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    await world.network.pause(world.chain.at.pool, JOIN)
    watch = Watch()
    with trio.fail_after(WALK_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, watch, poll_ms=POLL_MS))
            await watch.until(waits)
            assert not await world.chain.in_pool(world.pool_id, node_id)
            await world.network.pause(world.chain.at.pool, JOIN, paused=False)
    assert await world.chain.in_pool(world.pool_id, node_id)
    assert len([step for step in watch.steps if waits(step)]) == 1


async def test_nobody_is_put_out_while_contracts_are_paused(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """Reads go on, the members stand, and a command says no and sends nothing."""
    provider, node_id = await world.member()
    await settle(world)
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)
    await world.network.pause(world.chain.at.pool, JOIN, LEAVE)
    desk = Desk.at(world, tmp_path)
    error = await desk.refused(provider, "pool", "leave", address_text(node_id))
    assert isinstance(error, TransactionFailed)
    assert ids((await following.observe()).latest) == {node_id}
    await world.network.pause(world.chain.at.pool, LEAVE, paused=False)
    await desk.done(provider, "pool", "leave", address_text(node_id))
    assert ids((await following.observe()).latest) == set()


async def test_a_pool_contract_is_upgraded_underneath(world: ForeignWorld) -> None:
    """Same address, other code: whoever follows it goes on, and its members stay."""
    provider, node_id = await world.member()
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)
    assert ids((await following.observe()).latest) == {node_id}
    await world.network.upgrade(world.chain.at.pool, "ForeignPool")
    await acts.leave_pool(world.chain, provider, world.pool_id, node_id)
    assert ids((await following.observe()).latest) == set()


async def test_a_provider_without_coin_is_told_and_goes_on_when_it_has_some(
    world: ForeignWorld,
) -> None:
    """No coin, then no tokens: each names what is missing, and is mended while it waits."""
    provider = KeyWriter(world.chain.rpc, new_account())
    joining, watch = joining_of(world, provider), Watch()
    with trio.fail_after(WALK_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, watch, poll_ms=POLL_MS))
            step = await watch.until(waits)
            assert address_text(provider.address) in f"{step.detail} {step.waiting_on}"
            await fund(world.chain.rpc, provider.address)
            await fund_tokens(world.deployment, provider.address)
            await watch.until(lambda step: waits(step) and step.name == "whitelisted")
            nursery.cancel_scope.cancel()
    assert await world.chain.provider_exists(provider.address)


async def test_a_manager_without_coin_is_told(world: ForeignWorld, tmp_path: Path) -> None:
    """The sentence names the account; the node stays in."""
    _, node_id = await world.member()
    manager = world.manager_writer.address
    await world.chain.rpc.request("anvil_setBalance", address_text(manager), "0x0")
    desk = Desk.at(world, tmp_path)
    error = await desk.refused(world.manager_writer, "pool", "eject", address_text(node_id))
    assert address_text(manager) in str(error)
    assert await world.chain.in_pool(world.pool_id, node_id)


async def test_a_provider_that_the_pool_blacklisted_does_not_come_in(
    world: ForeignWorld,
) -> None:
    """It waits and pays nothing more; the network's blacklist is waited for at the validator."""
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    ban = foreign("", "blacklistProvider(uint256,address)")
    await world.manager_writer.send(world.chain.at.pool, ban, world.pool_id, provider.address)
    nonce = ("eth_getTransactionCount", address_text(provider.address), "latest")
    before, watch = await world.chain.rpc.quantity(*nonce), Watch()
    with trio.fail_after(WALK_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, watch, poll_ms=POLL_MS))
            step = await watch.until(waits)
            nursery.cancel_scope.cancel()
    assert "blacklisted" in step.detail
    assert await world.chain.rpc.quantity(*nonce) == before
    assert not await world.chain.in_pool(world.pool_id, node_id)


async def test_a_pool_that_ends_midway_takes_nobodys_stake(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """A newcomer stops and has paid nothing; a member stays listed, and leaves by its command."""
    member, node_id = await world.member()
    await acts.end_pool(world.chain, world.creator, world.pool_id)
    provider, watch = await world.account(), Watch()
    with trio.fail_after(WALK_S), pytest.raises(Conflict, match="has ended"):
        await drive_joining(joining_of(world, provider), watch, poll_ms=POLL_MS)
    assert (watch.steps, await world.chain.stake(provider.address)) == ([], 0)
    assert await world.chain.in_pool(world.pool_id, node_id)
    await Desk.at(world, tmp_path).done(member, "pool", "leave", address_text(node_id))
    assert not await world.chain.in_pool(world.pool_id, node_id)


def pausing(world: ForeignWorld, anvil: Anvil, *, once: list[bool]) -> Twist:
    """Right after a gas estimate, joining is paused: what follows reverts in its block."""
    provider = anvil.rpc().endpoints[0].provider
    boss, at = (address_text(a) for a in (world.creator.address, world.chain.at.pool))
    data = "0x" + PAUSE.call([selector(JOIN)], True).hex()

    def twist(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_estimateGas" and not once:
            once.append(True)
            provider.make_request("anvil_impersonateAccount", [boss])
            asked = {"from": boss, "to": at, "data": data, "gas": hex(200_000)}
            provider.make_request("eth_sendTransaction", [asked])
        return result

    return twist


async def test_what_reverts_after_a_good_estimate_names_its_transaction(
    world: ForeignWorld, anvil: Anvil
) -> None:
    """Gas is gone, nothing else: the next try meets the reason before it costs anything."""
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    once: list[bool] = []
    async with proxy(anvil) as beside:
        beside.twist = pausing(world, anvil, once=once)
        rpc = Rpc.to(31337, [beside.url])
        joining.chain = PoolContracts(rpc, world.chain.at)
        joining.writer = KeyWriter(rpc, provider._account)
        with pytest.raises(TransactionFailed) as refused:
            await joining.next_step()
    assert once
    assert re.search(r"0x[0-9a-f]{64}", str(refused.value))
    assert not await world.chain.in_pool(world.pool_id, node_id)
    await world.network.pause(world.chain.at.pool, JOIN, paused=False)
    joining.chain, joining.writer = world.chain, provider
    with trio.fail_after(WALK_S):
        await drive_joining(joining, Watch(), poll_ms=POLL_MS)
    assert await world.chain.in_pool(world.pool_id, node_id)


async def test_a_halted_chain_changes_nothing(world: ForeignWorld, anvil: Anvil) -> None:
    """For an hour no block comes: the roster stands as it was, and the next block is read."""
    provider, node_id = await world.member()
    await settle(world)
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)
    before = await following.observe()
    anvil.pause()
    try:
        rpc = Rpc.to(31337, [anvil.url], timeout_ms=300)
        halted = RosterFollower(RosterReader(PoolContracts(rpc, world.chain.at), world.pool_id))
        halted.latest, halted.final = following.latest, following.final
        with trio.fail_after(WALK_S):
            said = await anext(halted.observations())
    finally:
        anvil.go_on()
    assert not hasattr(said, "latest"), "out of reach, and nothing about who belongs"
    await world.chain.rpc.request("evm_increaseTime", hex(3600))
    await settle(world)
    after = await following.observe()
    assert ids(after.final) == ids(before.final) == {node_id}
    await acts.leave_pool(world.chain, provider, world.pool_id, node_id)
    assert ids((await following.observe()).latest) == set()


async def test_a_slash_keeps_a_member_at_work_and_blocks_the_next_validation(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """Whoever waits is told the command, and once the provider has run it the validator can act."""
    provider, member = await world.member()
    node = new_account()
    await acts.add_compute_node(world.chain, provider, node, 1)
    judge, at = world.network.validator, world.chain.at
    slash = foreign("", "slash(address,uint256,bytes)")
    staked_wei = await world.chain.stake(provider.address)
    await judge.send(at.network, slash, provider.address, staked_wei - 1, b"why")
    await settle(world)
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)
    row = (await following.observe()).latest.member(member)
    assert row is not None
    assert row.eligible
    joining, watch = joining_of(world, provider, node), Watch()
    with trio.fail_after(WALK_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, watch, poll_ms=POLL_MS))
            step = await watch.until(waits)
            nursery.cancel_scope.cancel()
    assert (step.name, step.command) == ("stake", "p2pool provider stake add")
    with pytest.raises(TransactionFailed, match="stake is too small"):
        await world.chain.validate_node(judge, provider.address, joining.node_id)
    await Desk.at(world, tmp_path).done(provider, *step.command.split()[1:])
    await world.chain.validate_node(judge, provider.address, joining.node_id)
    found = await world.chain.node(joining.node_id)
    assert found is not None
    assert found.validated


async def test_while_no_block_comes_a_manager_sends_one_transaction(
    world: ForeignWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named by its hash; the same command again goes on with that one, and sends no other."""
    _, node_id = await world.member()
    desk, rpc = Desk.at(world, tmp_path), world.chain.rpc
    words = (world.manager_writer, "pool", "eject", address_text(node_id))
    count = ("eth_getTransactionCount", address_text(world.manager.address))
    before = await rpc.quantity(*count, "latest")
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 300)
    await rpc.request("evm_setIntervalMining", 0)
    await rpc.request("evm_setAutomine", False)
    try:
        named = [re.findall(r"0x[0-9a-f]{64}", str(await desk.refused(*words))) for _ in range(2)]
        assert await rpc.quantity(*count, "pending") == before + 1
    finally:
        await rpc.request("evm_setIntervalMining", 1)
    assert named[0] == named[1] != []
    monkeypatch.undo()
    await desk.done(*words)
    assert not await world.chain.in_pool(world.pool_id, node_id)
    assert await rpc.quantity(*count, "latest") == before + 1
