"""A voter that the chain has put out goes at each feature level, each by its own question."""

import pytest

from p2pool.core.context import Context
from p2pool.model.ids import PeerKey
from p2pool.model.messages.queries import ChainReadRequested, RemovalConfirmRequested
from p2pool.model.messages.registry import Message
from tests.sim.harness.committee import formed, voters, works
from tests.sim.harness.pool import Pool
from tests.sim.harness.rolling_upgrade import Upgrading


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[type[Message]]:
    """The kinds of messages that were told anybody."""
    told: set[type[Message]] = set()
    tell = Context.tell

    def noted(self: Context, peer_key: PeerKey, message: Message) -> None:
        told.add(type(message))
        tell(self, peer_key, message)

    monkeypatch.setattr(Context, "tell", noted)
    return told


def put_out(pool: Pool) -> None:
    """A voter leaves, and loses its seat."""
    first = pool.leader().number
    gone = next(n for n in voters(pool) if n != first)
    pool.world.members.remove(gone)
    pool.until(lambda: gone not in voters(pool), 60_000)
    works(pool, pool.leader().number)


def test_a_pool_of_the_first_level_asks_as_its_agents_know(asked: set[type[Message]]) -> None:
    """Old and new agents answer; nothing is asked that the old ones cannot read."""
    put_out(Upgrading.formed(7))
    assert RemovalConfirmRequested in asked
    assert ChainReadRequested not in asked


def test_above_it_nobody_asks_the_old_question(asked: set[type[Message]]) -> None:
    """One mechanism is left."""
    put_out(formed(3))
    assert ChainReadRequested in asked
    assert RemovalConfirmRequested not in asked
