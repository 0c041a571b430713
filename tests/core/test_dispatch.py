"""Dispatch knows every message: whoever adds one is told where it has to be taken."""

import inspect
import re

import pytest

from p2pool.core import effects as fx
from p2pool.core.inputs import Received
from p2pool.core.node import Node
from p2pool.model import messages as m
from p2pool.model.ids import PeerKey
from p2pool.model.timing import Now
from tests.sim.world.world import World

FRAMES = {k for k, d in m.DECLARATIONS.items() if d.channel is m.Channel.RAFT} - {
    m.CertificateSigned,
    m.ConfigurationSigned,
}
BY_OTHERS = {k for k, d in m.DECLARATIONS.items() if d.channel is m.Channel.LOGS}
"""Messages of the streams of logs and metrics, which the agent serves without the core."""


@pytest.fixture
def node() -> Node:
    """A node that runs."""
    world = World(1, 1)
    world.start(0)
    world.run(1_000)
    made = world.machines[0].node
    assert made is not None
    return made


@pytest.mark.parametrize("kind", m.TYPES.values(), ids=lambda kind: kind.__name__)
def test_every_message_is_taken_by_somebody(node: Node, kind: type) -> None:
    """By a row of the table; but for hello, which makes a sender known, and the agent's streams."""
    taken = kind in node.dispatch.table
    assert taken is (kind is not m.Hello and kind not in BY_OTHERS), (
        f"{kind.__name__}: give it a row in core/dispatch.py"
    )


def test_handlers_are_called_after_their_messages(node: Node) -> None:
    """So a reader finds the one by the other; Raft takes all its frames by one name."""
    for kind, handler in node.dispatch.table.items():
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        names = {f"on_{snake}", "on_raft_frame"} if kind in FRAMES else {f"on_{snake}"}
        assert handler.__name__ in names
        assert list(inspect.signature(handler).parameters) == ["message", "sender", "now"]


def test_guests_reach_few(node: Node) -> None:
    """What somebody that is not in the pool may say is listed here a second time, on purpose."""
    guests = {k for k in node.dispatch.table if m.DECLARATIONS[k].senders is m.Senders.GUESTS}
    assert guests == {
        m.Ping,
        m.Pong,
        m.BindingsRequested,
        m.BindingsAnswered,
        m.InviteRequested,
        m.InviteAnswered,
        m.CertificatesRequested,
        m.ChainReadRequested,
        m.ChainReadAnswered,
    }


def test_a_message_that_no_part_takes_is_said(node: Node) -> None:
    """It is our mistake, not the sender's: it does not vanish."""
    header = m.Header(node.context.me, PeerKey(bytes(32)), 1, 1, 0)
    verified = m.Verified(header, m.Channel.LOGS, m.LogsClosed("", ""), b"")
    out = node.step(Received(verified, header.peer_key), Now(2_000, 2_000))
    (said,) = [e for e in out if isinstance(e, fx.Log) and e.level is fx.Level.ERROR]
    assert said.event == "no part handles this message"
    assert dict(said.fields) == {"message": "LogsClosed"}
