"""A validator's verbs on contracts that others deployed, where federator and validator are two."""

from pathlib import Path

import pytest

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.validator.work import PieceState, judge_of, work_of
from p2pool.model.errors import NotAllowed, NotFound, TransactionFailed
from tests.cli.provider.desk import Desk
from tests.contracts.foreign.conftest import ForeignWorld

pytestmark = pytest.mark.chain

KEYS = ["0x" + f"{number:02x}" * 32 for number in range(1, 5)]
DAY_S = 86_400


async def test_providers_and_nodes_are_judged(world: ForeignWorld, tmp_path: Path) -> None:
    """The federator may whitelist alone; what is so already costs nothing."""
    desk, chain = Desk.of(world, tmp_path), world.chain
    judge = desk.key_of(world.network.validator, "judge.json")
    boss = desk.key_of(world.network.federator, "boss.json")
    provider, node_id = await world.candidate()
    who, node = address_text(provider.address), address_text(node_id)
    await desk.agrees(judge, "validator", "blacklist", who, "--yes", sends=1)
    await desk.again(judge, "validator", "blacklist", who, "--yes")
    await desk.agrees(boss, "validator", "whitelist", who, sends=1)
    assert isinstance(await desk.refused(boss, "validator", "invalidate", node), NotAllowed)
    nonce = await desk.nonce(world.network.federator)
    error = await desk.refused(boss, "validator", "blacklist", who, "--yes")
    assert isinstance(error, TransactionFailed)
    assert "lacks the role" in error.message
    assert await desk.nonce(world.network.federator) == nonce
    await desk.agrees(judge, "validator", "invalidate", node, sends=1)
    await desk.agrees(judge, "validator", "validate", node, sends=1)
    hard = ("validator", "invalidate", node, "--hard", "--yes")
    await desk.agrees(judge, *hard, sends=2)
    await desk.again(judge, *hard)
    assert await chain.node(node_id) is None


async def test_a_slash_is_found_by_its_reason(world: ForeignWorld, tmp_path: Path) -> None:
    """Events there index nothing, and still the same reason takes once; then nobody is validated
    before there is more stake."""
    desk = Desk.of(world, tmp_path)
    judge = desk.key_of(world.network.validator, "judge.json")
    provider, node_id = await world.candidate()
    other, _ = await world.candidate()
    who, node = address_text(provider.address), address_text(node_id)
    before = (await (await Reader.at_head(world.chain)).provider(provider.address)).stake_wei.value
    words = ("validator", "slash", who, f"{before}wei", "--reason", "8 cards shown by 1", "--yes")
    await desk.agrees(judge, *words, sends=1)
    await desk.again(judge, *words)
    elsewhere = (words[0], words[1], address_text(other.address), "1wei", *words[4:])
    await desk.agrees(judge, *elsewhere, sends=1)
    await desk.agrees(judge, "validator", "invalidate", node, sends=1)
    waits = await desk.again(judge, "validator", "validate", node)
    assert waits["waits_for"]["name"] == "stake"


async def test_work_is_submitted_and_taken_back(world: ForeignWorld, tmp_path: Path) -> None:
    """Softly its units alone, hard with node and stake; each once, and within a day."""
    desk, chain = Desk.of(world, tmp_path), world.chain
    judge = desk.key_of(world.network.validator, "judge.json")
    provider, node_id = await world.member()
    own, node = desk.key_of(provider, "own.json"), address_text(node_id)
    reader = await Reader.at_head(chain)
    assert (await judge_of(reader, world.network.domain_id)).value is not None
    assert (await judge_of(reader, 999)).is_absent
    for key in KEYS[:3]:
        await desk.agrees(own, "provider", "submit-work", node, key, "10", sends=1)
    done = await desk.again(own, "provider", "submit-work", node, KEYS[0], "10")
    assert done["notes"]
    take = ("validator", "invalidate-work")
    assert isinstance(await desk.refused(judge, *take, KEYS[3]), NotFound)
    await desk.agrees(judge, *take, KEYS[0], "--units", "4", sends=1)
    done = await desk.agrees(judge, *take, *KEYS[:2], sends=1)
    assert "was removed in block" in done["notes"][0]
    await desk.again(judge, *take, *KEYS[:2])
    hard = (*take, KEYS[2], "--penalty", "5wei", "--yes")
    done = await desk.agrees(judge, *hard, sends=1)
    await desk.again(judge, *hard)
    assert await chain.node(node_id) is None
    assert not await chain.in_pool(world.pool_id, node_id)
    work = await work_of(await Reader.at_head(chain), world.pool_id, world.network.domain_id)
    found = work.past.need("work").pieces
    assert [found[bytes.fromhex(key[2:])].state for key in KEYS[:3]] == [
        PieceState.REMOVED,
        PieceState.REMOVED,
        PieceState.INVALIDATED,
    ]
    assert {one.units for one in found.values()} == {10}


async def test_work_of_yesterday_stands(world: ForeignWorld, tmp_path: Path) -> None:
    """The judge's refusal is a sentence, before anything is sent."""
    desk = Desk.of(world, tmp_path)
    judge = desk.key_of(world.network.validator, "judge.json")
    provider, node_id = await world.member()
    own = desk.key_of(provider, "own.json")
    await desk.agrees(own, "provider", "submit-work", address_text(node_id), KEYS[0], "1", sends=1)
    await desk.pass_time(DAY_S + 1)
    nonce = await desk.nonce(world.network.validator)
    error = await desk.refused(judge, "validator", "invalidate-work", KEYS[0])
    assert "too long ago" in error.message
    assert await desk.nonce(world.network.validator) == nonce
