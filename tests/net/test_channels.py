"""Which channels have streams, and whom they are open to, follows from what messages declare."""

from p2pool.drivers.net.events import BYSTANDER_CHANNELS, PERMITTED
from p2pool.drivers.net.peer_link import FRAME_CHANNELS, PROTOCOLS, SENDABLE
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing


def test_the_network_permits_what_is_declared() -> None:
    """Streams and standings follow from the declarations: one more message needs no line there."""
    assert {
        Standing.MEMBER: {
            Channel.BEAT,
            Channel.ANNOUNCE,
            Channel.RAFT,
            Channel.WORK,
            Channel.QUERY,
            Channel.LOGS,
            Channel.CHALLENGE,
        },
        Standing.GUEST: {Channel.QUERY, Channel.CHALLENGE},
        Standing.REFUSED: frozenset(),
    } == PERMITTED
    assert {Channel.QUERY, Channel.CHALLENGE} == BYSTANDER_CHANNELS
    assert {
        channel: f"/p2pool/{channel.value}/1"
        for channel in Channel
        if channel not in (Channel.BEAT, Channel.ANNOUNCE)
    } == PROTOCOLS
    assert FRAME_CHANNELS == (Channel.HELLO, Channel.RAFT, Channel.WORK, Channel.QUERY)
    assert SENDABLE == (Channel.RAFT, Channel.WORK, Channel.QUERY)
