"""The disk that containers use on a Docker Engine: volumes in use, quotas, and what may go.

Quotas of volumes, and quotas of a container's own files where the storage driver has none, are
measured: the copies over quota are reported, and the worker stops them. The engine is asked which
volumes are in use, since only it knows what is mounted.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.containers.docker.container.labels import read_labels, scope_filter
from p2pool.drivers.containers.docker.engine.answers import fields, objects, rows_of, text
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error
from p2pool.drivers.containers.docker.helper import Helper
from p2pool.drivers.containers.docker.volume_trees import VolumeTrees
from p2pool.drivers.containers.volumes import Parts, Volumes, parts_of, read_id, used
from p2pool.model.errors import NotFound, P2poolError, RuntimeUnavailable
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import Overuse, RunningCopy, RuntimeScope
from p2pool.model.ports.volumes import Retention, TaskEnded, Volume
from p2pool.model.tasks.spec import Mount, MountKind

log = get_logger(__name__)

OVER = ("exited", "dead", "removing")
MIB = 1024 * 1024


class Keeper:
    """`model.ports.volumes.VolumeKeeper` of one scope on one engine."""

    def __init__(
        self, scope: RuntimeScope, engine: DockerClient, store: Volumes, helper: Helper
    ) -> None:
        """Makes no call to the engine yet."""
        self._scope, self._engine, self._store = scope, engine, store
        self._trees = VolumeTrees(helper)

    async def list(self) -> tuple[Volume, ...]:
        """All volumes, measured. See the port."""
        mounted = await self.in_use()
        known = await trio.to_thread.run_sync(self._places)
        measured = await self._trees.measure([place for _, place in known])

        def look() -> tuple[Volume, ...]:
            return tuple(
                self._store.look(parts, size.used_bytes, parts in mounted)
                for (parts, _), size in zip(known, measured, strict=True)
            )

        return await trio.to_thread.run_sync(look)

    def _places(self) -> Sequence[tuple[Parts, Path]]:
        """All volumes and where they are; one may go while we look."""
        found = []
        for parts in self._store.all_parts():
            with suppress(NotFound):
                found.append((parts, self._store.place(parts)))
        return found

    async def remove(self, volume_id: str) -> None:
        """Delete a volume that nothing uses. See the port."""
        parts = read_id(volume_id)
        if parts in await self.in_use():
            raise used(parts)
        await self._delete(parts)

    async def _delete(self, parts: Parts) -> None:
        """Delete an unused volume, with the rights of the containers that wrote to it."""
        if await trio.to_thread.run_sync(self._store.delete, parts):
            return
        await self._trees.clear(await trio.to_thread.run_sync(self._store.place, parts))
        if not await trio.to_thread.run_sync(self._store.delete, parts):
            raise RuntimeUnavailable(f"The volume {'/'.join(parts)} is written to while it goes.")

    async def export(self, volume_id: str) -> AsyncGenerator[bytes, None]:
        """A volume's contents as a tar archive. See the port."""
        parts = read_id(volume_id)
        place = await trio.to_thread.run_sync(self._store.place, parts)
        async with aclosing(self._trees.archive(place)) as pieces:
            async for piece in pieces:
                yield piece

    async def in_use(self) -> frozenset[Parts]:
        """The volumes mounted by containers that have not ended."""
        rows = await self._rows(False)
        found = [_parts_below(self._store.root, mount) for row in rows for mount in _mounts(row)]
        return frozenset(parts for parts in found if parts is not None)

    async def _rows(self, sizes: bool) -> Sequence[dict[str, Any]]:
        """The engine's rows of our copies' containers that have not ended."""
        filters = {"label": scope_filter(self._scope)}
        try:
            rows = await self._engine.ask(
                lambda c: rows_of(c.containers(all=True, size=sizes, filters=filters))
            )
        except APIError as error:
            raise other_error(error) from error
        # A helper container has a volume mounted for as long as it measures or exports it.
        rows = [row for row in rows if read_labels(self._scope, row.get("Labels")) is not None]
        return [row for row in rows if str(row.get("State")) not in OVER]

    async def sweep(self, over: TaskEnded, keep: Retention) -> Sequence[str]:
        """Delete volumes whose keep time is over; returns their names."""
        mounted = await self.in_use()
        due = await trio.to_thread.run_sync(self._store.outlived, over, mounted, keep)
        gone = []
        for parts in due:
            try:
                await self._delete(parts)
            except P2poolError as error:  # It is tried again; the others are no worse for it.
                log.warning("cannot delete", volume="/".join(parts), reason=str(error))
            else:
                gone.append("/".join(parts))
        return gone

    # --- quotas -----------------------------------------------------------------------------------

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """The copies that hold more than they asked for. See the port."""
        volumes = await self._over_volumes(held)
        files = await self._over_files(held)
        found = {(one.allocation, one.attempt): one for one in (*files, *volumes)}
        return tuple(found.values())

    async def _over_volumes(self, held: Sequence[RunningCopy]) -> Sequence[Overuse]:
        declared: list[tuple[RunningCopy, Mount, Path]] = []
        for one in held:
            for mount in one.spec.mounts:
                if mount.size_bytes and mount.kind is not MountKind.TMPFS:
                    with suppress(NotFound):
                        place = self._store.place(parts_of(one.allocation, mount))
                        declared.append((one, mount, place))
        places = list(dict.fromkeys(place for _, _, place in declared))
        sizes = dict(zip(places, await self._trees.measure(places), strict=True))
        found = []
        for one, mount, place in declared:
            size = sizes[place]
            if size.doubt is None and size.used_bytes <= mount.size_bytes:
                continue
            what = f"the volume {mount.source} holds {_mib(size.used_bytes)}"
            if size.doubt is not None:
                what += f" at least, and cannot be measured whole: {size.doubt}"
            reason = f"{what}; {_mib(mount.size_bytes)} were asked for"
            found.append(Overuse(one.allocation, one.attempt, reason))
        return found

    async def _over_files(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """Copies over quota by what their images' own volumes hold, which no driver's quota covers;
        without such quotas also by the engine's own count."""
        limited: dict[tuple[AllocationId, int], RunningCopy] = {
            (one.allocation, one.attempt): one for one in held if one.spec.resources.disk_bytes
        }
        if not limited:
            return ()
        counts = (await self._engine.support()).no_disk_quota is not None
        holding: list[tuple[RunningCopy, int, Sequence[Path]]] = []
        for row in await self._rows(counts):
            said = read_labels(self._scope, row.get("Labels"))
            one = limited.get((said.allocation, said.attempt)) if said is not None else None
            if one is not None:
                wrote = int(row.get("SizeRw") or 0) if counts else 0
                holding.append((one, wrote, await self._own_volumes(row)))
        places = list(dict.fromkeys(place for _, _, own in holding for place in own))
        measured = await self._trees.measure(places, of_engine=True)
        sizes = dict(zip(places, measured, strict=True))
        found = []
        for copy, wrote, own in holding:
            wrote += sum(sizes[place].used_bytes for place in own)
            doubt = next((sizes[place].doubt for place in own if sizes[place].doubt), None)
            if doubt is None and wrote <= copy.spec.resources.disk_bytes:
                continue
            what = f"it wrote {_mib(wrote)} outside its mounts"
            if doubt is not None:
                what += f" at least, and it cannot be measured whole: {doubt}"
            reason = f"{what}; {_mib(copy.spec.resources.disk_bytes)} were asked for"
            found.append(Overuse(copy.allocation, copy.attempt, reason))
        return tuple(found)

    async def _own_volumes(self, row: dict[str, Any]) -> Sequence[Path]:
        """Where the engine keeps the volumes that a container's image names."""
        found = []
        for mount in row.get("Mounts") or ():
            if mount.get("Type") != "volume":
                continue
            try:
                volume = await self._engine.ask(partial(_inspect_volume, str(mount["Name"])))
            except NoSuch:
                continue  # It went with its container.
            except APIError as error:
                raise other_error(error) from error
            found.append(Path(volume["Mountpoint"]))
        return found


def _inspect_volume(name: str, client: Any) -> Mapping[str, Any]:
    return fields(client.inspect_volume(name), "Mountpoint")


def _mounts(row: dict[str, Any]) -> list[str]:
    return [text(mount.get("Source")) for mount in objects(row.get("Mounts"))]


def _parts_below(root: Path, source: str) -> Parts | None:
    """The volume that a mount's source belongs to."""
    try:
        *parts, _ = Path(source).relative_to(root).parts
    except ValueError:
        return None
    return tuple(parts)


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
