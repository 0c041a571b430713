"""The chain of `tests/chain`, and a validator on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.transactions.journal import MemoryJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.ids import Address
from p2pool.validator.execution import Executor
from p2pool.validator.journal.act_journal import ActJournal
from p2pool.validator.journal.act_record import Owner
from tests.chain.conftest import World, anvil, deployment, world

__all__ = ["anvil", "deployment", "world"]


@attrs.define
class Validator:
    """A validator's process, with its journals: what a restart leaves."""

    world: World
    directory: Path
    kept: MemoryJournal = attrs.field(factory=MemoryJournal)

    @property
    def account(self) -> Address:
        """Whose acts they are."""
        return self.world.deployment.federator.address

    def writer(self, fee_max_wei: int) -> KeyWriter:
        """A writer of the account, with the transaction that an earlier one left."""
        account = self.world.deployment.federator._account
        rpc = self.world.chain.rpc
        return KeyWriter(rpc, account, journal=self.kept, fee_max_wei=fee_max_wei)

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """A run of the process, with its journal."""
        chain = self.world.chain
        owner = Owner(chain.rpc.chain_id, chain.at.network, self.account)
        with ActJournal.opened(self.directory, owner) as journal:
            yield Executor(
                chain=chain,
                account=self.account,
                writer_for=self.writer,
                pending=self.kept,
                journal=journal,
            )

    async def stake_wei(self, provider: Address) -> int:
        """What a provider has staked."""
        facts = await (await Reader.at_head(self.world.chain)).provider(provider)
        return facts.stake_wei.need("stake")

    async def sent(self) -> int:
        """How many transactions the account has sent."""
        rpc = self.world.chain.rpc
        return await rpc.quantity("eth_getTransactionCount", "0x" + self.account.hex(), "latest")


@pytest.fixture
def validator(world: World, tmp_path: Path) -> Validator:
    """A validator with the role, and an empty journal."""
    return Validator(world, tmp_path / "validator")
