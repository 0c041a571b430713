"""Client requests: from the local API or a peer to the leader, and the answer back.

Intuition: the node that gets a request holds it until its deadline and brings it to the leader,
again and again if the leader changes. That is safe because a request applies once, however often it
is proposed. A forwarder has no rights of its own: the leader judges only the inner signatures.

Invariants: each request gets exactly one answer, by its deadline; an accepted one is committed, and
a refused one was judged on a state that a quorum had confirmed to be the newest; a client that
asked here reads its own write here, if this node catches up in time.
Source: docs/design/consensus.md, "Requests and consistent reads"; Raft, section 8 (clients).
"""

from collections.abc import Iterator

import attrs

from p2pool.codec.cbor.structs import lowest_level
from p2pool.codec.digests import task_id
from p2pool.codec.entries import encode_body
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.reserved_keys import nested, unheeded
from p2pool.core.context import Context
from p2pool.core.effects import Reply
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.fsm.permissions import may, never, refused_by_state
from p2pool.core.fsm.requests import (
    INTENT_OF,
    find_applied,
    refusal,
    secrets_in,
    target_node,
    unfit,
)
from p2pool.core.fsm.state import PoolState
from p2pool.core.inputs import Asked, Sender
from p2pool.core.secrets.distribution import SecretDistribution
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers
from p2pool.model.access.verdicts import FinalBlock, Validity, Verdict
from p2pool.model.errors import (
    BadSignature,
    BadSpec,
    ChainUnavailable,
    Conflict,
    NoLeader,
    NotAllowed,
    NotFound,
    Overloaded,
    P2poolError,
    Unavailable,
    error_for_code,
)
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import TASK_ID_BYTES, Digest, NodeId, PeerKey, TaskId
from p2pool.model.log.entries import RequestApplied
from p2pool.model.log.raft import Entry
from p2pool.model.messages.queries import (
    ForwardAnswered,
    ReadIndexAnswered,
    ReadIndexRequested,
    RequestForwarded,
)
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now

NO_TASK = TaskId(bytes(TASK_ID_BYTES))
RETRIED = frozenset({"no-leader", "unavailable"})
OURS = b""
"""On whose account this agent's own clients have the chain asked."""


@attrs.frozen
class Local:
    """The local API asked."""

    request_id: int


@attrs.frozen
class Remote:
    """A peer asked, under its own number."""

    peer_key: PeerKey
    request: int
    node_id: NodeId


@attrs.define
class PendingRequest:
    """One request without an answer yet. `signed` None: a read. `judging`: the chain is asked about
    its contract accounts. `blob`: of the secrets that it brings, if any."""

    number: int
    origin: Local | Remote
    deadline_ms: int
    signed: SignedRequest | None = None
    signers: Signers | None = None
    index: int = 0
    term: int = 0
    sent_to: NodeId | None = None
    retry_ms: int = 0
    result: Accepted | None = None
    wait_index: int = 0
    wait_until_ms: int = 0
    judging: bool = False
    blob: Digest | None = None


