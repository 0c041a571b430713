"""Verdicts of validators: taken from whoever offers them, and told to all members.

Intuition: a validator is no member, so it offers its verdict to one; that one tells all others, in
gossip, and those who were away hear it later, because all members together repeat what they hold, a
slice at a time. Each member decides for itself whether the account is a validator: a verdict whose
role the chain has not told yet lies aside, and is passed on by nobody.

Invariants: signatures were checked at the way in (`agent.wire.ingress`); what is told anew was kept
before it is told; however many members there are, a slice is repeated as often by all of them
together; a step costs what is due, not what is held; no validator says more than its budget.
Source: docs/design/validation.md, "What becomes of a verdict".
"""

from collections import deque
from random import Random

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import Sender, ValidatorRoleRead, VerdictReceived
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.ids import Address, NodeId, PeerKey
from p2pool.model.messages.verdicts import (
    VerdictAnswered,
    VerdictCode,
    VerdictOffered,
    VerdictsAnnounced,
)
from p2pool.model.ports.store import PersistOp
from p2pool.model.timing import Now
from p2pool.model.validation.verdict import SignedVerdict

SEED_BYTES = 8


@attrs.frozen
class Offer:
    """Who asked us to keep a verdict, and by which number; `peer_key` None: nobody waits for an
    answer (any more)."""

    peer_key: PeerKey | None
    request: int = 0


@attrs.frozen
class Aside:
    """A verdict that waits for the chain's word on its validator. `offer` None: gossip brought
    it, so others have it too."""

    signed: SignedVerdict
    since_ms: int
    offer: Offer | None


def _answered(offer: Offer | None) -> Offer | None:
    """An offer to which an answer was given: once kept, its verdict is still new to others."""
    return None if offer is None else Offer(None)


def _own_random(exchange: "VerdictExchange") -> Random:
    """Members must not repeat in step; what else is drawn at random stays what it was."""
    me = exchange.context.config.me.peer_key
    return Random(int.from_bytes(me[:SEED_BYTES], "big"))


