"""What the tests of the client library share: the pool's agents, and an image that pages name."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from p2pool.client import KeySigner
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.dev.pool import PASSPHRASE
from tests.e2e.harness.actions import Acting
from tests.e2e.one_pool.conftest import pool_directory

__all__ = ["pool_directory"]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="package")
def acting(engine: Engine, pool_directory: Path) -> Iterator[Acting]:
    """The pool of three, and an engine that has the image which the documents name."""
    client = docker.APIClient(base_url=engine.url)
    try:
        client.tag(BUSYBOX_IMAGE, "busybox")
        yield Acting.on(pool_directory)
    finally:
        client.close()


@pytest.fixture
def manager(acting: Acting) -> KeySigner:
    """Who may do everything in the pool."""
    return KeySigner.from_keystore(acting.pool.directory / "keys" / "manager.json", PASSPHRASE)


def small(name: str, *command: str, **more: object) -> dict[str, object]:
    """A task that takes little."""
    resources = {"cpu_milli": 50, "memory_bytes": 32 * 2**20}
    return {"name": name, "image": BUSYBOX_IMAGE, "command": list(command), **more} | {
        "resources": resources
    }
