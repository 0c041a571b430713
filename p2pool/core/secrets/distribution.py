"""Brings blobs of secrets to the voters before the log names them, and to who needs them.

Intuition: the log must never name a blob that can be lost with one machine. So whoever takes a
submission keeps its blob and gives it to the leader; the leader gives it to the voters, and
proposes the request only when it and a majority of them have it on their disks. Whoever lacks one
that the log needs (a new voter, a node with a new copy) asks the voters for it, one after another.

Invariants: a blob is checked by its digest wherever it comes from; a voter takes one that no
request names from its leader alone; an answer follows the write to the disk; questions in flight
are bounded, and each goes to somebody else after `limits.SECRET_RETRY_MS`.
Source: docs/design/secrets.md, "Beside the log".
"""

import attrs

from p2pool.codec.digests import digest
from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import Sender
from p2pool.core.secrets.rules import holders
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import BadSpec, Malformed, Overloaded, Refusal
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.messages.secrets import (
    SecretBlobAnswered,
    SecretBlobHeld,
    SecretBlobOffered,
    SecretBlobRequested,
)
from p2pool.model.states import RaftRole
from p2pool.model.tasks.secrets import TaskSecrets
from p2pool.model.timing import Now


@attrs.define
class Fetch:
    """A blob that this node lacks: whom it asked last, and when to ask the next."""

    wanted_ms: int
    due_ms: int
    first: PeerKey | None = None
    turn: int = 0


@attrs.define
class Spread:
    """How far a leader, or whoever took the submission, has given a blob away."""

    held_ms: dict[StoreId, int] = attrs.field(factory=dict)
    offered_ms: dict[PeerKey, int] = attrs.field(factory=dict)
    refused: str | None = None


