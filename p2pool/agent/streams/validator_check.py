"""Whether an account is a validator, as this node's chain says it at a finalized block.

Intuition: anybody connects and says so, and each new account would be a call to the chain. So who
asks pays for it out of what guests may cost, answers are kept for a while, and those who were
validators before come before strangers.

Invariants: what nobody could read is unknown, never a yes; strangers, however many, push no known
validator out of the table, nor take its place in the queue.
Source: docs/design/validation.md, "The node's side".
"""

from collections.abc import Awaitable, Callable

import trio

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.errors import ChainUnavailable, Overloaded
from p2pool.model.ids import Address, PeerKey

Asks = Callable[[Address], Awaitable[bool]]
"""Asks the chain whether an account holds the role. ChainUnavailable: nobody says."""

Charges = Callable[[PeerKey, int, int], bool]
"""Whether a guest may cost so many checks more now (`GuestBudget.admit`)."""

STRANGERS = b""


class ValidatorCheck:
    """What one agent knows of validators."""

    def __init__(self, charges: Charges) -> None:
        """Nobody can be asked before `asks` is set."""
        self.asks: Asks | None = None
        self._charges = charges
        self._held: BoundedDict[Address, int] = BoundedDict(limits.VALIDATORS_KNOWN_MAX)
        self._lacked: BoundedDict[Address, int] = BoundedDict(limits.STRANGERS_KEPT_MAX)
        self._asked = TokenBuckets(limits.VALIDATOR_ASKS_PER_S, limits.VALIDATOR_ASKS_BURST, 1)
        self._one_by_one = trio.Lock()

    async def is_validator(self, account: Address, asker: PeerKey, now_ms: int) -> bool:
        """Whether an account has the role; `asker` pays. ChainUnavailable: nobody says; Overloaded:
        too much is asked. `now_ms`: monotonic."""
        if (known := self._known(account, now_ms)) is not None:
            return known
        if not self._may_ask(account, asker, now_ms):
            raise Overloaded("Too much is asked about validators.", hint="Ask again in a minute.")
        if self.asks is None:
            raise ChainUnavailable("This node has not read the chain since its start.")
        with trio.move_on_after(limits.VALIDATOR_ASK_DEADLINE_MS / 1000):
            async with self._one_by_one:
                if (known := self._known(account, now_ms)) is None:
                    known = await self.asks(account)
                    self._keep(account, known, now_ms)
            return known
        raise ChainUnavailable("The chain does not say in time whether it is a validator.")

    def _known(self, account: Address, now_ms: int) -> bool | None:
        held_ms, lacked_ms = self._held.get(account), self._lacked.get(account)
        if held_ms is not None and now_ms < held_ms + limits.VALIDATOR_KEPT_MS:
            return True
        if lacked_ms is not None and now_ms < lacked_ms + limits.NO_VALIDATOR_KEPT_MS:
            return False
        return None

    def _may_ask(self, account: Address, asker: PeerKey, now_ms: int) -> bool:
        if account in self._held:
            return True
        charged = self._charges(asker, limits.VALIDATOR_ASK_CHECKS, now_ms)
        return charged and self._asked.admit(STRANGERS, now_ms)

    def _keep(self, account: Address, held: bool, now_ms: int) -> None:
        if held:
            self._held.renew(account, now_ms)
            self._lacked.pop(account, None)
        else:
            self._lacked.renew(account, now_ms)
            self._held.pop(account, None)
