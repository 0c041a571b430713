"""A validator's verbs on our contracts: each sends exactly what its dry run named, once."""

import pytest

from p2pool.cli import errors
from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.provider.costs import TYPICAL_GAS
from p2pool.model.errors import Conflict, NotAllowed, NotFound, TransactionFailed
from p2pool.model.ids import Address
from tests.cli.provider.desk import Desk

pytestmark = pytest.mark.chain

TOKEN_WEI = 10**18


async def test_a_node_goes_from_stranger_to_validated_and_back(desk: Desk) -> None:
    """By the commands that the waits name; softly and hard, and each again sends nothing."""
    world, chain = desk.world, desk.world.chain
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    judge = desk.key_of(world.deployment.federator, "judge.json")
    key, node_id, node = desk.node("node.json")
    who = address_text(provider.address)
    assert isinstance(await desk.refused(judge, "validator", "whitelist", who), NotFound)

    done = await desk.told(own, "provider", "register", "--units", "1")
    whitelist = done["waits_for"]["command"].split()[1:]
    assert whitelist == ["validator", "whitelist", who]
    await desk.agrees(judge, *whitelist, sends=1)
    await desk.again(judge, *whitelist)

    assert isinstance(await desk.refused(judge, "validator", "validate", node), NotFound)
    done = await desk.told(own, "node", "register", "--node-key", str(key))
    validate = done["waits_for"]["command"].split()[1:]
    assert validate == ["validator", "validate", node]
    await desk.agrees(judge, *validate, sends=1)
    await desk.again(judge, *validate)
    info = await chain.node(node_id)
    assert info is not None
    assert info.validated

    softly = ("validator", "invalidate", node)
    await desk.agrees(judge, *softly, sends=1)
    await desk.again(judge, *softly)
    info = await chain.node(node_id)
    assert info is not None
    assert not info.validated
    hard = (*softly, "--hard", "--yes")
    await desk.agrees(judge, *hard, sends=1)
    await desk.again(judge, *hard)
    assert await chain.node(node_id) is None

    bar = ("validator", "blacklist", who, "--yes")
    await desk.agrees(judge, *bar, sends=1)
    await desk.again(judge, *bar)
    status = await desk.told(own, "provider", "status")
    assert status["whitelisted"] == "absent"
    for name, gas in desk.gas.items():
        assert gas / 2 < TYPICAL_GAS[name] < 2 * gas or name == "blacklistProvider", (name, gas)


async def test_several_go_in_one_command(desk: Desk) -> None:
    """What is so already is left out and told; one that nobody knows stops all, unsent."""
    world, judge = desk.world, desk.key_of(desk.world.deployment.federator, "judge.json")
    provider, first = await world.candidate()
    _, second = await world.candidate(provider)
    nodes = [address_text(first), address_text(second)]
    await desk.agrees(judge, "validator", "invalidate", nodes[0], sends=1)
    done = await desk.agrees(judge, "validator", "invalidate", *nodes, sends=1)
    assert nodes[0] in done["notes"][0]
    stranger = "0x" + "77" * 20
    error = await desk.refused(judge, "validator", "validate", *nodes, stranger)
    assert isinstance(error, NotFound)
    await desk.agrees(judge, "validator", "validate", *nodes, sends=2)


async def test_a_node_at_work_is_put_out_before_it_is_removed(desk: Desk) -> None:
    """Its validation goes at once; the registry waits for the pool's keepers, and is named so."""
    world, chain = desk.world, desk.world.chain
    judge = desk.key_of(world.deployment.federator, "judge.json")
    manager = desk.key_of(world.manager, "manager.json")
    _, node_id = await world.member()
    hard = ("validator", "invalidate", address_text(node_id), "--hard", "--yes")
    done = await desk.agrees(judge, *hard, sends=1)
    assert done["waits_for"]["name"] == "ejected"
    await desk.agrees(manager, *done["waits_for"]["command"].split()[1:], sends=1)
    await desk.agrees(judge, *hard, sends=1)
    assert await chain.node(node_id) is None


