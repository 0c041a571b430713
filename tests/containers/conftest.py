"""One private Docker Engine for the tests of containers, with a stand-in for NVIDIA's hook."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from tests.containers.harness.plans import OTHER, SCOPE
from tests.containers.harness.private_engine import make_hook, private_engine


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """A private engine that offers GPUs, since an executable of the hook's name is on its PATH."""
    directory = Path(tempfile.mkdtemp(prefix="p2c", dir="/tmp"))
    tools = directory / "tools"
    # What it is called for is kept: the container's state, as runc writes it to its hooks.
    make_hook(tools, f'cat > "{tools}/called/$$.$1"')
    (tools / "called").mkdir()
    with private_engine(directory, tools) as running:
        yield running


@pytest.fixture
async def docker_runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime on the private engine, whose containers are gone after the test."""
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    yield made
    for runtime in (made, DockerRuntime(OTHER, tmp_path, base_url=engine.url)):
        for status in await runtime.list():
            await runtime.stop(status.allocation, status.attempt, 0)
            await runtime.remove(status.allocation, status.attempt)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    """A process runtime whose processes end with the test."""
    made = ProcessRuntime(SCOPE, tmp_path)
    yield made
    for one in await made.list():
        await made.stop(one.allocation, one.attempt, 0)
