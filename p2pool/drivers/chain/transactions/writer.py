"""One account's transactions, one after the other; a refusal becomes a sentence.

Parallel transactions of one account collide on their nonces (a lesson of earlier systems), so all
of an account's go through one lock, in order, and through a journal on disk, so that other
processes and later ones know what is on its way (`journal`). What is on its way is brought home
before anything else is sent: a transaction is replaced, never queued behind (`delivery`).
`eth_estimateGas` tests each transaction first: one that would revert costs nothing, and its reason
is reported (`refusals`). We compute the hash ourselves, so a transaction without an answer is
looked up before it is called lost. A call to an address without code would succeed and do nothing,
so each address is checked for code once.

`DryWriter` has the same interface and sends nothing: it records what would have been sent.
"""

import time
from typing import Any, Protocol

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import GWEI
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.rpc import Reverted, Rpc, no_contract
from p2pool.drivers.chain.transactions import fees
from p2pool.drivers.chain.transactions.delivery import Delivery, Mined, TellDelay
from p2pool.drivers.chain.transactions.earlier import first_block_hash, is_of_chain
from p2pool.drivers.chain.transactions.fees import Fees
from p2pool.drivers.chain.transactions.journal import Journal, MemoryJournal
from p2pool.drivers.chain.transactions.record import Attempt, Call, Delay, PendingTransaction
from p2pool.drivers.chain.transactions.refusals import refusal
from p2pool.drivers.chain.transactions.submission import Verdict, submit, verdict_of
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, TransactionFailed, TransactionStuck, WrongChain
from p2pool.model.ids import Address
from p2pool.wire.evm.key_signer import AnySigner, signer_of

log = get_logger(__name__)


@attrs.frozen
class Sent:
    """A transaction that is in a block. `block_number` -1: dry run, nothing was sent."""

    function: str
    transaction_hash: str
    block_number: int
    gas_used: int
    contract_address: Address | None = None
    price_wei: int = 0
    """What a unit of gas cost; 0 where the endpoint does not say."""


class CannotPay(TransactionFailed):
    """The account has too little coin to pay for gas."""


class Writer(Protocol):
    """Sends the transactions of one account."""

    @property
    def address(self) -> Address:
        """The account."""
        ...

    async def send(self, to: Address, function: Function, *arguments: object) -> Sent:
        """Call a function of a contract; raises TransactionFailed or ChainUnavailable."""
        ...


def _nobody(_: Delay | None) -> None:
    """Tell nobody."""


