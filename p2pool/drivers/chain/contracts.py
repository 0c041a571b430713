"""The chain operations that people perform, one function each: reads first, then transactions.

Reads return what the contracts say at the latest block: present, absent (`None`, False,
`NotFound`), or unknown, which is an error. A deployment says "there is none" in its own way, with a
custom error, a panic over a list that has become shorter, or a record of zeros: all of them are an
answer here, never an outage, and never a thing that is there.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import read_root, stated_bootstrap, stated_root
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import function, topic
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.consent import (
    invite_digest,
    invite_signer,
    personal_hash,
)
from p2pool.drivers.chain.contract_accounts import IS_VALID, IS_VALID_MAGIC
from p2pool.drivers.chain.root import contract
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import Sent, Writer
from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import (
    BadSignature,
    ChainUnavailable,
    Misconfigured,
    NotFound,
    TransactionFailed,
    WrongChain,
)
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import ChainConfig

JOIN = "joinComputePool(uint256,address,address,uint256,uint256,bytes)"
GET_NODE = "getNode(address)"
RECEIPT_LOOKS = 50


@attrs.frozen
class PoolInfo:
    """A pool as the contract has it."""

    pool_id: int
    domain_id: int
    name: str
    creator: Address
    manager: Address
    data_uri: str
    compute_limit: int
    status: PoolStatus
    record: str | None = None
    """What `PoolRoot` has of the pool; None where the chain has no such contract."""

    @property
    def root(self) -> RootRecord | None:
        """The root record that counts; None if there is none that can be read."""
        return stated_root(self.data_uri, self.record)

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """The addresses of peers that newcomers dial first."""
        return stated_bootstrap(self.data_uri, self.record)

    @property
    def is_recorded(self) -> bool:
        """Whether the root record stands in `PoolRoot`, or is written there because there is none
        yet: it stays where the agents of the pool read it."""
        return self.record is not None and self.root in (None, read_root(self.record))


@attrs.frozen
class NodeInfo:
    """A node as the registry has it."""

    provider: Address
    compute_units: int
    active: bool
    validated: bool


NOBODY = Address(bytes(ADDRESS_BYTES))
NONE_SUCH = (
    "EnumerableMapNonexistentKey",
    "NoSuchDomain",
    "NoSuchPool",
    "NoSuchProvider",
    "NotTheProvidersNode",
)
"""Causes that say of whom a contract was asked about that there is none."""
NO_SUCH_INDEX = 0x32
"""The panic of a list that is too short: what was looked up stood in one that was deleted."""


def _address(text: str) -> Address:
    return Address(bytes.fromhex(text[2:]))


def _no_pool(pool_id: int) -> NotFound:
    return NotFound(f"There is no pool {pool_id}.", hint="Check [pool] id, and the pool's address.")


def says_none(reverted: Reverted, *, in_list: bool = False) -> bool:
    """Whether a revert means that there is none. `in_list`: what was asked looks somebody up in a
    list, as the registry does; only there the panic of a list that is too short means that, too.
    Anywhere else it is a contract that fails, and says nothing."""
    if reverted.name == "Panic":
        return in_list and reverted.arguments.get("code") == NO_SUCH_INDEX
    return cause_of(reverted) in NONE_SUCH


@attrs.define
class PoolContracts:
    """The contracts of one deployment, read and written."""

    rpc: Rpc
    at: Addresses

    @classmethod
    def of(cls, config: "ChainConfig") -> "PoolContracts":
        """The contracts of a configuration; nothing is asked of an endpoint yet. Call it inside
        trio."""
        at = config.addresses
        addresses = Addresses(
            network=at.network,
            pool=at.pool,
            registry=at.registry,
            stakes=at.stake,
            domains=at.domains,
            token=at.token,
            root=at.root,
        )
        return cls(Rpc.to(config.id, config.endpoints), addresses)

    # --- reads --------------------------------------------------------------------------------

    async def pool(self, pool_id: int, block: object = "latest") -> PoolInfo:
        """The pool with this number and its record; `NotFound` if there is none."""
        get = function("ComputePool", "getComputePool")
        try:
            v = await self.rpc.call(self.at.pool, get, pool_id, block=block)
        except Reverted as reverted:
            raise _no_pool(pool_id) from reverted
        if _address(v[3]) == NOBODY:
            raise _no_pool(pool_id)
        if v[0] != pool_id or v[12] not in {*PoolStatus} or v[1] > limits.CHAIN_NUMBER_MAX:
            raise ChainUnavailable(f"An endpoint answers with no pool for {pool_id}.")
        return PoolInfo(
            pool_id=v[0],
            domain_id=v[1],
            name=v[2],
            creator=_address(v[3]),
            manager=_address(v[4]),
            data_uri=v[8],
            compute_limit=v[11],
            status=PoolStatus(v[12]),
            record=await contract.read_record(self.rpc, self.at, pool_id, block),
        )

    async def has_root(self) -> bool:
        """Whether the chain has `PoolRoot` for this pool contract."""
        return await contract.has_code(self.rpc, contract.contract_address(self.at))

    async def node(self, node_id: NodeId, block: object = "latest") -> NodeInfo | None:
        """The node as the registry has it, or None."""
        get = function("ComputeRegistry", GET_NODE)
        try:
            v = await self.rpc.call(self.at.registry, get, node_id, block=block)
        except Reverted as reverted:
            if says_none(reverted, in_list=True):
                return None
            raise
        # Where its provider is gone, a node that is gone may be a record of zeros, or another's.
        if _address(v[0]) == NOBODY or _address(v[1]) != Address(bytes(node_id)):
            return None
        return NodeInfo(_address(v[0]), v[3], v[5], v[6])

    async def provider_exists(self, provider: Address) -> bool:
        """Whether a provider is registered."""
        check = function("ComputeRegistry", "checkProviderExists")
        return bool(await self.rpc.call(self.at.registry, check, provider))

    async def whitelisted(self, provider: Address, block: object = "latest") -> bool:
        """Whether a provider is whitelisted."""
        check = function("ComputeRegistry", "getWhitelistStatus")
        try:
            return bool(await self.rpc.call(self.at.registry, check, provider, block=block))
        except Reverted as reverted:
            if says_none(reverted, in_list=True):
                return False
            raise

    async def stake(self, provider: Address) -> int:
        """A provider's stake, in wei."""
        return int(
            await self.rpc.call(self.at.stakes, function("StakeManager", "getStake"), provider)
        )

    async def stake_needed(self, provider: Address, new_units: int) -> int:
        """The stake that a provider needs in all to add this many units, in wei."""
        needed = function("PrimeNetwork", "calculateMinimumStake")
        return int(await self.rpc.call(self.at.network, needed, provider, new_units))

    async def in_pool(self, pool_id: int, node_id: NodeId) -> bool:
        """Whether a node is in the pool: the one test of admission."""
        check = function("ComputePool", "isNodeInPool")
        return bool(await self.rpc.call(self.at.pool, check, pool_id, node_id))

    async def invited_by(self, manager: Address, invite: Invite) -> bool:
        """Whether the manager made this invite: by its key's signature, or by its contract's word.

        The pool's contract makes the same test when the node joins (SignatureChecker).
        """
        if await self.rpc.request("eth_getCode", address_text(manager), "latest") == "0x":
            try:
                return invite_signer(invite) == manager
            except BadSignature:
                return False
        digest = personal_hash(
            invite_digest(
                invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
            )
        )
        try:
            said = await self.rpc.call(manager, IS_VALID, digest, invite.signature)
        except (Reverted, WrongChain):
            # A contract that did not sign reverts, or answers with something else.
            return False
        return bool(said == IS_VALID_MAGIC)

    async def tokens(self, owner: Address) -> int:
        """How many tokens an account holds, in wei."""
        check = function("AIToken", "balanceOf")
        return int(await self.rpc.call(self.at.token, check, owner))

    async def balance_wei(self, account: Address) -> int:
        """An account's balance of the chain's own coin, in wei."""
        return await self.rpc.quantity("eth_getBalance", address_text(account), "latest")

    # --- validator and federator --------------------------------------------------------------

    async def whitelist(self, writer: Writer, provider: Address) -> Sent:
        """Whitelist a provider."""
        return await writer.send(
            self.at.network, function("PrimeNetwork", "whitelistProvider"), provider
        )

    async def validate_node(self, writer: Writer, provider: Address, node_id: NodeId) -> Sent:
        """Validate a node."""
        return await writer.send(
            self.at.network, function("PrimeNetwork", "validateNode"), provider, node_id
        )

    # --- creator and manager ------------------------------------------------------------------

    async def create_pool(
        self,
        writer: Writer,
        domain_id: int,
        manager: Address,
        name: str,
        uri: str = "",
        compute_limit: int = 0,
    ) -> int:
        """Create a pool; returns its number, -1 in a dry run. `compute_limit` in units, 0: none.

        `TransactionFailed` if the receipt does not name the pool.
        """
        create = function("ComputePool", "createComputePool")
        sent = await writer.send(self.at.pool, create, domain_id, manager, name, uri, compute_limit)
        if sent.block_number < 0:
            return -1
        hash_text = sent.transaction_hash
        try:
            receipt = await self._receipt(hash_text)
            for log in answers.logs((receipt or {}).get("logs")):
                created = "0x" + topic("ComputePool", "ComputePoolCreated").hex()
                named = log.topics[:1] == (created,) and len(log.topics) > 1
                if log.address == address_text(self.at.pool) and named:
                    return answers.quantity(log.topics[1])
        except (ChainUnavailable, answers.Nonsense):
            pass  # A receipt that nobody shows is reported like one that names no pool.
        raise TransactionFailed(
            f"The pool was created by {sent.transaction_hash}, but the receipt does not name it.",
            hint="Look the transaction up before you create another.",
        )

    async def _receipt(self, hash_text: str) -> Mapping[str, Any] | None:
        """The receipt of a transaction that is in a block: of several endpoints behind one address,
        one may not have that block yet, and says null."""
        for _ in range(RECEIPT_LOOKS):
            receipt = await self.rpc.request(
                "eth_getTransactionReceipt", hash_text, read=answers.receipt
            )
            if receipt is not None:
                return receipt
            await trio.sleep(limits.RECEIPT_POLL_MS / 1000)
        return None

    async def next_pool_id(self, domain_id: int, manager: Address) -> int:
        """The number that the next pool gets, if nobody creates one before."""
        create = function("ComputePool", "createComputePool")
        return int(await self.rpc.call(self.at.pool, create, domain_id, manager, "next", "", 0))

    async def start_pool(self, writer: Writer, pool_id: int) -> Sent:
        """Start a pool that is pending."""
        return await writer.send(self.at.pool, function("ComputePool", "startComputePool"), pool_id)

    async def update_uri(self, writer: Writer, pool_id: int, uri: str) -> Sent:
        """Set the pool's data URI."""
        update = function("ComputePool", "updateComputePoolURI")
        return await writer.send(self.at.pool, update, pool_id, uri)

    async def set_record(self, writer: Writer, pool_id: int, record: str) -> Sent:
        """Set the pool's record in `PoolRoot`."""
        set_record = function(contract.NAME, "setRecord")
        return await writer.send(contract.contract_address(self.at), set_record, pool_id, record)

    async def create_root(self, writer: Writer) -> Sent:
        """Create `PoolRoot` for all pools of this pool contract, where the chain has it not.

        `Misconfigured` where the chain lacks the proxy that creates it at a known address.
        """
        if not await contract.has_code(self.rpc, contract.PROXY):
            raise Misconfigured(
                f"Chain {self.rpc.chain_id} has no deployment proxy at"
                f" {address_text(contract.PROXY)}, so PoolRoot cannot get its known address.",
                hint="Have the proxy brought there, or deploy abi/PoolRoot.json yourself and name"
                " its address in each agent's configuration: [chain.addresses] root.",
            )
        return await writer.send(contract.PROXY, contract.CREATE, self.at.pool)
