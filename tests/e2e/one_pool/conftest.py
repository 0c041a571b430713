"""One pool of three agents for all tests of this directory; it ends with the last of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.dev.engine.engine import Engine
from tests.e2e.conftest import p2pool


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
