"""Room for images where the engine keeps them, beyond what running tasks are left."""

import os
import time
from pathlib import Path

from p2pool.model.errors import DiskFull

MIB = 1024 * 1024


class Room:
    """Checks the free space of the engine's disk, at most once a second."""

    def __init__(self, root: Path | None, reserve_bytes: int, image: str) -> None:
        """`root`: where the engine keeps images, None: it cannot be seen from here. `image`: what
        the room is for."""
        self._root, self._reserve, self._image = root, reserve_bytes, image
        self._looked_s = time.monotonic()

    def check(self) -> None:
        """DiskFull: the pull eats into the reserve."""
        if time.monotonic() - self._looked_s >= 1:
            self.look()

    def look(self) -> None:
        """Check now."""
        self._looked_s = time.monotonic()
        if self._root is not None and (free := free_bytes(self._root)) < self._reserve:
            raise DiskFull(
                f"There is no room for the image {self._image}: {free // MIB} MiB are free where"
                f" the engine keeps images, and {self._reserve // MIB} MiB must stay free.",
                hint="Make room (docker system prune), or set [runtime] disk_reserve_bytes.",
            )


def free_bytes(path: Path) -> int:
    """Free bytes on the path's file system."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
