"""Whoever interrupts it at any moment leaves nothing behind: no process, no file, no traceback."""

import signal
import time
from pathlib import Path

import docker
import pytest

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.container.labels import COPY
from tests.first_run.harness.strangers import DEADLINE_S, Stranger

INTERRUPTED = 130

MOMENTS = [
    ("up", "starting a development chain", signal.SIGINT),
    ("up", "starting a bootstrap node", signal.SIGTERM),
]
# Libraries in the order in which they are loaded, from the command line's own on.
LOADED = ("_json.", "_socket.", "_cbor2")


@pytest.fixture
def chained(stranger: Stranger, cache: Path) -> Stranger:
    """Somebody who has the development chain already, and no engine."""
    stranger.environment |= {"XDG_CACHE_HOME": str(cache), "DOCKER_HOST": "unix:///no/such/socket"}
    return stranger


def clean(stranger: Stranger) -> None:
    """Nothing is left, and nothing blocks the next start."""
    assert stranger.left() == []
    assert not (stranger.home / ".local" / "share" / "p2pool-dev").exists()


@pytest.mark.chain
@pytest.mark.parametrize(("verb", "moment", "number"), MOMENTS)
def test_at_any_moment(chained: Stranger, verb: str, moment: str, number: signal.Signals) -> None:
    """Asked once, and then again and again while it ends."""
    with chained.started("dev", *verb.split()) as running:
        running.wait_said(moment)
        running.process.send_signal(number)
        running.wait_said("stopping everything")
        for _ in range(3):
            if running.process.poll() is None:
                running.process.send_signal(number)
        assert running.process.wait(DEADLINE_S) == INTERRUPTED, running.said
        assert f"{number.name}: stopping" in running.said
        assert "Traceback" not in running.said
        assert "Error" not in running.said
    clean(chained)


@pytest.mark.chain
@pytest.mark.docker
def test_with_containers(chained: Stranger, engine: Engine) -> None:
    """In the middle of the story: no container, no image that it brought."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    images = client.images(quiet=True)
    with chained.started("dev", "demo", DOCKER_HOST=engine.url) as running:
        running.wait_said("killing the master")
        assert len(client.containers(filters={"label": COPY})) == 3
        assert running.ended(signal.SIGHUP) == INTERRUPTED, running.said
        assert "Traceback" not in running.said
    clean(chained)
    assert client.containers(all=True) == []
    assert client.images(quiet=True) == images
    client.close()


@pytest.mark.parametrize("library", LOADED)
def test_before_anything_was_begun(chained: Stranger, library: str) -> None:
    """While it is still being loaded: there is no traceback."""
    with chained.started("dev", "demo") as running:
        maps, end = Path(f"/proc/{running.process.pid}/maps"), time.monotonic() + DEADLINE_S
        while library not in maps.read_text():
            assert time.monotonic() < end
            time.sleep(0.005)
        assert running.ended(signal.SIGINT) == INTERRUPTED, running.said
        assert "Traceback" not in running.said
    clean(chained)


def test_a_program_that_was_started_not_to_hear(chained: Stranger) -> None:
    """`nohup p2pool dev up &` goes on when its terminal is closed; SIGTERM still ends it."""
    chained.prefix = ("nohup",)
    with chained.started("dev", "up") as running:
        running.wait_said("starting a bootstrap node")
        running.process.send_signal(signal.SIGHUP)
        running.wait_said("creating the pool")
        assert running.ended(signal.SIGTERM) == INTERRUPTED
    clean(chained)
