"""The Docker SDK, for tests that look past the runtime at what the engine holds."""

from collections.abc import AsyncIterator
from typing import Any

import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Any]:
    """The SDK, to see what is there; only the busybox image outlives a test."""
    made = docker.APIClient(base_url=engine.url, version="auto")
    yield made
    for row in made.containers(all=True):
        made.remove_container(row["Id"], force=True)
    for row in made.images():
        for tag in row["RepoTags"] or [row["Id"]]:
            if tag != BUSYBOX_IMAGE:
                made.remove_image(tag, force=True)
    made.close()
