"""A task is assigned in the middle of a challenge: the executor starts it, and it goes first."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.streams.leases import Leases
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.core.worker import events as ev
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.model import messages as m
from p2pool.model.ids import AllocationId, Digest, TaskId, Token
from p2pool.model.messages.challenge import DeclineCode
from p2pool.model.ports.runtime import ContainerPlan, ContainerState, ContainerStatus
from p2pool.model.tasks.spec import TaskSpec
from tests.agent.streams.doubles import IMAGE, Place, Runs, Validator

COPY, TOKEN, HASH = AllocationId(TaskId(b"1" * 16), 0), Token(1, 1, 1), Digest(b"h" * 32)


@attrs.define
class Engine:
    """A container engine that notes who had the GPUs when a task's container started."""

    place: Place
    runs: Runs
    found: list[tuple[int, bool]] = attrs.Factory(list)

    async def pull(self, image: str, on_progress: Any, policy: Any, auth: Any = None) -> str:
        """It is there."""
        return ""

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """At once."""
        self.found.append((self.runs.ended, self.place.server.busy))
        return ContainerStatus(COPY, 1, TOKEN, HASH, ContainerState.RUNNING)

    async def probe(self) -> None:
        """It is there."""

    async def probe_directories(self) -> None:
        """They are seen."""

    async def watch(self) -> AsyncIterator[Any]:
        """Nothing happens."""
        await trio.Event().wait()
        yield


class Started:
    """The agent's loop, as far as it hears of a start."""

    def __init__(self) -> None:
        self.event = trio.Event()

    async def put(self, event: Any) -> None:
        """Notice a start."""
        if isinstance(event, ev.ContainerStarted):
            self.event.set()

    def offer(self, event: Any) -> bool:
        """Nothing is wanted of the others."""
        return True


async def test_a_task_that_is_assigned_in_a_challenge_goes_first(tmp_path: Path) -> None:
    """Its container starts after the prover is gone, and the validator hears that it is leased."""
    runs = Runs(hold="multiply")
    place = Place(ChallengeConfig(images=(IMAGE,), apart_s=0), runs=runs)
    engine, inbox, heard = Engine(place, runs), Started(), trio.Event()
    told: list[Any] = []
    executor = ContainerExecutor(
        engine,  # type: ignore[arg-type]
        inbox,
        TaskMetrics(tmp_path),
        Metrics(lambda: 0, lambda: 0),
        make_way=place.server.give_way,
    )
    plan = ContainerPlan(COPY, 1, TOKEN, TaskSpec("t", "i"), HASH, gpus=("GPU-0",))
    async with place.stream() as talk, trio.open_nursery() as nursery:

        async def challenged() -> None:
            told.append(await Validator(talk).challenge())
            heard.set()

        nursery.start_soon(executor.run)
        nursery.start_soon(challenged)
        await runs.held.wait()
        assert place.server.busy
        place.machine.leased = Leases(frozenset({"GPU-0"}), 99)
        executor.start_container(ev.StartContainer(plan))
        with trio.fail_after(10):
            await inbox.event.wait()
            await heard.wait()
        nursery.cancel_scope.cancel()
    assert engine.found == [(1, False)]
    (answer,) = told
    assert isinstance(answer, m.ChallengeDeclined)
    assert (answer.code, answer.retry_at_ms) == (DeclineCode.LEASED, 99)
