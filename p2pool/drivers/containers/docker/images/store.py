"""Images on an engine: found, fetched, and those that this agent fetched deleted again.

Intuition: a name is resolved to a digest once, and that is what runs and is told. Before an image
is fetched there has to be room, with a reserve that is left for what runs; while it is fetched the
room is looked at again.

Invariants: only names that were not there before our own pull are ever deleted, and never by force:
the engine itself refuses to delete what a container uses, and an image that somebody gave another
name stays under that. What was fetched is remembered on disk (`images.json`).
"""

import json
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from docker.errors import APIError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch
from docker.utils import parse_repository_tag

from p2pool.drivers.containers.docker.engine.client import DockerClient, fields
from p2pool.drivers.containers.docker.engine.errors import other_error
from p2pool.drivers.containers.docker.images.credentials import auth_header, registry_of
from p2pool.drivers.containers.docker.images.pull import Pull
from p2pool.drivers.containers.line_files import write_whole
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import DiskFull, ImageNotFound, ImageRefused
from p2pool.model.ports.runtime import OnProgress
from p2pool.model.tasks.spec import PullPolicy

RECORD = "images.json"
MIB = 1024 * 1024


@attrs.frozen
class Local:
    """An image on the engine. `pinned` is what to create a container of: by digest where there is
    one, so that a name that is moved meanwhile changes nothing."""

    id: str
    digest: str
    pinned: str
    size_bytes: int


@attrs.frozen
class Fetched:
    """A name that this agent brought: which image it meant, and when a container last began."""

    id: str
    size_bytes: int
    used_at_ms: int


