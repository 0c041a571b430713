"""The disk that containers use on a Docker Engine: volumes in use, quotas, and what may go.

Quotas of volumes, and quotas of a container's own files where the storage driver has none, are
measured: the copies over quota are reported, and the worker stops them. The engine is asked which
volumes are in use, since only it knows what is mounted.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from docker.errors import APIError

from p2pool.drivers.containers.docker.container.labels import read_labels, scope_labels
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error
from p2pool.drivers.containers.volumes import Parts, Volumes, parts_of, read_id, used
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import Overuse, RunningCopy, RuntimeScope
from p2pool.model.ports.volumes import Retention, TaskEnded, Volume
from p2pool.model.tasks.spec import MountKind

OVER = ("exited", "dead", "removing")
MIB = 1024 * 1024


class Keeper:
    """`model.ports.volumes.VolumeKeeper` of one scope on one engine."""

    def __init__(self, scope: RuntimeScope, engine: DockerClient, store: Volumes) -> None:
        """Makes no call to the engine yet."""
        self._scope, self._engine, self._store = scope, engine, store

    async def list(self) -> tuple[Volume, ...]:
        """All volumes, measured. See the port."""
        mounted = await self.in_use()
        store = self._store

        def look() -> tuple[Volume, ...]:
            return tuple(store.look(parts, parts in mounted) for parts in store.all_parts())

        return await store.in_thread(look)

    async def remove(self, volume_id: str) -> None:
        """Delete a volume that nothing uses. See the port."""
        parts = read_id(volume_id)
        if parts in await self.in_use():
            raise used(parts)
        await self._store.in_thread(lambda: self._store.delete(parts))

    def export(self, volume_id: str) -> AsyncIterator[bytes]:
        """A volume's contents as a tar archive. See the port."""
        return self._store.export(read_id(volume_id))

    async def in_use(self) -> frozenset[Parts]:
        """The volumes mounted by containers that have not ended."""
        rows = await self._rows(False)
        found = [_parts_below(self._store.root, mount) for row in rows for mount in _mounts(row)]
        return frozenset(parts for parts in found if parts is not None)

    async def _rows(self, sizes: bool) -> Sequence[dict[str, Any]]:
        """The engine's rows of our copies' containers that have not ended."""
        labels = [f"{key}={value}" for key, value in scope_labels(self._scope).items()]
        filters = {"label": labels}
        try:
            rows = await self._engine.ask(
                lambda c: c.containers(all=True, size=sizes, filters=filters)
            )
        except APIError as error:
            raise other_error(error) from error
        # A helper container has a volume mounted for as long as it measures or exports it.
        rows = [row for row in rows if read_labels(self._scope, row.get("Labels")) is not None]
        return [row for row in rows if str(row.get("State")) not in OVER]

    async def sweep(self, over: TaskEnded, keep: Retention) -> Sequence[str]:
        """Delete volumes whose keep time is over; returns their names."""
        mounted = await self.in_use()
        return await self._store.in_thread(lambda: self._store.sweep(over, mounted, keep))

    # --- quotas -----------------------------------------------------------------------------------

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """The copies that hold more than they asked for. See the port."""
        volumes = await self._store.in_thread(lambda: list(self._over_volumes(held)))
        files = await self._over_files(held)
        found = {(one.allocation, one.attempt): one for one in (*files, *volumes)}
        return tuple(found.values())

    def _over_volumes(self, held: Sequence[RunningCopy]) -> Iterator[Overuse]:
        for one in held:
            for mount in one.spec.mounts:
                if not mount.size_bytes or mount.kind is MountKind.TMPFS:
                    continue
                measured = self._store.used_bytes(parts_of(one.allocation, mount))
                if not measured.whole or measured.used_bytes > mount.size_bytes:
                    what = f"the volume {mount.source} holds {_mib(measured.used_bytes)}"
                    if not measured.whole:
                        what += " at least, in more files or deeper directories than are counted"
                    reason = f"{what}; {_mib(mount.size_bytes)} were asked for"
                    yield Overuse(one.allocation, one.attempt, reason)

    async def _over_files(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """Without quotas in the storage driver: copies over quota by the engine's own count."""
        limited: dict[tuple[AllocationId, int], RunningCopy] = {
            (one.allocation, one.attempt): one for one in held if one.spec.resources.disk_bytes
        }
        if not limited or (await self._engine.support()).no_disk_quota is None:
            return ()
        found = []
        for row in await self._rows(True):
            said = read_labels(self._scope, row.get("Labels"))
            one = limited.get((said.allocation, said.attempt)) if said is not None else None
            wrote = int(row.get("SizeRw") or 0)
            if one is not None and wrote > one.spec.resources.disk_bytes:
                allowed = _mib(one.spec.resources.disk_bytes)
                reason = f"it wrote {_mib(wrote)} outside its mounts; {allowed} were asked for"
                found.append(Overuse(one.allocation, one.attempt, reason))
        return tuple(found)


def _mounts(row: dict[str, Any]) -> list[str]:
    return [str(mount.get("Source", "")) for mount in row.get("Mounts") or ()]


def _parts_below(root: Path, source: str) -> Parts | None:
    """The volume that a mount's source belongs to."""
    try:
        *parts, _ = Path(source).relative_to(root).parts
    except ValueError:
        return None
    return tuple(parts)


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
