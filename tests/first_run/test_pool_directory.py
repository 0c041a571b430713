"""Whatever a pool's directory holds, it is told, and nobody else's files are touched."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from p2pool.dev.processes import Child, adopt
from p2pool.dev.state import STATE_NAME, State, read, save
from tests.cli.output.held import held
from tests.first_run.harness.strangers import Stranger

REFUSED, NOT_FOUND, UNAVAILABLE, MISCONFIGURED = 3, 4, 5, 6
NO_CHAIN = {"npm_config_registry": "http://127.0.0.1:1", "DOCKER_HOST": "unix:///no/such/socket"}


@pytest.fixture
def pool(stranger: Stranger) -> Path:
    """Where a stranger's pool is to be."""
    stranger.environment |= NO_CHAIN
    return stranger.home / "pool"


def up(stranger: Stranger, pool: Path, code: int, *words: str) -> None:
    """`dev up` there ends with this code and these words."""
    done = stranger.run("dev", "up", "--dir", str(pool))
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_directory_with_other_files(stranger: Stranger, pool: Path) -> None:
    """It is left as it is, to the mode: `dev down` would remove it."""
    pool.mkdir(mode=0o755)
    (pool / "thesis.tex").write_text("years of work")
    up(stranger, pool, REFUSED, "has other files in it (thesis.tex)", "--dir DIR")
    assert (pool / "thesis.tex").read_text() == "years of work"
    assert pool.stat().st_mode & 0o777 == 0o755
    up(stranger, pool / "thesis.tex" / "pool", MISCONFIGURED, "is not a directory", "--dir DIR")
    for verb in ("down", "down"):
        done = stranger.run("dev", verb, "--dir", str(pool))
        assert done.returncode == NOT_FOUND, done.stderr
        assert "Start one: p2pool dev up" in done.stderr
    assert [path.name for path in pool.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2, "starter": 3}', "\udcff"]
)
def test_a_damaged_state(stranger: Stranger, pool: Path, text: str) -> None:
    """What it may still consist of is named, with how to end it."""
    (pool / "logs").mkdir(parents=True)
    (pool / STATE_NAME).write_text(text, errors="surrogateescape")
    with (pool / "logs" / "agent-1.log").open("wb") as log:
        process = psutil.Popen(["sleep", "600"], stdout=log, stderr=log)
    try:
        for verb in ("up", "down"):
            done = stranger.run("dev", verb, "--dir", str(pool))
            assert done.returncode == MISCONFIGURED, done.stderr
            for word in (f"{pool}/{STATE_NAME} is damaged", f"kill {process.pid};", "rm -r"):
                assert word in done.stderr, done.stderr
    finally:
        process.kill()
        process.wait()


def test_a_pool_that_runs_is_started_or_is_dead(stranger: Stranger, pool: Path) -> None:
    """Of one whose processes are gone, as after a reboot, the rest is removed; any other stays."""
    pool.mkdir()
    me = adopt("me", os.getpid(), pool / "logs" / "me.log")
    save(pool, State(children=(me,)))
    up(stranger, pool, REFUSED, "There is already a pool", f"p2pool dev down --dir '{pool}'")
    save(pool, State(starter=me))
    up(stranger, pool, REFUSED, f"being started by process {me.pid}", f"kill {me.pid}")
    done = stranger.run("dev", "down", "--dir", str(pool))
    assert (done.returncode, me.alive) == (REFUSED, True), done.stderr
    # Its number and its ticks are somebody's again in the next boot.
    rebooted = Child("agent-1", me.pid, me.started_ticks, "another boot", me.log)
    save(pool, State(starter=rebooted, children=(rebooted,)))
    (pool / "logs").mkdir()
    up(stranger, pool, UNAVAILABLE, "removing what is left of a pool", "npm cannot reach")
    assert not pool.exists()
    assert stranger.left() == []


@pytest.mark.chain
def test_a_start_that_was_killed(stranger: Stranger, pool: Path, cache: Path) -> None:
    """Two at once do not both get the directory; what the killed one started, noted or not, `dev
    down` ends, and a second one says that there is nothing."""
    stranger.environment["XDG_CACHE_HOME"] = str(cache)
    with stranger.started("dev", "up", "--nodes", "1", "--dir", str(pool)) as first:
        first.wait_said("starting agent-")
        up(stranger, pool, REFUSED, "being started by process")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    link = stranger.home / "link"
    link.symlink_to(pool)
    state = read(pool)
    assert state is not None
    assert {child.name for child in state.alive} >= {"chain", "bootstrap"}
    up(stranger, pool, REFUSED, "There is already a pool")
    # As if it had been killed between a start and its note of it.
    save(pool, State(children=state.children[:1]))
    done = stranger.run("dev", "down", "--dir", str(link), "--json")
    assert done.returncode == 0, done.stderr
    assert held(done.stdout) == {"directory": str(pool), "removed": True}
    assert stranger.left() == []
    assert not pool.exists()
    assert stranger.run("dev", "down", "--dir", str(pool)).returncode == NOT_FOUND


def test_a_child_is_told_apart_from_whoever_has_its_number(tmp_path: Path) -> None:
    """By the ticks of its start; the time of day may be set meanwhile."""
    process = psutil.Popen(["sleep", "600"])
    child = adopt("sleep", process.pid, tmp_path / "log")
    other = Child("sleep", child.pid, child.started_ticks - 1, child.boot_id, child.log)
    assert (child.alive, other.alive) == (True, False)
    other.signal(signal.SIGKILL)
    assert process.is_running()
    assert process.status() != psutil.STATUS_ZOMBIE
    child.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not child.alive
