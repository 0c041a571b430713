"""A wrong chain, wrong addresses and bad endpoints: each a sentence, and the right exit code."""

import attrs
import pytest
import trio

from p2pool.cli import errors
from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, NotFound, TransactionFailed, WrongChain
from p2pool.model.ids import Address
from tests.chain.endpoints import dripping, endpoint, proxy
from tests.cli.shell import FOUNDER, Shell, write_config

pytestmark = pytest.mark.chain

CREATE = ("create", "--name", "x")
START = ("start", "0", "--founder", FOUNDER)
NOWHERE = Address(b"\x01" * 20)
both = pytest.mark.parametrize("words", [CREATE, START], ids=["create", "start"])


def url(shell: Shell) -> str:
    """The chain's own endpoint."""
    return shell.world.chain.rpc.endpoints[0].url


def configure(shell: Shell, *urls: str, **contracts: Address) -> None:
    """Write the configuration with other endpoints, or other addresses."""
    chain = attrs.evolve(shell.world.chain, at=attrs.evolve(shell.world.chain.at, **contracts))
    write_config(shell.config, attrs.evolve(shell.world, chain=chain), "', '".join(urls))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent endpoint costs a third of a second."""
    monkeypatch.setattr(limits, "CHAIN_CALL_TIMEOUT_MS", 300)


@both
async def test_another_chain_id_tells_both_numbers(shell: Shell, words: tuple[str, ...]) -> None:
    """Nothing is signed for a chain that the configuration does not mean."""
    shell.config.write_text(shell.config.read_text().replace("id = 31337", "id = 1", 1))
    error, code = await shell.refused(*words)
    assert (type(error), code) == (WrongChain, errors.MISCONFIGURED)
    assert "is on chain 31337, not 1" in str(error)
    assert "[chain] id" in error.hint
    assert await shell.nonce() == 0


@both
async def test_no_contract_at_the_address_says_so(shell: Shell, words: tuple[str, ...]) -> None:
    """A transaction to an empty address would succeed and do nothing: it is not sent."""
    configure(shell, url(shell), pool=NOWHERE)
    error, code = await shell.refused(*words)
    assert (type(error), code) == (WrongChain, errors.MISCONFIGURED)
    assert f"no ComputePool at {address_text(NOWHERE)} on chain 31337" in str(error)
    assert "[chain.addresses]" in error.hint
    assert await shell.nonce() == 0


@both
async def test_another_contract_at_the_address_is_refused(
    shell: Shell, words: tuple[str, ...]
) -> None:
    """It does not know the call; the address is named as what may be wrong."""
    configure(shell, url(shell), pool=shell.world.chain.at.token)
    error, code = await shell.refused(*words)
    assert isinstance(error, TransactionFailed | NotFound)
    assert code in (errors.REFUSED, errors.NOT_FOUND)
    assert await shell.nonce() == 0


@both
@pytest.mark.parametrize("kind", ["silent", "dripping", "html", "empty", "list", "number"])
async def test_a_bad_endpoint_is_unavailable_by_name(
    shell: Shell, hasty: None, words: tuple[str, ...], kind: str
) -> None:
    """Within a bounded time; the exit code says that it may work later."""
    told = {"html": b"<html>", "empty": b"", "list": b"[]", "number": b'{"id":1,"result":7}'}
    bad = dripping() if kind == "dripping" else endpoint(told.get(kind))
    async with bad as where:
        configure(shell, where)
        with trio.fail_after(30):
            error, code = await shell.refused(*words)
    # A plain number is no quantity (they are hex strings): the answer says nothing of any chain.
    assert (type(error), code) == (ChainUnavailable, errors.UNAVAILABLE)
    assert where in str(error)


@both
async def test_one_good_endpoint_among_bad_ones_is_enough(
    shell: Shell, hasty: None, words: tuple[str, ...]
) -> None:
    """The command does its work; `start` is refused for what the chain says, not for the others."""
    async with endpoint(None) as silent, endpoint(b"<html>") as nonsense:
        configure(shell, silent, nonsense, url(shell))
        if words == CREATE:
            assert (await shell.done(*words))["pool_id"] > 0
        else:
            error, _ = await shell.refused("start", "999", "--founder", FOUNDER)
            assert isinstance(error, NotFound)


async def test_a_transaction_whose_sending_had_no_answer_is_found(
    shell: Shell, anvil: Anvil
) -> None:
    """An endpoint takes it and answers nonsense: it is looked up, and not sent twice."""
    async with proxy(anvil) as garbling:
        garbling.twist = lambda method, params, result: (
            "0x1234" if method == "eth_sendRawTransaction" else result
        )
        configure(shell, garbling.url)
        assert (await shell.done(*CREATE))["pool_id"] > 0
    assert await shell.nonce() == 1
    assert garbling.asked.count("eth_sendRawTransaction") == 1


@pytest.mark.parametrize("method", ["eth_getTransactionReceipt", "eth_estimateGas"])
async def test_answers_of_another_shape_end_in_a_sentence(
    shell: Shell, anvil: Anvil, method: str
) -> None:
    """Never in a traceback; where something was sent, its hash is told."""
    async with proxy(anvil) as garbling:
        garbling.twist = lambda asked, params, result: (
            {"status": "odd"} if asked == method else result
        )
        configure(shell, garbling.url)
        error, code = await shell.refused(*CREATE)
    assert (type(error), code) == (ChainUnavailable, errors.UNAVAILABLE)
    sent = method == "eth_getTransactionReceipt"
    assert await shell.nonce() == int(sent)
    assert ("was sent as 0x" in str(error)) == sent
