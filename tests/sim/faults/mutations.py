"""Bugs planted on purpose: what cannot fail shows nothing, so the simulator has to find each.

A bug is a patch of one function (or two, where one alone would be caught by the other's own rule),
under a name. `python -m tests.sim --mutations --seeds N` tells in how many of N seeds each is
found; the tests run each until it is found once. A seed finds a bug by a check from outside, by an
assertion of the product's own, or because the pool does not come to rest.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from p2pool.agent.wire.ingress import Ingress
from p2pool.codec.digests import task_id
from p2pool.core.context import Context
from p2pool.core.follower.certificate_exchange import CertificateExchange
from p2pool.core.fsm import apply, committee_chain, requests
from p2pool.core.fsm.sizes import StateSizes
from p2pool.core.fsm.state import PoolState
from p2pool.core.inputs import Received
from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.core.knowledge.roster import Roster
from p2pool.core.leader import orders
from p2pool.core.leader.failure_detector import FailureDetector
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.node import Node
from p2pool.core.peers.equivocation import EquivocationLog
from p2pool.core.raft import confchange, election, quorum, read_index, replication
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.acceptance import append_check, log_time
from p2pool.core.raft.log import RaftLog
from p2pool.core.raft.state import RaftState
from p2pool.core.requests.client_requests import ClientRequests, PendingRequest
from p2pool.core.voter.chain_agreement import ChainAgreement
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.voter.signatures import VoterSignatures
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.core.worker import reconcile
from p2pool.core.worker.worker import Worker
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import ZERO_TOKEN
from p2pool.model.log import raft as raft_records
from p2pool.model.log.entries import RequestApplied, Setting
from p2pool.model.log.raft import Configuration, HardState
from p2pool.model.messages.queries import ProbeAnswered
from p2pool.model.ports.agent import Accepted
from p2pool.model.ports.store import SaveHardState
from p2pool.model.states import AllocationState
from tests.sim.faults import faults
from tests.sim.faults.scenario import Shape, tell
from tests.sim.world.disk import Disk
from tests.sim.world.loop import Loops

Patch = tuple[object, str, object]


# --- votes and terms ------------------------------------------------------------------------------


def vote_not_persisted() -> list[Patch]:
    """Term and vote are remembered, but not on the disk."""

    def save_hard(s: RaftState, term: int, voted_for: Any) -> None:
        s.hard = HardState(term, voted_for)

    return [(RaftState, "save_hard", save_hard)]


def votes_twice() -> list[Patch]:
    """Who asks second in a term gets a vote too."""
    asked = election.requested

    def requested(s: RaftState, m: Any, now: Any, opened: Any = ()) -> None:
        if not m.pre and m.term == s.hard.term:
            s.hard = HardState(s.hard.term, None)
        asked(s, m, now, opened)

    return [(election, "requested", requested)]


def votes_for_any_log() -> list[Patch]:
    """A vote for a candidate whose log is behind."""
    return [(RaftLog, "is_up_to_date", lambda self, last_index, last_term: True)]


def _is_heard(event: object) -> bool:
    return isinstance(event, Received)


def timer_reset_by_anything() -> list[Patch]:
    """Whatever a node hears from anybody puts off its election."""
    step = Node.step

    def stepped(self: Node, events: Any, now: Any) -> Any:
        raft = self.context.pool_log.raft
        if raft is not None and isinstance(events, list) and any(map(_is_heard, events)):
            raft.state.restart_election_timer(now)
        return step(self, events, now)

    return [(Node, "step", stepped)]


def heeds_anybody() -> list[Patch]:
    """Whoever asks for a vote gets it, and whoever says that it leads is followed."""
    return [(election, "knows", lambda s, voter: True)]


def any_term_by_one_word() -> list[Patch]:
    """The word of one voter leads to a term of any height."""
    return [
        (election, "reach", lambda s, term, now: True),
        (election, "is_far", lambda s, term: False),
    ]


# --- the log --------------------------------------------------------------------------------------


def half_is_a_majority() -> list[Patch]:
    """Half of the voters are taken for a quorum."""

    def half(voters: int) -> int:
        return max(1, voters // 2)

    return [(raft_records, "majority", half), (quorum, "majority", half)]


def commits_alone() -> list[Patch]:
    """An entry is committed as soon as the leader has it."""
    return [(replication, "advance_commit", lambda s: s.commit_to(s.log.last_index))]


def commits_old_terms() -> list[Patch]:
    """Entries of older terms are counted for commitment (figure 8)."""

    def advance_commit(s: RaftState) -> None:
        matched = {store: p.match_index for store, p in s.progress.items()}
        matched[s.me.store_id] = s.log.last_index
        s.commit_to(quorum.committed(s.configuration, matched))

    return [(replication, "advance_commit", advance_commit)]


def match_off_by_one() -> list[Patch]:
    """A follower is taken to hold one entry more than it says."""
    answered = replication.answered

    def generous(s: RaftState, m: Any, now: Any) -> None:
        more = min(m.match_index + 1, s.log.last_index)
        answered(s, attrs.evolve(m, match_index=more if m.ok else m.match_index), now)

    return [(replication, "answered", generous)]


def cuts_what_follows() -> list[Patch]:
    """A follower cuts its log after what an append brought, conflict or not."""
    requested = replication.requested

    def cutting(s: RaftState, m: Any, now: Any) -> None:
        requested(s, m, now)
        end = m.previous_index + len(m.entries) + 1
        if s.log.base_index < end <= s.log.last_index and not s.leads:
            s.commit_index = min(s.commit_index, end - 1)
            s.cut_from(end)

    return [(replication, "requested", cutting)]


def reads_without_a_round() -> list[Patch]:
    """A leader answers reads because it believes to lead."""
    return [(read_index, "_confirmed", lambda s, read: True)]


def acknowledges_at_once() -> list[Patch]:
    """A request is acknowledged when it is proposed, not when it is committed."""
    propose = ClientRequests._propose

    def eager(self: ClientRequests, item: PendingRequest, signed: Any, now: Any) -> Any:
        done = propose(self, item, signed, now)
        if done is not None or not item.index:
            return done
        name = task_id(self.context.config.pool, signed.request)
        return Accepted(name, item.index, self.context.me)

    return [(ClientRequests, "_propose", eager)]


def snapshot_forgets_the_vote() -> list[Patch]:
    """A snapshot is installed, and term and vote go with the log that it replaces."""
    put = snapshots.put_in_place

    def careless(s: RaftState, snapshot: Any, data: bytes) -> None:
        put(s, snapshot, data)
        s.out.persist.append(SaveHardState(s.log_id, HardState()))

    return [(snapshots, "put_in_place", careless)]


def snapshot_not_installed() -> list[Patch]:
    """A snapshot is answered for, but not installed."""
    return [(snapshots, "put_in_place", lambda s, snapshot, data: None)]


def snapshot_without_a_quorum() -> list[Patch]:
    """A voter installs a snapshot whose state no quorum has certified."""
    return [(PoolLog, "_wants_proof", lambda self: False)]


def committed_gives_way() -> list[Patch]:
    """A follower replaces what is committed by what a leader says."""
    return [(replication, "_contradiction", lambda s, m, known, fresh: None)]


def entries_unread() -> list[Patch]:
    """A follower appends whatever an entry holds."""
    return [(append_check, "refusal", lambda s, entries, offer: None)]


def requests_by_leaders_word() -> list[Patch]:
    """A follower takes a leader's word for who signed a request."""
    return [(PoolLog, "_judges_requests", lambda self, entry: False)]


