"""One private Docker Engine for all tests of this directory."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from tests.containers.harness.private_engine import private_engine

COMMAND_DEADLINE_S = 600


def p2pool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, as a user does."""
    return p2pool_in(Path.cwd(), *arguments, **environment)


def p2pool_in(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a directory."""
    return subprocess.run(
        [sys.executable, "-m", "p2pool", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=COMMAND_DEADLINE_S,
        env={**os.environ, **environment},
        cwd=cwd,
        check=False,
    )


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """A private engine with busybox, in DOCKER_HOST for all processes; ended by its id."""
    directory = Path(tempfile.mkdtemp(prefix="p2e", dir="/tmp"))
    with private_engine(directory) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", running.url)
        yield running


IMAGE = BUSYBOX_IMAGE
