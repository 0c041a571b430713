"""What the chain told this node of contract accounts' signatures, and what it is asked.

Intuition: whoever needs a verdict asks this book, again and again. A verdict that is not here yet
is asked of the chain once, as an effect; the answer comes back as an input, and the next look finds
it. What is valid or invalid at a final block stays so. Not to know is kept for a moment only, then
the chain is asked again.

Invariants: every verdict is about one request and one final block; nobody's question is asked again
while it is under way; who makes us ask has a budget, charged before; the book asks only about
blocks that our own endpoints call final.
Source: docs/design/chain.md, "Contract accounts".
"""

from collections.abc import Callable

import attrs

from p2pool.core.effects import JudgeContractSignatures
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.access.verdicts import FinalBlock, Validity, Verdict
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.timing import Now

Key = tuple[SignedRequest, FinalBlock]


@attrs.frozen
class Known:
    """A verdict, and when it came."""

    verdict: Verdict
    at_ms: int


@attrs.define
class ContractVerdicts:
    """One node's verdicts. `final`: the last final block of our own endpoints, confirmed or not,
    None before they have said any; `newest`: at which block each request was last asked about, and
    since when; `asked_ms`: what is under way; `asks`: what this step asks."""

    final: Callable[[], ChainRoster | None]
    known: BoundedDict[Key, Known] = attrs.field(
        factory=lambda: BoundedDict(limits.CONTRACT_VERDICTS_KEPT_MAX)
    )
    newest: BoundedDict[SignedRequest, tuple[FinalBlock, int]] = attrs.field(
        factory=lambda: BoundedDict(limits.CONTRACT_VERDICTS_KEPT_MAX)
    )
    asked_ms: BoundedDict[Key, int] = attrs.field(
        factory=lambda: BoundedDict(limits.CONTRACT_VERDICTS_KEPT_MAX)
    )
    asks: list[JudgeContractSignatures] = attrs.field(factory=list)
    budget: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.CONTRACT_ASKS_PER_S, limits.CONTRACT_ASKS_BURST, limits.PEERS_TRACKED_MAX
        )
    )

    def now(self, signed: SignedRequest, origin: bytes, now: Now) -> Verdict | None:
        """The verdict at a final block of now, or of a moment ago; None: it will be here soon."""
        final = self.final()
        if final is None:
            return _unknown("this node has not read the chain since its start")
        block, since_ms = self.newest.get(signed, (_block(final), now.mono_ms))
        if now.mono_ms - since_ms >= limits.CONTRACT_BLOCK_KEPT_MS:
            block, since_ms = _block(final), now.mono_ms
        self.newest.renew(signed, (block, since_ms))
        return self._verdict(signed, block, origin, now)

    def at(
        self, signed: SignedRequest, block: FinalBlock, origin: bytes, now: Now
    ) -> Verdict | None:
        """The verdict at this block, as somebody names it; None: it will be here soon."""
        final = self.final()
        if final is None:
            return _unknown("this node has not read the chain since its start")
        if block.number > final.block_number:
            return _unknown(f"block {block.number} is not final yet, as this node reads the chain")
        if block.number == final.block_number and block.block_hash != final.block_hash:
            return Verdict(Validity.INVALID, f"block {block.number} is another one", block)
        return self._verdict(signed, block, origin, now)

    def behind_ms(self, verdict: Verdict) -> int:
        """How far a verdict's block lies behind the last final one that we read."""
        final = self.final()
        return final.block_time_ms - verdict.block_time_ms if final is not None else 0

    def on_judged(
        self, signed: SignedRequest, block: FinalBlock, verdict: Verdict, now: Now
    ) -> None:
        """The chain answered, or nobody did."""
        key = (signed, block)
        self.asked_ms.pop(key, None)
        self.known.renew(key, Known(verdict, now.mono_ms))

    def take(self) -> list[JudgeContractSignatures]:
        """What to ask the chain with this step."""
        asks, self.asks = self.asks, []
        return asks

    def _verdict(
        self, signed: SignedRequest, block: FinalBlock, origin: bytes, now: Now
    ) -> Verdict | None:
        key = (signed, block)
        found = self.known.get(key)
        if found is not None:
            lasts = found.verdict.validity is not Validity.UNKNOWN
            if lasts or now.mono_ms - found.at_ms < limits.CONTRACT_ASK_AGAIN_MS:
                return found.verdict
        asked_ms = self.asked_ms.get(key)
        if asked_ms is not None and now.mono_ms - asked_ms < limits.CONTRACT_ASKED_MAX_MS:
            return found.verdict if found is not None else None
        if not self.budget.admit(origin, now.mono_ms):
            return _unknown("too much was asked of contract accounts at once")
        self.asked_ms.renew(key, now.mono_ms)
        final = self.final()
        assert final is not None
        later = _block(final)
        self.asks.append(JudgeContractSignatures(signed, block, later if later != block else None))
        return found.verdict if found is not None else None


def _block(roster: ChainRoster) -> FinalBlock:
    return FinalBlock(roster.block_number, roster.block_hash)


def _unknown(reason: str) -> Verdict:
    return Verdict(Validity.UNKNOWN, reason)