class Images:
    """The images of one engine, as one agent uses them."""

    def __init__(self, engine: DockerClient, directory: Path, settings: Settings) -> None:
        """Nothing is asked of the engine yet."""
        self._engine, self._settings = engine, settings
        self._path = directory / RECORD
        self._lock = trio.Lock()
        self._fetching: dict[str, trio.Lock] = {}

    async def find(self, image: str) -> Local | None:
        """The local image of a name, or None."""
        try:
            record = fields(await self._engine.ask(lambda c: c.inspect_image(image)), "Id")
        except NoImage:
            return None
        except APIError as error:
            raise other_error(error) from error
        digest = _digest_of(image, record.get("RepoDigests") or [])
        name = parse_repository_tag(image)[0]
        return Local(
            id=str(record["Id"]),
            digest=digest or str(record["Id"]),
            pinned=f"{name}@{digest}" if digest else image,
            size_bytes=int(record.get("Size") or 0),
        )

    async def pull(self, image: str, on_progress: OnProgress | None, policy: PullPolicy) -> str:
        """Make an image local as the policy says; its digest. See the port."""
        if self._settings.registries and not _from_one_of(image, self._settings.registries):
            raise ImageRefused(
                f"This node takes no images from where {image} is.",
                hint=f"It takes them from {', '.join(self._settings.registries)}.",
            )
        local = await self.find(image)
        # A digest means one image for ever: there is nothing newer to look for.
        keeps = policy is not PullPolicy.ALWAYS or "@" in image
        if local is not None and keeps:
            return local.digest
        if policy is PullPolicy.NEVER:
            raise ImageNotFound(
                f"The image {image} is not on this node, and its task lets none be fetched.",
                hint=f"Fetch it there (docker pull {image}), or leave --pull never out.",
            )
        async with self._one_of(image):
            local = await self.find(image)
            if local is not None and keeps:
                return local.digest  # Another copy waited for the same image.
            await self._fetch(image, on_progress)
            fetched = await self.find(image)
            if fetched is None:
                raise ImageNotFound(f"The image {image} is not there after it was fetched.")
            async with self._lock:
                self._remember(image, local, fetched)
        await self.collect()
        return fetched.digest

    @asynccontextmanager
    async def _one_of(self, image: str) -> AsyncGenerator[None, None]:
        """Of several that want one image, one fetches it."""
        lock = self._fetching.setdefault(image, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._fetching.pop(image, None)

    async def _fetch(self, image: str, on_progress: OnProgress | None) -> None:
        config = self._settings.docker_config
        header = await trio.to_thread.run_sync(
            auth_header, image, config, abandon_on_cancel=True, limiter=self._engine.pulls
        )
        root = await self._make_room(image)
        guard = _Guard(root, self._settings.disk_reserve_bytes, image)
        stall_ms = self._settings.pull_stall_ms
        pull = Pull(self._engine.client, image, header, on_progress, guard.check, stall_ms)
        await pull.run(self._engine.pulls)

    async def _make_room(self, image: str) -> Path | None:
        """See that there is more free than the reserve, deleting our own unused images if not."""
        root = await self._engine.data_root()
        reserve = self._settings.disk_reserve_bytes
        if root is None:
            return None
        if free_bytes(root) < reserve:
            await self.collect(lambda: free_bytes(root) >= reserve)
        _Guard(root, reserve, image).look()
        return root

    # --- what we brought --------------------------------------------------------------------------

    def _remember(self, image: str, before: Local | None, after: Local) -> None:
        """A name that was not there before is ours; so is what a name of ours meant before."""
        known = self._known()
        if before is None:
            known[image] = Fetched(after.id, after.size_bytes, _now_ms())
        elif image in known:
            if before.id != after.id:
                known[before.id] = attrs.evolve(known[image], id=before.id)
            known[image] = Fetched(after.id, after.size_bytes, _now_ms())
        self._keep(known)

    async def used(self, image: str) -> None:
        """A container of this image begins."""
        async with self._lock:
            known = self._known()
            if image in known:
                known[image] = attrs.evolve(known[image], used_at_ms=_now_ms())
                self._keep(known)

    async def collect(self, enough: Callable[[], bool] | None = None) -> list[str]:
        """Delete what we brought and no container uses, least recently used first, until the rest
        fits the limit (or until there is `enough`). The names that went."""
        most = self._settings.images_max_bytes
        gone: list[str] = []
        if enough is None and not most:
            return gone
        async with self._lock:
            known = await self._still_there(self._known())
            used = await self._used_ids()
            now_ms = _now_ms()
            for image in sorted(known, key=lambda name: (known[name].used_at_ms, name)):
                total = sum({one.id: one.size_bytes for one in known.values()}.values())
                if enough() if enough is not None else not most or total <= most:
                    break
                young = now_ms - known[image].used_at_ms < self._settings.image_grace_ms
                if known[image].id in used or young:
                    continue
                if await self._delete(image):
                    gone.append(image)
                    del known[image]
            self._keep(known)
        return gone

    async def _delete(self, image: str) -> bool:
        try:
            await self._engine.ask(lambda c: c.remove_image(image, force=False, noprune=False))
        except (NoImage, NoSuch):
            return True
        except APIError as error:
            if error.status_code == 409:  # Something uses it after all.
                return False
            raise other_error(error) from error
        return True

    async def _still_there(self, known: dict[str, Fetched]) -> dict[str, Fetched]:
        """Without what somebody else deleted, or gave the name to another image."""
        kept = {}
        for image, fetched in known.items():
            local = await self.find(image)
            if local is not None and local.id == fetched.id:
                kept[image] = fetched
        return kept

    async def _used_ids(self) -> set[str]:
        try:
            rows = await self._engine.ask(lambda c: c.containers(all=True))
        except APIError as error:
            raise other_error(error) from error
        return {str(row.get("ImageID")) for row in rows}

    def _known(self) -> dict[str, Fetched]:
        try:
            rows = json.loads(self._path.read_bytes())
            return {str(name): Fetched(*row) for name, row in rows.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}  # Nothing is ours that we do not know to be.

    def _keep(self, known: dict[str, Fetched]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path, {name: attrs.astuple(one) for name, one in known.items()})


class _Guard:
    """Looks at the free space of the engine's disk, once a second at most."""

    def __init__(self, root: Path | None, reserve_bytes: int, image: str) -> None:
        self._root, self._reserve, self._image = root, reserve_bytes, image
        self._looked_s = time.monotonic()

    def check(self) -> None:
        """DiskFull: what is being fetched eats the reserve."""
        if time.monotonic() - self._looked_s >= 1:
            self.look()

    def look(self) -> None:
        """Look now."""
        self._looked_s = time.monotonic()
        if self._root is not None and (free := free_bytes(self._root)) < self._reserve:
            raise DiskFull(
                f"There is no room for the image {self._image}: {free // MIB} MiB are free where"
                f" the engine keeps images, {self._reserve // MIB} MiB are to stay free.",
                hint="Make room (docker system prune), or set [runtime] disk_reserve_bytes.",
            )


def free_bytes(path: Path) -> int:
    """What may still be written where a path is."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _digest_of(image: str, repo_digests: list[str]) -> str:
    """The registry's digest of a name: that of its own repository where there are several."""
    asked = image.partition("@")[2]
    name = _familiar(parse_repository_tag(image)[0])
    found = [text.rpartition("@") for text in repo_digests]
    for repository, _, digest in found:
        if _familiar(repository) == name and asked in ("", digest):
            return digest
    return ""


def _familiar(repository: str) -> str:
    """A repository as the engine writes it: Docker's own registry goes without saying."""
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        repository = repository.removeprefix(prefix)
    return repository


def _from_one_of(image: str, registries: tuple[str, ...]) -> bool:
    """Whether an image's name begins with one of these registries (or their repositories)."""
    registry = registry_of(image)
    full = image if image.startswith(f"{registry}/") else f"{registry}/{image}"
    return any(full.startswith(allowed.rstrip("/") + "/") for allowed in registries)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
