"""Whether the engine sees the directories that its agent would have mounted.

The private engine has a `/run` of its own, as one on another machine, or beside an agent that runs
in a container, has a `/` of its own.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.core.inputs import RuntimeObserved
from p2pool.core.worker import events as ev
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.checks.software import software_checks
from p2pool.drivers.containers.docker import directories, helper
from p2pool.drivers.containers.docker.images.helper_image import helper_image
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.machine.checks import Verdict
from p2pool.model.tasks.faults import Fault
from p2pool.model.tasks.spec import Mount, MountKind
from tests.containers.harness.plain_user import plain_user
from tests.containers.harness.plans import SCOPE, plan

pytestmark = pytest.mark.docker

VOLUME = (Mount(MountKind.TASK, "/data", "data"),)
SEES_NOT = "does not see the directory"


@pytest.fixture
def hidden() -> Iterator[Path]:
    """A directory that this process sees and the engine does not."""
    directory = Path(tempfile.mkdtemp(prefix="p2pool-hidden-", dir="/run"))
    yield directory
    shutil.rmtree(directory)


def runtime_in(directory: Path, engine: Engine) -> DockerRuntime:
    """As an agent with this data directory makes it."""
    settings = Settings(disk_reserve_bytes=0, agent_directory=directory)
    return DockerRuntime(SCOPE, directory / "containers", base_url=engine.url, settings=settings)


async def test_a_directory_that_the_engine_sees(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the agent are seen inside, and nothing stays of the look; nor does a later one cost
    anything before its time."""
    runtime = runtime_in(tmp_path, engine)
    await runtime.probe_directories()
    assert runtime.client().containers(all=True) == []
    assert list(tmp_path.iterdir()) == []
    engine_answers = runtime.helper.run
    monkeypatch.setattr(runtime.helper, "run", None)
    await runtime.probe_directories()
    monkeypatch.setattr(runtime.helper, "run", engine_answers)


async def test_one_that_it_does_not_see(engine: Engine, hidden: Path) -> None:
    """The reason names the directory and what to do."""
    runtime = runtime_in(hidden, engine)
    for _ in range(2):  # The second answer is the first one, kept for a while.
        with pytest.raises(RuntimeUnavailable, match=f"{SEES_NOT} {hidden}") as refused:
            await runtime.probe_directories()
    assert "at the same path" in str(refused.value)


