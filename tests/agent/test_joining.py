"""An agent stands by its node's way into the pool: it says where it is, and begins again."""

import re
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from p2pool.agent.effect_runner import EffectRunner
from p2pool.agent.join.driver import JoiningReport, stay_in_pool, top_up
from p2pool.agent.loop import Loop
from p2pool.core.inputs import JoiningTold
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.model.errors import ChainUnavailable, Conflict

WAITS = JoinStep(
    "invited", Progress.WAITING, "no invite is known", "the manager 0x11", "p2pool pool invite 0x22"
)
JOINED = JoinStep("joined", Progress.DONE)


class FakeLoop:
    """A node that is in the pool or not, as the test says; each change is a step."""

    def __init__(self) -> None:
        self.inside, self.told = False, list[str | None]()
        self.known = True
        self.stepped = trio.Event()
        self.node = self.context = self.roster = self
        self.me = b"me"

    def belongs(self, _: object) -> bool:
        return self.inside

    async def wait_stepped(self) -> None:
        await self.stepped.wait()

    async def put(self, event: JoiningTold) -> None:
        self.told.append(event.text)
        self.step()

    def step(self, inside: bool | None = None) -> None:
        self.inside = self.inside if inside is None else inside
        stepped, self.stepped = self.stepped, trio.Event()
        stepped.set()


@attrs.define
class FakeJoining:
    """Steps as the test says; the last one again and again."""

    steps: list[JoinStep]
    asked: int = 0

    async def next_step(self) -> JoinStep:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        step = self.steps[0] if len(self.steps) == 1 else self.steps.pop(0)
        if step.name == "ended":
            raise Conflict("The pool has ended.")
        return step


@attrs.define
class Invited:
    invite: object = None


async def until(done: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not done():
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_node_that_was_put_out_and_is_invited_again_joins_again() -> None:
    """Without a restart of its agent; and what it waits for is said as long as it holds."""
    loop, joining = FakeLoop(), FakeJoining([WAITS])
    told, invited = JoiningReport(cast(Loop, loop)), Invited()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        nursery.start_soon(
            stay_in_pool,
            cast(Joining, joining),
            cast(Loop, loop),
            cast(EffectRunner, invited),
            told,
        )
        await until(lambda: bool(loop.told))
        said = str(loop.told[-1])
        assert said.startswith(
            "It waits for the manager 0x11: no invite is known. They run: p2pool"
        )
        assert re.search(r"waited since 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.$", said)
        assert told.status is not None
        assert (told.status.step, told.status.waiting_on) == ("invited", "the manager 0x11")
        for number in (1, 2):
            joining.steps[:] = [JOINED]
            invited.invite = number
            loop.step()
            await until(lambda: "has joined" in str(loop.told[-1]))
            loop.step(inside=True)
            await until(lambda: loop.told[-1] is None)
            asked = joining.asked
            joining.steps[:] = [WAITS]
            loop.step(inside=False)
            await until(lambda: "It waits for the manager" in str(loop.told[-1]))
            assert joining.asked > asked
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_pool_ends_the_way_into_it() -> None:
    """Only that does: everything else somebody can mend."""
    loop = FakeLoop()
    ended = FakeJoining([JoinStep("ended", Progress.WAITING)])
    told = JoiningReport(cast(Loop, loop))
    with pytest.raises(Conflict, match="ended"):
        await stay_in_pool(
            cast(Joining, ended), cast(Any, loop), cast(EffectRunner, Invited()), told
        )


@attrs.define
class FakeStake:
    """A provider's stake that takes two steps to add to, or nobody may add to."""

    allowed: bool = True
    failing: int = 0
    topped: int = 0

    async def top_up(self) -> JoinStep | None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            self.failing -= 1
            raise ChainUnavailable("nobody answers")
        if not self.allowed:
            return None
        self.topped += 1
        return JoinStep("approved" if self.topped == 1 else "staked", Progress.DOING)


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_member_adds_what_a_slash_took_once_at_its_start(
    autojump_clock: trio.testing.MockClock, allowed: bool
) -> None:
    """If its owner allows that; it tries again where nobody answers, and then says nothing more."""
    loop, stake = FakeLoop(), FakeStake(allowed, failing=2)
    loop.inside = True
    told = JoiningReport(cast(Loop, loop))
    await top_up(cast(Joining, stake), cast(Loop, loop), told)
    assert (stake.failing, stake.topped) == (0, 2 * allowed)
    assert (told.text, told.status) == (None, None)


async def test_a_node_outside_leaves_its_stake_to_the_way_in() -> None:
    """There each step is looked at anew."""
    loop, stake = FakeLoop(), FakeStake()
    await top_up(cast(Joining, stake), cast(Loop, loop), JoiningReport(cast(Loop, loop)))
    assert stake.topped == 0
