"""A dry run and the checks before a sending take the writer's prices, its cap and its order."""

from collections.abc import AsyncIterator

import attrs
import pytest

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.errors import FeesTooHigh, TransactionFailed, TransactionStuck
from tests.chain.harness import acts
from tests.chain.transactions.geth_pool import GWEI, GethPool, geth_pool
from tests.cli.plans.sent import check_sent, sent_by, shown
from tests.cli.provider.desk import Desk
from tests.cli.shell import write_config

pytestmark = pytest.mark.chain

CAP_GWEI = 200
REGISTER = ("provider", "register")


@attrs.define
class Counter:
    """A desk whose transactions go through a pool like geth's, up to a cap."""

    desk: Desk
    pool: GethPool
    provider: KeyWriter

    @property
    def own(self) -> str:
        """The provider's key file."""
        return str(self.desk.directory / "own.json")

    def writer(self) -> KeyWriter:
        """As an earlier command of the same account has it."""
        rpc, directory = self.pool.rpc(), self.desk.directory / "no agent here"
        journal = FileJournal.of(directory, rpc.chain_id, self.provider.address)
        cap_wei = CAP_GWEI * GWEI
        return KeyWriter(rpc, self.provider._account, journal=journal, fee_max_wei=cap_wei)

    async def leave_one(self, monkeypatch: pytest.MonkeyPatch, amount_wei: int) -> str:
        """Have an approval on its way that no block takes; its hash."""
        chain = PoolContracts(self.pool.rpc(), self.desk.world.chain.at)
        self.pool.mines = False
        with monkeypatch.context() as hurried:
            hurried.setattr(limits, "TRANSACTION_DEADLINE_MS", 150)
            with pytest.raises(TransactionStuck):
                await acts.approve(chain, self.writer(), amount_wei)
        return self.pool.taken[-1].hash


@pytest.fixture
async def counter(
    desk: Desk, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counter]:
    """Looks that come at once, so that nothing here waits for time."""
    monkeypatch.setattr(limits, "RECEIPT_POLL_MS", 5)
    monkeypatch.setattr(limits, "RECEIPT_POLL_MAX_MS", 10)
    monkeypatch.setattr(limits, "TRANSACTION_LOOK_MS", 20)
    provider = await desk.world.account()
    desk.key_of(provider, "own.json")
    async with geth_pool(anvil) as pool:
        config = desk.directory / "p2pool.toml"
        write_config(config, desk.world, pool.url, desk.world.pool_id)
        text = config.read_text()
        config.write_text(text.replace("[chain]\n", f"[chain]\nfee_max_gwei = {CAP_GWEI}\n", 1))
        yield Counter(desk, pool, provider)


async def test_the_price_and_the_gas_are_those_that_are_offered(counter: Counter) -> None:
    """Twice the base fee and the tip, on the gas that the transaction may use."""
    desk, own = counter.desk, counter.desk.directory / "own.json"
    dry = await desk.told(own, *REGISTER, "--dry-run")
    assert dry["gas_price_wei"] == str(11 * GWEI)
    assert dry["fee_max_wei"] == str(CAP_GWEI * GWEI)
    limits_of = [one["gas_limit"] for one in dry["steps"] if one["kind"] == "transaction"]
    assert dry["fee_wei"] == str(11 * GWEI * sum(limits_of))
    plain = (await desk(own, *REGISTER, "--dry-run")).stdout
    assert "at most 11 gwei per gas; [chain] fee_max_gwei allows 200 gwei" in plain
    since = await desk.world.chain.rpc.quantity("eth_blockNumber")
    await desk.told(own, *REGISTER)
    offers = [(one.most_wei, one.gas) for one in counter.pool.taken]
    assert {most for most, _ in offers} == {11 * GWEI}
    assert offers[0][1] == limits_of[0]
    found = await sent_by(desk.world.chain.rpc, counter.provider.address, since)
    check_sent(dry, shown(dry), found)