async def test_one_that_is_another_there(
    engine: Engine, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path exists on both sides and is not the same directory: nothing would fail, and
    everything would be lost."""
    runtime = runtime_in(hidden, engine)

    def planted(directory: Path) -> directories.Planted:
        """As the agent does it; and on the engine's side there is an older one."""
        made = real(directory)
        make = f"mkdir -p {made.place}; echo of another agent > {made.place}/word"
        subprocess.run([*engine.namespaces.mounts, "sh", "-c", make], check=True)
        return made

    real = directories._plant
    monkeypatch.setattr(directories, "_plant", planted)
    with pytest.raises(RuntimeUnavailable, match=f"{SEES_NOT}.*its files are not there"):
        await runtime.probe_directories()


async def test_part_of_it_is_elsewhere(engine: Engine, hidden: Path, tmp_path: Path) -> None:
    """The sockets of tasks lie beside the volumes: both places are looked at."""
    (tmp_path / "containers").mkdir()
    settings = Settings(disk_reserve_bytes=0, agent_directory=hidden)
    runtime = DockerRuntime(SCOPE, tmp_path / "containers", base_url=engine.url, settings=settings)
    with pytest.raises(RuntimeUnavailable, match=f"{SEES_NOT} {hidden}"):
        await runtime.probe_directories()


async def test_directories_of_the_owner(engine: Engine, hidden: Path, tmp_path: Path) -> None:
    """Those that tasks may mount are looked at too, without a trace; one that is not here may come
    later."""
    there = tmp_path / "sets"
    there.mkdir()
    for allowed, well in (
        ((there, tmp_path / "none"), True),
        ((there, hidden), False),
    ):
        settings = Settings(disk_reserve_bytes=0, bind_directories=allowed)
        runtime = DockerRuntime(SCOPE, tmp_path / "x", base_url=engine.url, settings=settings)
        if well:
            await runtime.probe_directories()
            continue
        with pytest.raises(RuntimeUnavailable, match=f"{SEES_NOT} {hidden}"):
            await runtime.probe_directories()
        wanted = plan("true", mounts=(Mount(MountKind.BIND, "/sets", str(hidden)),))
        with pytest.raises(RuntimeUnavailable, match=f"{SEES_NOT} {hidden}"):
            await runtime.start(wanted)
    assert list(there.iterdir()) == []


async def test_one_that_is_another_of_the_owners(engine: Engine, hidden: Path) -> None:
    """The engine has a directory of that name, and it is not the one that the owner meant."""
    await trio.run_process([*engine.namespaces.mounts, "mkdir", "-p", str(hidden)])
    settings = Settings(disk_reserve_bytes=0, bind_directories=(hidden,))
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    runtime = DockerRuntime(SCOPE, place, base_url=engine.url, settings=settings)
    with pytest.raises(RuntimeUnavailable, match="it is another directory there"):
        await runtime.probe_directories()
    shutil.rmtree(place)


async def test_a_relative_one_is_refused(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine takes absolute paths alone: the check says so before a task does."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeUnavailable, match="absolute"):
        await runtime_in(Path("data"), engine).probe_directories()


async def test_a_plain_user_and_a_directory_that_cannot_be_written(engine: Engine) -> None:
    """No rights of root are needed; a directory that is not the agent's is told."""
    with plain_user(engine) as directory:
        await runtime_in(directory, engine).probe_directories()
        with pytest.raises(RuntimeUnavailable, match="Permission denied"):
            await runtime_in(Path("/usr"), engine).probe_directories()


async def test_the_check_starts_a_container_and_fails(
    engine: Engine, hidden: Path, tmp_path: Path
) -> None:
    """`p2pool agent check` needs no image from anywhere, and fails where a task would."""
    name = "a container"
    for directory, verdict in ((tmp_path, Verdict.PASS), (hidden, Verdict.FAIL)):
        checks = await software_checks(runtime_in(directory, engine), ())
        (found,) = [check for check in checks if check.name == name]
        assert found.verdict is verdict, found
        assert bool(found.todo) is (verdict is Verdict.FAIL)


async def test_a_processor_without_a_helper_image_is_told(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check fails and names the processors that there are images for."""
    monkeypatch.setattr(helper, "helper_image", lambda platform: helper_image("linux/arm"))
    checks = await software_checks(runtime_in(tmp_path, engine), ())
    (found,) = [check for check in checks if check.verdict is Verdict.FAIL]
    assert "linux/amd64 and linux/arm64; this engine runs linux/arm." in found.found


async def test_the_node_is_ineligible_and_the_task_does_not_fail(
    engine: Engine, hidden: Path
) -> None:
    """The agent reports the reason before a task comes, and a task that came is tried again."""
    told: list[Any] = []
    answered, observed_it = trio.Event(), trio.Event()

    class Inbox:
        async def put(self, event: Any) -> None:
            told.append(event)
            if isinstance(event, ev.StartFailed):
                answered.set()
            if isinstance(event, RuntimeObserved):
                observed_it.set()

        def offer(self, event: Any) -> bool:
            return True

    runtime = runtime_in(hidden, engine)
    executor = ContainerExecutor(
        runtime, Inbox(), TaskMetrics(hidden), Metrics(lambda: 0, lambda: 0)
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.run)
            await observed_it.wait()
            executor.start_container(ev.StartContainer(plan("true", mounts=VOLUME)))
            await answered.wait()
            nursery.cancel_scope.cancel()
    (observed,) = [one for one in told if isinstance(one, RuntimeObserved)]
    assert (observed.well, SEES_NOT in (observed.reason or "")) == (False, True)
    (failed,) = [one for one in told if isinstance(one, ev.StartFailed)]
    assert failed.fault is Fault.NODE_NOW
    assert SEES_NOT in failed.message


async def test_a_bad_target_is_still_the_tasks_fault(engine: Engine, tmp_path: Path) -> None:
    """What is mounted where nothing can be is no reason to doubt the node."""
    runtime = runtime_in(tmp_path, engine)
    wanted = plan("true", mounts=(Mount(MountKind.TASK, "/bin/busybox", "data"),))
    wanted = attrs.evolve(wanted, spec=attrs.evolve(wanted.spec, image=BUSYBOX_IMAGE))
    with pytest.raises(Exception) as refused:
        await runtime.start(wanted)
    assert not isinstance(refused.value, RuntimeUnavailable)
    assert os.path.isdir(tmp_path / "containers")