class KeyWriter:
    """The writer of an account that a signer of ours signs for.

    `journal`: where it keeps what is on its way; None: in memory, for an account that nobody uses
    after this process. `fee_max_wei`: the most to pay per gas. `tell`: hears of a transaction that
    is in no block for long, and when that is over.
    """

    def __init__(
        self,
        rpc: Rpc,
        account: AnySigner,
        *,
        journal: Journal | None = None,
        fee_max_wei: int = limits.GAS_FEE_MAX_DEFAULT_GWEI * GWEI,
        tell: TellDelay = _nobody,
    ) -> None:
        """One writer per account, shared by all its senders."""
        self._rpc = rpc
        self._account = account
        self._order = trio.Lock()
        self._with_code: set[Address] = set()
        self._journal = journal if journal is not None else MemoryJournal()
        self._fee_max_wei = fee_max_wei
        self._tell = tell
        self._first_block: str | None = None
        self._settled: tuple[Call, Sent] | None = None

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
        return await self._send(Call(function.name, to, data))

    async def deploy(self, name: str, bytecode: bytes) -> Sent:
        """Create a contract from its bytecode with the encoded arguments appended."""
        return await self._send(Call(f"creating {name}", None, bytecode))

    async def settle(self) -> None:
        """Bring home what an earlier process left on its way; raises what `send` raises."""
        async with self._order, self._journal.held():
            self._settled = await self._bring_home()

    async def _send(self, call: Call) -> Sent:
        async with self._order, self._journal.held():
            earlier = await self._bring_home(call) or self._settled
            self._settled = None
            # Whoever looked before that one was in a block wants it once, not twice.
            if earlier is not None and earlier[0] == call and await self._is_fresh(earlier[1]):
                return earlier[1]
            return await self._sent(await self._deliver(await self._hand_over(call)))

    async def _bring_home(self, call: Call | None = None) -> tuple[Call, Sent] | None:
        """Get what was left into a block, before anything else is sent: nothing queues behind it.

        Its call and receipt; None if there was nothing, or if it failed. `call`: what is to be sent
        next.
        """
        left = await self._journal.load()
        if left is None:
            return None
        if not await self._is_of_this_chain(left):
            await self._journal.clear()
            return None
        try:
            mined = await self._deliver(left)
            sent = await self._sent(mined)
        except TransactionFailed as refused:
            # The call it was made for has been answered; what is asked now is judged by itself.
            log.warning("a transaction from before failed", why=refused.message)
            return None
        except TransactionStuck as stuck:
            if call is None or left.call == call:
                raise
            raise TransactionStuck(
                f"{call.what} was not sent: an earlier one of this account comes first."
                f" {stuck.message}",
                hint="Do it again once that one is in a block.",
            ) from stuck
        log.info("a transaction from before is in a block", call=sent.function)
        return left.call, sent

    async def _is_of_this_chain(self, left: PendingTransaction) -> bool:
        """Whether it was sent on this chain: a chain that began anew has the same id."""
        return is_of_chain(left, await self._first_block_hash())

    async def _first_block_hash(self) -> str | None:
        """None: the endpoint has forgotten it, or does not answer."""
        if self._first_block is None:
            self._first_block = await first_block_hash(self._rpc)
        return self._first_block

    async def _is_fresh(self, sent: Sent) -> bool:
        """Whether it is in a block of just now, so that the caller cannot have known of it."""
        asked = "eth_getBlockByNumber"
        its = await self._rpc.request(asked, hex(sent.block_number), False, read=answers.block)
        newest = await self._rpc.request(asked, "latest", False, read=answers.block)
        if its is None or newest is None:
            return False
        return newest.time_ms - its.time_ms <= limits.TRANSACTION_FRESH_MS

    async def _hand_over(self, call: Call) -> PendingTransaction:
        """Prepare it, keep it and hand it over: it is in a pool, or may be in one."""
        least_nonce, words = 0, ""
        for _ in range(limits.NONCE_TRIES_MAX):
            prepared = await self._prepare(call, least_nonce)
            await self._journal.save(prepared)
            try:
                handed = await submit(self._rpc, prepared.raw, prepared.last.hash)
            except (Reverted, WrongChain) as refused:
                await self._journal.clear()
                if isinstance(refused, Reverted):
                    raise refusal(call.what, refused) from refused
                raise
            if handed.verdict is Verdict.TAKEN:
                return prepared
            if handed.verdict is Verdict.UNKNOWN:
                raise ChainUnavailable(
                    f"{call.what} may have been sent as {prepared.last.hash}; nobody confirmed it:"
                    f" {handed.words}",
                    hint="Do it again: that goes on with this one, and sends none beside it.",
                )
            # None of the other answers puts it into a pool.
            await self._journal.clear()
            if handed.verdict is Verdict.CANNOT_PAY:
                raise self._poor(call)
            if handed.verdict is Verdict.REFUSED:
                raise TransactionFailed(f"{call.what} was refused: {handed.words}")
            if handed.verdict is not Verdict.TOO_CHEAP:
                least_nonce = prepared.nonce + 1
            words = handed.words
        raise ChainUnavailable(
            f"{call.what} was not sent: no endpoint takes it: {words}",
            hint="If another wallet sends for the same account, wait until it is done.",
        )

    async def _prepare(self, call: Call, least_nonce: int) -> PendingTransaction:
        """Estimated, priced, numbered and signed. A refusal of the contract costs nothing here."""
        rpc, me = self._rpc, address_text(self.address)
        asked: dict[str, Any] = {"from": me, "data": "0x" + call.data.hex()}
        if call.to is not None:
            asked["to"] = address_text(call.to)
        try:
            gas = await rpc.request("eth_estimateGas", asked, read=answers.number)
        except Reverted as reverted:
            raise refusal(call.what, reverted) from reverted
        except ChainUnavailable as error:
            if verdict_of(error.message) is Verdict.CANNOT_PAY:
                raise self._poor(call) from error
            raise
        market = await fees.read_market(rpc)
        offered = fees.offer(market, self._fee_max_wei)
        count = "eth_getTransactionCount"
        # What another wallet has in the pool keeps its number; ours are all in the journal.
        nonces = [
            await rpc.request(count, me, block, read=answers.number)
            for block in ("latest", "pending")
        ]
        blank = PendingTransaction(
            chain_id=rpc.chain_id,
            first_block=await self._first_block_hash(),
            account=self.address,
            nonce=max(*nonces, least_nonce),
            call=call,
            gas=fees.gas_limit(gas),
            attempts=(),
            raw=b"",
        )
        raw, transaction_hash = await self._sign(blank, offered)
        attempt = Attempt(transaction_hash, offered, _wall_ms(), market.block_number)
        return blank.with_attempt(attempt, raw)

    async def _sign(self, pending: PendingTransaction, offered: Fees) -> tuple[bytes, str]:
        """See `delivery.Sign`."""
        transaction: dict[str, Any] = {
            "chainId": pending.chain_id,
            "nonce": pending.nonce,
            "gas": pending.gas,
            "value": 0,
            "data": pending.call.data,
            **offered.fields(),
        }
        if pending.call.to is not None:
            transaction["to"] = bytes(pending.call.to)
        # A signer may wait for a person.
        signed = await trio.to_thread.run_sync(
            signer_of(self._account).sign_transaction, transaction, abandon_on_cancel=True
        )
        return signed.raw_transaction, "0x" + signed.hash.hex()

    async def _deliver(self, pending: PendingTransaction) -> Mined:
        delivery = Delivery(
            rpc=self._rpc,
            journal=self._journal,
            sign=self._sign,
            tell=self._tell,
            wall_ms=_wall_ms,
            cap_wei=self._fee_max_wei,
            pending=pending,
        )
        return await delivery.run()

    async def _sent(self, mined: Mined) -> Sent:
        """A receipt as a record; `TransactionFailed` if it failed in its block."""
        sent, worked = _read_receipt(mined)
        if worked:
            return sent
        what, gas = mined.transaction.call.what, mined.transaction.gas
        where = f"in block {sent.block_number}, by transaction {sent.transaction_hash}"
        if sent.gas_used >= gas:
            raise TransactionFailed(
                f"{what} ran out of gas {where}: it used all {gas}.",
                hint="Do it again: gas is estimated anew.",
            )
        reverted = await self._why_failed(mined.transaction.call, sent.block_number)
        if reverted is None:
            raise TransactionFailed(
                f"{what} was refused {where}; it had been possible when it was sent.",
                hint="Do it again: what is refused now is told with its reason.",
            )
        refused = refusal(what, reverted)
        raise TransactionFailed(
            f"{refused.message} That was {where}; it had been possible when it was sent.",
            hint=refused.hint,
        ) from reverted

    async def _why_failed(self, call: Call, block_number: int) -> Reverted | None:
        """The reason, by running the call on that block's state; None if it does not tell."""
        asked: dict[str, Any] = {
            "from": address_text(self.address),
            "data": "0x" + call.data.hex(),
        }
        if call.to is not None:
            asked["to"] = address_text(call.to)
        try:
            await self._rpc.request("eth_call", asked, hex(block_number))
        except Reverted as reverted:
            return reverted
        except (ChainUnavailable, WrongChain):
            pass  # An endpoint that has no state of that block any more tells no reason.
        return None

    def _poor(self, call: Call) -> "CannotPay":
        return CannotPay(
            f"{call.what}: the account {address_text(self.address)} cannot pay for gas.",
            hint="Send it some of the chain's own coin.",
        )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _read_receipt(mined: Mined) -> tuple[Sent, bool]:
    """A receipt, and whether the call worked; a malformed one is the endpoint's fault."""
    what, receipt = mined.transaction.call.what, mined.receipt
    try:
        status = answers.number(receipt.get("status"))
        gas_used, created = answers.number(receipt.get("gasUsed")), receipt.get("contractAddress")
        block_number = answers.number(receipt.get("blockNumber"))
        address = answers.address(created) if created else None
        price = receipt.get("effectiveGasPrice")
        price_wei = answers.price(price) if price is not None else 0
    except answers.Nonsense as error:
        raise ChainUnavailable(
            f"{what} was sent as {mined.hash}; an endpoint's receipt of it is malformed.",
            hint="Look it up before you send it again.",
        ) from error
    sent = Sent(
        function=what,
        transaction_hash=mined.hash,
        block_number=block_number,
        gas_used=gas_used,
        contract_address=address,
        price_wei=price_wei,
    )
    return sent, status == 1


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
