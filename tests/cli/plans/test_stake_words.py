"""No command stakes an amount that nobody allowed, except where nothing is worth anything."""

from pathlib import Path

import pytest

from p2pool.cli.shared.plans.stake_words import StakeWord, stake_question
from p2pool.drivers.chain import stakes
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.provider.plan import Call
from p2pool.model.errors import NotAllowed
from p2pool.model.ids import Address
from tests.cli.provider.desk import Desk

MINIMUM = 10**15
"""The test network's minimum for a unit."""
WHO, NETWORK = Address(b"\x11" * 20), Address(b"\x22" * 20)


def staking(added_wei: int, total_wei: int) -> Call:
    return Call(
        name="staked",
        purpose="",
        to=NETWORK,
        function=function("PrimeNetwork", "increaseStake"),
        arguments=(added_wei,),
        tokens_wei=added_wei,
        stake_wei=total_wei,
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's chain is no development chain."""
    monkeypatch.setattr(stakes, "DEVELOPMENT_CHAIN_ID", 1)


def test_what_needs_a_word() -> None:
    """More than was named, in all and not only what is added; a yes allows any amount."""
    calls = [staking(3, 10)]
    for chain_id, word, asked in (
        (1, StakeWord(), True),
        (1, StakeWord(9), True),
        (1, StakeWord(10), False),
        (1, StakeWord(yes=True), False),
        (31337, StakeWord(), False),
        (31337, StakeWord(9), True),
    ):
        assert (stake_question(calls, WHO, chain_id, word) is not None) is asked, word
    assert stake_question([], WHO, 1, StakeWord()) is None
    question = stake_question([staking(3 * 10**18, 10**19)], WHO, 1, StakeWord())
    assert question is not None
    assert "would stake 3 tokens" in question.text()
    assert "come to 10 tokens in all" in question.text()
    assert "--stake-max 10, or --yes" in question.refusal().hint


def test_an_amount_on_the_command_line_is_a_word() -> None:
    """And a bound beside it is the one that holds."""
    assert StakeWord.of(None, False, 5) == StakeWord(5)
    assert StakeWord.of(3, False, 5) == StakeWord(3)


@pytest.mark.chain
async def test_each_command_that_stakes_asks_first(desk: Desk, elsewhere: None) -> None:
    """With the amounts; a no, an end of the input, or a program sends nothing."""
    provider = await desk.world.account()
    own = desk.key_of(provider, "own.json")
    key, _, node = desk.node("node.json")
    with_key = ("--node-key", str(key))
    for words, total in (
        (("provider", "register"), "0.001"),
        (("provider", "register", "--units", "3"), "0.004"),
        (("node", "register", *with_key), "0.002"),
        (("pool", "join", node, *with_key), "0.002"),
    ):
        for answer in ("n\n", ""):
            declined = await desk(own, *words, answer=answer)
            assert (declined.exit_code, "Aborted" in declined.output) == (1, True), words
            assert f"would stake {total} tokens" in declined.output
            assert f"come to {total} tokens in all" in declined.output
        told = await desk(own, *words, "--json")
        assert isinstance(told.exception, NotAllowed), (words, told.output)
        assert f"--stake-max {total}" in told.exception.hint
        dry = await desk.told(own, *words, "--dry-run")
        assert f"{total} tokens in all" in dry["asks"]
        plain = await desk(own, *words, "--dry-run")
        assert "It would ask first: " in plain.stdout
    assert await desk.nonce(provider) == 0


@pytest.mark.chain
async def test_a_yes_a_bound_or_a_named_amount_is_enough(desk: Desk, elsewhere: None) -> None:
    """Each sends what it allows and asks nothing; what needs no stake is never asked about."""
    world, chain = desk.world, desk.world.chain
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    # Named, and the network asks for no more.
    await desk.agrees(own, "provider", "register", "--stake", "0.001", sends=2)
    await desk.again(own, "provider", "register")
    await chain.whitelist(world.deployment.federator, provider.address)
    key, _, _ = desk.node("node.json")
    words = ("node", "register", "--node-key", str(key))
    assert isinstance((await desk(own, *words, "--json")).exception, NotAllowed)
    await desk.agrees(own, *words, "--stake-max", "0.002", sends=3)
    # Typed at the prompt, which names it.
    other, _, _ = desk.node("other.json")
    said = await desk(own, "node", "register", "--node-key", str(other), answer="y\n")
    assert said.exit_code == 0, (said.output, said.exception)
    assert "would stake 0.001 tokens" in said.output
    assert await chain.stake(provider.address) == 3 * MINIMUM
    third, _, _ = desk.node("third.json")
    await desk.agrees(own, "node", "register", "--node-key", str(third), "--yes", sends=3)
    assert await chain.stake(provider.address) == 4 * MINIMUM


@pytest.mark.chain
async def test_stake_add_takes_the_total_as_a_word(desk: Desk, elsewhere: None) -> None:
    """--to is what its owner types; without it the contracts say how much, so it is asked about."""
    provider, _ = await desk.world.candidate()
    own, chain = desk.key_of(provider, "own.json"), desk.world.chain
    federator, slash = desk.world.deployment.federator, function("PrimeNetwork", "slash")
    await federator.send(chain.at.network, slash, provider.address, 19 * MINIMUM, b"")
    refused = await desk(own, "provider", "stake", "add", "--json")
    assert isinstance(refused.exception, NotAllowed)
    over = await desk(own, "provider", "stake", "add", "--stake-max", "0.001")
    assert isinstance(over.exception, NotAllowed)
    over = await desk(own, "provider", "stake", "add", "--to", "0.02", "--stake-max", "0.01")
    assert isinstance(over.exception, NotAllowed)
    assert await chain.stake(provider.address) == MINIMUM
    await desk.agrees(own, "provider", "stake", "add", "--stake-max", "0.002")
    await desk.agrees(own, "provider", "stake", "add", "--to", "0.01")
    assert await chain.stake(provider.address) == 10 * MINIMUM


@pytest.mark.chain
async def test_on_a_development_chain_nobody_is_asked(desk: Desk, tmp_path: Path) -> None:
    """Nothing there is worth anything; a bound that is said holds all the same."""
    provider = await desk.world.account()
    own = desk.key_of(provider, "own.json")
    assert (await desk.told(own, "provider", "register", "--dry-run"))["asks"] is None
    bound = await desk.refused(own, "provider", "register", "--stake-max", "0.0001")
    assert isinstance(bound, NotAllowed)
    await desk.agrees(own, "provider", "register", sends=2)