def bad_bodies_raise() -> list[Patch]:
    """A body that is none raises when it is applied, on every replica that has let it in."""

    def raises(state: PoolState, entry: Any, record: Any) -> Any:
        raise Malformed(f"entry {entry.index} cannot be applied")

    return [*entries_unread(), ("p2pool.core.log.pool_log", "apply", raises)]


def any_setting_counts() -> list[Patch]:
    """A setting has whatever value a leader writes."""

    def raw(state: PoolState, name: str) -> str | None:
        return state.settings.get(name)

    def set_it(changes: Any, record: Setting) -> None:
        changes.state.settings[record.name] = record.value

    return [
        ("p2pool.core.fsm.entry_check", "setting_refusal", lambda name, value: None),
        ("p2pool.core.fsm.entry_check", "takes_request", lambda record: False),
        (apply, "_TABLE", {**apply._TABLE, Setting: set_it}),
        ("p2pool.core.leader.committee", "setting_in", raw),
    ]


# --- log time -------------------------------------------------------------------------------------


def dated_by_one_clock() -> list[Patch]:
    """A leader dates entries by its own clock, does not notice that it is off, and followers take
    whatever date they have."""
    tick = ClockOffsets.tick

    def blind(self: ClockOffsets, committee: Any, chain: Any, now: Any) -> None:
        tick(self, committee, chain, now)
        self.wrong = None

    return [
        (ClockOffsets, "tick", blind),
        (log_time, "date_ms", lambda s, now: max(now.wall_ms, log_time.last_ms(s))),
        (log_time, "taken", lambda s, fresh, now: len(fresh)),
    ]


