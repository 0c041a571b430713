"""Gets one transaction into a block: waits, sends it again, and offers more where it is outbid.

Intuition: what was sent is not forgotten by a pool because it became too cheap; it lies there, and
everything of the account that comes later lies behind it. So it is replaced: the same call, under
the same number, at a higher price, as often as it takes, up to the owner's cap. A chain that makes
no blocks is no reason to offer more.

Invariants: each offer is in the journal before an endpoint hears of it; whichever of them a block
takes is found; a number that another wallet used is told as that, never as done. When time is up
the transaction stays in the journal, and the next try goes on with it.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.drivers.chain.transactions import fees
from p2pool.drivers.chain.transactions.fees import Fees, Market
from p2pool.drivers.chain.transactions.journal import Journal
from p2pool.drivers.chain.transactions.record import Attempt, Delay, PendingTransaction
from p2pool.drivers.chain.transactions.submission import Verdict, is_known, submit
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    StoreFailed,
    TransactionFailed,
    TransactionStuck,
    WrongChain,
)

Sign = Callable[[PendingTransaction, Fees], Awaitable[tuple[bytes, str]]]
"""The signed bytes of a transaction at a price, and their hash."""
TellDelay = Callable[[Delay | None], None]
"""Hears of what is in no block for long; None: it is over."""


@attrs.frozen
class Mined:
    """A transaction's receipt, and the offer that a block took."""

    transaction: PendingTransaction
    hash: str
    receipt: Mapping[str, Any]


