"""One private engine and one fetched anvil for all tests of this directory, and strangers."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio

from p2pool.dev.chain.fetch.anvil import VERSION, find_anvil
from p2pool.dev.engine.engine import Engine
from tests.containers.harness.private_engine import make_hook, private_engine
from tests.first_run.harness.strangers import Stranger


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """A private engine with busybox, which offers GPUs; nothing points to it."""
    directory = Path(tempfile.mkdtemp(prefix="p2f", dir="/tmp"))
    make_hook(directory / "tools")
    with private_engine(directory, directory / "tools") as running:
        yield running


@pytest.fixture(scope="package")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for XDG_CACHE_HOME with an anvil in it, fetched once by all the tests here."""
    directory = tmp_path_factory.mktemp("cache")
    binary = directory / "p2pool" / "anvil" / VERSION / "anvil"
    binary.parent.mkdir(parents=True)
    found = trio.run(find_anvil, print, tmp_path_factory.mktemp("spare"))
    shutil.copy2(found, binary)
    return directory


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """Somebody with an empty home, as root; where other users get to, too."""
    place = Path(tempfile.mkdtemp(prefix="p2h", dir="/tmp"))
    place.chmod(0o755)
    made = Stranger(place / "home")
    made.temporary.mkdir(parents=True)
    yield made
    for process in made.processes():  # Of a test that failed.
        with suppress(psutil.Error):
            process.kill()
    shutil.rmtree(place)
