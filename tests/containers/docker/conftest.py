"""The Docker SDK, for tests that look past the runtime at what the engine holds."""

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine


@pytest.fixture
def client(engine: Engine) -> Iterator[Any]:
    """The SDK, to see what is there; only the busybox image outlives a test.

    No fixture of trio's: those of a test end side by side, and the runtime's own end must come
    first, or what it leaves to its next start (a volume for secrets) is the next test's.
    """
    made = docker.APIClient(base_url=engine.url, version="auto")
    yield made
    # `v`: what an image has for volumes goes with its container.
    for row in made.containers(all=True):
        made.remove_container(row["Id"], v=True, force=True)
    for row in made.images():
        for tag in row["RepoTags"] or [row["Id"]]:
            if tag != BUSYBOX_IMAGE:
                made.remove_image(tag, force=True)
    made.close()
