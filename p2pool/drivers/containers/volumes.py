"""Volumes on this machine's disk: their places and records, and how long they are kept.

    <directory>/volumes/pool/<name>/             volume.json   data/
    <directory>/volumes/task/<allocation>/<name>/  volume.json   data/

Only `data` is ever mounted. Only the agent's user can enter the directories above it, so no
container can replace a part of its path with a link; `data` itself is open to every user of a
container, since images run as users of their own. Everything below `data` is hostile and may be
unreadable for the agent: nothing here goes there, see `docker/volume_trees`.

A quota is measured, not enforced by the kernel: a copy that exceeds it between two looks has
already written, and is stopped then. A tmpfs's size is the kernel's, and holds at once.
"""

import errno
import json
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from p2pool.codec.json.requests import read_allocation
from p2pool.codec.spec.rules import name_rule
from p2pool.drivers.containers.line_files import write_whole
from p2pool.model.errors import CannotStart, Conflict, DiskFull, NotFound, RuntimeUnavailable
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.ports.volumes import Retention, TaskEnded, Volume
from p2pool.model.tasks.spec import Mount, MountKind

NAME = "volumes"
DATA = "data"
RECORD = "volume.json"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Parts = tuple[str, ...]


class Volumes:
    """The volumes of one agent. Methods that are not `async` block: call them in a thread."""

    def __init__(self, directory: Path) -> None:
        """Makes nothing before the first volume."""
        self.root = directory / NAME

    # --- making -----------------------------------------------------------------------------------

    def make(self, allocation: AllocationId, mount: Mount) -> Path:
        """The directory to mount, made if missing. `CannotStart`: the name is invalid.
        `DiskFull`: nothing more can be made."""
        if not mount.source or name_rule(mount.source):
            raise CannotStart(f"The volume {mount.source!r} leads out of the agent's directory.")
        parts = parts_of(allocation, mount)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._open(parts, make=True) as place:
                with suppress(FileExistsError):
                    os.mkdir(DATA, 0o700, dir_fd=place)
                    with _opened(DATA, place) as data:
                        os.fchmod(data, 0o777)
                self._note(parts, mount)
        except OSError as error:
            raise DiskFull(
                f"The volume {mount.source} cannot be made: {error.strerror}."
            ) from error
        return self.root.joinpath(*parts, DATA)

    def _note(self, parts: Parts, mount: Mount) -> None:
        """Record the task's settings for its volume, and that it is in use now."""
        record = self._read(parts)
        now_ms = _now_ms()
        record.setdefault("made_at_ms", now_ms)
        record |= {
            "used_at_ms": now_ms,
            "ended_at_ms": 0,
            "quota_bytes": mount.size_bytes,
            "keep_s": mount.keep_s,
        }
        self._write(parts, record)

    @contextmanager
    def _open(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """A volume's directory, each part of it opened below the last."""
        with ExitStack() as stack:
            place = stack.enter_context(_opened(str(self.root)))
            for part in parts:
                place = stack.enter_context(_opened(part, place, make=make))
            yield place

    def _read(self, parts: Parts) -> dict[str, Any]:
        try:
            value = json.loads(self.root.joinpath(*parts, RECORD).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def _write(self, parts: Parts, record: dict[str, Any]) -> None:
        write_whole(self.root.joinpath(*parts, RECORD), record)

    # --- looking ----------------------------------------------------------------------------------

    def all_parts(self) -> list[Parts]:
        """All volumes by the parts of their names, sorted."""
        found: list[Parts] = [("pool", name) for name in _listed(self.root / "pool")]
        for allocation in _listed(self.root / "task"):
            if read_allocation(allocation) is not None:
                names = _listed(self.root / "task" / allocation)
                found += [("task", allocation, name) for name in names]
        return found

    def place(self, parts: Parts) -> Path:
        """The directory that containers mount. `NotFound`: there is no such volume."""
        place = self.root.joinpath(*parts, DATA)
        if place.is_symlink() or not place.is_dir():
            raise not_found(parts)
        return place

    def look(self, parts: Parts, used_bytes: int, in_use: bool) -> Volume:
        """A volume in the form its owner sees."""
        record = self._read(parts)
        return Volume(
            id="/".join(parts),
            kind=MountKind(parts[0]),
            name=parts[-1],
            allocation=read_allocation(parts[1]) if parts[0] == "task" else None,
            used_bytes=used_bytes,
            in_use=in_use,
            **{
                key: int(record.get(key, -1 if key == "keep_s" else 0))
                for key in ("quota_bytes", "keep_s", "made_at_ms", "used_at_ms", "ended_at_ms")
            },
        )

    # --- deleting ---------------------------------------------------------------------------------

    def delete(self, parts: Parts) -> bool:
        """Delete a volume, unless something is left in it: then nothing happens, and the answer is
        False. Raises `NotFound`."""
        try:
            with self._open(parts) as place:
                try:
                    os.rmdir(DATA, dir_fd=place)
                except OSError as error:
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        return False
                    if error.errno != errno.ENOENT:
                        raise
                for name in os.listdir(place):
                    os.unlink(name, dir_fd=place)
            self.root.joinpath(*parts).rmdir()
            with suppress(OSError):  # The copy may have other volumes.
                self.root.joinpath(*parts[:-1]).rmdir()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(parts) from error
        except OSError as error:
            raise RuntimeUnavailable(
                f"The volume {'/'.join(parts)} cannot be deleted: {error.strerror}.",
                hint=f"See who owns {self.root.joinpath(*parts)}.",
            ) from error
        return True

    def outlived(self, over: TaskEnded, in_use: frozenset[Parts], keep: Retention) -> list[Parts]:
        """The volumes of ended tasks whose keep time is over. Notes when a task has ended."""
        ended: dict[TaskId, list[tuple[Parts, dict[str, Any]]]] = {}
        now_ms = _now_ms()
        for parts in self.all_parts():
            allocation = read_allocation(parts[1]) if parts[0] == "task" else None
            if allocation is None or parts in in_use:
                continue
            record = self._read(parts)
            if not over(allocation.task_id, int(record.get("used_at_ms", 0))):
                continue
            if not record.get("ended_at_ms"):
                record["ended_at_ms"] = now_ms
                self._write(parts, record)
            ended.setdefault(allocation.task_id, []).append((parts, record))
        newest = sorted(ended.values(), key=lambda v: -max(r["ended_at_ms"] for _, r in v))
        due = []
        for number, volumes in enumerate(newest):
            for parts, record in volumes:
                asked_s = int(record.get("keep_s", -1))
                keep_s = keep.keep_for_s if asked_s < 0 else min(asked_s, keep.keep_for_s)
                if number >= keep.keep_tasks or now_ms - record["ended_at_ms"] >= keep_s * 1000:
                    due.append(parts)
        return due


@contextmanager
def _opened(name: str, parent: int | None = None, *, make: bool = False) -> Iterator[int]:
    """A directory's descriptor, below `parent`; a link is none."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def parts_of(allocation: AllocationId, mount: Mount) -> Parts:
    """The name of the volume behind a mount, in parts."""
    if mount.kind is MountKind.POOL:
        return ("pool", mount.source)
    return ("task", str(allocation), mount.source)


def read_id(text: str) -> Parts:
    """The parts of a volume's name as people write it. `NotFound`: it is not a volume's name."""
    parts = tuple(text.split("/"))
    good = {("pool", 2), ("task", 3)}
    if (parts[0], len(parts)) in good and not name_rule(parts[-1]):
        if parts[0] == "pool":
            return parts
        allocation = read_allocation(parts[1])
        if allocation is not None:
            return ("task", str(allocation), parts[-1])
    raise NotFound(f"{text[:200]!r} is not a volume.", hint="See: p2pool volume ls.")


def not_found(parts: Parts) -> NotFound:
    """The error for a volume that does not exist here."""
    return NotFound(
        f"There is no volume {'/'.join(parts)} on this node.", hint="See: p2pool volume ls."
    )


def used(parts: Parts) -> Conflict:
    """The error for a volume that is mounted now."""
    return Conflict(
        f"A running container uses the volume {'/'.join(parts)}.",
        hint="Stop the task first: p2pool task stop.",
    )


def _listed(path: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class NoVolumes:
    """The volumes of a runtime without volumes."""

    async def list(self) -> tuple[Volume, ...]:
        """None."""
        return ()

    async def remove(self, volume_id: str) -> None:
        """There is nothing to remove."""
        raise not_found(read_id(volume_id))

    def export(self, volume_id: str) -> AsyncGenerator[bytes, None]:
        """There is nothing to export."""
        raise not_found(read_id(volume_id))
