"""What an engine does to containers when it goes and comes back, seen as an agent sees it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.ports.runtime import ContainerState
from tests.containers.harness.plans import FOREVER, SCOPE, lines, plan
from tests.containers.harness.private_engine import private_engine

pytestmark = pytest.mark.docker


@pytest.fixture(params=[True, False], ids=["live-restore", "without"])
def restarting(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, bool]]:
    """An engine of its own that may be ended, with and without live-restore."""
    directory = Path(tempfile.mkdtemp(prefix="p2r", dir="/tmp"))
    live = bool(request.param)
    with private_engine(directory, arguments=("--live-restore",) if live else ()) as engine:
        yield engine, live


async def test_with_live_restore_it_runs_on(
    restarting: tuple[Engine, bool], tmp_path: Path
) -> None:
    """The same run of the container; without live-restore it has ended, after the engine left."""
    engine, live = restarting
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    # It heeds the engine, which begins again by ending what it does not restore.
    started = await runtime.start(plan(f"trap 'exit 0' TERM; echo first; {FOREVER}"))
    engine.crash()
    with pytest.raises(RuntimeUnavailable):
        await runtime.list()
    engine.go_on()
    (found,) = await runtime.list()
    if live:
        assert found.state is ContainerState.RUNNING
        assert found.started_at_ms == started.started_at_ms
        assert await lines(runtime, plan(""), tail_lines=1) == ["first"]
        await runtime.stop(found.allocation, 1, 0)
    else:
        assert found.ended
        assert found.finished_at_ms > started.started_at_ms
