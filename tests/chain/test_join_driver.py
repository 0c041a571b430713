"""Driving a node into a pool: others act later, in their own time, and the driver goes on."""

import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from p2pool.codec.json.hex import address_text
from p2pool.codec.json.requests import invite_json
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.join_driver import drive_joining, find_in_file
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Conflict
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.chain.harness import acts

pytestmark = pytest.mark.chain


@attrs.define
class Told:
    """What the driver told, and a way to wait for something of it."""

    steps: list[JoinStep] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, step: JoinStep) -> None:
        """As the driver's `on_step`."""
        self.steps.append(step)
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, name: str, progress: Progress = Progress.WAITING) -> JoinStep:
        """The last told step, once it is that one."""
        while not (
            self.steps and (self.steps[-1].name, self.steps[-1].progress) == (name, progress)
        ):
            await self.changed.wait()
        return self.steps[-1]

    def waits(self) -> list[str]:
        """The names of all waits, in the order in which they were told."""
        return [step.name for step in self.steps if step.progress is Progress.WAITING]


def joining_of(
    world: World,
    writer: KeyWriter | None,
    find: Callable[[], Awaitable[Invite | None]],
    chain: PoolContracts | None = None,
) -> Joining:
    return Joining(chain or world.chain, world.pool_id, new_account(), 1, find, writer)


async def nobody() -> Invite | None:
    """No invite is known."""
    return None


async def test_validator_and_manager_act_later_and_the_invite_comes_by_a_file(
    world: World, tmp_path: Path
) -> None:
    """Each wait is told once however often it is looked at; half a file is no invite."""
    provider, told, path = await world.account(), Told(), tmp_path / "invite.json"
    looks = 0

    async def find() -> Invite | None:
        nonlocal looks
        looks += 1
        return await find_in_file(path)

    joining = joining_of(world, provider, find)
    federator = world.deployment.federator
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, told, poll_ms=10))
            await told.wait("whitelisted")
            await world.chain.whitelist(federator, provider.address)
            await told.wait("validated")
            await world.chain.validate_node(federator, provider.address, joining.node_id)
            await told.wait("invited")
            soon = await world.soon()
            text = json.dumps(
                invite_json(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
            )
            path.write_text(text[:40])
            seen = looks
            while looks < seen + 3:
                await trio.testing.wait_all_tasks_blocked(0.01)
            path.write_text(text)
    assert told.waits() == ["whitelisted", "validated", "invited"]
    assert told.steps[-1] == JoinStep("joined", Progress.DONE, told.steps[-1].detail)
    assert await world.chain.in_pool(world.pool_id, joining.node_id)


async def test_an_invite_by_the_api_ends_a_long_pause(world: World) -> None:
    """`wake` returns when it comes: nobody waits for the next look."""
    provider, told, invites = await world.account(), Told(), list[Invite]()
    came = trio.Event()

    async def find() -> Invite | None:
        return invites[-1] if invites else None

    joining = joining_of(world, provider, find)
    federator, hour_ms = world.deployment.federator, 3_600_000
    with trio.fail_after(60):
        await world.chain.whitelist(federator, await registered(world, provider))
        await acts.add_compute_node(world.chain, provider, joining.node, 1)
        await world.chain.validate_node(federator, provider.address, joining.node_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: drive_joining(joining, told, poll_ms=hour_ms, wake=lambda: came.wait())
            )
            await told.wait("invited")
            soon = await world.soon()
            invites.append(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
            came.set()
    assert await world.chain.in_pool(world.pool_id, joining.node_id)


async def registered(world: World, provider: KeyWriter) -> Address:
    """Stake for a provider; its address."""
    stake_wei = 10 * await world.chain.stake_needed(provider.address, 1)
    await acts.approve(world.chain, provider, stake_wei)
    await acts.register_provider(world.chain, provider, stake_wei)
    return provider.address


async def test_what_a_person_can_mend_does_not_end_it(world: World) -> None:
    """No coin, then no tokens: each is told once with what to do, and mended while it waits."""
    writer, told = KeyWriter(world.chain.rpc, new_account()), Told()
    joining = joining_of(world, writer, nobody)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, told, poll_ms=10))
            poor = await told.wait("refused")
            assert "Send it" in poor.detail
            who = address_text(writer.address)
            assert who in poor.waiting_on
            assert poor.command.startswith(f"cast send {who} --value ")
            await fund(world.chain.rpc, writer.address)
            while len(told.waits()) < 2:
                await told.changed.wait()
            assert "too few tokens" in told.steps[-1].detail
            token = address_text(world.chain.at.token)
            assert told.steps[-1].command.startswith(f"cast send {token} 'transfer(")
            await fund_tokens(world.deployment, writer.address)
            await told.wait("whitelisted")
            nursery.cancel_scope.cancel()
    assert told.waits() == ["refused", "refused", "whitelisted"]


