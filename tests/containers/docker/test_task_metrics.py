"""What a container says of itself reaches its node, and a flood of lines harms nobody."""

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import limits
from p2pool.model.tasks.spec import Resources
from tests.containers.harness.metrics_image import make_say_image
from tests.containers.harness.plans import MIB, chunks, plan, run_to_end

pytestmark = pytest.mark.docker

TIMES_KEPT = 8
SAY = 'say \'{"loss": 0.25, "step": 7}\' && say \'{"loss": 0.125}\'; echo $?'


async def test_numbers_come_out_of_a_real_container(
    docker_runtime: DockerRuntime, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Through the socket in it, as any user, with nothing else of the host to be written."""
    metrics = TaskMetrics(tmp_path)
    nursery.start_soon(metrics.run)
    await trio.testing.wait_all_tasks_blocked()
    image = make_say_image(docker_runtime.client())
    script = f"{SAY}; touch /run/p2pool/x 2>/dev/null || echo refused"
    wanted = plan(script, image=image)
    directory = metrics.open(wanted.allocation, 1)
    await trio.testing.wait_all_tasks_blocked()
    status = await run_to_end(docker_runtime, attrs.evolve(wanted, metrics_directory=directory))
    assert status.exit_code == 0
    with trio.fail_after(30):
        while len(metrics.told(wanted.allocation, 1).metrics) < 2:
            await trio.lowlevel.checkpoint()
    told = {one.name: one.value for one in metrics.told(wanted.allocation, 1).metrics}
    assert told == {"loss": "0.125", "step": "7.0"}
    said = [c.data for c in await chunks(docker_runtime, wanted)]
    assert said == [b"0\n", b"refused\n"]


async def _ended(runtime: DockerRuntime) -> None:
    """Wait until no container runs, as the engine's listing has it."""
    with trio.fail_after(300):
        while True:
            if all(status.ended for status in await runtime.list()):
                return
            await trio.sleep(0.2)


async def test_a_log_of_many_times_what_is_kept_is_cut_and_read_in_bounds(
    docker_runtime: DockerRuntime,
) -> None:
    """The engine keeps a few files of it; a tail is quick to read, and its end is the log's."""
    most = limits.CONTAINER_LOG_FILE_MAX_BYTES * limits.CONTAINER_LOG_FILES_MAX
    line = "x" * 1023
    flood = f"yes {line} | head -c {TIMES_KEPT * most}; echo the end"
    wanted = plan(flood, resources=Resources(cpu_milli=2000, memory_bytes=64 * MIB))
    await docker_runtime.start(wanted)
    await _ended(docker_runtime)
    kept_bytes = 0
    async for batch in docker_runtime.logs(wanted.allocation, 1):
        kept_bytes += sum(len(chunk.data) for chunk in batch)
    assert 0 < kept_bytes <= most
    tail = [c.data for c in await chunks(docker_runtime, wanted, tail_lines=2)]
    assert tail[-1] == b"the end\n"
    assert len(tail) == 2


async def test_a_reader_that_stops_reading_holds_up_nobody(docker_runtime: DockerRuntime) -> None:
    """The container goes on writing and ends; the reader gets every line all the same."""
    wanted = plan("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done")
    await docker_runtime.start(wanted)
    reader = docker_runtime.logs(wanted.allocation, 1, follow=True)
    first = await anext(reader)
    await _ended(docker_runtime)
    rest = [chunk async for batch in reader for chunk in batch]
    assert [int(chunk.data) for chunk in (*first, *rest)] == list(range(20000))
