"""Contract accounts asked on a real chain: at one block, by several endpoints, within bounds."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.contract_accounts import YES, ContractAccounts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.access.verdicts import ContractSignature, FinalBlock, Validity, Verdict
from p2pool.model.ids import Address, Digest
from p2pool.wire.account import HasKey, sign_hash
from tests.chain.accounts.owned import Owned, newest
from tests.chain.endpoints import Proxy, endpoint, proxy

pytestmark = pytest.mark.chain

NO_WORD = "0x" + b"\xff\xff\xff\xff".ljust(32, b"\0").hex()
ENDLESS = "0x5b600056"
"""JUMPDEST, PUSH1 0, JUMP: a contract that uses up whatever gas it gets."""
ONE = "0x60016000526020" + "6000f3"
"""A contract that answers everything with the number 1."""


@pytest.fixture
async def owned(anvil: Anvil) -> Owned:
    """A contract account of its own."""
    return await Owned.deployed(anvil.rpc())


@pytest.fixture
async def second(anvil: Anvil) -> AsyncIterator[Proxy]:
    """Another endpoint of the test's chain."""
    async with proxy(anvil) as made:
        yield made


def signed(owned: Owned, by: HasKey | None = None) -> ContractSignature:
    """Something that a key signed for the account."""
    digest = Digest(secrets.token_bytes(32))
    return ContractSignature(owned.address, digest, sign_hash(by or owned.owner, digest))


def saying(word: str) -> Any:
    """An endpoint that says this of every account, and the truth otherwise."""

    def twist(method: str, params: list[Any], result: Any) -> Any:
        return word if method == "eth_call" else result

    return twist


async def asked(
    urls: tuple[str, ...],
    one: ContractSignature,
    at: FinalBlock,
    later: FinalBlock | None = None,
) -> Verdict:
    return await ContractAccounts(Rpc.to(31337, urls, timeout_ms=1000)).judge((one,), at, later)


# --- one endpoint --------------------------------------------------------------------------------


async def test_the_owners_signature_is_the_contracts(anvil: Anvil, owned: Owned) -> None:
    """And nobody else's, nor any other bytes, which make the contract revert."""
    good, at = signed(owned), await newest(anvil.rpc())
    found = await asked((anvil.url,), good, at)
    assert (found.validity, found.block) == (Validity.VALID, at)
    assert found.block_time_ms > 0
    for bad in (signed(owned, new_account()), attrs.evolve(good, signature=b"\xff" * 65)):
        found = await asked((anvil.url,), bad, at)
        assert found.validity is Validity.INVALID
        assert "did not sign" in found.reason
        assert address_text(owned.address) in found.reason


async def test_it_is_judged_at_its_block(anvil: Anvil, owned: Owned) -> None:
    """Owners change: what was theirs then is theirs no more, and stays theirs then."""
    rpc, before = anvil.rpc(), signed(owned)
    then = await newest(rpc)
    await owned.hand_on()
    now = await newest(rpc)
    after = signed(owned)
    said = [
        (await asked((anvil.url,), one, at)).validity
        for one in (before, after)
        for at in (then, now)
    ]
    assert said == [Validity.VALID, Validity.INVALID, Validity.INVALID, Validity.VALID]


async def test_an_address_without_code_is_no_contract(anvil: Anvil, owned: Owned) -> None:
    """The answer says so: whoever mistyped it sees why."""
    nobody = attrs.evolve(signed(owned), contract=Address(b"\x07" * 20))
    found = await asked((anvil.url,), nobody, await newest(anvil.rpc()))
    assert found.validity is Validity.INVALID
    assert "there is no contract at 0x0707" in found.reason


@pytest.mark.parametrize("code", [ENDLESS, ONE], ids=["endless", "another answer"])
async def test_any_other_contract_signs_nothing(anvil: Anvil, owned: Owned, code: str) -> None:
    """One that runs for ever gets its gas and no more; one that answers something else said no."""
    rpc = anvil.rpc()
    other = Address(secrets.token_bytes(20))
    await rpc.request("anvil_setCode", address_text(other), code)
    await rpc.request("anvil_mine", "0x1")
    with trio.fail_after(20):
        found = await asked(
            (anvil.url,), attrs.evolve(signed(owned), contract=other), await newest(rpc)
        )
    assert found.validity is Validity.INVALID


async def test_nobody_answers_so_nobody_knows(anvil: Anvil, owned: Owned) -> None:
    """Silence, a broken endpoint and a block that is none are no word at all."""
    good, at = signed(owned), await newest(anvil.rpc())
    async with endpoint(None) as silent, endpoint(b"nonsense") as broken:
        for url in (silent, broken, "http://127.0.0.1:9"):
            assert (await asked((url,), good, at)).validity is Validity.UNKNOWN
    strange = FinalBlock(at.number, Digest(b"\x01" * 32))
    assert (await asked((anvil.url,), good, strange)).validity is Validity.UNKNOWN
    misnamed = attrs.evolve(at, number=at.number + 1)
    assert (await asked((anvil.url,), good, misnamed)).validity is Validity.UNKNOWN


async def test_where_a_state_is_gone_a_later_yes_counts(anvil: Anvil, owned: Owned) -> None:
    """But no later no: the owners may have changed since."""
    good, rpc = signed(owned), anvil.rpc()
    forgotten = FinalBlock(1, Digest(b"\x02" * 32))
    found = await asked((anvil.url,), good, forgotten, await newest(rpc))
    assert found.validity is Validity.VALID
    await owned.hand_on()
    found = await asked((anvil.url,), good, forgotten, await newest(rpc))
    assert found.validity is Validity.UNKNOWN


# --- several -------------------------------------------------------------------------------------


async def test_two_that_agree_are_believed(anvil: Anvil, owned: Owned, second: Proxy) -> None:
    """Whichever way; both were asked to run the contract."""
    at = await newest(anvil.rpc())
    urls = (anvil.url, second.url)
    assert (await asked(urls, signed(owned), at)).validity is Validity.VALID
    assert (await asked(urls, signed(owned, new_account()), at)).validity is Validity.INVALID
    assert second.asked.count("eth_call") == 2


@pytest.mark.parametrize("word", ["0x" + YES.hex(), NO_WORD], ids=["yes", "no"])
@pytest.mark.parametrize("first", [True, False])
async def test_a_lying_endpoint_alone_is_not_believed(
    anvil: Anvil, owned: Owned, second: Proxy, word: str, first: bool
) -> None:
    """With one other nobody knows; with two others they are believed."""
    at, lies = await newest(anvil.rpc()), word != NO_WORD
    second.twist = saying(word)
    about = signed(owned, new_account() if lies else None)
    urls = (second.url, anvil.url) if first else (anvil.url, second.url)
    found = await asked(urls, about, at)
    assert found.validity is Validity.UNKNOWN
    assert "disagree" in found.reason
    async with proxy(anvil) as third:
        found = await asked((*urls, third.url), about, at)
    assert found.validity is (Validity.INVALID if lies else Validity.VALID)


async def test_one_that_answers_alone_is_not_believed(
    anvil: Anvil, owned: Owned, second: Proxy
) -> None:
    """The other is away: it could be the one that tells the truth."""
    at = await newest(anvil.rpc())
    second.silent = True
    with trio.fail_after(20):
        found = await asked((anvil.url, second.url), signed(owned), at)
    assert found.validity is Validity.UNKNOWN
    assert "one alone may lie" in found.reason
