"""A leader that slept through its own deposition says nothing from what it knew before."""

import pytest

from p2pool.core import inputs
from p2pool.core.effects import Reply
from p2pool.model.access.requests import Action, Signers
from p2pool.model.errors import NotFound
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.harness.pool import ENDLESS, Pool, formed
from tests.sim.world.world import MANAGER_ADDRESS


@pytest.fixture
def pool() -> Pool:
    """A pool of three that has formed."""
    return formed()


def test_a_woken_leader_refuses_nothing_by_old_state(pool: Pool) -> None:
    """A task was made while it slept; asked to stop it, it does not say that there is none."""
    old = pool.leader()
    rest = [m for m in pool.world.machines if m is not old]
    pool.world.stall(old, 20_000)
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in rest))
    made = pool.submit(rest[0].number, TaskSpec(name="t", image="i", command=ENDLESS))
    assert isinstance(pool.reply(made), Accepted)
    assert old.node is not None
    assert old.node.context.pool_log.leads, "it has not noticed anything yet"
    stop = pool.sign(Action.STOP, pool.submitted[made].hex(), "")
    asked = SubmitCommand(pool.signed[stop], MANAGER_ADDRESS)
    # What it was asked while it slept is the first that it sees.
    said = old.node.step(
        inputs.Asked(stop, asked, Signers(MANAGER_ADDRESS), 10_000), pool.world.now(old)
    )
    assert not [effect for effect in said if isinstance(effect, Reply)]


def test_what_is_refused_in_truth_is_refused(pool: Pool) -> None:
    """A task that never was: the leader says so, once a quorum has confirmed it."""
    for number in range(3):
        stop = pool.sign(Action.STOP, "ab" * 16, "")
        pool.send(number, stop)
        assert isinstance(pool.reply(stop), NotFound)
