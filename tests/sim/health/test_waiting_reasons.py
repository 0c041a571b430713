"""Every agent shows why a copy waits, also one that had a place and lost it."""

import pytest

from p2pool.core.effects import Emit
from p2pool.core.node import Node
from p2pool.model.access.requests import Action
from p2pool.model.ports.view import AllocationView, Event
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import Resources
from tests.sim.harness.pool import Pool, formed

BIG = Resources(cpu_milli=4_500)
S = AllocationState


def shown(pool: Pool, number: int) -> tuple[AllocationView, ...]:
    """The copies of the only task, as an agent shows them."""
    view = pool.node(number).view(pool.world.now(pool.world.machines[number]))
    (of,) = view.tasks
    return of.allocations


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """All events of all nodes."""
    told: list[Event] = []
    collect = Node.collect

    def watched(self: Node, now: object) -> object:
        effects = collect(self, now)  # type: ignore[arg-type]
        told.extend(e.event for e in effects if isinstance(e, Emit))
        return effects

    monkeypatch.setattr(Node, "collect", watched)
    return told


@pytest.mark.parametrize("how", ["lost", "drained"])
def test_why_a_copy_finds_no_other_place(how: str, events: list[Event]) -> None:
    """Why it left the first one, and why each node refuses it now: said once, not again and
    again."""
    pool = formed()
    name = pool.run_task(0, replicas=3, resources=BIG, reconnect_window_s=5)
    gone = pool.other()
    if how == "lost":
        pool.world.crash(gone.number)
        left, first = S.LOST, "its node is unreachable"
    else:
        pool.send(0, pool.sign(Action.DRAIN, gone.node_id.hex(), ""))
        left, first = S.STOPPED, "its node is draining"
    pool.until(lambda: left.name in pool.states(name), 60_000)
    pool.world.run(10_000)
    at = [m.number for m in pool.world.machines if m.node is not None]
    for number in at:
        (copy,) = [c for c in shown(pool, number) if c.state is left]
        assert copy.reason.startswith(first)
        assert copy.reason.count("; waits: ") == 1
        assert "2 nodes: " in copy.reason.partition("; waits: ")[2]
    assert any("; waits: " in event.text for event in events)
    before = pool.node(at[0]).context.pool_log.applied_index
    pool.world.run(5_000)
    assert pool.node(at[0]).context.pool_log.applied_index - before <= 3
