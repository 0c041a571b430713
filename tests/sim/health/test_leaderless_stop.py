"""A copy that is to stop without a leader is gone before the one that replaces it begins."""

from p2pool.model.tasks.spec import OnDisconnect
from tests.sim.harness.pool import formed

WINDOW_S = 5


def test_never_two_copies_of_a_task_that_is_to_stop() -> None:
    """Its node is cut off: it ends there by itself, and begins elsewhere a while later."""
    pool = formed()
    name = pool.run_task(
        0, reconnect_window_s=WINDOW_S, on_disconnect=OnDisconnect.STOP, stop_grace_s=1
    )
    (at,) = [n for n in range(3) if pool.running(n)]
    pool.world.cut = {(at, n) for n in range(3) if n != at}
    most: list[int] = []

    def replaced() -> bool:
        most.append(sum(pool.running(n) for n in range(3)))
        return any(pool.running(n) for n in range(3) if n != at)

    pool.until(replaced, 180_000)
    assert min(most) == 0, "there was a while without a copy"
    assert max(most) == 1
    pool.world.cut = set()
    pool.world.run(30_000)
    assert sum(pool.running(n) for n in range(3)) == 1
    assert pool.states(name) == ["RUNNING"]
