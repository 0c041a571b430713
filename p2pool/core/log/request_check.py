"""Which of the requests that a leader writes a follower takes: who signed them, and by what right.

Intuition: an entry says whose request it is, and a leader may lie there. The signature tells
anybody who signed, so a false one is a lie for good, and proof of it. Who may ask is on the chain,
which every node reads for itself, one sooner than another. So a request by an account that has no
right to it, by our roster of now and of the last minutes, waits. It is refused as a date is
(`raft.acceptance.log_time`), until our roster, a certificate, or another leader settles it.

A contract account has no key: only the chain can say whether it signed. The entry names the final
block at which the leader heard yes, and each follower asks its own endpoints about that block.
Until they have answered the entry waits; without a yes of its own no follower takes it from any
leader.

Invariants: what costs most comes last: form, then rights, then the signature, within a budget for
each leader, and the chain's word at the end. A node whose roster is old, or that has none, cannot
tell who has lost or gained a right: it judges the signature alone, or a committee that lost sight
of the chain would stand still. A leader that goes on offering what it wrote itself is doubted, so
that another may lead. What that one took over is taken in the end: it judged the entry too, and
cannot drop it.
Source: docs/design/consensus.md, "What a follower appends".
"""

from typing import Protocol

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.core.fsm.permissions import RULES, never
from p2pool.core.fsm.requests import target_node
from p2pool.core.raft.state import EntryRefusal, Offer, OwnClock, VoterClocks
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers
from p2pool.model.access.verdicts import FinalBlock, Validity, Verdict
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.log.entries import Adopted, RequestApplied
from p2pool.model.log.raft import Entry, Voter
from p2pool.model.timing import Now
from p2pool.proofs.append_proof import Recover, forged


class Rights(Protocol):
    """Who may ask for what, by the roster of this node."""

    def is_current(self, time_ms: int) -> bool:
        """Whether we have read the chain so lately that a right unknown here is none."""

    def rules(self, account: Address, now: Now) -> bool:
        """Whether an account is the pool's creator or manager, or was lately."""

    def provides(self, node_id: NodeId, account: Address, now: Now) -> bool:
        """Whether a node is an account's, or was lately."""


class Verdicts(Protocol):
    """What the chain told this node of contract accounts' signatures."""

    def at(
        self, signed: SignedRequest, block: FinalBlock, origin: bytes, now: Now
    ) -> Verdict | None:
        """The verdict at a block; None: the chain is being asked."""

    def behind_ms(self, verdict: Verdict) -> int:
        """How far a verdict's block lies behind the last final one."""


class NoVerdicts:
    """A node that cannot ask the chain."""

    def at(
        self, signed: SignedRequest, block: FinalBlock, origin: bytes, now: Now
    ) -> Verdict | None:
        """It knows nothing."""
        return Verdict(Validity.UNKNOWN, "this node asks no chain")

    def behind_ms(self, verdict: Verdict) -> int:
        """Nor this."""
        return 0


class NoRoster:
    """A node that never read the chain."""

    def is_current(self, time_ms: int) -> bool:
        """It knows nothing."""
        return False

    def rules(self, account: Address, now: Now) -> bool:
        """Nobody, to its knowledge."""
        return False

    def provides(self, node_id: NodeId, account: Address, now: Now) -> bool:
        """Nor this."""
        return False


@attrs.define
class Held:
    """The entry that waits, and since when."""

    index: int
    term: int
    since_ms: int


