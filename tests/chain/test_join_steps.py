"""Joining does what is missing, waits for others by name, and can be walked again at any time."""

import attrs
import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.chain.join_waits import mending_of
from p2pool.drivers.chain.provider.entry_plans import Closed
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import NodeId
from tests.chain.conftest import World

pytestmark = pytest.mark.chain


@attrs.frozen
class NamedKey:
    """A node key of which the address alone is known."""

    address: str


async def newcomer(world: World, invites: list[Invite]) -> Joining:
    provider = await world.account()

    async def find_invite() -> Invite | None:
        return invites[-1] if invites else None

    return Joining(world.chain, world.pool_id, new_account(), 1, find_invite, provider, poll_s=0.02)


async def help_along(world: World, joining: Joining, invites: list[Invite]) -> list[JoinStep]:
    """Play validator and manager whenever the newcomer waits for one of them."""
    assert joining.writer is not None
    walked: list[JoinStep] = []
    async for step in joining.steps():
        walked.append(step)
        if step.progress is not Progress.WAITING:
            continue
        federator, provider = world.deployment.federator, joining.writer.address
        if step.name == "whitelisted":
            await world.chain.whitelist(federator, provider)
        elif step.name == "validated":
            await world.chain.validate_node(federator, provider, joining.node_id)
        elif step.name == "invited":
            soon = await world.soon()
            invites.append(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
    return walked


async def test_the_whole_way_from_nothing(world: World) -> None:
    """Each step once, the waits naming who has to act, and at the end a member."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    with trio.fail_after(60):
        walked = await help_along(world, joining, invites)
    assert [(s.name, s.progress) for s in walked] == [
        ("approved", Progress.DOING),
        ("registered", Progress.DOING),
        ("whitelisted", Progress.WAITING),
        ("node registered", Progress.DOING),
        ("validated", Progress.WAITING),
        ("invited", Progress.WAITING),
        ("joined", Progress.DOING),
        ("joined", Progress.DONE),
    ]
    waits = {s.name: s.waiting_on for s in walked if s.progress is Progress.WAITING}
    assert waits["whitelisted"] == "the validator"
    commands = {s.name: s.command for s in walked if s.progress is Progress.WAITING}
    assert commands["invited"].startswith("p2pool pool invite 0x")
    assert commands["whitelisted"].startswith("p2pool validator whitelist 0x")
    assert commands["validated"].startswith("p2pool validator validate 0x")
    assert await world.chain.in_pool(world.pool_id, joining.node_id)


async def test_walking_again_sends_nothing(world: World) -> None:
    """A member that starts anew is told so at once, with or without the provider's key."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    with trio.fail_after(60):
        await help_along(world, joining, invites)
        for writer in (joining.writer, None):
            joining.writer = writer
            again = [step async for step in joining.steps()]
            assert [(s.name, s.progress) for s in again] == [("joined", Progress.DONE)]


async def test_an_interrupted_way_is_gone_on_from_where_it_was(world: World) -> None:
    """Killed after any step: the next walk does the rest and nothing twice."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    with trio.fail_after(60):
        async for step in joining.steps():
            if step.name == "registered":
                break
        walked = await help_along(world, joining, invites)
    assert "registered" not in [s.name for s in walked]
    assert walked[-1].progress is Progress.DONE


async def test_without_the_providers_key_it_is_waited_for(world: World) -> None:
    """The message says which command the provider runs, where it is to take the node in; before
    that, who else has to act first, as the provider's own plan says."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    writer, node = joining.writer, address_text(joining.node_id)
    assert writer is not None
    seen: list[tuple[str, str]] = []

    async def wait() -> JoinStep:
        joining.writer = None
        step = await joining.next_step()
        joining.writer = writer
        assert step.progress is Progress.WAITING
        seen.append((step.name, step.command))
        return step

    with trio.fail_after(60):
        assert "its provider" in (await wait()).waiting_on
        async for step in joining.steps():
            if step.name == "whitelisted":
                await world.chain.whitelist(world.deployment.federator, writer.address)
            if step.name == "node registered":
                break
        unlist = function("PrimeNetwork", "blacklistProvider")
        await world.deployment.federator.send(world.chain.at.network, unlist, writer.address)
        assert (await wait()).waiting_on == "the validator"
        judge = world.deployment.federator
        await world.chain.validate_node(judge, writer.address, joining.node_id)
        assert "is not whitelisted" in (await wait()).detail
        await world.chain.whitelist(judge, writer.address)
        assert address_text(world.manager.address) in (await wait()).waiting_on
        soon = await world.soon()
        invites.append(world.manager.sign_invite(0, world.pool_id, joining.node_id, soon))
        assert address_text(writer.address) in (await wait()).waiting_on
    assert [name for name, _ in seen] == [
        *("registered", "validated", "whitelisted", "invited", "joined")
    ]
    assert seen[0][1] == f"p2pool pool join {node} --node-key FILE"
    assert seen[3][1] == f"p2pool pool invite {node}"
    assert seen[4][1] == f"p2pool pool join {node} --invite FILE"


async def test_nobody_is_sent_to_register_for_a_pool_that_will_not_have_the_node(
    world: World,
) -> None:
    """Without the provider's key, too: one that has not started waits for its creator, and one that
    bars the node is told as that."""
    joining = await newcomer(world, [])
    joining.writer = None
    joining.pool_id = await world.chain.create_pool(
        world.creator, 0, world.manager.address, "later"
    )
    step = await joining.next_step()
    assert (step.name, step.command) == ("pool started", f"p2pool pool start {joining.pool_id}")
    _, node_id = await world.member()
    bar = function("ComputePool", "blacklistNode")
    await world.manager_writer.send(world.chain.at.pool, bar, world.pool_id, node_id)
    barred = await newcomer(world, [])
    barred.writer, barred.node = None, NamedKey(address_text(node_id))  # type: ignore[assignment]
    with pytest.raises(Closed, match="blacklisted in pool") as refused:
        await barred.next_step()
    assert mending_of(refused.value, "0x11", "0x22").command == "p2pool node rekey"


@pytest.mark.parametrize("fault", ["expired", "another manager", "another node"])
async def test_a_bad_invite_is_not_worth_a_transaction(world: World, fault: str) -> None:
    """It waits for a good one instead of failing."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    node_id, soon, signer = joining.node_id, await world.soon(), world.manager
    if fault == "expired":
        soon = 1
    elif fault == "another manager":
        signer = KeyManager(new_account())
    else:
        node_id = NodeId(b"x" * 20)
    invites.append(signer.sign_invite(0, world.pool_id, node_id, soon))
    with trio.fail_after(60):
        walked = await help_along(world, joining, invites)
    assert ("invited", Progress.WAITING) in [(s.name, s.progress) for s in walked]
    assert walked[-1].progress is Progress.DONE


async def test_a_node_of_another_provider_is_refused(world: World) -> None:
    """It cannot be taken over, and the message names its provider."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    with trio.fail_after(60):
        async for step in joining.steps():
            if step.name == "whitelisted":
                assert joining.writer is not None
                await world.chain.whitelist(world.deployment.federator, joining.writer.address)
            if step.name == "node registered":
                break
        thief = KeyWriter(world.chain.rpc, new_account())
        await fund(world.chain.rpc, thief.address)
        await fund_tokens(world.deployment, thief.address)
        joining.writer = thief
        with pytest.raises(TransactionFailed, match="registered by the provider"):
            await anext(joining.steps())


async def test_another_providers_key_is_refused_for_a_node_that_is_in_the_pool(
    world: World,
) -> None:
    """It would stake for nothing that is its own; without a key there is nothing to say."""
    invites: list[Invite] = []
    joining = await newcomer(world, invites)
    with trio.fail_after(60):
        await help_along(world, joining, invites)
    joining.writer = await world.account()
    with pytest.raises(TransactionFailed, match="registered by the provider"):
        await joining.next_step()
    joining.writer = None
    assert (await joining.next_step()).progress is Progress.DONE
