"""A pool of real agents, processes all, whose manager is a contract account that one key owns."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio
from eth_account.signers.local import LocalAccount

from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.requests import read_invite
from p2pool.dev.agent import DevAgent
from p2pool.dev.pool import DevPool
from p2pool.drivers.chain.consent import ManagerSigner
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import Address, NodeId
from tests.chain.accounts.owned import Owned
from tests.e2e.conftest import p2pool

OWNER, HEIR = "owner", "heir"


@attrs.frozen
class ByCommand:
    """The owner at the command line, who invites in the contract's name."""

    pool: "ContractPool"

    @property
    def address(self) -> Address:
        """The contract: the pool's computeManagerKey."""
        return self.pool.account

    def sign_invite(
        self, domain_id: int, pool_id: int, node_id: NodeId, expiration_s: int
    ) -> Invite:
        """What `pool invite` made, and handed to an agent."""
        agent = next(a for a in self.pool.agents if a.node_id == address_text(node_id))
        done = self.pool.command(agent, "pool", "invite", agent.node_id, "--json")
        assert done.returncode == 0, done.stderr
        return read_invite(unwrapped(json.loads(done.stdout)))


@attrs.define
class ContractPool(DevPool):
    """A development pool that a contract manages."""

    account: Address = Address(bytes(20))

    @property
    def manager(self) -> ManagerSigner:
        """The contract's owner."""
        return ByCommand(self)

    async def _chain(self) -> None:
        await DevPool._chain(self)
        owned = await Owned.deployed(Rpc.to(31337, (self.rpc_url,)))
        self.account = owned.address
        self._keep_key(OWNER, bytes(owned.owner.key))

    async def hand_on(self, owner: LocalAccount) -> LocalAccount:
        """Another key owns the contract from now on, in the file `heir.json` too."""
        owned = Owned(Rpc.to(31337, (self.rpc_url,)), self.account, owner)
        await owned.hand_on()
        self._keep_key(HEIR, bytes(owned.owner.key))
        return owned.owner

    def command(
        self, at: DevAgent, group: str, verb: str, *words: str, key: str = OWNER
    ) -> subprocess.CompletedProcess[str]:
        """A command by which an owner signs for the contract."""
        keys = self.directory / "keys"
        return p2pool(
            *(group, verb, "--contract", address_text(self.account), *words),
            P2POOL_AGENT=str(at.directory),
            P2POOL_KEY=str(keys / f"{key}.json"),
            P2POOL_PASSPHRASE_FILE=str(keys / "passphrase"),
        )


@contextmanager
def contract_pool() -> Iterator[ContractPool]:
    """Three agents in a committee; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="p2c", dir="/tmp"))
    pool = ContractPool(directory / "pool", lambda text: None, "process")

    async def up() -> None:
        await pool.up(3)
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(3)

    try:
        trio.run(up)
        yield pool
    finally:
        trio.run(pool.down)
        directory.rmdir()
