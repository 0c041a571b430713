"""Invites: kept for the nodes that they name, and given to them on request.

Intuition: an invite proves itself and is useless to all but the node that it names, so anybody may
keep it; a node outside the pool asks its peers for its own.

Invariants: guests may ask; the store of invites is bounded, and drops expired ones.
Source: docs/design/chain.md, "Joining".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import TakeInvite
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.queries import InviteAnswered, InviteRequested
from p2pool.model.timing import Now


@attrs.define
class Invites:
    """The invites that one node keeps for others."""

    context: Context
    kept: BoundedDict[NodeId, Invite] = attrs.field(
        factory=lambda: BoundedDict(limits.INVITES_KEPT_MAX)
    )
    round_due_ms: int = 0

    def keep(self, invite: Invite, now: Now) -> None:
        """Keep an invite for the node that it names; join with it if it names us."""
        context = self.context
        if invite.node_id == context.me:
            context.effects.append(TakeInvite(invite))
            return
        self.kept.renew(invite.node_id, invite)
        context.roster.invited(invite.node_id, now)

    def on_invite_requested(self, message: InviteRequested, sender: Sender, now: Now) -> None:
        """An applicant asks whether we keep an invite for it."""
        invite = self.kept.get(message.node_id)
        if invite is not None and invite.expiration_s * 1000 <= now.wall_ms:
            invite = None
        self.context.tell(sender.peer_key, InviteAnswered(message.request, invite))

    def on_invite_answered(self, message: InviteAnswered, sender: Sender, now: Now) -> None:
        """A peer keeps an invite for us: join with it."""
        if message.invite is not None and message.invite.node_id == self.context.me:
            self.context.effects.append(TakeInvite(message.invite))

    def ask(self, peer_key: PeerKey) -> None:
        """Ask a peer for ours, if the chain says that we are not in the pool."""
        context = self.context
        if context.roster.known and not context.roster.belongs(context.me):
            context.tell(peer_key, InviteRequested(context.request(), context.me))

    def tick(self, now: Now) -> None:
        """Forget expired invites from time to time."""
        if now.mono_ms >= self.round_due_ms:
            self.round_due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
            self._forget_expired(now)

    def wakeup_ms(self) -> int:
        """When something is due next."""
        return self.round_due_ms

    def _forget_expired(self, now: Now) -> None:
        """Forget expired invites, and move their nodes' memberships."""
        for node_id, invite in tuple(self.kept.items()):
            if invite.expiration_s * 1000 <= now.wall_ms:
                del self.kept[node_id]
                self.context.roster.invite_expired(node_id, now)
