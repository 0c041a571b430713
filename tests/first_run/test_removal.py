"""A pool whose directory is gone, or cannot be removed, is brought to an end all the same."""

import os
import subprocess
from pathlib import Path

import pytest

from p2pool.dev.state import STATE_NAME, State, remove, require, save
from p2pool.model.errors import NotFound


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