@attrs.define
class SecretDistribution:
    """One node's part in bringing blobs to where they are needed."""

    context: Context
    fetches: dict[Digest, Fetch] = attrs.field(factory=dict)
    spreads: BoundedDict[Digest, Spread] = attrs.field(
        factory=lambda: BoundedDict(limits.SECRET_BLOBS_UNCLAIMED_MAX)
    )
    sweep_due_ms: int = 0

    # --- a request with secrets -------------------------------------------------------------------

    def take(self, secrets: TaskSecrets, data: bytes | None, now: Now) -> None:
        """The local API has a request with these secrets. `BadSpec`: their blob is missing, or is
        another one; `Overloaded`: there is no room."""
        name = Digest(bytes.fromhex(secrets.digest))
        if data is None:
            if name not in self.context.secrets.held:
                raise BadSpec(
                    "The encrypted secrets did not come with the request that names them.",
                    hint="Send them beside it, as `secrets`.",
                )
            return
        if digest(data) != name or len(data) != secrets.size_bytes:
            raise BadSpec("The encrypted secrets are not those that the request names.")
        self._keep(data, None, now)

    def _keep(self, data: bytes, source: PeerKey | None, now: Now) -> Digest:
        name, rows = self.context.secrets.keep(data, source, now.mono_ms)
        if rows:
            self.context.effects.append(Persist(tuple(rows)))
        self.fetches.pop(name, None)
        return name

    def give(self, name: Digest, leader: NodeId, now: Now) -> None:
        """Give a blob to the leader, before the request that names it goes there."""
        key = self.context.bindings.key_of(leader)
        if key is not None:
            self._offer(name, key, self._spread(name), now)

    def is_spread(self, name: Digest, source: PeerKey | None, now: Now) -> bool:
        """As leader: whether a majority of the voters and we hold a blob; if not, see to it.
        `source`: who brought the request, and should have it."""
        context = self.context
        if name not in context.secrets.held:
            self.want(name, now, source)
            return False
        spread, configuration = self._spread(name), context.pool_log.configuration
        spread.held_ms[context.config.me.store_id] = now.mono_ms
        # Whoever has waited for the request too long may have given it up.
        since_ms = now.mono_ms - limits.SECRET_UNCLAIMED_MS // 2
        held = [store for store, at_ms in spread.held_ms.items() if at_ms >= since_ms]
        for voter in configuration.electors:
            if voter.store_id not in held:
                self._offer(name, voter.peer_key, spread, now)
        return configuration.has_quorum(held)

    def refused_because(self, name: Digest) -> str | None:
        """What a voter said that does not keep a blob, if any did."""
        spread = self.spreads.get(name)
        return spread.refused if spread is not None else None

    def _spread(self, name: Digest) -> Spread:
        found = self.spreads.get(name)
        if found is None:
            found = self.spreads[name] = Spread()
        return found

    def _offer(self, name: Digest, peer_key: PeerKey, spread: Spread, now: Now) -> None:
        held = self.context.secrets.held.get(name)
        last_ms = spread.offered_ms.get(peer_key)
        if held is None or (last_ms is not None and now.mono_ms - last_ms < limits.SECRET_RETRY_MS):
            return
        spread.offered_ms[peer_key] = now.mono_ms
        self.context.tell(peer_key, SecretBlobOffered(self.context.request(), name, held.data))

    def on_secret_blob_offered(self, message: SecretBlobOffered, sender: Sender, now: Now) -> None:
        """Somebody gives us a blob to keep."""
        reason = self._refusal(message, sender, now)
        if reason is None:
            try:
                self._keep(message.blob, sender.peer_key, now)
            except (Malformed, Overloaded) as error:
                reason = error.message
        answer = SecretBlobHeld(message.request, message.digest, reason is None, reason or "")
        self.context.tell(sender.peer_key, answer)

    def _refusal(self, message: SecretBlobOffered, sender: Sender, now: Now) -> str | None:
        context = self.context
        if digest(message.blob) != message.digest:
            return "these bytes have another digest"
        if message.digest in context.secrets.held or context.secrets.needed(message.digest):
            return None
        leads = context.pool_log.role is RaftRole.LEADER
        if leads or sender.node_id == context.leader(now):
            return None
        return "this node keeps what its leader gives it, and that is another one"

    def on_secret_blob_held(self, message: SecretBlobHeld, sender: Sender, now: Now) -> None:
        """A voter says whether it holds what we offered."""
        voter = self._voter(sender)
        spread = self.spreads.get(message.digest)
        if spread is None or voter is None:
            return
        if not message.held:
            spread.refused = message.reason
        else:
            spread.held_ms[voter.store_id] = now.mono_ms

    def _voter(self, sender: Sender) -> Voter | None:
        named = (sender.node_id, sender.peer_key)
        electors = self.context.pool_log.configuration.electors
        return next((v for v in electors if (v.node_id, v.peer_key) == named), None)

    # --- what this node lacks ---------------------------------------------------------------------

    def want(self, name: Digest, now: Now, first: PeerKey | None = None) -> None:
        """Fetch a blob. `first`: whom to ask before the voters."""
        found = self.fetches.get(name)
        if found is not None:
            found.wanted_ms = now.mono_ms
        elif len(self.fetches) < limits.SECRET_FETCHES_MAX:
            self.fetches[name] = Fetch(now.mono_ms, now.mono_ms, first)
            self._ask(name, self.fetches[name], now)

    def _ask(self, name: Digest, fetch: Fetch, now: Now) -> None:
        """Ask the next peer that may have it."""
        asked = self._askable(name, fetch)
        fetch.due_ms = now.mono_ms + limits.SECRET_RETRY_MS
        if not asked:
            return
        peer_key = asked[fetch.turn % len(asked)]
        fetch.turn += 1
        self.context.tell(peer_key, SecretBlobRequested(self.context.request(), name))

    def _askable(self, name: Digest, fetch: Fetch) -> tuple[PeerKey, ...]:
        """Whoever brought it, then the voters that are connected, then some that run the task:
        after a recovery, or when all voters changed at once, these alone may have it."""
        context = self.context
        electors = context.pool_log.configuration.electors
        found = [fetch.first] if fetch.first is not None else []
        found += [v.peer_key for v in electors if context.bindings.is_connected(v.node_id)]
        for node_id in self._running(name):
            key = context.bindings.key_of(node_id)
            if key is not None and context.bindings.is_connected(node_id):
                found.append(key)
        return tuple(dict.fromkeys(key for key in found if key != context.config.me.peer_key))

    def _running(self, name: Digest) -> list[NodeId]:
        """Nodes with a copy that began with this blob, a few of them."""
        state = self.context.pool_log.state
        found: dict[NodeId, None] = {}
        for task_id in state.needing(name)[:1] if state is not None else ():
            assert state is not None
            for node_id in holders(state, state.tasks[task_id]):
                found[node_id] = None
        return list(found)[: limits.SECRET_RUNNING_ASKED_MAX]

    def on_secret_blob_requested(
        self, message: SecretBlobRequested, sender: Sender, now: Now
    ) -> None:
        """A member asks for a blob: it is ciphertext, and of no use without a key."""
        held = self.context.secrets.held.get(message.digest)
        data = held.data if held is not None else b""
        answer = SecretBlobAnswered(message.request, message.digest, data)
        self.context.tell(sender.peer_key, answer)

    def on_secret_blob_answered(
        self, message: SecretBlobAnswered, sender: Sender, now: Now
    ) -> None:
        """A blob that we asked for; if it is not there, ask somebody else at once."""
        fetch = self.fetches.get(message.digest)
        if fetch is None:
            return
        if digest(message.blob) == message.digest:
            try:
                self._keep(message.blob, sender.peer_key, now)
            except Refusal as error:
                self._drop_because(message.digest, error.message)
            except Overloaded as error:
                self._drop_because(message.digest, error.message)
            return
        if message.blob:
            by = sender.node_id.hex()
            self.context.log(Level.WARNING, "a peer gave other secrets than asked for", by=by)
        if fetch.turn < len(self._askable(message.digest, fetch)):
            self._ask(message.digest, fetch, now)

    def _drop_because(self, name: Digest, why: str) -> None:
        self.context.log(Level.WARNING, "secrets are not kept here", digest=name.hex(), why=why)
        self.fetches.pop(name, None)

    # --- in time ----------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Forget what nobody needs, ask again, and as a voter fetch what the log needs."""
        context = self.context
        for name, fetch in tuple(self.fetches.items()):
            if now.mono_ms < fetch.due_ms:
                continue
            waited_ms = now.mono_ms - fetch.wanted_ms
            if name in context.secrets.held or waited_ms > 2 * limits.SECRET_SWEEP_MS:
                del self.fetches[name]
            else:
                self._ask(name, fetch, now)
        state = context.pool_log.state
        if state is None:
            return
        released, state.released = state.released, {}
        for name in released:
            blobs = context.secrets
            if blobs.needed(name) or blobs.in_use(name):
                blobs.used[name] = None  # It goes with the next sweep after that.
                continue
            if gone := blobs.drop(name):
                context.effects.append(Persist(tuple(gone)))
        if now.mono_ms < self.sweep_due_ms:
            return
        self.sweep_due_ms = now.mono_ms + limits.SECRET_SWEEP_MS
        if gone := context.secrets.sweep(now.mono_ms):
            context.effects.append(Persist(tuple(gone)))
        if context.config.me in context.pool_log.configuration.electors:
            for name in state.secret_digests():
                if name not in context.secrets.held:
                    self.want(name, now)

    def wakeup_ms(self) -> int | None:
        """When something is due next; nothing while no task has secrets."""
        dues = [fetch.due_ms for fetch in self.fetches.values()]
        state = self.context.pool_log.state
        if state is not None and (self.context.secrets.held or state.has_secrets):
            dues.append(self.sweep_due_ms)
        return min(dues, default=None)
