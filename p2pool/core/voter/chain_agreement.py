"""What the chain says counts once others read it too: asked of the voters, and counted.

Intuition: one endpoint can lie, and by its word alone a node would follow a false log, obey a false
manager or end all its work. So what our endpoints say otherwise than before is a claim. Two
endpoints that give the same contents settle whatever gives (a member, a root record of a higher
epoch). Everything else, and all of it where there is one endpoint, needs a majority of the voters:
each answers a digest of what it reads itself, confirmed or not, so nobody waits for anybody.

What takes work away (an end, a removal, another manager, a lower epoch) needs the voters in any
case; who does not answer, or has not read that far, counts as no. Of one who is put out, all voters
but itself are asked. Where one endpoint each is all that the pool has, and all may be one
provider's, many removals at once go slowly, and an end is held, for ten minutes at most: time for
people to look.

If fewer than a majority of the voters answer at all, they may be gone for good, and their pool with
them. Then a member that joined counts after a minute, and a root record of a higher epoch (their
pool's recovery) after ten, unless anybody that answers reads otherwise.

A node that knows no voters takes its endpoints' word, and so does one in a pool whose agents do not
all know these questions. If it has one endpoint, that is a problem that it shows.

Invariants: an answer counts for a while, and only from blocks not older than those of the claim, of
the same hash where the height is the same; questions are bounded by the committee, and in a large
pool as rare as heartbeats; a claim costs something when it comes, is answered or is due.
Source: docs/design/chain.md, "Who confirms it".
"""

from collections import deque

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.core.chain_claims import Claim, Fact, Key, Word
from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import ChainObserved, Sender
from p2pool.core.voter import first_level_questions
from p2pool.core.voter.claim_count import Count, count
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import DIGEST_BYTES, Digest, NodeId
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.messages.queries import (
    ChainReadAnswered,
    ChainReadRequested,
    RemovalConfirmed,
    RemovalConfirmRequested,
)
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import PersistOp
from p2pool.model.timing import Now

NOTHING = Digest(bytes(DIGEST_BYTES))
NAMED_MAX = 3


