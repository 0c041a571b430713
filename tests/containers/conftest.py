"""One private Docker Engine for the tests of containers, with a stand-in for NVIDIA's hook."""

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from p2pool.dev.engine.engine import Engine, import_busybox, start_engine
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.errors import Misconfigured, RuntimeUnavailable
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.ports.runtime import RuntimeScope

SCOPE = RuntimeScope(PoolRef(31337, Address(b"\x11" * 20), 7), NodeId(b"\x22" * 20))
OTHER = RuntimeScope(SCOPE.pool, NodeId(b"\x23" * 20))
HOOK = "nvidia-container-runtime-hook"


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """A private engine that offers GPUs, since an executable of the hook's name is on its PATH."""
    directory = Path(tempfile.mkdtemp(prefix="p2c", dir="/tmp"))
    tools = directory / "tools"
    tools.mkdir()
    hook = tools / HOOK
    # What it is called for is kept: the container's state, as runc writes it to its hooks.
    (tools / "called").mkdir()
    hook.write_text(f'#!/bin/sh\ncat > "{tools}/called/$$.$1"\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    try:
        running = start_engine(directory, str(tools))
    except (Misconfigured, RuntimeUnavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no private Docker Engine: {error}")
    try:
        client = docker.APIClient(base_url=running.url, version="auto")
        import_busybox(client, directory)
        client.close()
        yield running
    finally:
        running.stop()


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
