"""What makes machines of the simulated world differ: their clocks, their chain, their speed."""

from p2pool.core import inputs
from tests.sim.world.machine import ChainView, Slowness
from tests.sim.world.world import WALL_MS, World


def test_a_machine_sees_what_its_endpoints_tell_it() -> None:
    """One sees fewer members, one sees nothing, the third sees the truth."""
    world = World(1, 3)
    world.machines[0].chain = ChainView(members=[0, 1])
    world.machines[1].chain = ChainView(up=False)
    for i in range(3):
        world.start(i)
    world.run(2_000)
    books = [m.node.context.roster for m in world.machines if m.node is not None]
    assert [book.size() for book in books] == [2, 0, 3]
    assert books[1].problem == "no endpoint answers"


def test_a_machine_has_a_clock_of_its_own() -> None:
    """A minute ahead, it says so in whatever it sends."""
    world = World(1, 2)
    world.machines[1].wall_offset_ms = 60_000
    assert world.now(world.machines[1]).wall_ms == WALL_MS + 60_000
    world.start(1)
    assert world.machines[1].disk.incarnation == WALL_MS + 60_000


def test_a_machine_that_stands_still_notices_it_first() -> None:
    """It steps not at all, then with its lag alone, and only then reads what came."""
    world = World(1, 2)
    for i in range(2):
        world.start(i)
    world.run(3_000)
    machine = world.machines[1]
    assert machine.node is not None
    seen: list[tuple[int, list[str]]] = []
    step = machine.node.step

    def watched(events: object, now: object) -> object:
        assert isinstance(events, list)
        seen.append((world.now_ms, [type(e).__name__ for e in events]))
        return step(events, now)  # type: ignore[arg-type]

    machine.node.step = watched  # type: ignore[method-assign, assignment]
    world.stall(machine, 5_100)
    world.run(5_099)
    assert seen == []
    world.run(500)
    assert seen[0] == (8_100, [inputs.LoopLagged.__name__])
    assert any("Received" in names for _, names in seen[1:])


def test_a_slow_machine_stands_still_now_and_then() -> None:
    """About as often as it is told to, and for as long at most."""
    world = World(1, 2)
    world.start(0)
    world.slow(0, Slowness(step_ms=50, stall_ms=100, every_ms=1_000))
    stalls = []
    world.stall = lambda m, for_ms: stalls.append(for_ms)  # type: ignore[method-assign]
    world.run(60_000)
    assert 30 < len(stalls) < 120
    assert all(0 < ms <= 100 for ms in stalls)
