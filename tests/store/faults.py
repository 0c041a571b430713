"""A disk that can be told to fail: an SQLite VFS over the real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw


class FaultyFile(apsw.VFSFile):
    """A file whose writes and syncs fail while its disk is told to."""

    def __init__(self, disk: "FaultyDisk", name: Any, flags: list[int]) -> None:
        """Open it on the real disk."""
        self.disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        """Fail as a full disk does, or write."""
        if self.disk.full:
            raise apsw.FullError("no space")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        """Fail as a broken disk does, or sync."""
        self.disk.syncs += 1
        if self.disk.sync_fails:
            raise apsw.IOError("sync failed")
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """The VFS `faulty`, with switches for what goes wrong and a count of syncs."""

    def __init__(self) -> None:
        """Register it over the default VFS."""
        self.full = False
        self.sync_fails = False
        self.syncs = 0
        super().__init__("faulty", "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        """Every file of the database goes through the switches."""
        return FaultyFile(self, name, flags)


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    """A registered disk; unregistered at the end."""
    disk = FaultyDisk()
    try:
        yield disk
    finally:
        disk.unregister()
