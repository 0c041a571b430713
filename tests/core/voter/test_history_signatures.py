"""What a voter signs of the log's history: its own, for its leader, at most once a second."""

import attrs
import pytest

from p2pool.core import effects as fx
from p2pool.core.effects import AnyEffect
from p2pool.core.inputs import Received
from p2pool.core.node import Node
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.timing import Now
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine


@attrs.define
class Asking:
    """A voter, whom nobody but we ask any more, and its leader."""

    pool: Pool
    voter: Machine
    leader: Machine

    @property
    def node(self) -> Node:
        assert self.voter.node is not None
        return self.voter.node

    def ask(self, index: int, at_ms: int, by: Machine | None = None) -> list[m.HistorySigned]:
        """What it says to a question, some time from now."""
        by, pool_log = by or self.leader, self.node.context.pool_log
        assert pool_log.log_id is not None
        question = m.HistoryRequested(pool_log.log_id, pool_log.term, index)
        header = m.Header(by.node_id, by.peer_key, 1, 1, 0)
        verified = m.Verified(header, m.Channel.RAFT, question, b"")
        return signed(self.node.step(Received(verified, by.peer_key), self.now(at_ms)))

    def now(self, at_ms: int) -> Now:
        now = self.pool.world.now(self.voter)
        return Now(now.mono_ms + 10_000 + at_ms, now.wall_ms + 10_000 + at_ms)


def signed(effects: list[AnyEffect]) -> list[m.HistorySigned]:
    sends = [e.message for e in effects if isinstance(e, fx.SendTo)]
    found = [message for message in sends if isinstance(message, m.HistorySigned)]
    assert not found or isinstance(effects[0], fx.Persist)
    return found


@pytest.fixture
def asking() -> Asking:
    pool = formed(3)
    made = Asking(pool, pool.voter(), pool.leader())
    # Long enough without a word from the leader that nothing else is due; it follows on.
    made.node.context.pool_log.raft.state.election_deadline_ms = 2**53  # type: ignore[union-attr]
    return made


def test_a_voter_signs_its_own_history_at_the_index_that_is_asked_for(asking: Asking) -> None:
    """The newest one, and an earlier one as well: both are committed. The disk knows it first."""
    pool_log = asking.node.context.pool_log
    last = pool_log.applied_index
    (said,) = asking.ask(last, 0)
    assert (said.index, said.history) == (last, pool_log.history)
    (said,) = asking.ask(last - 1, limits.HISTORY_SIGN_INTERVAL_MS)
    assert said.history == pool_log.histories.ours[last - 1] != pool_log.history


def test_a_voter_signs_at_most_once_a_second(asking: Asking) -> None:
    """What was asked for too early is answered when it is time."""
    last = asking.node.context.pool_log.applied_index
    assert len(asking.ask(last, 0)) == 1
    for at_ms in range(100, limits.HISTORY_SIGN_INTERVAL_MS, 100):
        assert asking.ask(last, at_ms) == []
    assert len(signed(asking.node.step((), asking.now(limits.HISTORY_SIGN_INTERVAL_MS)))) == 1
    assert signed(asking.node.step((), asking.now(5_000))) == []


def test_a_voter_signs_nothing_for_others_and_nothing_that_it_lacks(asking: Asking) -> None:
    """Another voter asks; the leader asks for what is not committed here."""
    last = asking.node.context.pool_log.applied_index
    other = next(o for o in asking.pool.world.machines if o not in (asking.voter, asking.leader))
    assert asking.ask(last, 0, other) == []
    assert asking.ask(last + 1, 100) == []
    assert len(asking.ask(last, 200)) == 1
