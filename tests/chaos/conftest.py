"""One pool of five agents for all tests of this directory; its artefacts stay when a test fails."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fixtures import Scene
from tests.chaos.pool import ChaosPool, chaos_pool
from tests.chaos.user import User

KEPT: list[Path] = []


@pytest.fixture(scope="package")
def pool(request: pytest.FixtureRequest) -> Iterator[ChaosPool]:
    """The pool; each test leaves it whole."""
    where = Path(tempfile.mkdtemp(prefix="p2chaos-", dir="/tmp"))
    KEPT.append(where)
    failed_before = request.session.testsfailed
    with chaos_pool(where / "pool") as running:
        yield running
    if request.session.testsfailed == failed_before:
        shutil.rmtree(where)
        KEPT.remove(where)


@pytest.fixture
async def scene(pool: ChaosPool) -> Scene:
    """The pool, whole, and a user of it."""
    await pool.wait_healed()
    return Scene(pool, User.of(pool))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where to look after a failure."""
    for where in KEPT:
        terminalreporter.write_line(f"logs of the agents: {where / 'pool' / 'logs'}")