@attrs.define
class VerdictExchange:
    """One node's part in spreading verdicts."""

    context: Context
    fresh: deque[SignedVerdict] = attrs.field(
        factory=lambda: deque(maxlen=limits.VERDICTS_FRESH_MAX)
    )
    aside: dict[Address, dict[NodeId, Aside]] = attrs.field(factory=dict)
    said: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.VERDICTS_PER_VALIDATOR_PER_S,
            limits.VERDICTS_PER_VALIDATOR_BURST,
            limits.VALIDATOR_ROLES_KEPT_MAX,
        )
    )
    rng: Random = attrs.field(default=attrs.Factory(_own_random, takes_self=True))
    gossip_due_ms: int = 0
    repeat_due_ms: int | None = None
    sweep_due_ms: int = 0

    # --- what comes -------------------------------------------------------------------------------

    def on_verdict_offered(self, message: VerdictOffered, sender: Sender, now: Now) -> None:
        """A validator, or somebody to whom it gave its verdict, offers it."""
        offer = Offer(sender.peer_key, message.request)
        guest = not self.context.roster.belongs(sender.node_id)
        self._offered(message.verdict, offer, now, guest=guest)

    def on_verdict_received(self, event: VerdictReceived, now: Now) -> None:
        """A validator told us, on the stream of its challenge."""
        self._offered(event.signed, Offer(None), now, guest=False)

    def on_verdict_answered(self, message: VerdictAnswered, sender: Sender, now: Now) -> None:
        """An answer to an offer: validators make those, and no member does."""
        by = sender.node_id.hex()
        self.context.log(Level.DEBUG, "an answer to a verdict that was not offered", by=by)

    def on_verdicts_announced(self, message: VerdictsAnnounced, sender: Sender, now: Now) -> None:
        """A member tells verdicts: all that were not known are kept."""
        for signed in message.verdicts:
            self._take(signed, None, now, origin=sender.peer_key, guest=False)

    def on_validator_role_read(self, event: ValidatorRoleRead, now: Now) -> None:
        """The chain said whether an account is a validator: what lay aside is kept, or goes."""
        self.context.validator_roles.on_read(event.account, event.holds, now)
        if event.holds is None:
            lying = self.aside.get(event.account, {})
            for node_id, one in tuple(lying.items()):
                self._answer(one.offer, VerdictCode.ROLE_UNKNOWN)
                lying[node_id] = attrs.evolve(one, offer=_answered(one.offer))
            return
        lying = self.aside.pop(event.account, {})
        if event.holds:
            for one in lying.values():
                self._keep(one.signed, one.offer, now)
            return
        for one in lying.values():
            self._answer(one.offer, VerdictCode.NOT_VALIDATOR)
        self._persist(self.context.validations.drop_all_by(event.account))

    # --- taking -----------------------------------------------------------------------------------

    def _offered(self, signed: SignedVerdict, offer: Offer, now: Now, *, guest: bool) -> None:
        origin = offer.peer_key if offer.peer_key is not None else self.context.config.me.peer_key
        self._take(signed, offer, now, origin=origin, guest=guest)

    def _take(
        self, signed: SignedVerdict, offer: Offer | None, now: Now, *, origin: bytes, guest: bool
    ) -> None:
        """Keep a verdict, or lay it aside, or say why not."""
        book, verdict = self.context.validations, signed.verdict
        code = book.refusal(verdict, now)
        if code is not None:
            self._answer(offer, code)
            return
        roles = self.context.validator_roles
        if book.holds(verdict):
            roles.holds(verdict.validator, now)
            self._answer(offer, None)
            return
        holds = roles.holds(verdict.validator, now, origin, guest=guest)
        if holds is False:
            self._answer(offer, VerdictCode.NOT_VALIDATOR)
        elif holds is None:
            self._lay_aside(signed, offer, now)
        elif self.said.admit(verdict.validator, now.mono_ms):
            self._keep(signed, offer, now)
        else:
            self._answer(offer, VerdictCode.BUSY)

    def _lay_aside(self, signed: SignedVerdict, offer: Offer | None, now: Now) -> None:
        verdict = signed.verdict
        lying = self.aside.get(verdict.validator, {})
        known = lying.get(verdict.node_id)
        if known is not None and known.signed.verdict.order > verdict.order:
            self._answer(offer, VerdictCode.OLDER)
            return
        if known is None and not self._has_room(verdict.validator, now):
            self._answer(offer, VerdictCode.BUSY)
            return
        if known is not None:
            self._answer(known.offer, VerdictCode.OLDER)
        if not self.context.validator_roles.is_asked(verdict.validator, now):
            self._answer(offer, VerdictCode.ROLE_UNKNOWN)
            offer = _answered(offer)
        one = Aside(signed, now.mono_ms, offer)
        self.aside.setdefault(verdict.validator, lying)[verdict.node_id] = one

    def _has_room(self, validator: Address, now: Now) -> bool:
        """Whether one more may lie aside: of an account about which the chain is asked, or was in
        vain, so that nobody fills this with names that nobody would ever look up."""
        roles = self.context.validator_roles
        if not roles.is_asked(validator, now) and validator not in roles.unread:
            return False
        of_validator = len(self.aside.get(validator, {}))
        in_all = sum(map(len, self.aside.values()))
        return (
            of_validator < limits.VERDICTS_WAITING_PER_VALIDATOR_MAX
            and in_all < limits.VERDICTS_WAITING_MAX
        )

    def _keep(self, signed: SignedVerdict, offer: Offer | None, now: Now) -> None:
        code = self.context.validations.refusal(signed.verdict, now)
        if code is None:
            self._persist(self.context.validations.keep(signed))
            if offer is not None:
                self.fresh.append(signed)
        self._answer(offer, code)

    def _answer(self, offer: Offer | None, code: VerdictCode | None) -> None:
        if offer is None or offer.peer_key is None:
            return
        kept, said = code is None, code.value if code is not None else ""
        self.context.tell(offer.peer_key, VerdictAnswered(offer.request, kept, said))

    def _persist(self, operations: list[PersistOp]) -> None:
        if operations:
            self.context.effects.append(Persist(tuple(operations)))

    # --- in time ----------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Tell what is new, repeat a slice when it is our turn, forget what counts no more."""
        if self.fresh and now.mono_ms >= self.gossip_due_ms:
            self.gossip_due_ms = now.mono_ms + limits.VERDICTS_GOSSIP_APART_MS
            most = min(len(self.fresh), limits.VERDICTS_PER_GOSSIP_MAX)
            told = tuple(self.fresh.popleft() for _ in range(most))
            self.context.publish(VerdictsAnnounced(told))
        self._repeat(now)
        if now.mono_ms >= self.sweep_due_ms and (self.context.validations.kept or self.aside):
            self.sweep_due_ms = now.mono_ms + limits.VERDICTS_SWEEP_MS
            self._persist(self.context.validations.sweep(now))
            self._ask_again(now)

    def _repeat(self, now: Now) -> None:
        """Repeat a slice. The pause grows with the number of members, each of whom does so."""
        if not self.context.validations.kept:
            self.repeat_due_ms = None
            return
        due_ms = self.repeat_due_ms
        if due_ms is not None and now.mono_ms < due_ms:
            return
        pause_ms = limits.VERDICTS_REPEAT_MS * max(1, self.context.roster.size())
        self.repeat_due_ms = now.mono_ms + pause_ms // 2 + self.rng.randrange(pause_ms)
        if due_ms is None or not self.context.roster.belongs(self.context.me):
            return
        roles, shown = self.context.validator_roles, []
        for one in self.context.validations.to_repeat(now):
            if roles.holds(one.verdict.validator, now):
                shown.append(one)
        if shown:
            self.context.publish(VerdictsAnnounced(tuple(shown)))

    def _ask_again(self, now: Now) -> None:
        """Forget what has lain aside for too long, and ask the chain again about the rest."""
        for validator, lying in tuple(self.aside.items()):
            for node_id, one in tuple(lying.items()):
                if now.mono_ms - one.since_ms >= limits.VERDICTS_WAITING_MS:
                    del lying[node_id]
            if lying:
                self.context.validator_roles.holds(validator, now)
            else:
                del self.aside[validator]

    def wakeup_ms(self) -> int | None:
        """When something is due next; nothing while there is no verdict."""
        dues = [self.repeat_due_ms] if self.repeat_due_ms is not None else []
        if self.fresh:
            dues.append(self.gossip_due_ms)
        if self.context.validations.kept or self.aside:
            dues.append(self.sweep_due_ms)
        return min(dues, default=None)
