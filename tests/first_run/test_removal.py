"""A pool whose directory is gone, or cannot be removed, is brought to an end all the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pool.dev import processes
from p2pool.dev.pool import DevPool
from p2pool.dev.state import STATE_NAME, AgentEntry, State, remove, require, save
from p2pool.model.errors import NotFound, Unavailable


def test_processes_of_a_removed_directory_are_named(tmp_path: Path) -> None:
    """`rm -rf` of a pool that runs leaves its processes, and the hint has the command for them."""
    directory = tmp_path / "pool"
    log = directory / "logs" / "agent-1.log"
    log.parent.mkdir(parents=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(["sleep", "600"], stderr=errors)
    try:
        log.unlink()
        log.parent.rmdir()
        directory.rmdir()
        with pytest.raises(NotFound) as caught:
            require(directory)
        assert caught.value.hint == f"End them: kill {process.pid}"
    finally:
        process.kill()
        process.wait()
    with pytest.raises(NotFound, match="There is no pool"):
        require(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_directory_that_has_to_stay_is_emptied(tmp_path: Path) -> None:
    """A mount point cannot be removed; the pool in it is gone all the same, and nothing fails."""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        save(tmp_path, State())
        (tmp_path / "logs").mkdir()
        remove(tmp_path)
        assert not (tmp_path / STATE_NAME).exists()
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


HOLDS = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def held(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds this file, as an agent its directory; its output goes elsewhere."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def dead_pool(directory: Path) -> Path:
    """A pool whose own processes are gone; the lock of its agent."""
    place = directory / "agent-1"
    place.mkdir(parents=True)
    save(directory, State(agents=(AgentEntry(1, "0x" + "11" * 20, "22" * 20),)))
    return place / "lock"


async def test_an_agent_that_was_started_anew_is_ended_too(tmp_path: Path) -> None:
    """By the lock that it holds: no file of the pool knows its process. A reader stays."""
    lock = dead_pool(tmp_path / "pool")
    with held(lock) as process, lock.open() as reader:
        lock.write_text("1\n")  # What is written there is anybody's number.
        await DevPool.load(tmp_path / "pool", print).down()
        assert not Path(f"/proc/{process.pid}").exists()
        assert not reader.closed
    assert not (tmp_path / "pool").exists()


async def test_what_cannot_be_ended_is_named_and_its_directory_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that ends it."""
    lock = dead_pool(tmp_path / "pool")
    monkeypatch.setattr(processes, "STOP_DEADLINE_S", 0.1)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with held(lock) as process:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "pidfd_send_signal", refused)
            with pytest.raises(Unavailable) as caught:
                await DevPool.load(tmp_path / "pool", print).down()
        assert f"agent-1 (process {process.pid}) runs on" in caught.value.message
        assert f"kill -9 {process.pid}" in caught.value.hint
        assert lock.exists()