@attrs.define
class RequestCheck:
    """One follower's check. `held`: the entry at which its log waits; `taken`: an entry of which
    term was taken in the end, from the leader of which; `told`: what to tell people
    of the leaders whose entries have to wait, `told_ms`: when that was last."""

    pool: PoolRef
    recovers: Recover | None = None
    rights: Rights = attrs.field(factory=NoRoster)
    clocks: VoterClocks = attrs.field(factory=OwnClock)
    verdicts: Verdicts = attrs.field(factory=NoVerdicts)
    budget: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.APPEND_SIGNATURES_PER_S, limits.APPEND_SIGNATURES_BURST, limits.VOTERS_SEEN_MAX
        )
    )
    held: Held | None = None
    taken: tuple[int, int] | None = None
    told: list[tuple[Voter, str]] = attrs.field(factory=list)
    told_ms: int | None = None

    def refusal(
        self, entry: Entry, record: RequestApplied | Adopted, offer: Offer
    ) -> EntryRefusal | None:
        """Why not to append a request, or a copy's submission, now or ever; None to take it."""
        signed, signers = record.signed, Signers(record.signer, record.grantor)
        why = never(self.pool, signed, signers)
        if isinstance(record, Adopted) and signed.request.action is not Action.SUBMIT:
            why = "it adopts what is no submission"
        if why is not None:
            return EntryRefusal(why)
        lacking = self._lacking(signed, signers, offer.now)
        refused = self._waits(entry, offer, lacking) if lacking is not None else None
        if refused is not None or self.recovers is None:
            return refused
        cost = 1 if signed.delegation is None else 2
        if not self.budget.admit(offer.leader.peer_key, offer.now.mono_ms, cost):
            return EntryRefusal("too many signatures came at once", waits=True)
        why = forged(record, self.recovers)
        if why is not None:
            return EntryRefusal(why)
        return self._unjudged(entry, record, offer)

    def _unjudged(
        self, entry: Entry, record: RequestApplied | Adopted, offer: Offer
    ) -> EntryRefusal | None:
        """What becomes of an entry until the chain has told us that its contract accounts signed:
        it waits. Time alone never makes a yes of that. A leader that goes on offering what the
        chain denies is doubted; one whose word we cannot check is not."""
        block = record.judged_at
        if block is None:
            return None
        found = self.verdicts.at(record.signed, block, offer.leader.peer_key, offer.now)
        if found is None:
            return EntryRefusal("the chain is asked about a contract account in it", waits=True)
        why, denied = found.reason, found.validity is Validity.INVALID
        written_now = offer.author(entry) == offer.leader.store_id
        if found.validity is Validity.VALID:
            if (
                not written_now
                or self.verdicts.behind_ms(found) <= limits.CONTRACT_BLOCK_AGE_MAX_MS
            ):
                return None
            why, denied = f"block {block.number} is too long ago to judge a request of now", True
        if denied and written_now:
            return self._waits(entry, offer, why)
        why = f"this node cannot tell whether a contract account signed it: {why}"
        self._hold(entry, offer, why)
        return EntryRefusal(why, waits=True)

    def _lacking(self, signed: SignedRequest, signers: Signers, now: Now) -> str | None:
        """Which right the signers lack, as far as we can tell; None if none."""
        account, request = signers.principal, signed.request
        if self.rights.rules(account, now):
            return None
        if RULES[request.action].provider and signed.delegation is None:
            try:
                if self.rights.provides(target_node(request), account, now):
                    return None
            except Malformed:
                pass  # It names no node, so nobody provides it.
        if not self.rights.is_current(self.clocks.time_ms(now)):
            return None
        who = address_text(account)
        return f"by this node's roster the account {who} may not ask for {request.action.value!r}"

    def _waits(self, entry: Entry, offer: Offer, why: str) -> EntryRefusal | None:
        """What becomes of an entry whose signers lack a right by our roster; None: it is taken."""
        waited_ms, author = self._hold(entry, offer, why), offer.author(entry)
        if author == offer.leader.store_id:
            doubts = waited_ms >= limits.REQUEST_DOUBTED_AFTER_MS
            return EntryRefusal(why, waits=not doubts, may_pass=True)
        # A liar may come back with what it wrote in a term of which we know nothing.
        most_ms = limits.REQUEST_TAKEN_AFTER_MS
        if author is None:
            most_ms = limits.REQUEST_TAKEN_LATE_AFTER_MS
        # What the same leader took over of the same term does not wait again, one by one.
        if waited_ms < most_ms and self.taken != (entry.term, offer.term):
            return EntryRefusal(why, waits=True)
        self.taken = (entry.term, offer.term)
        return None

    def _hold(self, entry: Entry, offer: Offer, why: str) -> int:
        """Note that the log waits at an entry; for how long it has."""
        held, now_ms = self.held, offer.now.mono_ms
        if held is None or (held.index, held.term) != (entry.index, entry.term):
            held = self.held = Held(entry.index, entry.term, now_ms)
            self._tell(offer, why)
        return now_ms - held.since_ms

    def _tell(self, offer: Offer, why: str) -> None:
        """Tell people, but not for each of the entries that a liar takes turns with."""
        now_ms, last_ms = offer.now.mono_ms, self.told_ms
        if last_ms is None or now_ms - last_ms >= limits.REQUEST_DOUBTED_AFTER_MS:
            self.told.append((offer.leader, why))
            self.told_ms = now_ms
