"""Streams of `/p2pool/challenge/1` to other members: whom to ask, and a conversation with one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from p2pool.agent.streams.conversation import Conversation, Opens
from p2pool.agent.wire.sealer import Sealer
from p2pool.core.context import Context
from p2pool.drivers.net.network import Network
from p2pool.model import limits
from p2pool.model.errors import NotAllowed, NotFound, Unavailable
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.registry import Channel


class MemberStreams:
    """One agent's streams to members."""

    def __init__(self, context: Context, network: Network, sealer: Sealer, opens: Opens) -> None:
        """`opens`: the way in for what they say."""
        self._context, self._network = context, network
        self._sealer, self._opens = sealer, opens

    def likely_holders(self, node_id: NodeId) -> tuple[PeerKey, ...]:
        """Who may have the evidence on a node: that node, then members that are connected."""
        context = self._context
        own = context.bindings.key_of(node_id)
        others = (key for key, _ in context.bindings.connected_members())
        found = dict.fromkeys(key for key in (own, *others) if key is not None)
        return tuple(key for key in found if key != context.config.me.peer_key)

    @asynccontextmanager
    async def open(self, peer_key: PeerKey) -> AsyncIterator[Conversation]:
        """A stream to a member, dialled for a while if it is not connected. Unavailable: it cannot
        be reached."""
        deadline = trio.current_time() + limits.LOG_DIAL_PATIENCE_MS / 1000
        while True:
            try:
                frames = await self._network.open_stream(peer_key, Channel.CHALLENGE)
                break
            except (NotFound, NotAllowed) as error:
                if trio.current_time() >= deadline:
                    raise Unavailable("The member cannot be reached.", hint="Retry.") from error
            await trio.sleep(limits.LOG_DIAL_PAUSE_MS / 1000)
        try:
            yield Conversation(peer_key, frames, self._sealer, self._opens)
        finally:
            with trio.CancelScope(shield=True):
                await frames.aclose()