async def test_a_reason_slashes_once(desk: Desk) -> None:
    """The amount is taken to the last wei; the same reason takes no more, another one does."""
    world, chain = desk.world, desk.world.chain
    judge = desk.key_of(world.deployment.federator, "judge.json")
    provider, node_id = await world.candidate()
    who = address_text(provider.address)
    before = (await _stake_wei(desk, provider.address)) or 0
    words = ("validator", "slash", who, "300wei", "--reason", "rows 7 and 9 differ")
    assert (await desk(judge, *words, "--json")).exit_code == errors.USAGE
    assert (await desk(judge, *words, answer="n\n")).exit_code != 0
    assert await _stake_wei(desk, provider.address) == before
    await desk.agrees(judge, *words, "--yes", sends=1)
    done = await desk.again(judge, *words, "--yes")
    assert "another slash needs another reason" in done["notes"][0]
    assert await _stake_wei(desk, provider.address) == before - 300
    evidence = desk.directory / "evidence.json"
    evidence.write_text("{}")
    again = ("validator", "slash", who, "1wei", "--evidence", str(evidence), "--yes")
    await desk.agrees(judge, *again, sends=1)
    await desk.again(judge, *again)
    assert await _stake_wei(desk, provider.address) == before - 301
    rest = ("validator", "slash", who, f"{before - 301}wei", "--reason", "all", "--yes")
    done = await desk.agrees(judge, *rest, sends=1)
    assert "validates none of them" in done["notes"][-1]
    # Whose stake is gone is not validated before it has added some.
    await desk.agrees(judge, "validator", "invalidate", address_text(node_id), sends=1)
    waits = await desk.again(judge, "validator", "validate", address_text(node_id))
    assert waits["waits_for"]["command"] == "p2pool provider stake add"
    assert (await chain.node(node_id)) is not None


async def test_who_lacks_the_role_pays_nothing(desk: Desk) -> None:
    """It is read first: a sentence, no transaction, and the same before any yes is asked."""
    world = desk.world
    provider, node_id = await world.candidate()
    stranger = await world.account()
    key = desk.key_of(stranger, "stranger.json")
    who, node = address_text(provider.address), address_text(node_id)
    for words in (
        ("whitelist", who),
        ("blacklist", who, "--yes"),
        ("validate", node),
        ("invalidate", node),
        ("slash", who, "1", "--reason", "x", "--yes"),
        ("invalidate-work", "0x" + "11" * 32),
    ):
        error = await desk.refused(key, "validator", *words)
        assert isinstance(error, NotAllowed), words
        assert "VALIDATOR_ROLE" in error.message
        assert isinstance(await desk.refused(key, "validator", *words, "--dry-run"), NotAllowed)
    assert await desk.nonce(stranger) == 0


async def test_work_is_submitted_once_and_judged_by_nobody_here(desk: Desk) -> None:
    """Our domain names no judge: the event stands, and a validator is told what it can do."""
    world = desk.world
    provider, node_id = await world.member()
    own, node = desk.key_of(provider, "own.json"), address_text(node_id)
    key = "0x" + "ab" * 32
    words = ("provider", "submit-work", node, key, "12")
    done = await desk.agrees(own, *words, sends=1)
    assert "Nobody judges" in done["notes"][0]
    done = await desk.again(own, *words)
    assert "was submitted in block" in done["notes"][0]
    _, other = await world.member(provider)
    error = await desk.refused(own, "provider", "submit-work", address_text(other), key, "12")
    assert isinstance(error, Conflict)
    judge = desk.key_of(world.deployment.federator, "judge.json")
    error = await desk.refused(judge, "validator", "invalidate-work", key)
    assert isinstance(error, Conflict)
    assert "p2pool validator invalidate" in error.hint
    assert not isinstance(error, TransactionFailed)


async def _stake_wei(desk: Desk, provider: Address) -> int | None:
    from p2pool.drivers.chain.provider.reads import Reader

    return (await (await Reader.at_head(desk.world.chain)).provider(provider)).stake_wei.value