@attrs.define
class ClientRequests:
    """All open requests at one node."""

    context: Context
    replica: FollowerReplica
    secrets: SecretDistribution
    pending: dict[int, PendingRequest] = attrs.field(factory=dict)

    # --- where they come from ---------------------------------------------------------------------

    def on_asked(self, asked: Asked, now: Now) -> None:
        """The local API asks."""
        request = asked.request
        origin = Local(asked.request_id)
        if len(self.pending) >= limits.REQUESTS_IN_FLIGHT_MAX:
            self._answer(origin, Overloaded("Too many requests are open here.", hint="Retry."))
            return
        deadline_ms = now.mono_ms + min(asked.deadline_ms, limits.REQUEST_DEADLINE_MS)
        signed = request.signed if isinstance(request, SubmitCommand) else None
        state = self.context.pool_log.state
        by_contract = signed is not None and signed.by_contract
        if by_contract and state is not None and state.level < DISTRUST_LEVEL:
            self._answer(origin, _no_contracts())  # An older leader could not even read it.
            return
        new = PendingRequest(
            number=self.context.request(),
            origin=origin,
            deadline_ms=deadline_ms,
            signed=signed,
            signers=asked.signers,
        )
        if isinstance(request, SubmitCommand):
            try:
                new.blob = self._take_secrets(request, now)
            except P2poolError as error:
                self._answer(origin, error)
                return
        self._add(new, now)

    def _take_secrets(self, command: SubmitCommand, now: Now) -> Digest | None:
        """Keep the blob that came with a request, and name it; None if the request has none."""
        try:
            secrets = secrets_in(command.signed.request, self.context.level)
        except P2poolError:
            return None  # The leader says what is wrong with it, by the newest state.
        if secrets.sealed:
            self.secrets.take(secrets, command.secrets, now)
            return Digest(bytes.fromhex(secrets.digest))
        if command.secrets is not None:
            raise BadSpec("Encrypted secrets came with a request that names none.")
        return None

    def on_request_forwarded(self, message: RequestForwarded, sender: Sender, now: Now) -> None:
        """A peer forwards a request, because it believes that we lead."""
        if sender.signers:  # Else nobody recovered its signers, and the peer sends it again.
            signers = sender.signers[0]
            self._remote(
                sender.peer_key, message.request, message.via, message.signed, signers, now
            )

    def on_read_index_requested(
        self, message: ReadIndexRequested, sender: Sender, now: Now
    ) -> None:
        """A peer asks up to which index it must read to be up to date."""
        node_id = self.context.bindings.node_of(sender.peer_key) or self.context.me
        self._remote(sender.peer_key, message.request, node_id, None, None, now)

    def _remote(
        self,
        peer_key: PeerKey,
        request: int,
        via: NodeId,
        signed: SignedRequest | None,
        signers: Signers | None,
        now: Now,
    ) -> None:
        number = self.context.request()
        deadline_ms = now.mono_ms + limits.FORWARD_DEADLINE_MS
        origin = Remote(peer_key, request, via)
        new = PendingRequest(
            number=number, origin=origin, deadline_ms=deadline_ms, signed=signed, signers=signers
        )
        held = sum(
            isinstance(p.origin, Remote) and p.origin.peer_key == peer_key
            for p in self.pending.values()
        )
        if held >= limits.FORWARDS_PER_PEER_MAX:
            self._finish(new, Overloaded("Too many requests came from one peer.", hint="Retry."))
        elif not self._will_lead():
            self._finish(new, NoLeader("This node does not lead."))
        else:
            self._add(new, now)

    def _add(self, new: PendingRequest, now: Now) -> None:
        self.pending[new.number] = new
        self._advance(new, now)

    # --- what happens to them ---------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Advance open requests, and end those past their deadline."""
        for item in tuple(self.pending.values()):
            self._advance(item, now)

    def _advance(self, item: PendingRequest, now: Now) -> None:
        context = self.context
        if item.result is not None:
            if self._caught_up(item.wait_index) or now.mono_ms >= item.wait_until_ms:
                self._finish(item, item.result)
        elif now.mono_ms >= item.deadline_ms:
            self._finish(item, self._too_late(item, now))
        elif context.pool_log.leads:
            item.retry_ms = 0
            if item.index == 0 and item.sent_to != context.me:
                self._here(item, now)
        elif not isinstance(item.origin, Remote):
            self._forward(item, now)
        elif not self._will_lead():
            self._finish(item, NoLeader("This node no longer leads."))

    def _will_lead(self) -> bool:
        """Whether we lead, or are elected and start once an entry of ours is committed."""
        return self.context.pool_log.role is RaftRole.LEADER

    def _here(self, item: PendingRequest, now: Now) -> None:
        """We lead: propose it, or start the read."""
        pool_log = self.context.pool_log
        if item.signed is None:
            item.sent_to = self.context.me
            pool_log.read(item.number, now)
            return
        self._judge(item, item.signed, now, confirmed=False)

    def _judge(
        self, item: PendingRequest, signed: SignedRequest, now: Now, *, confirmed: bool
    ) -> None:
        """Propose a request, or refuse it. A refusal is a read, so it waits until a quorum has
        confirmed that we lead: a leader that slept, or is new, may judge by old state.
        """
        if item.judging and self._verdict(item, signed, now) is None:
            return
        try:
            done = self._propose(item, signed, now)
        except (BadSignature, Unavailable) as error:
            self._finish(item, error)
        except P2poolError as error:
            if confirmed:
                self._finish(item, error)
            else:
                item.sent_to = self.context.me
                self.context.pool_log.read(item.number, now)
        else:
            if done is not None:
                self._accept(item, done, now)

    def _propose(self, item: PendingRequest, signed: SignedRequest, now: Now) -> Accepted | None:
        """Judge a request and propose it; return its acceptance if it was applied before."""
        pool_log, roster = self.context.pool_log, self.context.roster.latest
        state = pool_log.state
        assert state is not None
        if item.signers is None:
            raise BadSignature("The request's signature is bad.", hint="Sign it again.")
        if roster is None:
            raise Unavailable("The leader has no roster yet.", hint="Retry in a few seconds.")
        if lowest_level(signed) > state.level:
            raise Conflict(
                f"The pool is at feature level {state.level}, which knows no quotas.",
                hint="Use a delegation without one, or see who is behind: p2pool pool show.",
            )
        time_ms = self.context.clocks.time_ms(now)
        denied = may(roster, state, item.signers, signed, time_ms // 1000)
        if denied is not None:
            raise denied
        why = never(self.context.config.pool, signed, item.signers)
        if why is not None:
            raise NotAllowed(f"No voter would take that: {why}.", hint="Sign a new request.")
        if signed.by_contract and state.level < DISTRUST_LEVEL:
            raise _no_contracts()
        found = find_applied(state, signed.request)
        if found is not None:
            return self._accepted(found.task_id, found.index, duplicate=True)
        self._check_known(state, signed)
        if signed.request.action is Action.SUBMIT and self.context.roster.ended:
            raise Conflict("The pool has ended.", hint="Choose another pool.")
        if state.level < DISTRUST_LEVEL:
            time_ms = max(time_ms, state.log_time_ms)  # As the log will judge it.
        refused = nested(signed.request) or refusal(state, signed.request, time_ms)
        refused = refused or unheeded(signed.request) or unfit(state, signed)
        if refused is not None:
            raise refused
        judged_at = None
        if signed.by_contract:
            judged_at = self._judged_at(item, signed, now)
            if judged_at is None:
                item.judging, item.sent_to = True, None  # The next step looks again.
                return None
            item.judging = False
        # After the chain: nobody fills the voters' disks in the name of a contract.
        if not self._spread_secrets(item, signed, state, now):
            item.sent_to = None  # The next step looks again.
            return None
        origin = item.origin
        via = origin.node_id if isinstance(origin, Remote) else self.context.me
        record = RequestApplied(
            signed=signed,
            via=via,
            signer=item.signers.signer,
            grantor=item.signers.grantor,
            judged_at=judged_at,
        )
        kind, body = encode_body(record, state.level)
        # A committee of one commits while it proposes: set the index first.
        item.index, item.term = pool_log.last_index + 1, pool_log.term
        pool_log.propose(kind, body, now)
        return None

    def _judged_at(
        self, item: PendingRequest, signed: SignedRequest, now: Now
    ) -> FinalBlock | None:
        """The final block at which the chain says that contract accounts signed a request; None:
        it has not answered yet. Raises where it says no, and where nobody can tell."""
        found = self._verdict(item, signed, now)
        if found is None:
            return None
        if found.validity is Validity.INVALID:
            raise BadSignature(
                f"By the chain, {found.reason}.",
                hint="Have it signed by the contract's present owners, for this pool's chain.",
            )
        if found.validity is Validity.UNKNOWN:
            raise ChainUnavailable(
                f"The leader cannot tell whether a contract account signed it: {found.reason}.",
                hint="Send the same request again in a while.",
            )
        return found.block

    def _verdict(self, item: PendingRequest, signed: SignedRequest, now: Now) -> Verdict | None:
        origin = item.origin.peer_key if isinstance(item.origin, Remote) else OURS
        return self.context.verdicts.now(signed, origin, now)

    def _spread_secrets(
        self, item: PendingRequest, signed: SignedRequest, state: PoolState, now: Now
    ) -> bool:
        """Whether most voters hold the secrets of a request; it waits until they do."""
        secrets = secrets_in(signed.request, state.level)
        if not secrets.sealed:
            return True
        item.blob = Digest(bytes.fromhex(secrets.digest))
        source = item.origin.peer_key if isinstance(item.origin, Remote) else None
        return self.secrets.is_spread(item.blob, source, now)

    def _check_known(self, state: PoolState, signed: SignedRequest) -> None:
        """`NotFound` for a node that neither the chain nor the pool's state knows: a record of it
        would stay for ever, and whoever asked meant another."""
        if signed.request.action not in INTENT_OF:
            return
        node_id = target_node(signed.request)
        roster = self.context.roster
        if not (node_id in state.nodes or node_id in roster.standings or roster.belongs(node_id)):
            raise NotFound(
                f"The pool knows no node {address_text(node_id)}.",
                hint="List the nodes: p2pool node ls --all.",
            )

    def applied(self, entry: Entry, now: Now) -> None:
        """An entry was applied: answer the request that waits for it."""
        for item in tuple(self.pending.values()):
            if item.index != entry.index or item.signed is None or item.result is not None:
                continue
            if item.term != entry.term:
                item.index = 0  # Another leader's entry took its place: propose it again.
                continue
            state = self.context.pool_log.state
            assert state is not None
            found = state.applied.get(item.signed.request.request_id)
            if found is not None:
                self._accept(item, self._accepted(found.task_id, found.index), now)
            else:
                late = refusal(state, item.signed.request, entry.proposed_at_ms)
                late = late or unfit(state, item.signed)
                if late is None and item.signers is not None:
                    late = refused_by_state(state, item.signed, item.signers)
                self._finish(
                    item, late or Conflict("Something else came before it.", hint="Retry.")
                )

    def readable(self, number: int, index: int, now: Now) -> None:
        """Our own read as leader has its index: answer it, or judge a pending refusal again."""
        item = self.pending.get(number)
        if item is not None and item.signed is not None:
            self._judge(item, item.signed, now, confirmed=True)
        elif item is not None:
            self._accept(item, self._accepted(NO_TASK, index), now)

    def unreadable(self, number: int) -> None:
        """We stepped down before the read was confirmed: start it over."""
        item = self.pending.get(number)
        if item is not None:
            item.sent_to = None

    def deposed(self) -> None:
        """We no longer lead: our proposals may or may not commit; ask the next leader."""
        for item in self.pending.values():
            item.index, item.sent_to = 0, None

    def drop_all(self, error: P2poolError) -> list[Reply]:
        """This node has fallen silent: answer every local request with that error."""
        local = [p.origin.request_id for p in self.pending.values() if isinstance(p.origin, Local)]
        self.pending.clear()
        return [Reply(request_id, error) for request_id in local]

    # --- at another leader ------------------------------------------------------------------------

    def _forward(self, item: PendingRequest, now: Now) -> None:
        leader = self.context.leader(now)
        if leader is None or leader == self.context.me:
            item.retry_ms = 0  # An input will name the next leader, and we ask it at once.
            return
        if item.sent_to == leader and now.mono_ms < item.retry_ms:
            return
        if now.mono_ms < item.retry_ms and item.sent_to is None:
            return
        item.sent_to, item.retry_ms = leader, now.mono_ms + limits.FORWARD_RETRY_MS
        if item.signed is None:
            self.context.send(leader, ReadIndexRequested(item.number))
        else:
            if item.blob is not None:
                self.secrets.give(item.blob, leader, now)
            self.context.send(leader, RequestForwarded(item.number, item.signed, self.context.me))

    def on_forward_answered(self, message: ForwardAnswered, sender: Sender, now: Now) -> None:
        """The leader's answer to a request that we forwarded."""
        item = self._of(sender.peer_key, message.request)
        if item is None or item.signed is None:
            return
        if not message.code:
            name = task_id(self.context.config.pool, item.signed.request)
            done = Accepted(
                task_id=name,
                index=message.accepted_index,
                leader=message.leader,
                replicated=message.replicated,
                duplicate=message.duplicate,
            )
            self._accept(item, done, now)
        elif message.code in RETRIED:
            item.sent_to, item.retry_ms = None, now.mono_ms + limits.FORWARD_PAUSE_MS
        else:
            self._finish(item, error_for_code(message.code, message.message, hint=message.hint))

    def on_read_index_answered(self, message: ReadIndexAnswered, sender: Sender, now: Now) -> None:
        """The leader's index for a read of ours."""
        item = self._of(sender.peer_key, message.request)
        if item is None or item.signed is not None:
            return
        if message.index < 0:
            item.sent_to, item.retry_ms = None, now.mono_ms + limits.FORWARD_PAUSE_MS
        else:
            self._accept(item, Accepted(NO_TASK, message.index, message.leader), now)

    def _of(self, peer_key: PeerKey, number: int) -> PendingRequest | None:
        item = self.pending.get(number)
        if item is None or item.sent_to is None or item.result is not None:
            return None
        return item if self.context.bindings.node_of(peer_key) == item.sent_to else None

    # --- answers ----------------------------------------------------------------------------------

    def _accepted(self, name: TaskId, index: int, duplicate: bool = False) -> Accepted:
        """An acceptance by us as leader; alone in the committee, it is not replicated."""
        replicated = len(self.context.pool_log.configuration.electors) > 1
        return Accepted(
            task_id=name,
            index=index,
            leader=self.context.me,
            replicated=replicated,
            duplicate=duplicate,
        )

    def _accept(self, item: PendingRequest, done: Accepted, now: Now) -> None:
        """Answer a peer at once, a local client once this node has applied the entry."""
        if isinstance(item.origin, Remote) or self._caught_up(done.index):
            self._finish(item, done)
            return
        item.result, item.wait_index = done, done.index
        item.wait_until_ms = item.deadline_ms
        if item.signed is not None:
            item.wait_until_ms = min(item.deadline_ms, now.mono_ms + limits.CATCH_UP_WAIT_MS)
        holder = self.context.bindings.key_of(done.leader) if done.leader is not None else None
        self.replica.want(done.index, holder, self.context.roster.size(), now)

    def _caught_up(self, index: int) -> bool:
        return self.context.pool_log.applied_index >= index

    def _too_late(self, item: PendingRequest, now: Now) -> P2poolError:
        if self.context.leader(now) is None:
            return NoLeader("The pool has no leader now.", hint="Send the same request again.")
        if item.blob is not None and item.index == 0 and self.context.pool_log.leads:
            why = self.secrets.refused_because(item.blob)
            told = f": {why}" if why is not None else "."
            return Unavailable(
                f"Too few voters hold the request's secrets{told}",
                hint="Send the same request again.",
            )
        return Unavailable(
            "The leader did not answer in time.",
            hint="Send the same request again: it is carried out once.",
        )

    def _finish(self, item: PendingRequest, result: Accepted | P2poolError) -> None:
        self.pending.pop(item.number, None)
        if isinstance(item.origin, Remote):
            self._answer_remote(item, item.origin, result)
            return
        read = item.signed is None and isinstance(result, Accepted)
        if read and isinstance(result, Accepted) and not self._caught_up(result.index):
            result = Unavailable("This node is behind the leader.", hint="Retry.")
        self._answer(item.origin, result)

    def _answer(self, origin: Local, result: Accepted | P2poolError) -> None:
        self.context.effects.append(Reply(origin.request_id, result))

    def _answer_remote(
        self, item: PendingRequest, origin: Remote, result: Accepted | P2poolError
    ) -> None:
        me, pool_log = self.context.me, self.context.pool_log
        leader = me if pool_log.leads else pool_log.leader
        good = result if isinstance(result, Accepted) else None
        error = result if isinstance(result, P2poolError) else None
        waits = self.context.bindings.node_of(origin.peer_key)
        if good is not None and waits is not None:
            pool_log.tell(waits)  # It answers its own client once it has applied this.
        answer: ForwardAnswered | ReadIndexAnswered
        if item.signed is None:
            answer = ReadIndexAnswered(origin.request, good.index if good else -1, leader)
        else:
            answer = ForwardAnswered(
                request=origin.request,
                task_id=good.task_id if good else NO_TASK,
                accepted_index=good.index if good else 0,
                code=error.code if error else "",
                message=error.message if error else "",
                hint=error.hint if error else "",
                leader=leader,
                duplicate=good.duplicate if good else False,
                replicated=good.replicated if good else True,
            )
        self.context.tell(origin.peer_key, answer)

    def wakeup_ms(self) -> int | None:
        """When something is due next."""
        return min(self._dues(), default=None)

    def _dues(self) -> Iterator[int]:
        for item in self.pending.values():
            yield item.wait_until_ms if item.result is not None else item.deadline_ms
            if item.retry_ms and item.result is None:
                yield item.retry_ms


def _no_contracts() -> NotAllowed:
    return NotAllowed(
        "In a pool of feature level 1 no contract account signs.",
        hint="Upgrade its agents: p2pool pool show names those that keep it there.",
    )
