"""Secrets over an engine's own end: the copy ends, and begins again with them or not at all."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.errors import RuntimeUnavailable
from p2pool.model.ports.runtime import ContainerState
from tests.containers.docker.secrets.copies import (
    FILE,
    VARIABLE,
    end_all,
    inside,
    mounted,
    on_disk,
    secret_plan,
)
from tests.containers.harness.plans import FOREVER, SCOPE, first_lines
from tests.containers.harness.private_engine import private_engine

pytestmark = pytest.mark.docker
DEADLINE_S = 120


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine of its own, which is ended and killed."""
    with private_engine(Path(tempfile.mkdtemp(prefix="p2s", dir="/tmp"))) as running:
        yield running


@pytest.fixture
async def runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime whose copies are gone after the test."""
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    yield made
    await end_all(made)


@pytest.mark.parametrize("crash", [False, True])
async def test_a_copy_gets_them_again_after_its_engine_ended(
    runtime: DockerRuntime, engine: Engine, crash: bool
) -> None:
    """Ended in order or killed: nothing is left in memory or on the disk, no start goes without,
    and the same attempt runs again with all of them."""
    script = f'stat -c %s /run/secrets/*; echo "${{#API_KEY}}"; {FOREVER}'
    wanted = secret_plan(script, FILE, VARIABLE)
    await runtime.start(wanted)
    await trio.to_thread.run_sync(engine.crash if crash else engine.halt)
    await trio.to_thread.run_sync(engine.go_on)
    (status,) = await runtime.list()
    assert status.ended
    assert mounted(engine) == []
    assert on_disk(engine, b"canary-of-it", b"canary-in-a-variable") == []
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.restart(wanted.allocation, wanted.attempt)
    await runtime.restart(wanted.allocation, wanted.attempt, wanted.secrets)
    sizes = [str(len(FILE.value)), str(len(VARIABLE.value))]
    with trio.fail_after(DEADLINE_S):
        said = await first_lines(runtime, wanted, 4)
    assert said == sizes * 2


async def test_with_live_restore_a_copy_keeps_them(tmp_path: Path) -> None:
    """What runs on has them still, though the engine lets go of its own mounts; what it starts
    again afterwards has them anew, whatever the engine kept; and it can be removed."""
    directory = Path(tempfile.mkdtemp(prefix="p2l", dir="/tmp"))
    with private_engine(directory, arguments=("--live-restore",)) as engine:
        runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
        wanted = secret_plan(f"trap 'exit 0' TERM; {FOREVER}", FILE, VARIABLE)
        await runtime.start(wanted)
        await trio.to_thread.run_sync(engine.crash)
        await trio.to_thread.run_sync(engine.go_on)
        client = docker.APIClient(base_url=engine.url, version="auto")
        try:
            sized = ("stat", "-c", "%s", "/run/secrets/db.password")
            for _ in range(3):
                (status,) = await runtime.list()
                assert status.state is ContainerState.RUNNING
                assert inside(client, wanted, *sized) == (0, f"{len(FILE.value)}\n")
                await runtime.stop(wanted.allocation, wanted.attempt, 0)
                await runtime.restart(wanted.allocation, wanted.attempt, wanted.secrets)
            await end_all(runtime)
            assert await runtime.list() == ()
        finally:
            client.close()
