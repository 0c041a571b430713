"""A machine changes its provider on contracts where a node key stays with its first one."""

from pathlib import Path
from typing import cast

import pytest

from p2pool.codec.json.hex import address_text, unhex
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import ADDRESS_BYTES, NodeId
from p2pool.wire.account import HasKey
from tests.cli.keys.machine import Machine
from tests.cli.output.held import held
from tests.cli.provider.desk import Desk
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import KeyWriter
from tests.contracts.foreign.harness.joins import invited
from tests.contracts.foreign.harness.provider_desk import ForeignDesk

pytestmark = pytest.mark.chain


async def registered(world: ForeignWorld, desk: Desk) -> tuple[KeyWriter, Path]:
    """A second provider, with stake for a node and whitelisted, and its key file."""
    provider = KeyWriter(world.chain.rpc, new_account())
    await fund(world.chain.rpc, provider.address)
    await fund_tokens(world.deployment, provider.address)
    own = desk.key_of(provider, "new.json")
    await desk.agrees(own, "provider", "register", "--units", "1000", sends=2)
    await world.chain.whitelist(world.network.validator, provider.address)
    return provider, own


async def test_a_node_key_stays_and_another_one_moves_the_machine(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """The old key is refused before it costs anything; the way that is told leads into the pool."""
    desk, chain = ForeignDesk.of(world, tmp_path), world.chain
    first = await world.account()
    joining, old_id = await invited(world, first)
    await joining.next_step()
    old_key, old = (
        desk.write(bytes(cast(HasKey, joining.node).key), "old-node.json"),
        address_text(old_id),
    )
    first_key = desk.key_of(first, "old.json")
    machine = Machine.of(world, first, old_id, tmp_path)
    second, second_key = await registered(world, desk)

    told = held((await machine("--no-drain", "--json")).stdout)
    assert (told["former"], told["left"]) == (old, True)
    await desk.agrees(first_key, "node", "deregister", old, sends=1)
    await desk.agrees(first_key, "provider", "stake", "reclaim", sends=1)

    sent = await desk.nonce(second)
    words = ("node", "register", "--node-key", str(old_key))
    error = await desk.refused(second_key, *words)
    assert isinstance(error, TransactionFailed)
    assert "belongs to another provider for good" in error.message
    assert "p2pool node rekey" in error.hint
    dry = await desk.told(second_key, *words, "--dry-run")
    assert "belongs to another provider for good" in dry["refusal"]
    assert await desk.nonce(second) == sent

    new_id = NodeId(unhex(told["node_id"], ADDRESS_BYTES) or b"")
    words = ("node", "register", "--node-key", str(machine.directory / "node.json"))
    await desk.agrees(second_key, *words, sends=1)
    await chain.validate_node(world.network.validator, second.address, new_id)
    invite = str(await desk.invite(new_id))
    await desk.agrees(second_key, "pool", "join", told["node_id"], "--invite", invite, sends=1)
    assert await chain.in_pool(world.pool_id, new_id)
    assert not await chain.in_pool(world.pool_id, old_id)


async def test_a_node_of_another_provider_is_told_before_anything_is_sent(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """While it is registered the registry says whose it is, and the plan ends there."""
    desk = ForeignDesk.of(world, tmp_path)
    first = await world.account()
    joining, _ = await invited(world, first)
    key = desk.write(bytes(cast(HasKey, joining.node).key), "node.json")
    second, second_key = await registered(world, desk)
    sent = await desk.nonce(second)
    error = await desk.refused(second_key, "node", "register", "--node-key", str(key))
    assert address_text(first.address) in error.message
    assert "p2pool node rekey" in error.hint
    assert await desk.nonce(second) == sent
