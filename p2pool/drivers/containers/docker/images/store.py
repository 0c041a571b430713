"""Images on an engine: found, pulled, and deleted again if this agent pulled them.

Intuition: a name is resolved to a digest once, and that digest is what runs and what is reported. A
pull needs room first, beyond a reserve for running tasks; the guard checks the room again during
the pull.

Invariants: only names that did not exist before our own pull are ever deleted, and never by force:
the engine itself refuses to delete an image that a container uses, and an image that somebody gave
another name stays under that. The list of pulled images is on disk (`images.json`).
"""

import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from docker.errors import APIError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.docker.engine.answers import (
    fields,
    items,
    number,
    part,
    rows_of,
    text,
)
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error
from p2pool.drivers.containers.docker.images.credentials import auth_header, task_header
from p2pool.drivers.containers.docker.images.private import PrivateImages
from p2pool.drivers.containers.docker.images.pull import Pull
from p2pool.drivers.containers.docker.images.reference import (
    Reference,
    is_within,
    reference_of,
)
from p2pool.drivers.containers.docker.images.registry_check import check_readable
from p2pool.drivers.containers.docker.images.room import Room, free_bytes
from p2pool.drivers.containers.line_files import write_whole
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import (
    ImageNotHere,
    ImageRefused,
    RegistryDenied,
    RuntimeUnavailable,
)
from p2pool.model.ports.runtime import OnProgress
from p2pool.model.tasks.secrets import RegistryAuth
from p2pool.model.tasks.spec import PullPolicy

RECORD = "images.json"
ENGINES_ID = "sha256:"
"""What an engine's identifier of an image begins with, where a reference has a name."""
DENIED_HINT = "The task's own credentials were used: give others with --registry-auth."


@attrs.frozen
class Local:
    """An image on the engine. `pinned` is the reference to create a container from: by digest if
    there is one, so that a name that moves meanwhile changes nothing. `variables`: the names of
    its environment's. `entrypoint` and `command`: what runs unless a task says otherwise."""

    id: str
    digest: str
    pinned: str
    size_bytes: int
    variables: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@attrs.frozen
class Fetched:
    """A name that this agent pulled: the image it meant, and when a container last started."""

    id: str
    size_bytes: int
    used_at_ms: int