def any_date_is_taken() -> list[Patch]:
    """Followers take a leader's word for the time."""
    return [(log_time, "taken", lambda s, fresh, now: len(fresh))]


def leads_on_though_refused() -> list[Patch]:
    """A leader whose dates nobody takes leads on for ever; nor do its followers overrule it."""
    return [
        (log_time, "hand_on", lambda s, now: None),
        (LeaderEligibility, "_leader_is_unproven", lambda self, raft, now: False),
    ]


# --- the committee --------------------------------------------------------------------------------


def changes_at_any_time() -> list[Patch]:
    """The committee changes as soon as it might, the last change under way or not, and before an
    entry of the term."""
    return [
        (limits, "COMMITTEE_INTERVAL_MS", 1),
        (confchange, "check", lambda s, wanted, now: None),
        ("p2pool.core.log.pool_log", "open_link", lambda chain: None),
    ]


def changes_before_certification() -> list[Patch]:
    """The voters change although nobody certified the last change. Signing takes no time where
    nothing is wrong, so the voters are slow to sign as well."""
    return [
        (VoterSignatures, "_sign_link", lambda self, link, now: None),
        ("p2pool.core.log.pool_log", "open_link", lambda chain: None),
    ]


def follows_any_change() -> list[Patch]:
    """A follower appends whatever configuration its leader sends."""
    return [
        (
            "p2pool.core.raft.acceptance.append_check",
            "_configuration_wrong",
            lambda before, entry: None,
        )
    ]


def given_up_at_once() -> list[Patch]:
    """A change counts as given up when the leader says so, however early."""
    return [(committee_chain, "_waited_enough", lambda link, at_ms: True)]


def joint_by_the_new_alone() -> list[Patch]:
    """Between two committees a majority of the new one is enough."""
    return [(Configuration, "halves", property(lambda self: (self.voters,)))]


def removed_voter_rests() -> list[Patch]:
    """A server that is not in its latest configuration leaves campaigning to others, although that
    is not committed."""
    return [(RaftState, "may_campaign", property(lambda self: self.is_voter))]


def store_id_ignored() -> list[Patch]:
    """A wiped disk is taken for the old one: its store goes by the name of its node."""
    return [(faults, "renamed", lambda store_id, wiped: store_id)]


# --- disks ----------------------------------------------------------------------------------------


def speaks_first() -> list[Patch]:
    """An agent sends what its write allows before that is durable."""
    return [(Loops, "speaks_first", True)]


def torn_batches() -> list[Patch]:
    """A store keeps any part of a batch that was not synced."""
    return [(Disk, "tears", True)]


# --- tasks ----------------------------------------------------------------------------------------


def token_not_checked() -> list[Patch]:
    """A node obeys whatever order comes, however old."""
    obey = Worker.obey

    def obedient(self: Worker, order: Any, signers: Any, now: Any) -> Any:
        if order.token < self.high_water:
            self.high_water = ZERO_TOKEN
        return obey(self, order, signers, now)

    return [(Worker, "obey", obedient)]


def absence_is_a_stop() -> list[Patch]:
    """What an order does not name is ended."""
    obey = Worker.obey

    def eager(self: Worker, order: Any, signers: Any, now: Any) -> Any:
        answer = obey(self, order, signers, now)
        named = [d.allocation for d in order.desired]
        for item in self.items.values():
            if answer.ok and item.allocation not in named[1:]:
                self._stop(item)
        return answer

    return [(Worker, "obey", eager)]


def gpus_released_too_early() -> list[Patch]:
    """GPUs are free once a copy is told to stop, in the log and on the node."""
    holders = PoolState.holders

    def ended(self: PoolState, node_id: Any) -> Any:
        copies = {c.allocation: c for c in self.on_node(node_id)}
        stopping = (AllocationState.STOPPING, AllocationState.LOST)
        return tuple(
            h
            for h in holders(self, node_id)
            if h.allocation in copies and copies[h.allocation].state not in stopping
        )

    return [(PoolState, "holders", ended), (reconcile, "blocked", lambda item, items: False)]


def stops_left_out() -> list[Patch]:
    """Nodes are never told to stop what was replaced, so it runs on in the end."""
    compose = orders.compose

    def without(*given: Any) -> Any:
        return attrs.evolve(compose(*given), stops=())

    return [(orders, "compose", without)]


def requests_applied_again() -> list[Patch]:
    """A submission that was applied is proposed again, and counts as often as it is in the log."""
    apply_request = requests.apply_request

    def again(changes: Any, record: Any) -> None:
        changes.state.applied.pop(record.signed.request.request_id, None)
        apply_request(changes, record)

    return [
        ("p2pool.core.requests.client_requests", "find_applied", lambda state, request: None),
        ("p2pool.core.fsm.apply", "_TABLE", {**apply._TABLE, RequestApplied: again}),
    ]


