"""Secrets over an engine's own end: the copy ends, and begins again with them or not at all."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.errors import RuntimeUnavailable
from tests.containers.docker.secrets.test_files import (
    FILE,
    VARIABLE,
    end_all,
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
    assert on_disk(engine, b"canary-of-h5", b"canary-in-a-variable") == []
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.restart(wanted.allocation, wanted.attempt)
    await runtime.restart(wanted.allocation, wanted.attempt, wanted.secrets)
    sizes = [str(len(FILE.value)), str(len(VARIABLE.value))]
    with trio.fail_after(DEADLINE_S):
        said = await first_lines(runtime, wanted, 4)
    assert said == sizes * 2
