"""Whatever happens between an agent and its engine: it stays up, says nothing that is not so, and
ends in the state that was ordered once the engine is well again."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.container.labels import read_labels, scope_filter
from p2pool.drivers.containers.docker.networks.sandbox import sandbox_of
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import limits
from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.ids import AllocationId
from p2pool.model.messages.work import Desired
from p2pool.model.states import AllocationState
from tests.containers.harness.fault_proxy import Fault, FaultProxy, Kind
from tests.containers.harness.plans import FOREVER, SCOPE, plan
from tests.containers.harness.worker_side import Disk, Side, running, short_limits, sweep, until
from tests.core.worker.workbench import desired

pytestmark = pytest.mark.docker
S = AllocationState


def wanted(name: str, script: str = FOREVER) -> Desired:
    """An order of a shell script that ends at once when it is asked to."""
    command = ("sh", "-c", f"trap 'exit 0' TERM; {script}")
    return desired(name, image=BUSYBOX_IMAGE, command=command, stop_grace_s=1)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is the same, and shorter."""
    short_limits(monkeypatch)


@pytest.fixture
def proxy(engine: Engine, tmp_path: Path) -> Iterator[FaultProxy]:
    """A proxy before the engine; no thread of an agent outlives it by much."""
    before = dict.fromkeys(threading.enumerate())
    made = FaultProxy(tmp_path / "proxy.sock", Path(engine.url.removeprefix("unix://")))
    yield made
    made.close()
    left = [t for t in threading.enumerate() if t not in before and "Trio" not in t.name]
    assert left == []


@pytest.fixture
async def side(
    proxy: FaultProxy, engine: Engine, tmp_path: Path, short: None
) -> AsyncIterator[Side]:
    """An agent behind the proxy, and no container of it afterwards."""
    async with running(Side(SCOPE, proxy.url, tmp_path, Disk())) as made:
        yield made
    sweep(engine.url)


async def running_names(engine: Engine) -> list[AllocationId]:
    """Whose containers run, as the engine says it directly. A second runtime would sweep networks
    that the first is about to use."""

    def ask() -> list[dict[str, Any]]:
        with closing(docker.APIClient(base_url=engine.url, version="auto")) as client:
            return list(client.containers(filters={"label": scope_filter(SCOPE)}))

    found = []
    for row in await trio.to_thread.run_sync(ask):
        said = read_labels(SCOPE, row["Labels"])
        if said is not None and sandbox_of(SCOPE, row["Labels"]) is None:
            found.append(said.allocation)
    return found


FAULTS = {
    "500": Fault(Kind.ERROR, text="containerd: transport is closing: unavailable"),
    "no space": Fault(Kind.ERROR, text="mkdir /var/lib/docker/x: no space left on device"),
    "busy": Fault(
        Kind.ERROR, text="OCI runtime create failed: mount failed: device or resource busy"
    ),
    "stall": Fault(Kind.STALL),
    "half": Fault(Kind.HALF),
    "reset": Fault(Kind.RESET),
    "lost": Fault(Kind.LOST),
    "drip": Fault(Kind.DRIP),
    "torn": Fault(Kind.TORN),
    "garbage": Fault(Kind.GARBAGE),
}


@pytest.mark.parametrize("name", list(FAULTS))
async def test_orders_given_during_a_fault_are_carried_out_after_it(
    name: str, side: Side, proxy: FaultProxy, engine: Engine
) -> None:
    """All calls fail: what runs is still said to run; then one starts, one stops, one stays."""
    stays, stops, starts = wanted("stays"), wanted("stops"), wanted("starts")
    side.order(stays, stops)
    await side.wait(lambda: side.state(stays) is side.state(stops) is S.RUNNING)
    proxy.fail(FAULTS[name])
    proxy.cut()
    await side.wait(lambda: not side.worker.well)
    side.order(stays, starts, stops=(stops,))
    with trio.move_on_after(3):
        await side.wait(lambda: False)
    assert side.state(stays) is S.RUNNING
    assert side.disk.told == []
    proxy.mend()
    await side.wait(lambda: side.worker.well and side.state(starts) is S.RUNNING)
    await side.wait(lambda: side.state(stops) in (S.STOPPED, None))
    ends = [(o.allocation, o.state) for o in side.disk.told]
    assert ends == [(stops.allocation, S.STOPPED)]
    found = await running_names(engine)
    assert set(found) == {stays.allocation, starts.allocation}
    await until(lambda: side.runtime._engine._calls.borrowed_tokens == 0)


