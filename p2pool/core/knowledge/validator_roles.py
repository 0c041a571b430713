"""Which accounts hold the validators' role, as the chain told this node, and what it is asked.

Intuition: whoever needs to know asks this book, again and again. What is not known is asked of the
chain once, as an effect; the answer comes back as an input. Anybody can name an account that holds
no role, so what is known of validators lies apart: no number of strangers pushes it out.

Invariants: a role counts as read at a finalized block; one that was read stays until the chain says
that it is gone, whatever endpoints fail meanwhile; whoever makes us ask has a budget, and all
guests have one together. Source: docs/design/validation.md, "What becomes of a verdict".
"""

import attrs

from p2pool.core.effects import ReadValidatorRole
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.ids import Address
from p2pool.model.timing import Now

ALL_GUESTS = b""


def _table() -> BoundedDict[Address, int]:
    return BoundedDict(limits.VALIDATOR_ROLES_KEPT_MAX)


@attrs.define
class ValidatorRoles:
    """One node's knowledge: when each account was read as a validator, as none, or in vain; what is
    under way; and what this step asks."""

    holders: BoundedDict[Address, int] = attrs.field(factory=_table)
    others: BoundedDict[Address, int] = attrs.field(factory=_table)
    unread: BoundedDict[Address, int] = attrs.field(factory=_table)
    asked: BoundedDict[Address, int] = attrs.field(factory=_table)
    asks: list[ReadValidatorRole] = attrs.field(factory=list)
    budget: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.ROLE_ASKS_PER_S, limits.ROLE_ASKS_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    guests: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.GUESTS_ROLE_ASKS_PER_S, limits.GUESTS_ROLE_ASKS_BURST, 1
        )
    )

    def holds(
        self, account: Address, now: Now, origin: bytes | None = None, *, guest: bool = False
    ) -> bool | None:
        """Whether an account is a validator; None: nobody said yet, and if `origin`'s budget allows
        (None: we ask for ourselves), the chain is asked."""
        read_ms = self.holders.get(account)
        if read_ms is not None:
            if now.mono_ms - read_ms >= limits.VALIDATOR_ROLE_KEPT_MS:
                self._ask(account, None, now, guest=False)
            return True
        read_ms = self.others.get(account)
        if read_ms is not None and now.mono_ms - read_ms < limits.VALIDATOR_ROLE_KEPT_MS:
            return False
        self._ask(account, origin, now, guest=guest)
        return None

    def knows(self, account: Address) -> bool:
        """Whether the chain has said since the start that it is a validator."""
        return account in self.holders

    def is_asked(self, account: Address, now: Now) -> bool:
        """Whether an answer is under way."""
        asked_ms = self.asked.get(account)
        return asked_ms is not None and (
            now.mono_ms - asked_ms < limits.VALIDATOR_ROLE_ASKED_MAX_MS
        )

    def on_read(self, account: Address, holds: bool | None, now: Now) -> None:
        """The chain answered; None: no endpoint did."""
        self.asked.pop(account, None)
        if holds is None:
            self.unread.renew(account, now.mono_ms)
            return
        known, other = (self.holders, self.others) if holds else (self.others, self.holders)
        self.unread.pop(account, None)
        other.pop(account, None)
        known.renew(account, now.mono_ms)

    def take(self) -> list[ReadValidatorRole]:
        """What to ask the chain with this step."""
        asks, self.asks = self.asks, []
        return asks

    def _ask(self, account: Address, origin: bytes | None, now: Now, *, guest: bool) -> None:
        unread_ms = self.unread.get(account)
        if self.is_asked(account, now):
            return
        if unread_ms is not None and now.mono_ms - unread_ms < limits.VALIDATOR_ROLE_AGAIN_MS:
            return
        if origin is not None and not self.budget.admit(origin, now.mono_ms):
            return
        if guest and not self.guests.admit(ALL_GUESTS, now.mono_ms):
            return
        self.asked.renew(account, now.mono_ms)
        self.asks.append(ReadValidatorRole(account))
