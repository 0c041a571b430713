"""What the agents of a development pool offer of the one machine that they share."""

import psutil
import pytest

from p2pool.dev.shares import shares
from p2pool.model.tasks.spec import Resources


@pytest.mark.parametrize("agents", [1, 3, 7])
async def test_the_first_task_leaves_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch, agents: int
) -> None:
    """A copy that asks for the usual processor does not fill a node of a machine with two; memory,
    of which nobody can lend any, is shared out."""
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    offered = await shares(agents)
    usual = Resources()
    assert all((one.cpu_milli or 0) >= 2 * usual.cpu_milli for one in offered)
    assert sum(one.memory_bytes or 0 for one in offered) <= psutil.virtual_memory().total
