"""The loop tells its node that it was late, whoever was to blame for it."""

import time
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from p2pool.agent.loop import Loop
from p2pool.core.inputs import LoopLagged, Ticked
from p2pool.model import limits
from p2pool.model.timing import Now

HELD_S = 0.2


@attrs.define
class Recorder:
    """A node that wants nothing, and keeps what it is given."""

    next_wakeup_ms: int = 2**53
    seen: list[Any] = attrs.field(factory=list)

    def step(self, events: list[Any], now: Now) -> list[Any]:
        """Nothing to do."""
        self.seen += events
        return []


@pytest.fixture
async def loop(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Loop:
    """A running loop that takes a twentieth of a second for late."""
    monkeypatch.setattr(limits, "LOOP_LAG_MAX_MS", 50)
    made = Loop(Recorder(), None)  # type: ignore[arg-type]
    nursery.start_soon(made.run, lambda effect: None)
    await trio.testing.wait_all_tasks_blocked()
    return made


async def step(loop: Loop) -> list[Any]:
    """What the node has seen once it has nothing more to do."""
    await loop.put(Ticked())
    await trio.testing.wait_all_tasks_blocked()
    return [type(e) for e in loop.node.seen]  # type: ignore[attr-defined]


async def test_a_loop_that_is_in_time_says_nothing(loop: Loop) -> None:
    """However long it had nothing to do."""
    await trio.sleep(2 * HELD_S)
    assert await step(loop) == [Ticked]


async def test_a_task_that_holds_the_loop_between_steps_is_noticed(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was due, but nothing was read either: whoever seemed silent may have spoken."""
    give_way = trio.lowlevel.checkpoint

    async def held() -> None:
        time.sleep(HELD_S)  # noqa: ASYNC251  (another task holds the loop)
        await give_way()

    monkeypatch.setattr(trio.lowlevel, "checkpoint", held)
    await step(loop)
    monkeypatch.setattr(trio.lowlevel, "checkpoint", give_way)
    assert LoopLagged in await step(loop)


async def test_the_network_is_held_back_where_peers_have_lines_of_their_own(
    nursery: trio.Nursery,
) -> None:
    """A flood fills one step, not the queue in which a leader's frame would wait behind it."""
    loop = Loop(Recorder(), None)  # type: ignore[arg-type]

    async def flood() -> None:
        for _ in range(3 * limits.INPUTS_PER_STEP_MAX):
            await loop.feed(Ticked())

    nursery.start_soon(flood)
    await trio.testing.wait_all_tasks_blocked()
    assert loop.queued == limits.INPUTS_PER_STEP_MAX
    assert loop.offer(Ticked())
    nursery.start_soon(loop.run, lambda effect: None)
    await trio.testing.wait_all_tasks_blocked()
    assert len(loop.node.seen) == 3 * limits.INPUTS_PER_STEP_MAX + 1  # type: ignore[attr-defined]