@attrs.define
class ChainAgreement:
    """What this node's endpoints say that is not confirmed yet, and what the voters read of it.

    `agreed`: our endpoints agree among themselves. `final_epoch_max`: the highest epoch that we
    read in a final block since the start. `removals`: when members lately went by the voters' word.
    """

    context: Context
    standings: VoterStandings
    agreed: bool = False
    final_epoch_max: int = 0
    request: int = 0
    asked: tuple[NodeId, ...] = ()
    asked_times: int = 0
    turn: int = 0
    ask_due_ms: int = 0
    count_due_ms: int = 0
    removals: deque[int] = attrs.field(factory=deque)

    # --- our own endpoints ------------------------------------------------------------------------

    def on_chain_observed(self, event: ChainObserved, now: Now) -> None:
        """Our endpoints said something."""
        roster = self.context.roster
        roster.guarded, self.agreed = self._is_guarded(), event.agreed
        before = dict(roster.claims)
        self._keep(roster.observe(event.latest, event.final, now, event.warning))
        root = event.final.root
        self.final_epoch_max = max(self.final_epoch_max, root.epoch if root is not None else 0)
        self.count_due_ms = now.mono_ms
        if any(before.get(key) is not claim for key, claim in roster.claims.items()):
            self.ask_due_ms, self.asked_times = now.mono_ms, 0

    def _is_guarded(self) -> bool:
        """Whether there are voters to confirm what we read, who know the question."""
        state = self.context.pool_log.state
        return (
            state is not None and state.level >= DISTRUST_LEVEL and bool(self._committee().voters)
        )

    def _committee(self) -> Configuration:
        """That of the log that we hold: the voters of an epoch that has not begun are unknown."""
        held = self.context.pool_log.previous_epoch
        return held.raft.state.configuration if held else self.context.pool_log.configuration

    def _others(self) -> tuple[Voter, ...]:
        return tuple(v for v in self._committee().electors if v.node_id != self.context.me)

    def _keep(self, operations: list[PersistOp]) -> None:
        context = self.context
        if operations:
            context.effects.append(Persist(tuple(operations)))
        context.effects += context.bindings.rejudge(context.roster.belongs)

    # --- what is due ------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Let what is confirmed count, and ask about the rest."""
        claims = self.context.roster.claims
        if self.standings.tick(now):
            self.ask_due_ms, self.asked_times = now.mono_ms, 0
        if claims and now.mono_ms >= self.count_due_ms:
            self.count_due_ms = now.mono_ms + limits.CHAIN_ASK_MS
            due = [key for key, claim in claims.items() if self._counts(key, claim, now)]
            if due:
                self._say(due, claims)
                self._keep(self.context.roster.accept(due, now))
        if now.mono_ms >= self.ask_due_ms and (claims or self.standings.asked()):
            self._ask(now)

    def wakeup_ms(self) -> int | None:
        """When to count or to ask next."""
        if self.context.roster.claims:
            return min(self.count_due_ms, self.ask_due_ms)
        return self.ask_due_ms if self.standings.asked() else None

    def _say(self, keys: list[Key], claims: dict[Key, Claim]) -> None:
        taken = [key for key in keys if claims[key].takes]
        if taken:
            self.context.log(Level.INFO, "the chain takes away", what=_named(taken))

    # --- counting ---------------------------------------------------------------------------------

    def _counts(self, key: Key, claim: Claim, now: Now) -> bool:
        """Whether a claim counts by now."""
        if self.agreed and not claim.takes:
            return True
        count, age_ms = self._count(key, claim, now), now.mono_ms - claim.since_ms
        claim.held = False
        if not count.confirmed:
            alone_ms = limits.CHAIN_HOLD_MS if key is Fact.ROOT else limits.CHAIN_JOIN_ALONE_MS
            return not claim.takes and count.alone and age_ms >= alone_ms
        if not claim.takes or self.agreed or age_ms >= limits.CHAIN_HOLD_MS:
            return True
        claim.held = key is Fact.STATUS or not (isinstance(key, Fact) or self._may_go(now))
        return not claim.held

    def _count(self, key: Key, claim: Claim, now: Now) -> Count:
        return count(self._committee(), key, claim, self.context.me, now)

    def _may_go(self, now: Now) -> bool:
        """Whether one more member may go now; it then counts among those that went."""
        while self.removals and now.mono_ms - self.removals[0] >= limits.CHAIN_REMOVALS_WINDOW_MS:
            self.removals.popleft()
        if len(self.removals) >= max(1, self.context.roster.size() // limits.CHAIN_REMOVALS_SHARE):
            return False
        self.removals.append(now.mono_ms)
        return True

    # --- asking and answering ---------------------------------------------------------------------

    def _ask(self, now: Now) -> None:
        """Ask the other voters, all at once; the next part of many members with the next question.

        Often at first, since others read a block a moment later, then more slowly."""
        context = self.context
        soon = self.asked_times < limits.CHAIN_ASKED_SOON
        pause_ms = limits.CHAIN_ASK_MS if soon else limits.CHAIN_ASK_MAX_MS
        others = self._others()
        if len(others) == len(self._committee().electors):
            pause_ms = max(pause_ms, context.heartbeats.interval_ms(context.roster.size()) // 5)
        self.asked_times += 1
        self.ask_due_ms = now.mono_ms + pause_ms
        members = (NodeId(key) for key in context.roster.claims if not isinstance(key, Fact))
        nodes = list(dict.fromkeys((*self.standings.asked(), *members)))
        self.turn = self.turn if self.turn < len(nodes) else 0
        self.asked = tuple(nodes[self.turn : self.turn + limits.CHAIN_FACTS_MAX])
        self.turn += limits.CHAIN_FACTS_MAX
        self.request = context.request()
        for message in self._questions():
            for voter in others:
                context.tell(voter.peer_key, message)

    def _questions(self) -> list[Message]:
        """One question about everything; in a pool of the first level, one for each voter."""
        if self._is_guarded():
            return [ChainReadRequested(self.request, self.asked)]
        return [
            first_level_questions.question(self.request, node_id, claim)
            for node_id, claim in self.standings.claims.items()
            if node_id in self.standings.asked()
        ]

    def on_chain_read_requested(
        self, message: ChainReadRequested, sender: Sender, now: Now
    ) -> None:
        """Say what our own endpoints say, confirmed or not."""
        reading = self.context.roster.reading
        answer = ChainReadAnswered(
            request=message.request,
            latest_block=reading.latest.block_number if reading is not None else 0,
            final_block=reading.final.block_number if reading is not None else 0,
            final_hash=reading.final.block_hash if reading is not None else NOTHING,
            final_epoch_max=self.final_epoch_max,
            root=reading.digest(Fact.ROOT) if reading is not None else NOTHING,
            rulers=reading.digest(Fact.RULERS) if reading is not None else NOTHING,
            status=reading.digest(Fact.STATUS) if reading is not None else NOTHING,
            members=tuple(map(reading.digest, message.nodes)) if reading is not None else (),
        )
        self.context.tell(sender.peer_key, answer)

    def on_chain_read_answered(self, message: ChainReadAnswered, sender: Sender, now: Now) -> None:
        """A voter's answer to our newest question."""
        by = (sender.node_id, sender.peer_key)
        voters = [(v.node_id, v.peer_key) for v in self._others()]
        if message.request != self.request or by not in voters:
            return
        read: dict[Key, Digest] = {
            Fact.ROOT: message.root,
            Fact.RULERS: message.rulers,
            Fact.STATUS: message.status,
        }
        # One that has read nothing names no member: it was heard, and confirms none.
        read |= dict.fromkeys(self.asked, NOTHING)
        read |= dict(zip(self.asked, message.members, strict=False))
        for key, digest in read.items():
            for claim in self._about(key):
                claim.words[sender.node_id] = _word(key, claim, digest, message, now)
        self.count_due_ms = now.mono_ms

    def _about(self, key: Key) -> list[Claim]:
        """The claims about one thing: what we do not go by yet, and that a voter is out."""
        found = [self.context.roster.claims.get(key)]
        if not isinstance(key, Fact):
            found.append(self.standings.claims.get(key))
        return [claim for claim in found if claim is not None]

    def on_removal_confirm_requested(
        self, message: RemovalConfirmRequested, sender: Sender, now: Now
    ) -> None:
        """An agent of the first level asks."""
        answer = first_level_questions.answer(message, self.context.roster)
        self.context.tell(sender.peer_key, answer)

    def on_removal_confirmed(self, message: RemovalConfirmed, sender: Sender, now: Now) -> None:
        """A voter's answer to our newest question, in a pool of the first level."""
        claim = self.standings.claims.get(message.node_id)
        if claim is not None and message.request == self.request:
            claim.words[sender.node_id] = first_level_questions.word(message, claim, now)

    # --- for people -------------------------------------------------------------------------------

    def problems(self, now: Now) -> list[str]:
        """What people should look at."""
        roster, out = self.context.roster, []
        others = self._others()
        if roster.reading is not None and not self.agreed and not (roster.guarded and others):
            out.append(
                "What the chain says is taken from one endpoint: no other endpoint and no voter"
                " confirms it. Add a second one to [chain] endpoints."
            )
        otherwise: list[Key] = []
        unconfirmed: list[Key] = []
        held: list[Key] = []
        for key, claim in list(roster.claims.items())[: limits.CHAIN_FACTS_MAX]:
            age_ms = now.mono_ms - claim.since_ms
            contradicted = self._count(key, claim, now).contradicted
            if claim.held:
                held.append(key)
            elif contradicted and age_ms >= limits.CONFIRM_LIFETIME_MS:
                otherwise.append(key)
            elif age_ms >= limits.CHAIN_HOLD_MS:
                unconfirmed.append(key)
        if otherwise:
            out.append(
                "The voters read the chain otherwise than this agent's endpoints, which it does not"
                f" believe about {_named(otherwise)}: check [chain] endpoints."
            )
        if unconfirmed:
            out.append(self._why_unconfirmed(unconfirmed, now))
        if held:
            out.append(
                f"The chain takes much away at once, and goes slowly: {_named(held)}. Each waits"
                f" {limits.CHAIN_HOLD_MS // 60_000} min at most; a second one in [chain] endpoints"
                " ends the wait."
            )
        return out

    def _why_unconfirmed(self, keys: list[Key], now: Now) -> str:
        """Which voters did not confirm what we read, for ten minutes and more."""
        claim = self.context.roster.claims[keys[0]]
        blind = [
            address_text(voter.node_id)
            for voter in self._others()
            if (word := claim.word(voter.node_id, now)) is None or word.agrees is None
        ]
        return (
            f"No majority of the voters confirms what this agent reads of {_named(keys)}. These do"
            f" not answer, or cannot read the chain that far: {', '.join(blind) or 'none'}."
            " See to their [chain] endpoints."
        )


def _word(key: Key, claim: Claim, digest: Digest, said: ChainReadAnswered, now: Now) -> Word:
    """What an answer means for a claim."""
    agrees: bool | None = digest == claim.digest
    if said.latest_block < claim.latest_block or said.final_block < claim.final_block:
        agrees = None
    elif said.final_block == claim.final_block and said.final_hash != claim.final_hash:
        agrees = False
    elif key is Fact.ROOT and claim.takes and said.final_epoch_max >= claim.epoch:
        agrees = False  # It did read the higher epoch: somebody took the record back.
    return Word(agrees, now.mono_ms)


def _named(keys: list[Key]) -> str:
    """What claims are about, for people."""
    facts = [key.value for key in keys if isinstance(key, Fact)]
    nodes = [address_text(NodeId(key)) for key in keys if not isinstance(key, Fact)]
    more = len(nodes) - NAMED_MAX
    shown = nodes[:NAMED_MAX] + ([f"{more} more members"] if more > 0 else [])
    return ", ".join((*facts, *shown))
