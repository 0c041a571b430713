"""Stake: what is missing is said before anything is sent, a cap holds, and a slash is made good."""

import os

import pytest

from p2pool.cli import errors
from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import fund
from p2pool.drivers.chain.abi import function
from p2pool.model.errors import ChainUnavailable, Conflict, NotAllowed, NotFound, TransactionFailed
from tests.cli.provider.desk import Desk
from tests.cli.shell import write_config, write_key
from tests.drivers.keys.signers.clef_double import new_clef, on_socket

pytestmark = pytest.mark.chain

MINIMUM = 10**15


async def test_what_is_missing_is_named_and_nothing_is_sent(desk: Desk) -> None:
    """Tokens for the whole way, and coin for its gas; the dry run says how much."""
    key, address = write_key(desk.directory, "poor.json")
    dry = await desk.told(key, "provider", "register", "--stake", "2.5", "--dry-run")
    assert dry["missing"]["tokens_wei"] == str(25 * 10**17)
    assert int(dry["missing"]["coin_wei"]) == int(dry["fee_wei"]) > 0
    plain = await desk(key, "provider", "register", "--stake", "2.5", "--dry-run")
    assert "missing" in plain.stdout
    assert "2.5 tokens" in plain.stdout
    assert "calldata" in plain.stdout
    error = await desk.refused(key, "provider", "register", "--stake", "2.5")
    assert isinstance(error, TransactionFailed)
    assert "lacks 2.5 tokens" in error.message
    await fund(desk.world.chain.rpc, address)
    error = await desk.refused(key, "provider", "register", "--stake", "2.5")
    assert "lacks 2.5 tokens" in error.message
    rich = await desk.world.account()
    await fund(desk.world.chain.rpc, rich.address, 1)
    error = await desk.refused(desk.key_of(rich, "rich.json"), "provider", "register")
    assert "to pay for gas" in error.message
    assert await desk.nonce(rich) == 0


async def test_a_cap_is_kept(desk: Desk) -> None:
    """More than the owner allows is refused in words, with the amount; nothing is sent."""
    provider = await desk.world.account()
    own = desk.key_of(provider, "own.json")
    words = ("provider", "register", "--units", "1000", "--stake-max")
    error = await desk.refused(own, *words, "0.5")
    assert isinstance(error, NotAllowed)
    assert "1.001 tokens" in error.message
    assert "0.5 tokens" in error.message
    assert await desk.nonce(provider) == 0
    await desk.agrees(own, *words, "1.001", sends=2)


async def test_a_slash_is_seen_and_made_good(desk: Desk) -> None:
    """The status says how much is missing, and the command that adds it adds just that."""
    provider, _ = await desk.world.candidate()
    own, chain = desk.key_of(provider, "own.json"), desk.world.chain
    slash = function("PrimeNetwork", "slash")
    federator = desk.world.deployment.federator
    await federator.send(chain.at.network, slash, provider.address, 19 * MINIMUM, b"")
    said = (await desk(own, "provider", "status")).stdout
    assert "0.001 tokens too little: p2pool provider stake add" in said
    done = await desk.agrees(own, "provider", "stake", "add")
    assert await chain.stake(provider.address) == 2 * MINIMUM
    assert done["tokens_wei"] == str(MINIMUM)
    await desk.again(own, "provider", "stake", "add")
    await desk.agrees(own, "provider", "stake", "add", "--to", "0.01")
    assert await chain.stake(provider.address) == 10 * MINIMUM
    await desk.again(own, "provider", "stake", "add", "--to", "0.01")


async def test_a_reclaim_keeps_what_nodes_need_and_names_the_date(desk: Desk) -> None:
    """Twice at once is one unbonding; less than the nodes need is refused."""
    provider, _ = await desk.world.candidate()
    own, chain = desk.key_of(provider, "own.json"), desk.world.chain
    error = await desk.refused(own, "provider", "stake", "reclaim", "--keep", "0.001")
    assert isinstance(error, Conflict)
    assert "p2pool node deregister" in error.hint
    done = await desk.agrees(own, "provider", "stake", "reclaim", "--keep", "0.005", sends=1)
    assert await chain.stake(provider.address) == 5 * MINIMUM
    dates = [one for one in done["steps"] if one["kind"] == "wait"]
    assert len(dates) == 1
    status = await desk.told(own, "provider", "status")
    assert status["unbonding"] == [
        {"amount_wei": str(15 * MINIMUM), "due_s": done["waits_for"]["until_s"]}
    ]
    said = (await desk(own, "provider", "status")).stdout
    assert "0.015 tokens until 2" in said
    await desk.again(own, "provider", "stake", "reclaim", "--keep", "0.005")
    await desk.pass_time(61)
    assert (
        "0.015 tokens: p2pool provider withdraw" in (await desk(own, "provider", "status")).stdout
    )


async def test_a_stranger_is_told_to_register(desk: Desk) -> None:
    """And nothing of a provider that does not exist is invented."""
    key, address = write_key(desk.directory, "nobody.json")
    error = await desk.refused(key, "provider", "stake", "add", "--to", "1")
    assert isinstance(error, NotFound)
    assert "p2pool provider register" in error.hint
    status = await desk.told(None, "provider", "status", "0x" + address.hex())
    assert (status["registered"], status["whitelisted"]) == ("absent", "absent")
    assert (status["nodes"], status["unbonding"], status["unknown"]) == ([], [], [])
    result = await desk(None, "provider", "status")
    assert isinstance(result.exception, Exception)
    for words in (("--stake", "much"), ("--stake", "-1"), ("--stake", "1.0000000000000000001")):
        wrong = await desk(key, "provider", "register", *words)
        assert (wrong.exit_code, "--stake" in wrong.stderr) == (errors.USAGE, True), wrong.output


async def test_the_status_finds_whose_account_is_meant_wherever_its_key_is(desk: Desk) -> None:
    """In a file descriptor, and in another program: neither is asked for a signature."""
    provider = await desk.world.account()
    own = desk.key_of(provider, "own.json")
    read, write = os.pipe()
    os.write(write, own.read_bytes())
    os.close(write)
    told = await desk.told(None, "provider", "status", "--key", f"fd:{read}")
    assert told["account"] == address_text(provider.address)
    clef = new_clef(desk.world.chain.rpc.chain_id)
    with on_socket(clef, desk.directory / "clef.ipc") as place:
        told = await desk.told(None, "provider", "status", "--key", place)
    assert told["account"] == clef.accounts[0].address.lower()
    assert not [method for method, _ in clef.asked if "sign" in method]


async def test_a_chain_that_does_not_answer_is_unknown_and_never_zero(desk: Desk) -> None:
    """A way is not planned on what nobody says."""
    write_config(desk.directory / "p2pool.toml", desk.world, "http://127.0.0.1:1", 0)
    key, _ = write_key(desk.directory, "own.json")
    for words in (("status",), ("register",), ("withdraw",), ("deregister", "--yes")):
        assert isinstance(await desk.refused(key, "provider", *words), ChainUnavailable), words
