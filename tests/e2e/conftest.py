"""One private Docker Engine for all tests of this directory, and one pool of three agents."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine, import_busybox, start_engine
from p2pool.model.errors import Misconfigured, RuntimeUnavailable

COMMAND_DEADLINE_S = 180


def p2pool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "p2pool", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=COMMAND_DEADLINE_S,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """A private engine with busybox, in DOCKER_HOST for all processes; ended by its id."""
    directory = Path(tempfile.mkdtemp(prefix="p2e", dir="/tmp"))
    try:
        running = start_engine(directory)
    except (Misconfigured, RuntimeUnavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no private Docker Engine: {error}")
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = running.url
    try:
        client = docker.APIClient(base_url=running.url, version="auto")
        import_busybox(client, directory)
        client.close()
        yield running
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
        running.stop()


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


IMAGE = BUSYBOX_IMAGE