@pytest.mark.parametrize("kind", [Kind.STALL, Kind.DRIP, Kind.LOST, Kind.HALF, Kind.RESET])
async def test_a_start_that_fails_so_delays_no_other(
    kind: Kind, side: Side, proxy: FaultProxy, engine: Engine
) -> None:
    """One call is met by the fault; the next task starts, and the first is tried again."""
    proxy.fail(Fault(kind, r"POST .*/start$", times=1))
    first, second = wanted("first"), wanted("second")
    side.order(first)
    await until(lambda: bool(proxy.met))
    side.order(first, second)
    await side.wait(lambda: side.state(second) is S.RUNNING)
    await side.wait(lambda: side.state(first) is S.RUNNING)
    assert sorted(await running_names(engine)) == sorted([first.allocation, second.allocation])


async def test_a_start_whose_answer_was_lost_is_stopped_too(
    side: Side, proxy: FaultProxy, engine: Engine
) -> None:
    """It runs, nobody knows, and it is stopped before a listing shows it: it does not run on."""
    one = wanted("one")
    await side.wait(lambda: side.worker.listed and side.worker.well)
    # The start arrives; neither its answer nor any listing does until the stop has been ordered.
    proxy.fail(Fault(Kind.LOST, r"POST .*/start$|GET .*/containers/json"))
    side.order(one)
    with trio.fail_after(30):
        while not await running_names(engine):
            await side.wait_turned()
    side.order(stops=(one,))
    await side.wait(lambda: not side.worker.items[one.allocation, 1].busy)
    proxy.mend()
    await side.wait(lambda: side.state(one) in (S.STOPPED, None))
    with trio.fail_after(30):
        while await running_names(engine):
            await side.wait_turned()
    assert [o.state for o in side.disk.told] == [S.STOPPED]


@pytest.mark.parametrize(
    "kind", [Kind.TORN, Kind.HALF, Kind.GARBAGE, Kind.RESET, Kind.ERROR, Kind.STALL]
)
async def test_events_may_fail_alone(kind: Kind, side: Side, proxy: FaultProxy) -> None:
    """Listings go on by themselves: an end is seen, and the stream is opened again."""
    proxy.fail(Fault(kind, r"/events"))
    proxy.cut()
    one = wanted("one", "sleep 1; exit 3")
    side.order(one)
    await side.wait(lambda: any(o.exit_code == 3 for o in side.disk.told))
    await until(lambda: bool(proxy.met))
    proxy.mend()
    two = wanted("two", "exit 4")
    side.order(two)
    await side.wait(lambda: any(o.exit_code == 4 for o in side.disk.told))
    assert len(side.disk.told) == 2


async def test_a_container_that_cannot_be_removed_yet_is_removed_later(
    side: Side, proxy: FaultProxy, engine: Engine, tmp_path: Path
) -> None:
    """The engine says that it is busy, as it does while somebody looks into the mount."""
    text = "driver overlay2 failed to remove root filesystem: unlinkat: device or resource busy"
    proxy.fail(Fault(Kind.ERROR, r"DELETE ", text, times=2))
    one = wanted("one", "exit 0")
    side.order(one)
    await side.wait(lambda: side.state(one) is None)
    assert proxy.met[Kind.ERROR] == 2
    assert await DockerRuntime(SCOPE, tmp_path, base_url=engine.url).list() == ()


async def test_a_listing_that_failed_is_taken_back(side: Side, proxy: FaultProxy) -> None:
    """Only listings fail, and only for a while: the engine is said to be well again."""
    await side.wait(lambda: side.worker.well)
    proxy.fail(Fault(Kind.ERROR, r"GET .*/containers/json", times=1))
    await side.wait(lambda: any(not o.well for o in side.observed))
    await side.wait(lambda: side.worker.well)


async def test_a_dripping_answer_costs_one_call_and_no_thread(
    proxy: FaultProxy, tmp_path: Path, short: None
) -> None:
    """Bytes that keep coming are no answer: each call ends, with its thread, at its deadline."""
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=proxy.url)
    await runtime.probe()
    proxy.fail(Fault(Kind.DRIP))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(2 * limits.ENGINE_CALLS_IN_FLIGHT_MAX):
                nursery.start_soon(_fails, runtime, number)
        assert runtime._engine._calls.borrowed_tokens == 0
    proxy.mend()
    assert await runtime.list() == ()


async def _fails(runtime: DockerRuntime, number: int) -> None:
    with pytest.raises(RuntimeUnavailable):
        await runtime.stop(plan("", replica=number).allocation, 1, 0)
