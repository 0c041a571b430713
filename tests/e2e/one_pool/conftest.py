"""One pool of three agents for all tests of this directory; it ends with the last of them."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.model.errors import P2poolError
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import Acting


@pytest.fixture(scope="package")
def pool_directory(engine: Engine) -> Iterator[Path]:
    """A pool of three agents, brought up and down by the command line."""
    directory = Path(tempfile.mkdtemp(prefix="p2p", dir="/tmp")) / "pool"
    up = p2pool("dev", "up", "--dir", str(directory), "--json")
    try:
        assert up.returncode == 0, up.stderr
        yield directory
    finally:
        down = p2pool("dev", "down", "--dir", str(directory))
        assert down.returncode == 0, down.stderr
        directory.parent.rmdir()


@pytest.fixture(autouse=True)
async def swept(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A test that fails leaves its tasks behind: they end here, for the next one wants the room."""
    yield
    if "pool_directory" not in request.fixturenames:
        return
    acting = Acting.on(request.getfixturevalue("pool_directory"))
    for at in acting.agents:
        try:
            tasks = (await at.get("/v1/tasks"))["tasks"]
        except P2poolError:  # The test killed it, and failed before it came back.
            await acting.start(at)
            continue
        for task in tasks:
            if task["state"] not in ("stopped", "failed", "succeeded"):
                await acting.stop_task(at, str(task["task_id"]))