class Images:
    """One agent's view of one engine's images."""

    def __init__(self, engine: DockerClient, directory: Path, settings: Settings) -> None:
        """Makes no call to the engine yet."""
        self._engine, self._settings = engine, settings
        self._path = directory / RECORD
        self._private = PrivateImages(directory)
        self._lock = trio.Lock()
        self._fetching: dict[str, trio.Lock] = {}

    async def find(self, image: str) -> Local | None:
        """The local image behind a name, or None."""
        wanted = reference_of(image)
        record = await self._record(wanted.full)
        if record is None:
            return None
        digest = _digest_of(wanted, [text(one) for one in items(record.get("RepoDigests"))])
        if wanted.digest and not digest:
            return None  # The engine takes a digest for the id of any image that it has.
        pinned = f"{wanted.repository}@{digest}" if digest else wanted.full
        return _local(record, digest or str(record["Id"]), pinned)

    async def find_exact(self, image: str) -> Local | None:
        """The local image behind `name@sha256:...`, or behind the engine's own identifier
        `sha256:...` of one; None if it is not here, or something else is."""
        if not image.startswith(ENGINES_ID):
            return await self.find(image)
        record = await self._record(image)
        if record is None or str(record["Id"]) != image:
            return None
        return _local(record, image, image)

    async def pull_exact(self, image: str) -> None:
        """Bring an image that `find_exact` does not find. ImageNotHere: it has no registry."""
        if image.startswith(ENGINES_ID):
            raise ImageNotHere(
                f"The engine has no image {image}, and no registry is named to fetch it from.",
                hint="Load it (docker load), or name it as REGISTRY/NAME@sha256:...",
            )
        await self.pull(image, None, PullPolicy.IF_NOT_PRESENT)

    async def _record(self, name: str) -> Mapping[str, Any] | None:
        """The engine's record of a whole reference or an id, or None."""
        try:
            return fields(await self._engine.ask(lambda c: c.inspect_image(name)), "Id")
        except NoImage:
            return None
        except APIError as error:
            raise other_error(error) from error

    async def pull(
        self,
        image: str,
        on_progress: OnProgress | None,
        policy: PullPolicy,
        auth: RegistryAuth | None = None,
    ) -> str:
        """Make an image local as the policy says; returns its digest. See the port."""
        if self._settings.registries and not is_within(image, self._settings.registries):
            raise ImageRefused(
                f"This node takes no images from the registry of {image}.",
                hint=f"It takes them from {', '.join(self._settings.registries)}.",
            )
        await self._settle_private()
        local = await self.find(image)
        # A digest means the same image for ever: there is nothing newer to look for.
        keeps = policy is not PullPolicy.ALWAYS or "@" in image
        if local is not None and keeps:
            await self._check_private(image, local, policy, auth)
            return local.digest
        if policy is PullPolicy.NEVER:
            raise ImageNotHere(
                f"The image {image} is not on this node, and its task forbids pulling it.",
                hint=f"Pull it there (docker pull {image}), or leave out --pull never.",
            )
        async with self._one_of(image):
            local = await self.find(image)
            if local is not None and keeps:  # Another copy waited for the same image.
                await self._check_private(image, local, policy, auth)
                return local.digest
            fetched = await self._fetched(image, local, on_progress, auth)
            async with self._lock:
                self._remember(image, local, fetched)
        await self.collect()
        return fetched.digest

    @asynccontextmanager
    async def _one_of(self, image: str) -> AsyncGenerator[None, None]:
        """Of several tasks that want one image, one pulls it."""
        image = reference_of(image).full
        lock = self._fetching.setdefault(image, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._fetching.pop(image, None)

    async def _check_private(
        self, image: str, local: Local, policy: PullPolicy, auth: RegistryAuth | None
    ) -> None:
        """An image that is here, and that another task's credentials brought: whether its registry
        gives it to this one, too."""
        wanted = reference_of(image)
        if self._private.may_use(wanted, local.id, auth):
            return
        if policy is PullPolicy.NEVER:
            raise ImageNotHere(
                f"The image {image} was brought to this node by a task's own credentials, and only"
                " its registry can say who else may have it; this task forbids pulling it.",
                hint="Leave out --pull never.",
            )
        await self._check_readable(image, local.pinned, auth)
        self._private.show(wanted, local.id, auth)

    async def _check_readable(self, image: str, what: str, auth: RegistryAuth | None) -> None:
        header = await self._nodes_login(image) if auth is None else task_header(image, auth)
        with _whose(auth):
            await check_readable(self._engine, what, header)

    async def _fetched(
        self,
        image: str,
        before: Local | None,
        on_progress: OnProgress | None,
        auth: RegistryAuth | None,
    ) -> Local:
        """The image as its registry gives it now, by a task's own credentials or without."""
        wanted = reference_of(image)
        if wanted.digest and self._private.noted:
            # The engine may have all of it under another name, and would ask nobody.
            await self._check_readable(image, wanted.full, auth)
        if auth is None:
            await self._fetch(image, on_progress, await self._nodes_login(image))
            fetched = await self._found(image)
        else:
            with self._private.fetching(wanted, before.id if before is not None else ""):
                with _whose(auth):
                    await self._fetch(image, on_progress, task_header(image, auth))
                fetched = await self._found(image)
            self._private.settle(wanted, fetched.id)
        self._private.show(wanted, fetched.id, auth)
        return fetched

    async def _found(self, image: str) -> Local:
        fetched = await self.find(image)
        if fetched is None:
            raise RuntimeUnavailable(f"The image {image} is missing after its pull.")
        return fetched

    async def _settle_private(self) -> None:
        """See what came of pulls with credentials that nobody saw the end of."""
        for name in self._private.unsettled():
            local = await self.find(name)
            self._private.settle(reference_of(name), local.id if local is not None else "")

    async def forget_private(self) -> None:
        """Forget the private images that are gone."""
        if noted := self._private.ids():
            try:
                rows = await self._engine.ask(lambda c: rows_of(c.images(all=True)))
            except APIError as error:
                raise other_error(error) from error
            here = {str(row["Id"]) for row in rows}
            for id in noted:
                if id not in here:
                    self._private.forget(id)

    async def _nodes_login(self, image: str) -> bytes | None:
        config = self._settings.docker_config
        return await trio.to_thread.run_sync(
            auth_header, image, config, abandon_on_cancel=True, limiter=self._engine.pulls
        )

    async def _fetch(
        self, image: str, on_progress: OnProgress | None, header: bytes | None
    ) -> None:
        root = await self._make_room(image)
        guard = Room(root, self._settings.disk_reserve_bytes, image)
        stall_ms = self._settings.pull_stall_ms
        pull = Pull(self._engine.client, image, header, on_progress, guard.check, stall_ms)
        await pull.run(self._engine.pulls)

    async def _make_room(self, image: str) -> Path | None:
        """Ensure more free space than the reserve, deleting our own unused images if necessary."""
        root = await self._engine.data_root()
        reserve = self._settings.disk_reserve_bytes
        if root is None:
            return None
        if free_bytes(root) < reserve:
            await self.collect(lambda: free_bytes(root) >= reserve)
        Room(root, reserve, image).look()
        return root

    # --- what we brought --------------------------------------------------------------------------

    def _remember(self, image: str, before: Local | None, after: Local) -> None:
        """A name that did not exist before is ours; so is the image that a name of ours had
        before."""
        known, image = self._known(), reference_of(image).full
        if before is None:
            known[image] = Fetched(after.id, after.size_bytes, _now_ms())
        elif image in known:
            if before.id != after.id:
                known[before.id] = attrs.evolve(known[image], id=before.id)
            known[image] = Fetched(after.id, after.size_bytes, _now_ms())
        self._keep(known)

    async def used(self, image: str) -> None:
        """A container of this image is starting."""
        async with self._lock:
            known, image = self._known(), reference_of(image).full
            if image in known:
                known[image] = attrs.evolve(known[image], used_at_ms=_now_ms())
                self._keep(known)

    async def collect(self, enough: Callable[[], bool] | None = None) -> list[str]:
        """Delete pulled images that no container uses, least recently used first, until the rest
        fits the limit (or until there is `enough`). Returns the deleted names."""
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
            if error.status_code == 409:  # A container uses it after all.
                return False
            raise other_error(error) from error
        return True

    async def _still_there(self, known: dict[str, Fetched]) -> dict[str, Fetched]:
        """Without names that somebody else deleted, or moved to another image."""
        kept = {}
        for image, fetched in known.items():
            record = await self._record(image)
            if record is not None and str(record["Id"]) == fetched.id:
                kept[image] = fetched
        return kept

    async def _used_ids(self) -> set[str]:
        try:
            rows = await self._engine.ask(lambda c: rows_of(c.containers(all=True)))
        except APIError as error:
            raise other_error(error) from error
        return {str(row.get("ImageID")) for row in rows}

    def _known(self) -> dict[str, Fetched]:
        try:
            rows = json.loads(self._path.read_bytes())
            fetched = [(str(name), Fetched(*row)) for name, row in rows.items()]
            return {_engines_name(name, one): one for name, one in fetched}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}  # Without a record, no image counts as ours.

    def _keep(self, known: dict[str, Fetched]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path, {name: attrs.astuple(one) for name, one in known.items()})


