"""An agent stakes what its owner allowed, and what a slash took is told and added by leave only."""

import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.join_driver import drive_joining
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.chain.provider.reads import read_stake
from p2pool.drivers.chain.stakes import StakePolicy
from p2pool.model.chain.invite import Invite
from tests.chain.conftest import World
from tests.chain.harness import acts

MILLI = 10**15
"""The development chain's minimum for a unit: a thousandth of a token."""


async def nobody() -> Invite | None:
    """No invite is known."""
    return None


async def joining_of(world: World, policy: StakePolicy) -> Joining:
    provider = await world.account()
    return Joining(world.chain, world.pool_id, new_account(), 1, nobody, provider, stake=policy)


async def first_wait(joining: Joining) -> tuple[list[str], JoinStep]:
    """The steps that were taken, and the wait that ended them."""
    steps: list[JoinStep] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            def on_step(step: JoinStep) -> None:
                steps.append(step)
                if step.progress is Progress.WAITING:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(drive_joining, joining, on_step)
    return [step.name for step in steps[:-1]], steps[-1]


async def slash(world: World, joining: Joining, wei: int) -> None:
    """As a validator does."""
    assert joining.writer is not None
    federator, at = world.deployment.federator, world.chain.at
    await federator.send(
        at.network, function("PrimeNetwork", "slash"), joining.writer.address, wei, b""
    )


@pytest.mark.chain
async def test_nothing_is_staked_beyond_what_was_said(world: World) -> None:
    """The wait says how much is needed, and the words that allow it."""
    joining = await joining_of(world, StakePolicy.said(1, None, False))
    taken, wait = await first_wait(joining)
    assert (taken, wait.name) == ([], "stake")
    assert "needs a stake of 0.002 tokens for this node and has 0 tokens" in wait.detail
    assert "this agent may stake 0 tokens at most" in wait.detail
    assert wait.command == "p2pool agent run --stake-max 0.002"
    assert joining.writer is not None
    assert await acts.allowance(world.chain, joining.writer.address) == 0
    joining.stake = StakePolicy.said(1, 2 * MILLI - 1, False)
    assert (await first_wait(joining))[0] == []
    joining.stake = StakePolicy.said(1, 2 * MILLI, False)
    taken, wait = await first_wait(joining)
    assert (taken, wait.name) == (["approved", "registered"], "whitelisted")
    assert await world.chain.stake(joining.writer.address) == 2 * MILLI


def test_on_a_development_chain_nothing_has_to_be_said() -> None:
    """Nothing is worth anything there; a bound that is said holds all the same."""
    assert StakePolicy.said(31337, None, False).most_wei is None
    assert StakePolicy.said(31337, 5, True) == StakePolicy(5, True)
    assert StakePolicy.said(1, None, True) == StakePolicy(0, True)


async def slashed(world: World, policy: StakePolicy) -> Joining:
    """A registered node that nobody can validate, since half of its provider's stake is gone."""
    joining = await joining_of(world, StakePolicy())
    assert (await first_wait(joining))[1].name == "whitelisted"
    assert joining.writer is not None
    await world.chain.whitelist(world.deployment.federator, joining.writer.address)
    assert (await first_wait(joining))[1].name == "validated"
    await slash(world, joining, MILLI)
    joining.stake = policy
    return joining


@pytest.mark.chain
@pytest.mark.parametrize("has_key", [True, False])
async def test_what_a_slash_took_is_told(world: World, has_key: bool) -> None:
    """To whoever asks the agent, with its provider's key or without; nothing is added unasked."""
    joining = await slashed(world, StakePolicy())
    assert joining.writer is not None
    provider = joining.writer.address
    if not has_key:
        joining.writer = None
    taken, wait = await first_wait(joining)
    assert (taken, wait.name) == ([], "stake")
    assert "0.001 tokens, is 0.001 tokens less than its nodes need" in wait.detail
    assert wait.command == "p2pool provider stake add"
    assert address_text(provider) in wait.waiting_on
    assert await world.chain.stake(provider) == MILLI


@pytest.mark.chain
async def test_what_a_slash_took_is_added_by_leave(world: World) -> None:
    """Up to the bound, and no more than is missing."""
    joining = await slashed(world, StakePolicy(2 * MILLI - 1, True))
    assert joining.writer is not None
    assert (await first_wait(joining))[1].name == "stake"
    joining.stake = StakePolicy(2 * MILLI, True)
    taken, wait = await first_wait(joining)
    assert (taken, wait.name) == (["approved", "staked"], "validated")
    stake = await read_stake(world.chain, joining.writer.address)
    assert (stake.staked_wei, stake.needed_wei) == (2 * MILLI, 2 * MILLI)
    assert await joining.top_up() is None
