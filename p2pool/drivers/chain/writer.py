"""One account's transactions, one after the other; a refusal becomes a sentence.

Parallel transactions of one account collide on their nonces (a lesson of earlier systems), so all
of an account's go through one lock, in order. `eth_estimateGas` tests each transaction first: one
that would revert costs nothing, and its reason is reported. A transaction that is sent and does not
show up in time is reported with its hash: it may still be mined. We compute the hash ourselves, so
a transaction without an answer is looked up before it is called lost. A call to an address without
code would succeed and do nothing, so each address is checked for code once.

`DryWriter` has the same interface and sends nothing: it records what would have been sent.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.rpc import Reverted, Rpc, no_contract
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, TransactionFailed
from p2pool.model.ids import Address
from p2pool.wire.evm.key_signer import AnySigner, signer_of

GAS_MARGIN_PERCENT = 25

SENTENCES: Mapping[str, tuple[str, str]] = {
    "StakeBelowMinimum": ("The stake is too small: {staked} of {needed} wei.", "Stake more."),
    "ProviderExists": ("The provider is already registered.", ""),
    "NoSuchProvider": ("The provider is not registered.", "Register it first: stake and register."),
    "NodeExists": (
        "The node key is already registered, by this or another provider.",
        "Use another node key, or have its provider remove it.",
    ),
    "NotWhitelisted": ("The provider is not whitelisted.", "Ask the network's validator."),
    "ProviderNotWhitelisted": (
        "The provider is not whitelisted.",
        "Ask the network's validator.",
    ),
    "BadNodeConsent": ("The node key did not consent to this provider.", "Check the node key."),
    "NodeNotValidated": ("The node is not validated.", "Ask the network's validator."),
    "NodeInAPool": ("The node is already in a pool.", "Leave that pool first."),
    "NodeNotInPool": ("The node is not in the pool.", ""),
    "NoSuchDomain": ("There is no domain {domainId}.", "Ask the network's federator for one."),
    "NoSuchPool": ("There is no pool {poolId}.", "Check [pool] id."),
    "PoolNotActive": ("The pool is not active.", "Ask its creator or manager to start it."),
    "PoolNotPending": ("The pool has been started before.", ""),
    "InviteExpired": ("The invite has expired.", "Ask the pool's manager for a new one."),
    "InviteUsed": ("The invite has been used before.", "Ask the pool's manager for a new one."),
    "BadInviteSignature": (
        "The invite is not signed by the pool's manager.",
        "Ask the pool's manager for one for this node and pool.",
    ),
    "NotCreatorOrManager": (
        "Only the pool's creator or manager may do this.",
        "Use the key of one of them.",
    ),
    "NodeBlacklistedHere": ("The node is blacklisted in this pool for good.", ""),
    "ProviderBlacklistedHere": ("The provider is blacklisted in this pool for good.", ""),
    "ComputeLimitReached": ("The pool is full: {total} of {limit} units.", ""),
    "EnumerableMapNonexistentKey": ("The node is not registered.", "Register the node first."),
    "ERC20InsufficientBalance": (
        "The account holds too few tokens: {balance} of {needed} wei.",
        "Send it tokens.",
    ),
    "ERC20InsufficientAllowance": ("The token is not approved for this.", "Approve it first."),
    "AccessControlUnauthorizedAccount": ("The account lacks the role for this.", ""),
}
"""The contracts' custom errors as sentences, each with a hint."""


@attrs.frozen
class Sent:
    """A transaction that is in a block. `block_number` -1: dry run, nothing was sent."""

    function: str
    transaction_hash: str
    block_number: int
    gas_used: int
    contract_address: Address | None = None


class Writer(Protocol):
    """Sends the transactions of one account."""

    @property
    def address(self) -> Address:
        """The account."""
        ...

    async def send(self, to: Address, function: Function, *arguments: object) -> Sent:
        """Call a function of a contract; raises TransactionFailed or ChainUnavailable."""
        ...


def refusal(what: str, reverted: Reverted) -> TransactionFailed:
    """A revert as a sentence, with a hint if one is known."""
    known = SENTENCES.get(reverted.name)
    if known is not None:
        sentence = known[0].format(**reverted.arguments)
        return TransactionFailed(f"{what} was refused: {sentence}", hint=known[1])
    arguments = answers.shown(", ".join(f"{k}={v}" for k, v in reverted.arguments.items()))
    reason = f"{reverted.name}({arguments})" if reverted.name else str(reverted)
    return TransactionFailed(f"{what} was refused by the contract: {reason}")