async def test_an_ejected_node_waits_for_a_new_invite(world: World) -> None:
    """The one that it used is not tried for ever, and is no reason to stop."""
    provider, told = await world.account(), Told()
    await world.chain.whitelist(world.deployment.federator, await registered(world, provider))
    node = new_account()
    invites: list[Invite] = []

    async def find() -> Invite | None:
        return invites[-1]

    joining = Joining(world.chain, world.pool_id, node, 1, find, provider)
    await acts.add_compute_node(world.chain, provider, node, 1)
    await world.chain.validate_node(world.deployment.federator, provider.address, joining.node_id)
    soon = await world.soon()
    invites.append(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
    with trio.fail_after(60):
        await drive_joining(joining, told, poll_ms=10)
        await acts.eject(world.chain, world.manager_writer, world.pool_id, joining.node_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, told, poll_ms=10))
            assert "used before" in (await told.wait("invited")).detail
            invites.append(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
    assert await world.chain.in_pool(world.pool_id, joining.node_id)


async def test_the_chain_away_is_one_wait_and_it_comes_back(world: World, anvil: Anvil) -> None:
    """Told once, in whatever words the endpoint fails."""
    _, node_id = await world.candidate()
    told = Told()
    rpc = Rpc.to(31337, ["http://127.0.0.1:9"], timeout_ms=200)
    joining = joining_of(world, None, nobody, PoolContracts(rpc, world.chain.at))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: drive_joining(joining, told, poll_ms=10))
            await told.wait("chain")
            while rpc.failures["http://127.0.0.1:9"] < 4:
                await trio.testing.wait_all_tasks_blocked(0.01)
            rpc.endpoints = anvil.rpc().endpoints
            assert "p2pool pool join 0x" in (await told.wait("registered")).command
            nursery.cancel_scope.cancel()
    assert told.waits() == ["chain", "registered"]
    assert node_id != joining.node_id


async def test_the_pauses_grow_up_to_a_cap(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at ever more rarely, and never more rarely than the cap."""
    nowhere = Addresses(*[Address(bytes(20))] * 6)
    chain = PoolContracts(Rpc.to(31337, ["http://127.0.0.1:9"]), nowhere)
    joining, times = Joining(chain, 0, new_account(), 1, nobody), list[float]()

    async def waiting(_: Joining) -> JoinStep:
        times.append(trio.current_time())
        return JoinStep("registered", Progress.WAITING)

    monkeypatch.setattr(Joining, "next_step", waiting)
    told = Told()
    with trio.move_on_after(100):
        await drive_joining(joining, told)
    pauses = [round(b - a) for a, b in itertools.pairwise(times)]
    assert pauses[:6] == [1, 2, 4, 8, 10, 10]
    assert set(pauses[4:]) == {limits.JOIN_POLL_MAX_MS // 1000}
    assert len(told.steps) == 1


async def test_nobody_stakes_for_a_pool_that_has_ended(world: World) -> None:
    """The one thing that ends the way; nothing was sent before it was found."""
    await acts.end_pool(world.chain, world.creator, world.pool_id)
    provider, told = await world.account(), Told()
    with trio.fail_after(20), pytest.raises(Conflict, match="has ended"):
        await drive_joining(joining_of(world, provider, nobody), told, poll_ms=10)
    assert (told.steps, await world.chain.stake(provider.address)) == ([], 0)
