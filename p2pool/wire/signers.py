"""Recovers the signers of the requests inside a message, once at entry: the core has no curves.

The core decides what an account may do, from accounts that it is given. The agent recovers the
accounts behind a message's signed requests here and hands them over with it. A leader sends the
same requests again in every order, so a cache keeps up to `limits.SIGNERS_CACHED_MAX` answers.
Requests inside log entries are skipped here: a follower asks for their signers when it is about to
append them (`core.log.request_check`), after all checks that cost less.
"""

from collections.abc import Iterator

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Refusal
from p2pool.model.ids import PoolRef
from p2pool.model.messages.queries import RequestForwarded
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import Order, Report
from p2pool.wire.typed_data import recover_signers


def requests_in(message: Message) -> tuple[SignedRequest, ...]:
    """The signed requests inside a message: of an order the submissions first, then those that set
    secrets since."""
    if isinstance(message, RequestForwarded):
        return (message.signed,)
    if isinstance(message, Order):
        renewed = (one.secrets for one in message.desired if one.secrets is not None)
        return (*(desired.signed for desired in message.desired), *renewed)
    if isinstance(message, Report):
        return tuple(claim.signed for claim in message.claims)
    return ()


@attrs.define
class SignerCache:
    """Recovers signers for one pool and caches them; not thread-safe."""

    pool: PoolRef
    most: int = limits.SIGNERS_CACHED_MAX
    _known: BoundedDict[SignedRequest, Signers | None] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def signers(self, signed: SignedRequest) -> Signers | None:
        """A request's signers, or None if it is invalid for this pool (any `Refusal`)."""
        if signed in self._known:
            self._known.move_to_end(signed)
            return self._known[signed]
        try:
            found: Signers | None = recover_signers(self.pool, signed)
        except Refusal:
            found = None
        self._known[signed] = found
        return found

    def signers_in(self, message: Message) -> tuple[Signers | None, ...]:
        """`signers` of each signed request inside a message, in its order."""
        return tuple(self.signers(signed) for signed in requests_in(message))

    def by_turns(self, message: Message) -> Iterator[None]:
        """Recover what is new inside a message, with a pause after every few: then `signers_in`
        has nothing left to recover."""
        recovered = 0
        for signed in requests_in(message):
            if signed in self._known:
                continue
            self.signers(signed)
            recovered += 1
            if not recovered % limits.CHECKS_PER_TURN_MAX:
                yield

    def unknown_in(self, message: Message) -> int:
        """How many signed requests inside a message would have to be recovered."""
        return sum(signed not in self._known for signed in requests_in(message))

    def __len__(self) -> int:
        """The number of cached answers."""
        return len(self._known)
