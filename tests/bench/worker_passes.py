"""One pass of a node's worker over many containers: list them at the engine, judge, look what next.

The containers are real, and the worker has been ordered every one of them. No leader has settled
their ends, so the worker keeps all: a node keeps the last 100 that are settled, so 500 known ones
are more than most will ever have.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.worker import events as ev
from p2pool.core.worker.worker import Worker
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, AllocationId, NodeId, PoolRef, Token
from p2pool.model.messages.work import Desired, Order
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.ports.store import TABLES
from p2pool.model.tasks.spec import Resources, TaskSpec
from p2pool.model.timing import Now
from tests.bench.peers import plain_docker

SCOPE = RuntimeScope(PoolRef(31337, Address(b"\x11" * 20), 7), NodeId(b"\x22" * 20))
MIB = 1024 * 1024
AT_ONCE, POLL_S = 8, 0.5
ROUNDS = 15
MAKE_DEADLINE_S = 180.0


@attrs.frozen
class Passes:
    """Seconds of each round; `first`: the first pass of an agent that has just started."""

    containers: int
    running: int
    first: float
    whole: list[float]
    judged: list[float]
    listed: list[float]


async def measure(
    engine: Engine, directory: Path, count: int, running: int, say: Callable[[str], None]
) -> Passes:
    """Make so many containers, of which so many run, and pass over them again and again."""
    made = DockerRuntime(SCOPE, directory, base_url=engine.url)
    worker = _worker(count, running)
    say(f"making {count} containers, of which {running} go on")
    with trio.fail_after(MAKE_DEADLINE_S):
        await _start_all(made, worker)
        await _wait_running(made, running)
    say(f"passing over {count} containers")
    runtime = DockerRuntime(SCOPE, directory, base_url=engine.url)
    await runtime.probe()
    client = plain_docker.connect(engine)
    whole: list[float] = []
    judged: list[float] = []
    listed: list[float] = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        statuses = await runtime.list()
        seen = time.perf_counter()
        judge(worker, ev.ContainersListed(statuses))
        done = time.perf_counter()
        assert len(statuses) == count, f"{len(statuses)} of {count} containers are there"
        whole.append(done - began)
        judged.append(done - seen)
        began = time.perf_counter()
        await trio.to_thread.run_sync(lambda: client.containers(all=True))
        listed.append(time.perf_counter() - began)
    client.close()
    return Passes(count, running, whole[0], whole[1:], judged[1:], listed[1:])


def judge(worker: Worker, event: ev.WorkerInput) -> None:
    """What the core does for one input: take it, look what is to be done, reported and kept."""
    worker.step(event, _now())
    worker.tick(_now())
    worker.report(_now())
    worker.statuses()
    worker.take()


def _worker(count: int, running: int) -> Worker:
    """A worker that was ordered to run so many, the first of which do not end by themselves."""
    worker = Worker(SCOPE, lambda desired, signers, at_s: None, {name: {} for name in TABLES})
    worker.member(True)
    worker.runtime(True)
    desired = tuple(_desired(n, "sleep 1000" if n < running else "true") for n in range(count))
    order = Order(SCOPE.node_id, Token(1, 1, 1), desired, ())
    assert worker.obey(order, (None,) * count, _now()).ok
    return worker


def _desired(number: int, command: str) -> Desired:
    spec = TaskSpec(
        name=f"t{number}",
        image=BUSYBOX_IMAGE,
        command=("sh", "-c", command),
        resources=Resources(cpu_milli=1000, memory_bytes=16 * MIB),
        stop_grace_s=0,
    )
    request = TaskRequest(
        Action.SUBMIT, SCOPE.pool.pool_id, "", spec_json(spec), number.to_bytes(32, "big"), 0, 600
    )
    signed = SignedRequest(request, b"s" * 65)
    return Desired(AllocationId(task_id(SCOPE.pool, request), 0), 1, signed, ())


async def _start_all(runtime: DockerRuntime, worker: Worker) -> None:
    """Carry out what the worker wants to be started, and tell it of that."""
    worker.step(ev.ContainersListed(()), _now())
    worker.tick(_now())
    _, effects = worker.take()
    plans = [effect.plan for effect in effects if isinstance(effect, ev.StartContainer)]
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def start(plan: Any) -> None:
        async with limiter:
            judge(worker, ev.ContainerStarted(await runtime.start(plan)))

    async with trio.open_nursery() as nursery:
        for plan in plans:
            nursery.start_soon(start, plan)


async def _wait_running(runtime: DockerRuntime, running: int) -> None:
    """Until all have ended but those that go on."""
    while True:
        if sum(not status.ended for status in await runtime.list()) <= running:
            return
        await trio.sleep(POLL_S)


def _now() -> Now:
    return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