def state_without_bounds() -> list[Patch]:
    """Whoever may submit fills the state as far as it likes."""
    return [(StateSizes, "overfull", lambda self, more: None)]


def unknown_is_gone() -> list[Patch]:
    """A chain that cannot be read is taken for an empty pool."""
    unreachable = Roster.unreachable

    def emptied(self: Roster, reason: str) -> None:
        unreachable(self, reason)
        self._in_latest, self._in_final = {}, {}

    return [(Roster, "unreachable", emptied)]


# --- whose word counts ----------------------------------------------------------------------------


def members_prove_a_committee() -> list[Patch]:
    """Most members' word proves a committee, whatever this node has heard of another."""

    def named_by_most(self: CertificateExchange, node_id: Any, now: Any) -> bool:
        context = self.context
        others = [m.node_id for m in context.roster.members() if m.node_id != context.me]
        said = [b.heartbeat for n in others if (b := context.heartbeats.newest.get(n)) is not None]
        epoch = context.pool_log.epoch
        named = sum(beat.leader == node_id and beat.epoch == epoch for beat in said)
        return bool(named > len(others) // 2)

    return [
        (CertificateExchange, "_may_take_word", lambda self, now: True),
        (CertificateExchange, "_named_by_most", named_by_most),
    ]


def commit_not_kept() -> list[Patch]:
    """A voter signs what is committed, and its disk learns of that with some later write."""
    return [(PoolLog, "keep_commit", lambda self: None)]


def leaders_word_is_enough() -> list[Patch]:
    """Whoever has no seat takes a certified leader's word for what is committed."""
    return [(PoolLog, "distrusts", property(lambda self: False))]


def seat_by_leaders_word() -> list[Patch]:
    """Whoever has no seat appends what a certified leader sends, and takes a seat by that."""
    return [(PoolLog, "must_fetch", property(lambda self: False))]


def anybody_is_a_witness() -> list[Patch]:
    """Numbers of questions go up by one, and whoever gives the right one is believed."""
    last: dict[int, int] = {}

    def request(self: Context) -> int:
        last[id(self)] = last.get(id(self), 0) + 1
        return last[id(self)]

    def take_answer(self: FailureDetector, witness: Any, answer: ProbeAnswered) -> None:
        for node_id, suspicion in self.suspicions.items():
            for asked in tuple(suspicion.witnesses):
                if asked[1] != answer.request:
                    continue
                if answer.known and answer.reachable:
                    self.heard(node_id)
                else:
                    suspicion.witnesses[asked] = False
                return

    return [(Context, "request", request), (FailureDetector, "take_answer", take_answer)]


def evidence_under_any_key() -> list[Patch]:
    """Two votes that differ are proof against whatever member they name."""

    def counts_against(self: EquivocationLog, log_id: Any, voter: Any) -> bool:
        named = self.context.roster.belongs(voter.node_id)
        return bool(log_id == self.context.pool_log.log_id and named)

    return [(EquivocationLog, "counts_against", counts_against)]


def one_endpoint_is_believed() -> list[Patch]:
    """What a node's endpoint says counts at once, whatever the voters read."""
    return [(ChainAgreement, "_is_guarded", lambda self: False)]


def silence_confirms() -> list[Patch]:
    """A voter that has not answered is taken to read what we read."""
    count = ChainAgreement._count

    def generous(self: ChainAgreement, key: Any, claim: Any, now: Any) -> Any:
        told = count(self, key, claim, now)
        silent = {v.store_id for v in told.committee.electors} - told.answer
        return attrs.evolve(told, agree=told.agree | silent)

    return [(ChainAgreement, "_count", generous)]


def own_reading_unseats() -> list[Patch]:
    """A voter loses its seat as soon as its leader's own endpoint says that it is out."""
    return [(VoterStandings, "confirmed", lambda self, node_id, now: node_id in self.claims)]


def gossip_without_a_budget() -> list[Patch]:
    """Whatever a member gossips is taken, and all that is inside is opened."""
    return [(Ingress, "_within_budget", lambda self, verified, now: True)]


PLANTED: Mapping[str, Callable[[], list[Patch]]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        vote_not_persisted,
        votes_twice,
        votes_for_any_log,
        timer_reset_by_anything,
        heeds_anybody,
        any_term_by_one_word,
        half_is_a_majority,
        commits_alone,
        commits_old_terms,
        match_off_by_one,
        cuts_what_follows,
        reads_without_a_round,
        acknowledges_at_once,
        snapshot_forgets_the_vote,
        snapshot_not_installed,
        snapshot_without_a_quorum,
        committed_gives_way,
        entries_unread,
        requests_by_leaders_word,
        bad_bodies_raise,
        any_setting_counts,
        dated_by_one_clock,
        any_date_is_taken,
        leads_on_though_refused,
        changes_at_any_time,
        changes_before_certification,
        follows_any_change,
        given_up_at_once,
        joint_by_the_new_alone,
        removed_voter_rests,
        store_id_ignored,
        speaks_first,
        torn_batches,
        commit_not_kept,
        token_not_checked,
        absence_is_a_stop,
        gpus_released_too_early,
        stops_left_out,
        requests_applied_again,
        state_without_bounds,
        unknown_is_gone,
        members_prove_a_committee,
        leaders_word_is_enough,
        seat_by_leaders_word,
        anybody_is_a_witness,
        evidence_under_any_key,
        one_endpoint_is_believed,
        silence_confirms,
        own_reading_unseats,
        gossip_without_a_budget,
    )
}
"""All of them by name."""