@contextmanager
def _whose(auth: RegistryAuth | None) -> Iterator[None]:
    """A refusal of a task's own credentials says so."""
    try:
        yield
    except RegistryDenied as error:
        if auth is None:
            raise
        raise RegistryDenied(error.message, hint=DENIED_HINT) from None


def _engines_name(image: str, fetched: Fetched) -> str:
    """What the engine calls a row of the record: an image's name in its normal form, so that one
    image has one row, or the id of one that lost its name."""
    return image if image == fetched.id else reference_of(image).full


def _local(record: Mapping[str, Any], digest: str, pinned: str) -> Local:
    """An image by the engine's record of it."""
    config = part(record, "Config")
    return Local(
        id=str(record["Id"]),
        digest=digest,
        pinned=pinned,
        size_bytes=number(record.get("Size")),
        variables=tuple(str(one).partition("=")[0] for one in items(config.get("Env"))),
        entrypoint=tuple(map(str, items(config.get("Entrypoint")))),
        command=tuple(map(str, items(config.get("Cmd")))),
    )


def _digest_of(wanted: Reference, repo_digests: list[str]) -> str:
    """The registry's digest of a name; of several, that of the name's own repository."""
    for named in repo_digests:
        found = reference_of(named)
        if found.same_repository(wanted) and wanted.digest in ("", found.digest):
            return found.digest
    return ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