async def test_who_cannot_pay_for_the_second_call_sends_no_first_one(counter: Counter) -> None:
    """Enough at the price of now, and not for what is offered: told before anything is sent."""
    desk, own, rpc = counter.desk, counter.desk.directory / "own.json", counter.desk.world.chain.rpc
    fee_wei = int((await desk.told(own, *REGISTER, "--dry-run"))["fee_wei"])
    await fund(rpc, counter.provider.address, fee_wei - 1)
    dry = await desk.told(own, *REGISTER, "--dry-run")
    assert dry["missing"]["coin_wei"] == "1"
    refused = await desk.refused(own, *REGISTER)
    assert isinstance(refused, TransactionFailed)
    assert "to pay for gas" in refused.message
    assert (counter.pool.taken, await desk.nonce(counter.provider)) == ([], 0)
    await fund(rpc, counter.provider.address, fee_wei)
    await desk.told(own, *REGISTER)
    assert await desk.nonce(counter.provider) == 2


async def test_a_price_above_the_cap_is_shown_and_said(counter: Counter) -> None:
    """With what it is and what is allowed, beside the whole plan; nothing is sent."""
    desk, own = counter.desk, counter.desk.directory / "own.json"
    counter.pool.base_fee_wei = 250 * GWEI
    dry = await desk.told(own, *REGISTER, "--dry-run")
    assert dry["gas_price_wei"] == str(501 * GWEI)
    assert "250 gwei" in dry["refusal"]
    assert "allows 200 gwei" in dry["refusal"]
    assert len(shown(dry)) == 2
    plain = (await desk(own, *REGISTER, "--dry-run")).stdout
    assert "It would not be sent now: Gas costs 250 gwei" in plain
    refused = await desk.refused(own, *REGISTER)
    assert isinstance(refused, FeesTooHigh)
    assert counter.pool.taken == []
    # Commands without a plan of their own say it, too.
    dry = await desk.told(own, "pool", "create", "--name", "x", "--dry-run")
    assert any("more than [chain] fee_max_gwei allows" in one for one in dry["would_send"])


async def test_what_is_on_its_way_is_named_and_comes_first(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the dry run, with its own cost; then before the sending, which starts after it."""
    desk, own = counter.desk, counter.desk.directory / "own.json"
    alone = int((await desk.told(own, *REGISTER, "--dry-run"))["fee_wei"])
    left = await counter.leave_one(monkeypatch, 7)
    dry = await desk.told(own, *REGISTER, "--dry-run")
    earlier = dry["earlier"]
    assert (earlier["name"], earlier["transaction"], earlier["nonce"]) == ("approve", left, 0)
    assert (earlier["to"], earlier["is_first_step"]) == (
        address_text(desk.world.chain.at.token),
        False,
    )
    assert int(dry["fee_wei"]) == alone + earlier["gas_limit"] * 11 * GWEI
    for words in (REGISTER, ("pool", "create", "--name", "x")):
        plain = (await desk(own, *words, "--dry-run")).stdout
        assert f"with the nonce 0, {left}, is in no block yet and comes first." in plain
    assert len(counter.pool.taken) == 1  # Nobody sent anything.
    with monkeypatch.context() as hurried:
        hurried.setattr(limits, "TRANSACTION_DEADLINE_MS", 150)
        stuck = await desk.refused(own, *REGISTER)
    assert isinstance(stuck, TransactionStuck)
    assert stuck.message.startswith("Nothing else was sent: an earlier one of this account")
    counter.pool.mines = True
    counter.pool.mine()
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 60_000)
    await desk.agrees(own, *REGISTER, sends=2)
    assert await desk.nonce(counter.provider) == 3


async def test_the_same_call_on_its_way_is_not_sent_twice(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first step of the plan; the command names it, waits, and sends what is left."""
    desk, own = counter.desk, counter.desk.directory / "own.json"
    monkeypatch.setattr(limits, "TRANSACTION_RAISE_BLOCKS", 10**9)
    left = await counter.leave_one(monkeypatch, 10**15)
    dry = await desk.told(own, *REGISTER, "--dry-run")
    assert (dry["earlier"]["transaction"], dry["earlier"]["is_first_step"]) == (left, True)
    assert "is not sent twice" in (await desk(own, *REGISTER, "--dry-run")).stdout
    # A rise that outbids it: the command offers more for it, under its number.
    counter.pool.base_fee_wei, counter.pool.mines = 60 * GWEI, True
    done = await desk(own, *REGISTER)
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"with the nonce 0, {left}, is in no block yet and comes first." in done.stderr
    assert await desk.nonce(counter.provider) == 2
    assert await desk.world.chain.stake(counter.provider.address) == 10**15