FOCUS: Mapping[str, tuple[str, ...]] = {
    "votes-twice": ("kill-leader", "lossy"),
    "votes-for-any-log": ("kill-leader", "one-way", "cut-leader-off"),
    "heeds-anybody": ("usurp",),
    "any-term-by-one-word": ("usurp",),
    "commits-old-terms": ("kill-leader", "cut-leader-off", "slow-disk"),
    "cuts-what-follows": ("cut-leader-off", "flap"),
    "reads-without-a-round": ("cut-leader-off",),
    "acknowledges-at-once": ("cut-leader-off", "kill-leader"),
    "snapshot-forgets-the-vote": ("hold", "crash"),
    "snapshot-not-installed": ("hold", "crash"),
    "snapshot-without-a-quorum": ("forge-snapshot",),
    "committed-gives-way": ("forge-entries",),
    "entries-unread": ("forge-entries",),
    "requests-by-leaders-word": ("forge-entries",),
    "bad-bodies-raise": ("write-junk",),
    "any-setting-counts": ("write-junk",),
    "state-without-bounds": ("overfill",),
    "dated-by-one-clock": ("leap",),
    "any-date-is-taken": ("date-ahead",),
    "leads-on-though-refused": ("date-ahead",),
    "changes-at-any-time": ("wipe", "slow-disk", "one-way"),
    "follows-any-change": ("forge-change",),
    "given-up-at-once": ("give-up-change", "leave"),
    "joint-by-the-new-alone": ("split-change", "leave"),
    "removed-voter-rests": ("strand-change", "leave"),
    "store-id-ignored": ("wipe", "crash"),
    "torn-batches": ("crash-in-step", "kill-leader", "retire"),
    "token-not-checked": ("cut-leader-off",),
    "gpus-released-too-early": ("engine-away", "one-way"),
    "stops-left-out": ("one-way", "cut-leader-off"),
    "requests-applied-again": ("lossy", "wipe", "crash"),
    "unknown-is-gone": ("chain-away",),
    "members-prove-a-committee": ("name-committee",),
    "leaders-word-is-enough": ("mislead",),
    "seat-by-leaders-word": ("mislead",),
    "anybody-is-a-witness": ("bury",),
    "evidence-under-any-key": ("frame",),
    "one-endpoint-is-believed": ("endpoint-lies", "crash"),
    "silence-confirms": ("endpoint-lies", "crash"),
    "own-reading-unseats": ("endpoint-lies", "crash"),
    "gossip-without-a-budget": ("flood",),
}
"""Faults that bring a bug out soon; a test looks with these, the report with the whole mix."""


def finds(name: str, seed: int, *, focused: bool = False) -> str:
    """What a seed says of a pool with this bug, or "" where it finds nothing."""
    shape = Shape.of(seed)
    if focused and name in FOCUS:
        shape = shape.focused(*FOCUS[name])
    try:
        with plant(name):
            tell(seed, shape)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"  # Whatever a seed dies of is a finding.
    return ""


@contextmanager
def plant(name: str) -> Iterator[None]:
    """Have a bug for a while."""
    with ExitStack() as stack:
        for place, attribute, bug in PLANTED[name]():
            stack.enter_context(_patched(place, attribute, bug))
        yield


@contextmanager
def _patched(place: Any, attribute: str, bug: object) -> Iterator[None]:
    if isinstance(place, str):
        place = __import__(place, fromlist=["x"])
    sound = getattr(place, attribute)
    setattr(place, attribute, bug)
    try:
        yield
    finally:
        setattr(place, attribute, sound)
