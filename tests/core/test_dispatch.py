"""Dispatch knows every message: whoever adds one is told where it has to be taken."""

import inspect
import re

import pytest

from p2pool.codec.digests import task_id
from p2pool.core import effects as fx
from p2pool.core.fsm.state import Task, TaskRecord
from p2pool.core.inputs import Received
from p2pool.core.node import Node
from p2pool.model import messages as m
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Malformed
from p2pool.model.ids import AllocationId, Digest, NodeId, PeerKey, StoreId, Token
from p2pool.model.log.certificates import CommitteeChain, Link
from p2pool.model.log.raft import Voter
from p2pool.model.log.state_digests import UNKNOWN_DIGEST
from p2pool.model.tasks.spec import TaskSpec
from p2pool.model.timing import Now
from tests.sim.world.world import MANAGER_ADDRESS, POOL, World

FRAMES = {k for k, d in m.DECLARATIONS.items() if d.channel is m.Channel.RAFT} - {
    m.CertificateSigned,
    m.ConfigurationSigned,
}
BY_OTHERS = {k for k, d in m.DECLARATIONS.items() if d.channel in m.DEDICATED_CHANNELS}
"""Messages of dedicated streams, which the agent serves without the core."""


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
        m.VerdictOffered,
        m.VerdictAnswered,
    }


def test_a_message_that_no_part_takes_is_said(node: Node) -> None:
    """It is our mistake, not the sender's: it does not vanish."""
    header = m.Header(node.context.me, PeerKey(bytes(32)), 1, 1, 0)
    verified = m.Verified(header, m.Channel.LOGS, m.LogsClosed("", ""), b"")
    out = node.step(Received(verified, header.peer_key), Now(2_000, 2_000))
    (said,) = [e for e in out if isinstance(e, fx.Log) and e.level is fx.Level.ERROR]
    assert said.event == "no part handles this message"
    assert dict(said.fields) == {"message": "LogsClosed"}


@pytest.mark.parametrize("given_up", [False, True])
def test_a_voter_signs_late_what_was_given_up(node: Node, given_up: bool) -> None:
    """Out of the pool or not, until its change has a quorum: else nobody walks past it."""
    (me,) = node.context.pool_log.chain.voters
    gone = Voter(NodeId(b"g" * 20), PeerKey(b"g" * 32), StoreId(b"g" * 16))
    links = (
        Link(2, 1, 0, (gone, me), (b"s",)),
        Link(3, 1, 0, (me,), (b"s",), given_up=given_up),
        Link(4, 1, 0, (me, gone), (b"s",)),
        Link(5, 1, 0, (me,), (b"s", b"t")),
    )
    assert node.context.pool_log.state is not None
    node.context.pool_log.state.chain = CommitteeChain(1, (me,), links)
    sealed = m.ConfigurationSigned(
        Digest(bytes(32)), 3, 1, Digest(bytes(32)), Digest(bytes(32)), gone
    )
    header = m.Header(gone.node_id, gone.peer_key, 1, 1, 0)
    taken: list[object] = []
    node.dispatch.table = {m.ConfigurationSigned: lambda said, by, now: taken.append(said)}
    verified = m.Verified(header, m.Channel.RAFT, sealed, b"")
    node.step(Received(verified, gone.peer_key), Now(2_000, 2_000))
    assert taken == [sealed]
    node.context.pool_log.state.chain = CommitteeChain(1, (me,), links[3:])
    node.step(Received(verified, gone.peer_key), Now(2_100, 2_100))
    assert taken == [sealed]


def test_what_a_leader_orders_itself_has_the_signer_that_it_recovers(node: Node) -> None:
    """A leader before it may have logged a task as signed by the manager, which nobody signed."""
    request = TaskRequest(Action.SUBMIT, 1, "", '{"image":"i","name":"a"}', b"r" * 32, 0, 600)
    forged = SignedRequest(request, b"s" * 65)
    name = task_id(POOL, request)
    record = TaskRecord(name, forged, MANAGER_ADDRESS, None, 1, 0)
    assert node.context.pool_log.state is not None
    spec = TaskSpec(name="a", image="i")
    node.context.pool_log.state.tasks[name] = Task(record, spec)
    wanted = m.Desired(AllocationId(name, 0), 1, forged, ())
    taken: list[object] = []
    node.dispatch.table = {m.Order: lambda said, by, now: taken.append(by.signers)}
    order = m.Order(node.context.me, Token(1, 1, 1), (wanted,), ())
    node.dispatch.from_myself(order, Now(2_000, 2_000))
    assert taken == [(None,)]


def test_a_state_that_is_too_large_for_a_digest_is_a_problem_and_no_error(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader announces on without one; people are told."""

    def too_large(state: object) -> None:
        raise Malformed("nodes has more than 1 rows.")

    monkeypatch.setattr("p2pool.core.log.pool_log.digest_of", too_large)
    out = node.step((), Now(9_000, 9_000))
    (said,) = [e.message for e in out if isinstance(e, fx.Publish) and _announces(e)]
    assert isinstance(said, m.Announcement)
    assert said.state_digest == UNKNOWN_DIGEST
    problems = node.view(Now(9_000, 9_000)).problems
    assert any("No snapshot of the log can be made: nodes has" in text for text in problems)


def _announces(effect: fx.Publish) -> bool:
    return isinstance(effect.message, m.Announcement)
