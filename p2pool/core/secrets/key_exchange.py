"""Gets the data key for a copy that this node was assigned, and seals it on for others.

Intuition: the submitter sealed the key to the nodes that there were. A node that gets a copy later
asks one that runs the task: that one looks up in its own replica that the copy was assigned there,
as a quorum of the voters signed, and seals the key to the peer key that the asker's binding proves.
Neither node's core sees the key (`model.ports.secrets`).

Invariants: a holder seals for nobody on a leader's word (`core.secrets.rules`); what it seals, it
seals to the peer key bound to the node, over a connection of that key; how often is bounded. A key
that came is tried before it is kept, and kept before anything starts.
Source: docs/design/secrets.md, "Sealed on".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import Sender
from p2pool.core.secrets.distribution import SecretDistribution
from p2pool.core.secrets.rules import KeyQuestion, holders, owner_of, seal_refusal
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.ids import AllocationId, Digest, NodeId
from p2pool.model.messages.secrets import SecretKeyAnswered, SecretKeyRequested
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.tasks.secrets import SealedKey, SecretOwner, TaskSecrets
from p2pool.model.timing import Now


@attrs.define
class Wanted:
    """A key that this node waits for: for which copy, which request, and whom it asked when."""

    attempt: int
    secrets: TaskSecrets
    owner: SecretOwner
    asked_ms: int | None = None
    turn: int = 0
    said: str = ""


@attrs.define
class SecretKeyExchange:
    """One node's questions for data keys, and its answers."""

    context: Context
    distribution: SecretDistribution
    wanted: BoundedDict[AllocationId, Wanted] = attrs.field(
        factory=lambda: BoundedDict(limits.ITEMS_PER_NODE_MAX)
    )
    sealed: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.SECRET_KEYS_SEALED_PER_S,
            limits.SECRET_KEYS_SEALED_BURST,
            limits.PEERS_TRACKED_MAX,
        )
    )

    # --- for copies here --------------------------------------------------------------------------

    def opening(
        self,
        name: AllocationId,
        attempt: int,
        secrets: TaskSecrets,
        owner: SecretOwner,
        now: Now,
    ) -> SealedSecret | str:
        """What opens a copy's secrets; or why it waits, once what it lacks is asked for."""
        context, digest = self.context, Digest(bytes.fromhex(secrets.digest))
        blob = context.secrets.blob(digest)
        if blob is None:
            self.distribution.want(digest, now)
            return "its secrets are being fetched"
        me = context.config.me
        key = context.secrets.key_for(digest, me.node_id, me.peer_key)
        if key is not None:
            self.wanted.pop(name, None)
            return SealedSecret(secrets=secrets, owner=owner, blob=blob, key=key)
        found = self.wanted.get(name)
        if found is None or (found.attempt, found.owner) != (attempt, owner):
            found = self.wanted[name] = Wanted(attempt, secrets, owner)
        self._ask(name, found, now)
        return found.said or "no node that runs the task has sealed its secrets to this one yet"

    def _ask(self, name: AllocationId, wanted: Wanted, now: Now) -> None:
        """Ask the next node that runs the task, not too often."""
        asked_ms = wanted.asked_ms
        if asked_ms is not None and now.mono_ms - asked_ms < limits.SECRET_RETRY_MS:
            return
        wanted.asked_ms = now.mono_ms
        context, state = self.context, self.context.pool_log.state
        task = state.tasks.get(name.task_id) if state is not None else None
        if state is None or task is None:
            return
        there = holders(state, task, other_than=context.me)
        there = tuple(node_id for node_id in there if context.bindings.is_connected(node_id))
        if not there:
            wanted.said = "no node that runs the task can be asked for its secrets"
            return
        node_id = there[wanted.turn % len(there)]
        wanted.turn += 1
        digest = Digest(bytes.fromhex(wanted.secrets.digest))
        context.send(node_id, SecretKeyRequested(context.request(), name, wanted.attempt, digest))

    def wakeup_ms(self) -> int | None:
        """When to ask again, while a copy waits."""
        dues = [one.asked_ms for one in self.wanted.values() if one.asked_ms is not None]
        return min(dues) + limits.SECRET_RETRY_MS if dues else None

    def keep(self, names: dict[AllocationId, int]) -> None:
        """Only these copies, with their attempts, still wait here."""
        for name, one in tuple(self.wanted.items()):
            if names.get(name) != one.attempt:
                del self.wanted[name]

    def on_secret_key_answered(self, message: SecretKeyAnswered, sender: Sender, now: Now) -> None:
        """A holder's answer."""
        for name, one in tuple(self.wanted.items()):
            if one.secrets.digest != message.digest.hex():
                continue
            if message.key is None:
                one.said = f"node {sender.node_id.hex()} seals it no key: {message.reason}"
            elif self._take(one, message.digest, message.key, sender.node_id):
                del self.wanted[name]

    def _take(self, one: Wanted, digest: Digest, key: SealedKey, by: NodeId) -> bool:
        """Keep a key, if it is ours and opens this request's secrets."""
        context, me = self.context, self.context.config.me
        blob = context.secrets.blob(digest)
        if blob is None or (key.node_id, key.peer_key) != (me.node_id, me.peer_key):
            return False
        sealed = SealedSecret(secrets=one.secrets, owner=one.owner, blob=blob, key=key)
        if not context.config.secret_keys.opens(sealed):
            context.log(Level.WARNING, "a key of secrets opens nothing", by=by.hex())
            return False
        context.effects.append(Persist(tuple(context.secrets.receive(digest, key))))
        return True

    # --- for others -------------------------------------------------------------------------------

    def on_secret_key_requested(
        self, message: SecretKeyRequested, sender: Sender, now: Now
    ) -> None:
        """A member asks for the key of a copy that it was assigned."""
        key, reason = self._sealed_for(message, sender, now)
        answer = SecretKeyAnswered(message.request, message.digest, key, reason)
        self.context.tell(sender.peer_key, answer)

    def _sealed_for(
        self, message: SecretKeyRequested, sender: Sender, now: Now
    ) -> tuple[SealedKey | None, str]:
        context, pool_log = self.context, self.context.pool_log
        state, asker = pool_log.state, sender.node_id
        if state is None or pool_log.previous_epoch is not None:
            return None, "this node has no log of the pool"
        if context.bindings.key_of(asker) != sender.peer_key:
            return None, "this node knows another peer key of that node"
        question = KeyQuestion(asker, message.allocation, message.attempt, message.digest)
        member = context.roster.member(asker) if context.roster.belongs(asker) else None
        proven = pool_log.histories.proven_index
        why = seal_refusal(state, proven, context.me, member, question)
        if why is not None:
            return None, why
        if not self.sealed.admit(sender.peer_key, now.mono_ms, 1):
            return None, "too many keys were asked for"
        key = self._seal_on(message, sender)
        if key is None:
            return None, "this node cannot open the secrets itself"
        context.log(
            Level.INFO,
            "a key of secrets was sealed on",
            to=asker.hex(),
            allocation=str(message.allocation),
        )
        return key, ""

    def _seal_on(self, message: SecretKeyRequested, sender: Sender) -> SealedKey | None:
        context, state = self.context, self.context.pool_log.state
        assert state is not None
        me, task = context.config.me, state.tasks[message.allocation.task_id]
        blob = context.secrets.blob(message.digest)
        mine = context.secrets.key_for(message.digest, me.node_id, me.peer_key)
        if blob is None or mine is None:
            return None
        sealed = SealedSecret(
            secrets=task.secrets, owner=owner_of(state, task), blob=blob, key=mine
        )
        return context.config.secret_keys.seal_on(sealed, (sender.node_id, sender.peer_key))
