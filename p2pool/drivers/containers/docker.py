"""The Docker Engine as a `ContainerRuntime`, by the docker SDK in threads.

Intuition: every call is one or two requests to the engine's socket, made in a thread and safe to
repeat: a container has one name for its attempt, so a start that was interrupted finds what it
began. Containers without the whole label set of the scope are not seen and not touched.

Invariants: nothing of a failed start is left; an engine that is away is `RuntimeUnavailable`, never
an empty list. Source: Docker Engine API 1.41 to 1.51; `shared/notes/docker-here.md`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, TypeVar

import docker
import trio
from docker.errors import APIError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.dockererrors import (
    engine_errors,
    explanation,
    other_error,
    pull_error,
    start_error,
)
from p2pool.drivers.containers.dockerplan import container_config, own_directories
from p2pool.drivers.containers.dockerstate import status_of
from p2pool.drivers.containers.dockerstreams import follow_events, follow_logs
from p2pool.drivers.containers.labels import name_of, read_labels, scope_labels
from p2pool.drivers.containers.pulling import Pull
from p2pool.model import limits
from p2pool.model.errors import (
    Conflict,
    ImageNotFound,
    NotFound,
    RuntimeUnavailable,
)
from p2pool.model.ids import AllocationId
from p2pool.model.runtime import (
    ContainerPlan,
    ContainerStatus,
    OnProgress,
    RuntimeChanged,
    RuntimeInfo,
    RuntimeKind,
    RuntimeScope,
)
from p2pool.model.streams import LogChunk
from p2pool.model.tasks import PullPolicy

T = TypeVar("T")

API_VERSION_MIN = (1, 41)
TERM = "SIGTERM"
CREATE_TRIES = 6


class DockerRuntime:
    """Containers of one scope on one engine. `directory` is where its volumes are."""

    def __init__(
        self,
        scope: RuntimeScope,
        directory: Path,
        *,
        base_url: str = "",
        registries: Sequence[str] = (),
        bind_directories: Sequence[Path] = (),
    ) -> None:
        """`base_url` empty: DOCKER_HOST, else the usual socket. Nothing is asked of it yet."""
        self._scope = scope
        self._directory = directory
        self._url = base_url
        self._registries = tuple(registries)
        self._allowed = tuple(bind_directories)
        self._made: Any = None
        self._ended: dict[str, tuple[str, ContainerStatus]] = {}
        self._calls = trio.CapacityLimiter(limits.ENGINE_CALLS_IN_FLIGHT_MAX)
        self._pulls = trio.CapacityLimiter(limits.PULLS_IN_FLIGHT_MAX)
        self._streams = trio.CapacityLimiter(
            limits.LOG_STREAMS_PER_AGENT_MAX + limits.ENGINE_WATCHES_MAX
        )

    @property
    def scope(self) -> RuntimeScope:
        """Whose containers these are."""
        return self._scope

    @property
    def kind(self) -> RuntimeKind:
        """Docker."""
        return RuntimeKind.DOCKER

    # --- calls ------------------------------------------------------------------------------------

    def client(self) -> Any:
        """The SDK's client, made at first use. Call it in a thread, inside `engine_errors`."""
        if self._made is None:
            options: dict[str, Any] = docker.utils.kwargs_from_env()
            if self._url:
                options = {"base_url": self._url}
            timeout_s = limits.ENGINE_CALL_TIMEOUT_MS / 1000
            self._made = docker.APIClient(version="auto", timeout=timeout_s, **options)
        return self._made

    async def _ask(self, ask: Callable[[Any], T]) -> T:
        """Ask the engine in a thread. APIError: it answered that it does not want to."""

        def call() -> T:
            with engine_errors():
                return ask(self.client())

        return await trio.to_thread.run_sync(call, limiter=self._calls, abandon_on_cancel=True)

    # --- the engine -------------------------------------------------------------------------------

    async def probe(self) -> RuntimeInfo:
        """What answers. RuntimeUnavailable: nothing does, or it is too old."""
        try:
            version = await self._ask(lambda c: c.version())
            info = await self._ask(lambda c: c.info())
        except APIError as error:
            raise RuntimeUnavailable(f"The engine failed: {explanation(error)}.") from error
        api = str(version.get("ApiVersion", "0.0"))
        if tuple(int(part) for part in api.split(".")[:2]) < API_VERSION_MIN:
            raise RuntimeUnavailable(
                f"Docker {version.get('Version')} is too old: it speaks API {api}.",
                hint="Install Docker 20.10 or later.",
            )
        runtimes = info.get("Runtimes") or {}
        return RuntimeInfo(
            RuntimeKind.DOCKER,
            str(version.get("Version", "")),
            api,
            gpu_support="nvidia" in runtimes or bool(info.get("CDISpecDirs")),
            operating_system=str(info.get("OperatingSystem", "")),
            architecture=str(info.get("Architecture", "")),
            storage_driver=str(info.get("Driver", "")),
            cgroup_version=str(info.get("CgroupVersion", "")),
            warnings=tuple(str(w) for w in info.get("Warnings") or ()),
        )

    async def list(self) -> tuple[ContainerStatus, ...]:
        """All containers of the scope. Only those that changed are looked at closely."""
        labels = [f"{key}={value}" for key, value in scope_labels(self._scope).items()]
        try:
            rows = await self._ask(lambda c: c.containers(all=True, filters={"label": labels}))
            found = [await self._look(row) for row in rows]
        except APIError as error:
            raise other_error(error) from error
        present = dict.fromkeys(str(row["Id"]) for row in rows)
        self._ended = {key: kept for key, kept in self._ended.items() if key in present}
        statuses = [status for status in found if status is not None]
        return tuple(sorted(statuses, key=lambda s: (s.allocation, s.attempt)))

    async def _look(self, row: dict[str, Any]) -> ContainerStatus | None:
        """The status behind a row of a listing; what runs or ended before is remembered."""
        if read_labels(self._scope, row.get("Labels")) is None:
            return None
        name, state = str(row["Id"]), str(row.get("State"))
        kept = self._ended.get(name)
        if kept is not None and kept[0] == state:
            return kept[1]
        try:
            status = status_of(self._scope, await self._ask(lambda c: c.inspect_container(name)))
        except NoSuch:
            return None  # Removed since the listing.
        if status is not None and state in ("running", "exited"):
            self._ended[name] = (state, status)
        return status

    async def _inspect(self, allocation: AllocationId, attempt: int) -> dict[str, Any] | None:
        """The engine's record of an attempt's container, if there is one and it is ours."""
        name = name_of(self._scope, allocation, attempt)
        try:
            record: dict[str, Any] = await self._ask(lambda c: c.inspect_container(name))
        except NoSuch:
            return None
        except APIError as error:
            raise other_error(error) from error
        return record if read_labels(self._scope, record["Config"].get("Labels")) else None

    def _status(self, record: dict[str, Any]) -> ContainerStatus:
        status = status_of(self._scope, record)
        assert status is not None
        return status

    # --- images -----------------------------------------------------------------------------------

    async def pull(
        self,
        image: str,
        on_progress: OnProgress | None = None,
        policy: PullPolicy = PullPolicy.IF_NOT_PRESENT,
    ) -> str:
        """Make the image local; its digest. See the port."""
        if self._registries and not _from_one_of(image, self._registries):
            raise ImageNotFound(
                f"This node takes no images from where {image} is.",
                hint=f"It takes them from {', '.join(self._registries)}.",
            )
        local = await self._image(image)
        if local is not None:
            return local
        await Pull(self.client, image, on_progress, self._pulls).run()
        fetched = await self._image(image)
        if fetched is None:
            raise ImageNotFound(f"The image {image} is not there after it was fetched.")
        return fetched

    async def _image(self, image: str) -> str | None:
        """The digest of a local image: the registry's where there is one."""
        try:
            record = await self._ask(lambda c: c.inspect_image(image))
        except NoImage:
            return None
        except APIError as error:
            raise pull_error(image, explanation(error)) from error
        digests = record.get("RepoDigests") or []
        return str(digests[0]).rpartition("@")[2] if digests else str(record["Id"])

    # --- one container ----------------------------------------------------------------------------

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """Start the attempt, or find what it already has. See the port."""
        record = await self._inspect(plan.allocation, plan.attempt)
        if record is None:
            for source in own_directories(plan, self._directory, self._allowed):
                source.mkdir(parents=True, exist_ok=True, mode=0o755)
            record = await self._create(plan)
        status = self._status(record)
        if status.spec_hash != plan.spec_hash:
            raise Conflict("This attempt has a container of another specification.")
        if record["State"]["Status"] == "created":
            return await self._run(plan.allocation, plan.attempt, str(record["Id"]), created=True)
        return status

    async def _create(self, plan: ContainerPlan) -> dict[str, Any]:
        wanted = container_config(self._scope, plan, self._directory, self._allowed)
        wait_ms = limits.STOP_POLL_MIN_MS
        for _ in range(CREATE_TRIES):
            try:
                await self._ask(
                    lambda c: c.create_container_from_config(wanted["body"], wanted["name"])
                )
            except APIError as error:
                if error.status_code != 409:
                    raise start_error(error) from error
            # A name that is taken was taken by a start of the same attempt, now or before; the
            # engine takes the name a little before it knows the container.
            record = await self._inspect(plan.allocation, plan.attempt)
            if record is not None:
                return record
            await trio.sleep(wait_ms / 1000)
            wait_ms *= 2
        raise Conflict(f"The name {wanted['name']} is taken on this engine.")

    async def _run(
        self, allocation: AllocationId, attempt: int, name: str, *, created: bool
    ) -> ContainerStatus:
        try:
            await self._ask(lambda c: c.start(name))
        except APIError as error:
            refused = start_error(error)
            if created and not isinstance(refused, RuntimeUnavailable):
                with suppress(APIError):
                    await self._ask(lambda c: c.remove_container(name, v=True, force=True))
            raise refused from error
        record = await self._inspect(allocation, attempt)
        if record is None:
            raise RuntimeUnavailable("The container is gone right after its start.")
        return self._status(record)

    async def restart(self, allocation: AllocationId, attempt: int) -> ContainerStatus:
        """Start an ended container anew. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None:
            raise NotFound("There is no container of this attempt.")
        self._ended.pop(str(record["Id"]), None)
        if record["State"].get("Running"):
            return self._status(record)
        return await self._run(allocation, attempt, str(record["Id"]), created=False)

    async def stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        """End it, by force after the grace. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None or not record["State"].get("Running"):
            return
        name = str(record["Id"])
        await self._kill(name, record["Config"].get("StopSignal") or TERM)
        with trio.move_on_after(grace_ms / 1000):
            await self._wait_ended(name)
            return
        await self._kill(name, "SIGKILL")
        with trio.move_on_after(limits.KILL_DEADLINE_MS / 1000):
            await self._wait_ended(name)
            return
        raise RuntimeUnavailable("The container does not end, not even when killed.")

    async def _kill(self, name: str, signal: str) -> None:
        try:
            await self._ask(lambda c: c.kill(name, signal))
        except NoSuch:
            return
        except APIError as error:
            if error.status_code != 409:  # 409: it ended in the meantime.
                raise other_error(error) from error

    async def _wait_ended(self, name: str) -> None:
        wait_ms = limits.STOP_POLL_MIN_MS
        while True:
            try:
                record = await self._ask(lambda c: c.inspect_container(name))
            except NoSuch:
                return
            except APIError as error:
                raise other_error(error) from error
            if not record["State"].get("Running"):
                return
            await trio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, limits.STOP_POLL_MAX_MS)

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """Forget an ended container. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None:
            return
        if record["State"].get("Running"):
            raise Conflict("The container runs: stop it first.")
        name = str(record["Id"])
        try:
            await self._ask(lambda c: c.remove_container(name, v=True))
        except NoSuch:
            return
        except APIError as error:
            raise other_error(error) from error

    # --- streams ----------------------------------------------------------------------------------

    async def watch(self) -> AsyncGenerator[RuntimeChanged, None]:
        """Hints, as long as the engine is there."""
        labels = [f"{key}={value}" for key, value in scope_labels(self._scope).items()]
        filters = {"type": "container", "event": ["start", "die", "oom"], "label": labels}
        async with aclosing(follow_events(self.client, filters, self._streams)) as events:
            async for event in events:
                said = read_labels(self._scope, event.get("Actor", {}).get("Attributes"))
                if said is not None:
                    yield RuntimeChanged(said.allocation, said.attempt)

    async def logs(
        self,
        allocation: AllocationId,
        attempt: int,
        *,
        follow: bool = False,
        tail_lines: int = -1,
        since_ms: int = 0,
    ) -> AsyncGenerator[LogChunk, None]:
        """Log lines in order. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None:
            raise NotFound("There is no container of this attempt.", hint="It may be gone.")
        params = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "tail": "all" if tail_lines < 0 else str(tail_lines),
            "since": f"{since_ms / 1000:.3f}" if since_ms else "0",
        }
        name = str(record["Id"])
        async with aclosing(follow_logs(self.client, name, params, self._streams)) as chunks:
            async for chunk in chunks:
                if chunk.at_ms >= since_ms:
                    yield chunk


def _from_one_of(image: str, registries: Sequence[str]) -> bool:
    """Whether an image's name begins with one of these registries (or their repositories)."""
    first = image.partition("/")[0]
    named = "/" in image and ("." in first or ":" in first or first == "localhost")
    full = image if named else f"docker.io/{image}"
    return any(full.startswith(registry.rstrip("/") + "/") for registry in registries)