class KeyWriter:
    """The writer of an account that a signer of ours signs for."""

    def __init__(self, rpc: Rpc, account: AnySigner) -> None:
        """One writer per account, shared by all its senders."""
        self._rpc = rpc
        self._account = account
        self._order = trio.Lock()
        self._with_code: set[Address] = set()

    @property
    def address(self) -> Address:
        """The account."""
        return Address(bytes.fromhex(self._account.address[2:]))

    async def send(self, to: Address, function: Function, *arguments: object) -> Sent:
        """Call a function and wait until it is mined; `WrongChain` if the address has no code."""
        data = function.call(*arguments)
        if to not in self._with_code:
            if await self._rpc.request("eth_getCode", address_text(to), "latest") == "0x":
                raise no_contract(function.contract, to, self._rpc.chain_id)
            self._with_code.add(to)
        return await self._send(function.name, to, data)

    async def deploy(self, name: str, bytecode: bytes) -> Sent:
        """Create a contract from its bytecode with the encoded arguments appended."""
        return await self._send(f"creating {name}", None, bytecode)

    async def _send(self, what: str, to: Address | None, data: bytes) -> Sent:
        async with self._order:
            try:
                transaction = await self._prepare(to, data)
                # A signer may wait for a person.
                signed = await trio.to_thread.run_sync(
                    signer_of(self._account).sign_transaction, transaction, abandon_on_cancel=True
                )
                raw = "0x" + signed.raw_transaction.hex()
                transaction_hash = "0x" + signed.hash.hex()
                await self._submit(what, raw, transaction_hash)
            except Reverted as reverted:
                raise refusal(what, reverted) from reverted
            except ChainUnavailable as error:
                if "insufficient funds" in error.message.lower():
                    raise TransactionFailed(
                        f"{what}: the account {address_text(self.address)} cannot pay for gas.",
                        hint="Send it some of the chain's own coin.",
                    ) from error
                raise
            receipt = await self._wait_mined(what, transaction_hash)
        return _sent(what, transaction_hash, receipt)

    async def _submit(self, what: str, raw: str, transaction_hash: str) -> None:
        """Hand it to an endpoint; a missing answer does not prove that the endpoint refused it."""
        try:
            told = await self._rpc.request("eth_sendRawTransaction", raw)
            if told == transaction_hash:
                return
            problem = f"an endpoint answered {answers.shown(told)!r}"
        except ChainUnavailable as error:
            problem = error.message
        try:
            found = await self._rpc.request("eth_getTransactionByHash", transaction_hash)
        except ChainUnavailable:
            found = None
        if not isinstance(found, dict):
            raise ChainUnavailable(
                f"{what} may have been sent as {transaction_hash}; nobody confirmed it: {problem}",
                hint="Look it up before you send it again.",
            )

    async def _prepare(self, to: Address | None, data: bytes) -> dict[str, Any]:
        rpc, me = self._rpc, address_text(self.address)
        call: dict[str, Any] = {"from": me, "data": "0x" + data.hex()}
        if to is not None:
            call["to"] = address_text(to)
        gas = await rpc.request("eth_estimateGas", call, read=answers.number)
        price = await rpc.request("eth_gasPrice", read=answers.price)
        prepared: dict[str, Any] = {
            "chainId": rpc.chain_id,
            "nonce": await rpc.request(
                "eth_getTransactionCount", me, "pending", read=answers.number
            ),
            "gas": gas * (100 + GAS_MARGIN_PERCENT) // 100,
            "gasPrice": price * (100 + GAS_MARGIN_PERCENT) // 100,
            "value": 0,
            "data": data,
        }
        if to is not None:
            prepared["to"] = bytes(to)
        return prepared

    async def _wait_mined(self, what: str, transaction_hash: str) -> Mapping[str, Any]:
        with trio.move_on_after(limits.TRANSACTION_DEADLINE_MS / 1000):
            while True:
                try:
                    found = await self._rpc.request(
                        "eth_getTransactionReceipt", transaction_hash, read=answers.receipt
                    )
                except ChainUnavailable:
                    found = None
                if found is not None:
                    return found
                await trio.sleep(limits.RECEIPT_POLL_MS / 1000)
        raise ChainUnavailable(
            f"{what} was sent as {transaction_hash} and is in no block yet.",
            hint="It may still be mined: look it up before you send it again.",
        )


def _sent(what: str, transaction_hash: str, receipt: Mapping[str, Any]) -> Sent:
    """A receipt as a record; a malformed one is the endpoint's fault."""
    try:
        status = answers.number(receipt.get("status"))
        gas_used, created = answers.number(receipt.get("gasUsed")), receipt.get("contractAddress")
        block_number = answers.number(receipt.get("blockNumber"))
        address = answers.address(created) if created else None
    except answers.Nonsense as error:
        raise ChainUnavailable(
            f"{what} was sent as {transaction_hash}; an endpoint's receipt of it is malformed.",
            hint="Look it up before you send it again.",
        ) from error
    if status != 1:
        raise TransactionFailed(f"{what} was refused in block: {transaction_hash}")
    return Sent(
        function=what,
        transaction_hash=transaction_hash,
        block_number=block_number,
        gas_used=gas_used,
        contract_address=address,
    )


@attrs.define
class DryWriter:
    """Sends nothing; `said` lists the calls it would have sent, in order."""

    address: Address
    said: list[str] = attrs.field(factory=list)

    async def send(self, to: Address, function: Function, *arguments: object) -> Sent:
        """Record the call in readable form."""
        function.call(*arguments)
        shown = ", ".join(address_text(a) if isinstance(a, bytes) else repr(a) for a in arguments)
        self.said.append(
            f"{address_text(self.address)} would call {function.contract}.{function.name}({shown})"
            f" at {address_text(to)}"
        )
        return Sent(function.name, "", -1, 0)