@attrs.define
class Delivery:
    """One transaction's way; `pending` has been saved and handed over, or was left by an earlier
    process."""

    rpc: Rpc
    journal: Journal
    sign: Sign
    tell: TellDelay
    wall_ms: Callable[[], int]
    cap_wei: int
    pending: PendingTransaction
    gone_looks: int = 0
    delay: Delay | None = None

    async def run(self) -> Mined:
        """Wait until a block has it.

        Raises `TransactionFailed` if another wallet used its number, `TransactionStuck` when time
        is up.
        """
        with trio.move_on_after(limits.TRANSACTION_DEADLINE_MS / 1000):
            try:
                return await self._wait()
            except TransactionFailed:
                self.tell(None)
                raise
        delay = self.delay or self._delay(None)
        self.tell(delay)  # Until the next try ends: it is on its way still.
        raise TransactionStuck(
            delay.text(), hint="The same command, or the agent by itself, goes on with it."
        )

    async def _wait(self) -> Mined:
        old = self.wall_ms() - self.pending.last.sent_ms > limits.TRANSACTION_LOOK_MS
        if old and (found := await self._look()) is not None:
            return found
        pause_ms = float(limits.RECEIPT_POLL_MS)
        look_s = trio.current_time() + limits.TRANSACTION_LOOK_MS / 1000
        while True:
            if (receipt := await self._receipt(self.pending.last)) is not None:
                return await self._done(self.pending.last, receipt)
            if trio.current_time() >= look_s:
                if (found := await self._look()) is not None:
                    return found
                look_s = trio.current_time() + limits.TRANSACTION_LOOK_MS / 1000
            await trio.sleep(pause_ms / 1000)
            pause_ms = min(1.5 * pause_ms, limits.RECEIPT_POLL_MAX_MS)

    async def _receipt(self, attempt: Attempt) -> Mapping[str, Any] | None:
        try:
            return await self.rpc.request(
                "eth_getTransactionReceipt", attempt.hash, read=answers.receipt
            )
        except (ChainUnavailable, WrongChain):
            return None  # Unknown is not mined, and not lost.

    async def _done(self, attempt: Attempt, receipt: Mapping[str, Any]) -> Mined:
        await self._forget()
        self.tell(None)
        return Mined(self.pending, attempt.hash, receipt)

    async def _forget(self) -> None:
        # Where the disk refuses, whoever sends next finds its receipt and clears it.
        with suppress(StoreFailed):
            await self.journal.clear()

    async def _look(self) -> Mined | None:
        """Look closer: at all offers, the account's number and the price; and act on it."""
        for attempt in reversed(self.pending.attempts):
            if (receipt := await self._receipt(attempt)) is not None:
                return await self._done(attempt, receipt)
        used = await self._used_nonces()
        if used is not None and used > self.pending.nonce:
            await self._gone()
            return None
        self.gone_looks = 0
        try:
            market = await fees.read_market(self.rpc)
        except (ChainUnavailable, WrongChain):
            market = None
        behind = used if used is not None and used < self.pending.nonce else None
        self.delay = self._delay(market, behind=behind)
        if market is not None and behind is None and self._outbid(market):
            await self._raise(market)
        elif not await is_known(self.rpc, self.pending.last.hash):
            await self._hand_over()
        if self._is_long() or self.delay.is_worth_telling:
            self.tell(self.delay)
        return None

    async def _used_nonces(self) -> int | None:
        """How many of the account's numbers blocks have; None: nobody says."""
        account = "0x" + self.pending.account.hex()
        try:
            return await self.rpc.request(
                "eth_getTransactionCount", account, "latest", read=answers.number
            )
        except (ChainUnavailable, WrongChain):
            return None

    async def _gone(self) -> None:
        """Its number is used, and no offer of ours has a receipt here: ask the others, and again.

        `TransactionFailed` once that has been said often enough.
        """
        self.gone_looks += 1
        if self.gone_looks < limits.NONCE_GONE_LOOKS:
            return
        for attempt in self.pending.attempts:
            asked = ("eth_getTransactionReceipt", attempt.hash)
            told = await self.rpc.others(*asked, read=answers.receipt)
            if any(receipt is not None for _, receipt in told):
                return
        await self._forget()
        raise TransactionFailed(
            f"{self.pending.call.what} was not done: another wallet used the account's nonce"
            f" {self.pending.nonce} for something else meanwhile.",
            hint="Do it again. Use a key in one place at a time.",
        )

    def _outbid(self, market: Market) -> bool:
        """Whether its price is below what blocks take, or blocks pass it by."""
        last = self.pending.last
        if market.least_wei > last.fees.most_wei:
            return True
        passed = market.block_number - last.block_number
        waited_ms = self.wall_ms() - last.sent_ms
        return passed >= limits.TRANSACTION_RAISE_BLOCKS and (
            waited_ms >= limits.TRANSACTION_RAISE_MS
        )

    async def _raise(self, market: Market) -> None:
        """Offer more for it, under the same number."""
        before = self.pending
        more = fees.raised(before.last.fees, market, self.cap_wei)
        if more is None or len(before.attempts) >= limits.TRANSACTION_ATTEMPTS_MAX:
            self.delay = self._delay(market, at_cap=True)
            return
        raw, transaction_hash = await self.sign(before, more)
        attempt = Attempt(transaction_hash, more, self.wall_ms(), market.block_number)
        self.pending = before.with_attempt(attempt, raw)
        await self.journal.save(self.pending)
        if await self._hand_over() is Verdict.CANNOT_PAY:
            self.pending = before
            await self.journal.save(before)
            self.delay = self._delay(market, cannot_pay=True)
            return
        self.delay = self._delay(market)

    async def _hand_over(self) -> Verdict:
        try:
            handed = await submit(self.rpc, self.pending.raw, self.pending.last.hash)
        except (Reverted, WrongChain):
            return Verdict.UNKNOWN  # It was right when it was made; a block judges it.
        return handed.verdict

    def _is_long(self) -> bool:
        first = self.pending.attempts[0]
        return self.wall_ms() - first.sent_ms >= limits.TRANSACTION_STUCK_MS

    def _delay(
        self,
        market: Market | None,
        *,
        behind: int | None = None,
        at_cap: bool = False,
        cannot_pay: bool = False,
    ) -> Delay:
        return Delay(
            pending=self.pending,
            market=market,
            cap_wei=self.cap_wei,
            now_ms=self.wall_ms(),
            behind=behind,
            at_cap=at_cap,
            cannot_pay=cannot_pay,
        )
