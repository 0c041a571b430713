"""Two who plan for one account at the same time do it once: whoever comes second looks again."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.join_steps import Joining, Progress
from p2pool.drivers.chain.provider.conduct import send_ready
from p2pool.drivers.chain.provider.plan import Plan
from p2pool.drivers.chain.provider.provider_plans import reclaim_plan, stake_plan
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import Overtaken
from tests.chain.conftest import World

pytestmark = pytest.mark.chain

MORE, LESS = 4 * 10**17, 2 * 10**17


def beside(writer: KeyWriter, directory: Path | None = None) -> KeyWriter:
    """The same account in another process; of the same machine, with a directory."""
    journal = None
    if directory is not None:
        journal = FileJournal.of(directory, writer._rpc.chain_id, writer.address)
    return KeyWriter(writer._rpc, writer._account, journal=journal)


def joining_of(world: World, writer: KeyWriter) -> Joining:
    """A node's way, which nobody invites."""

    async def nothing() -> None:
        return None

    return Joining(world.chain, world.pool_id, new_account(), 1, nothing, writer)


async def planned(world: World, writer: KeyWriter, verb: str) -> tuple[Plan, int]:
    """What a command would send, and the count that it read before."""
    counted = await writer.count()
    reader = await Reader.at_head(world.chain)
    facts = await reader.provider(writer.address)
    if verb == "add":
        return stake_plan(world.chain.at, facts, MORE), counted
    stake = await reader.stake(writer.address)
    return reclaim_plan(world.chain.at, facts, stake, LESS), counted


@pytest.mark.parametrize(("verb", "amount_wei"), [("add", MORE), ("reclaim", LESS)])
async def test_the_second_of_two_commands_sends_nothing(
    world: World, verb: str, amount_wei: int
) -> None:
    """Both say "a stake of so much", and both read before either sent: it is so much, not twice
    the difference; and who looks again finds nothing to do."""
    provider, _ = await world.candidate()
    if verb == "reclaim":
        plan, counted = await planned(world, provider, "add")
        await send_ready(plan, provider, counted)
    other = beside(provider)
    first, second = [await planned(world, one, verb) for one in (provider, other)]
    assert first[0].ready == second[0].ready != ()
    await send_ready(first[0], provider, first[1])
    with pytest.raises(Overtaken, match="came between"):
        await send_ready(second[0], other, second[1])
    assert await world.chain.stake(provider.address) == amount_wei
    if verb == "add":
        again, _ = await planned(world, other, verb)
        assert again.ready == ()


async def test_an_agent_that_was_overtaken_looks_again(world: World) -> None:
    """Its step is planned anew, with nothing sent twice."""
    provider = await world.account()
    joining = joining_of(world, provider)
    counted, plan = await provider.count(), await joining.plan(provider.address)
    other = beside(provider)
    assert (await joining_of(world, other).next_step()).name == "approved"
    step = await joining._take(provider, plan.steps[0], counted)
    assert (step.progress, "came between" in step.detail) == (Progress.DOING, True)
    assert (await joining.next_step()).name == "registered"


async def test_two_commands_at_once_stake_once(world: World, tmp_path: Path) -> None:
    """In two terminals of one machine: whoever comes second is told, or finds nothing to do."""
    provider, _ = await world.candidate()

    async def command(writer: KeyWriter) -> None:
        plan, counted = await planned(world, writer, "add")
        with suppress(Overtaken):
            await send_ready(plan, writer, counted)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(command, beside(provider, tmp_path))
    assert await world.chain.stake(provider.address) == MORE
