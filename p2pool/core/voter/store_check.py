"""Whether the disk that this node started from is the one that made its promises.

Intuition: a voter restored from a backup has forgotten votes and acknowledgements, and would give
them a second time. So a starting node takes part in its log only once it has asked its peers what
they remember of its store. They show messages that it signed itself; one that its disk does not
know is the proof: the node gives the disk up for lost, renames the store, and starts over as a
learner. This costs nothing where it matters: nobody can vote or commit without a live quorum, and
that quorum is whom it asks.

Another agent with the same keys, from a copy of the directory, gives itself away by its
incarnation: the earlier agent stops once it sees a message with a later one; the later agent gives
up the shared store if it hears the earlier one go on. That takes several messages in step with our
monotonic clock: a single one may carry the time of a clock that was ahead.

Limits: only the peers that got a promise know those of the last second or so before the disk was
set back, and they may be among the silent ones; two agents started from one disk may both act for
the seconds until one hears of the other.

Invariants: the node answers no Raft frame and does not campaign before enough voters to form a
quorum with it have answered, or, after a while, anybody; a message counts only by its own
signature, under our own keys. Source: docs/design/identities.md, "Checking the store".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.log.raft import HardState
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.messages.queries import DuplicateShown, StoreSeenAnswered, StoreSeenRequested
from p2pool.model.messages.raft import AppendAnswered, AppendRequested, VoteAnswered, VoteRequested
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now


@attrs.frozen
class EarlierRun:
    """An earlier run of this store: its first message, when we heard it, and how many messages kept
    step with our clock."""

    sent_at_ms: int
    heard_ms: int
    words: int


@attrs.define
class StoreCheck:
    """One node's doubt in its own disk. `lost`: why the disk is not what it was; `started_ms`: when
    this run began, on the boot clock. `outrun`: the incarnation of a run that is over and began
    later than this one by the clocks, which were not the same."""

    context: Context
    started_ms: int | None = None
    since_ms: int = 0
    ask_due_ms: int = 0
    lost: str | None = None
    earlier: EarlierRun | None = None
    outrun: int | None = None
    requests: BoundedDict[int, PeerKey] = attrs.field(
        factory=lambda: BoundedDict(limits.REQUESTS_IN_FLIGHT_MAX)
    )
    answered: dict[NodeId, None] = attrs.field(factory=dict)

    def begin(self, now: Now) -> None:
        """Start to doubt: the log was restored from disk, or replaced."""
        self.context.pool_log.doubted = True
        self.since_ms = self.ask_due_ms = now.mono_ms
        self.requests.clear()
        self.answered.clear()

    def end(self) -> None:
        """Stop doubting: the peers have answered, or this log or store is new, without promises."""
        self.context.pool_log.doubted = False
        self.requests.clear()
        self.answered.clear()

    # --- asking -----------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Ask peers that have not answered, and end the doubt once enough have."""
        if self.started_ms is None:
            self.started_ms = now.mono_ms
        if not self.context.pool_log.doubted:
            return
        if self._enough(now):
            self.end()
            self.context.pool_log.take_part(now)
        elif now.mono_ms >= self.ask_due_ms:
            self.ask_due_ms = now.mono_ms + limits.PROBATION_ASK_MS
            self._ask()

    def _ask(self) -> None:
        pool_log, peers = self.context.pool_log, self.context.bindings
        if pool_log.log_id is None:
            return
        voters = dict.fromkeys(v.node_id for v in pool_log.configuration.electors)
        met = [(key, node) for key, node in peers.connected_members() if node not in self.answered]
        met.sort(key=lambda one: one[1] not in voters)
        store_id = self.context.config.me.store_id
        for peer_key, _ in met[: limits.PROBATION_ASKED_MAX]:
            number = self.context.request()
            self.requests[number] = peer_key
            self.context.tell(peer_key, StoreSeenRequested(number, pool_log.log_id, store_id))

    def _enough(self, now: Now) -> bool:
        """Whether enough have answered; also the chain, because it may name another log by now."""
        context = self.context
        if not context.roster.asked:
            return False
        committee, me = context.pool_log.configuration, context.me
        waited_ms = now.mono_ms - self.since_ms
        if not committee.voters:
            return bool(self.answered)
        if committee.has_quorum([v.store_id for v in committee.electors if v.node_id == me]):
            return bool(self.answered) or waited_ms >= limits.PROBATION_ALONE_MS
        known = [v for v in committee.electors if v.node_id == me or v.node_id in self.answered]
        late = waited_ms >= limits.PROBATION_MAX_MS
        return committee.has_quorum([v.store_id for v in known]) or (late and bool(self.answered))

    def on_store_seen_answered(self, message: StoreSeenAnswered, sender: Sender, now: Now) -> None:
        """A peer shows what it remembers of our store."""
        for verified in sender.enclosed:
            if verified is not None:
                self.show(verified, now)
        asked = self.requests.get(message.request) == sender.peer_key
        if asked and message.log_id == self.context.pool_log.log_id and self.lost is None:
            self.answered[sender.node_id] = None

    def on_duplicate_shown(self, message: DuplicateShown, sender: Sender, now: Now) -> None:
        """A peer shows that another run speaks with our keys."""
        for verified in sender.enclosed:
            if verified is not None:
                self.show(verified, now)

    # --- judging ----------------------------------------------------------------------------------

    def show(self, verified: Verified, now: Now) -> None:
        """Judge a message under our own keys, from any agent and any run of it."""
        header, config = verified.header, self.context.config
        if (header.node_id, header.peer_key) != (config.me.node_id, config.me.peer_key):
            return
        if header.incarnation > config.incarnation:
            # A run of another disk, whose clock was ahead, is over if it does not speak now.
            if self._of_our_store(verified)[0] or self._said_now(header.sent_at_ms, now):
                self._superseded()
            else:
                self.outrun = max(header.incarnation, self.outrun or 0)
            return
        if header.incarnation == config.incarnation:
            return
        self.context.note_duplicate(config.me.node_id, config.incarnation, header.sent_at_ms, now)
        if self.lost is not None:
            return
        ours, what = self._of_our_store(verified)
        if not ours:
            return
        if self._is_new(header.sent_at_ms, now) and self._lives(header.sent_at_ms, now):
            self.lost = "another agent speaks for this store while this one runs: it was copied"
        elif what is not None:
            self.lost = f"this disk is an older copy of itself: {what}"

    def begins_anew(self, now: Now) -> bool:
        """Whether this run has to give way to a new one of this agent, which peers heed: one that
        is over outran it, and our clock is mended since."""
        past = self.outrun is not None and now.wall_ms > self.outrun
        return past and self.context.clocks.wrong is None

    @property
    def note(self) -> str | None:
        """Why no peer heeds this run; None if nothing is known of that."""
        if self.outrun is None:
            return None
        return (
            "Peers heard an earlier run of this agent that began later than this one by the clock, "
            "and do not heed this one: the clock was wrong when one of the two began. Check it; "
            "once it is right and past that time, the agent begins anew by itself."
        )

    def _said_now(self, sent_at_ms: int, now: Now) -> bool:
        """Whether a message was sent since we began, by the latest that it may be now: the clock
        that we began with may have been years behind."""
        latest_ms, started_ms = self.context.clocks.latest_ms(now), self.started_ms
        passed_ms = now.mono_ms - started_ms if started_ms is not None else 0
        return latest_ms - limits.CLOCK_SKEW_MAX_MS - passed_ms <= sent_at_ms <= latest_ms

    def _is_new(self, sent_at_ms: int, now: Now) -> bool:
        """Whether our clock dates a message after our start. What an earlier run of ours said, a
        peer may have kept, and can repeat at the pace at which it was said."""
        passed_ms = now.mono_ms - self.started_ms if self.started_ms is not None else 0
        return sent_at_ms > now.wall_ms - passed_ms

    def _lives(self, sent_at_ms: int, now: Now) -> bool:
        """Whether an earlier run of this store still speaks: its messages keep step with our own
        monotonic clock. One alone proves nothing, because its wall clock may have been ahead."""
        first = self.earlier
        sent_ms = sent_at_ms - first.sent_at_ms if first is not None else 0
        heard_ms = now.mono_ms - first.heard_ms if first is not None else 0
        if first is None or sent_ms - heard_ms > limits.CLONE_MARGIN_MS:
            self.earlier = EarlierRun(sent_at_ms, now.mono_ms, 1)
            return False
        in_step = abs(sent_ms - heard_ms) <= limits.CLONE_MARGIN_MS
        if in_step and heard_ms >= first.words * limits.CLONE_MARGIN_MS:
            self.earlier = attrs.evolve(first, words=first.words + 1)
            return first.words + 1 >= limits.CLONE_WORDS
        return False

    def _superseded(self) -> None:
        peers = self.context.bindings
        if peers.superseded is None:
            peers.superseded = "another agent runs with this one's keys, and started later"
            self.context.log(Level.ERROR, peers.superseded, node=self.context.me.hex())

    def _of_our_store(self, verified: Verified) -> tuple[bool, str | None]:
        """Whether a message is from our store in our log, and what the disk forgot of it."""
        pool_log, me, said = self.context.pool_log, self.context.config.me, verified.message
        raft = pool_log.raft
        if raft is None or pool_log.previous_epoch is not None:
            return False, None
        s, hard = raft.state, raft.state.hard
        match said:
            case VoteAnswered() if said.voter == me and said.log_id == s.log_id:
                if said.pre or not said.granted:
                    return True, None
                return True, _vote(hard, said.term, said.candidate.store_id)
            case VoteRequested() if said.candidate == me and said.log_id == s.log_id:
                return True, None if said.pre else _vote(hard, said.term, me.store_id)
            case AppendAnswered() if said.follower == me and said.log_id == s.log_id:
                index = said.match_index if said.ok else 0
                return True, _entry(hard, s.log.last_index, said.term, index)
            case AppendRequested() if said.leader == me and said.log_id == s.log_id:
                return True, _entry(hard, s.log.last_index, said.term, said.previous_index)
            case Heartbeat() if said.store_id == me.store_id and said.epoch == pool_log.epoch:
                forgot = said.applied_index > s.log.last_index or said.term > s.hard.term
                was = f"it was at entry {said.applied_index} in term {said.term}"
                return True, was if forgot else None
        return False, None

    def wakeup_ms(self) -> int | None:
        """When something is due next."""
        return self.ask_due_ms if self.context.pool_log.doubted else None


def _vote(hard: HardState, term: int, voted_for: StoreId) -> str | None:
    """What a vote proves that the disk forgot, or None."""
    forgot = term > hard.term or (term == hard.term and hard.voted_for != voted_for)
    return f"it voted in term {term}" if forgot else None


def _entry(hard: HardState, last_index: int, term: int, index: int) -> str | None:
    """What an acknowledgement or an append proves that the disk forgot, or None. Within a term a
    log never shrinks; a later term may have cut uncommitted entries."""
    forgot = term > hard.term or (term == hard.term and index > last_index)
    return f"it held entry {index} in term {term}" if forgot else None
