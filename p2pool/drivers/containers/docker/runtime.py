"""The Docker Engine as a `ContainerRuntime`, through the docker SDK in threads.

Intuition: every call is one or two requests to the engine's socket, made in a thread and safe to
repeat: an attempt's container has a unique name, so a start that was interrupted finds what it
began. Containers without the scope's whole label set are neither seen nor touched.

Invariants: a failed start leaves nothing behind; an engine that is away is `RuntimeUnavailable`,
never an empty list.
Source: Docker Engine API 1.41 to 1.51; docs/design/containers.md.
"""

import resource
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.docker.container.files import archived_file
from p2pool.drivers.containers.docker.container.labels import (
    GPUS,
    gpus_of,
    name_of,
    needs_secrets,
    read_labels,
    scope_filter,
)
from p2pool.drivers.containers.docker.container.mounts import mount_sources
from p2pool.drivers.containers.docker.container.plan import BRIDGE, Prepared, container_config
from p2pool.drivers.containers.docker.container.state import status_of
from p2pool.drivers.containers.docker.directories import probe_directories, unseen
from p2pool.drivers.containers.docker.disk_usage import Keeper
from p2pool.drivers.containers.docker.engine.answers import name_in, record_of, rows_of
from p2pool.drivers.containers.docker.engine.capabilities import gpu_request
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import explanation, other_error, start_error
from p2pool.drivers.containers.docker.engine.streams import follow_events, follow_logs
from p2pool.drivers.containers.docker.helper import Helper
from p2pool.drivers.containers.docker.images.store import Images
from p2pool.drivers.containers.docker.networks.isolation import Isolation
from p2pool.drivers.containers.docker.networks.sandbox import sandbox_of
from p2pool.drivers.containers.docker.prover import DockerProvers
from p2pool.drivers.containers.docker.secrets.contents import INIT_PATH, has_variables
from p2pool.drivers.containers.docker.secrets.delivery import deliver
from p2pool.drivers.containers.docker.secrets.volume import secrets_mount
from p2pool.drivers.containers.file_refusals import no_file
from p2pool.drivers.containers.required_secrets import check_given, not_given
from p2pool.drivers.containers.settings import Settings
from p2pool.drivers.containers.volumes import Volumes
from p2pool.model import limits
from p2pool.model.errors import (
    Conflict,
    DirectoryUnseen,
    Misconfigured,
    NotFound,
    P2poolError,
    RuntimeUnavailable,
)
from p2pool.model.ids import AllocationId
from p2pool.model.messages.task_streams import LogChunks
from p2pool.model.ports.runtime import (
    ContainerPlan,
    ContainerStatus,
    OnProgress,
    Overuse,
    RunningCopy,
    RuntimeChanged,
    RuntimeInfo,
    RuntimeKind,
    RuntimeScope,
    Unsupported,
)
from p2pool.model.ports.volumes import Retention, TaskEnded
from p2pool.model.tasks.secrets import RegistryAuth, SecretValue
from p2pool.model.tasks.spec import PullPolicy

EVENTS = ("start", "die", "oom", "health_status")
TERM = "SIGTERM"
NOT_ISOLATED = Unsupported(
    "network-isolation",
    "[network] isolation is off: tasks reach each other, this machine and its network",
)
NOT_SEEN = "bind source path does not exist: "


class DockerRuntime:
    """Containers of one scope on one engine. `directory` holds its volumes."""

    def __init__(
        self,
        scope: RuntimeScope,
        directory: Path,
        *,
        base_url: str = "",
        settings: Settings | None = None,
    ) -> None:
        """`base_url` empty: the one that docker's own settings name. Makes no call yet."""
        self._scope = scope
        self._directory = directory
        self._settings = settings or Settings()
        self._engine = DockerClient(base_url)
        self._ask = self._engine.ask
        self.images = Images(self._engine, directory, self._settings)
        self.store = Volumes(directory)
        self.helper = Helper(scope, self._engine)
        self._keeper = Keeper(scope, self._engine, self.store, self.helper)
        self._ended: dict[str, tuple[str, ContainerStatus]] = {}
        self._gpu_door = trio.Lock()
        self.provers = DockerProvers(
            scope, self._engine, self.images, self._settings, self.gpus_free
        )
        self._isolation = Isolation(scope, self._engine, self.helper, self._settings)
        self._directories_due_s, self._seen = 0.0, False
        self._unseen: RuntimeUnavailable | Misconfigured | None = None

    @property
    def scope(self) -> RuntimeScope:
        """The scope of these containers."""
        return self._scope

    @property
    def kind(self) -> RuntimeKind:
        """Docker."""
        return RuntimeKind.DOCKER

    @property
    def oci_runtime(self) -> str:
        """What starts containers, as the engine names it."""
        return self._settings.oci_runtime

    def client(self) -> Any:
        """The SDK's client. Call it in a thread, inside `engine_errors`."""
        return self._engine.client()

    async def gpu_request(self, gpus: tuple[str, ...]) -> dict[str, Any]:
        """The device request for these GPUs on this engine. `NoGpuSupport` if there is no way."""
        return gpu_request(await self._engine.support(), self._settings.gpus, gpus)

    # --- the engine -------------------------------------------------------------------------------

    async def probe(self) -> RuntimeInfo:
        """Probe the engine. RuntimeUnavailable: it does not answer, or it is too old."""
        try:
            support = await self._engine.support(fresh=True)
        except RuntimeUnavailable:
            self._directories_due_s = 0.0  # It may come back as another one.
            raise
        info = support.info()
        support.check_runtime(self._settings.oci_runtime)
        if self._settings.isolation:
            await self._isolation.check()
            return info
        return attrs.evolve(info, unsupported=(*info.unsupported, NOT_ISOLATED))

    async def probe_directories(self, *, fresh: bool = False) -> None:
        """Whether the engine sees the agent's directories. See the port; `fresh`: look now."""
        now_s = trio.current_time()
        if fresh or now_s >= self._directories_due_s:
            places = dict.fromkeys((self._settings.agent_directory, self._directory))
            try:
                await probe_directories(
                    self.helper,
                    [one for one in places if one is not None],
                    self._settings.bind_directories,
                )
            except (RuntimeUnavailable, Misconfigured) as error:
                sure = isinstance(error, DirectoryUnseen | Misconfigured)
                # Once seen, they are not lost because an engine was too busy to look again.
                if fresh or sure or not self._seen:
                    self._seen, self._unseen = False, error
                wait_ms = limits.DIRECTORIES_RETRY_MS if sure or self._seen else 0
            else:
                self._seen, self._unseen = True, None
                wait_ms = limits.DIRECTORIES_SEEN_MS
            self._directories_due_s = trio.current_time() + wait_ms / 1000
        if self._unseen is not None:
            raise self._unseen

    def _start_error(self, error: APIError) -> P2poolError:
        """Why a container could not be created or started. That the engine does not see a place
        that is here is this node's fault, not the task's."""
        text, _, path = explanation(error).partition(NOT_SEEN)
        if path:
            self._directories_due_s = 0.0
            return unseen(Path(path), f"{text}{NOT_SEEN}{path}")
        return start_error(error)

    async def list(self) -> tuple[ContainerStatus, ...]:
        """All containers of the scope. Only those that changed are inspected."""
        filters = {"label": scope_filter(self._scope)}
        try:
            rows = await self._ask(lambda c: rows_of(c.containers(all=True, filters=filters)))
            await self._isolation.settle_all(rows)
            found = [await self._look(row) for row in rows]
        except APIError as error:
            raise other_error(error) from error
        present = dict.fromkeys(str(row["Id"]) for row in rows)
        self._ended = {key: kept for key, kept in self._ended.items() if key in present}
        statuses = [status for status in found if status is not None]
        return tuple(sorted(statuses, key=lambda s: (s.allocation, s.attempt)))

    async def _look(self, row: dict[str, Any]) -> ContainerStatus | None:
        """The status behind a row of a listing; running and ended containers are cached."""
        if read_labels(self._scope, row.get("Labels")) is None:
            return None
        name, state = str(row["Id"]), str(row.get("State"))
        # A listing reports health only as readable text: `Up 5 minutes (healthy)`.
        health = str(row.get("Status")).partition("(")[2] if state == "running" else ""
        shown = f"{state} {health}"
        kept = self._ended.get(name)
        if kept is not None and kept[0] == shown:
            return kept[1]
        try:
            record = await self._ask(lambda c: record_of(c.inspect_container(name)))
            status = status_of(self._scope, record)
        except NoSuch:
            return None  # Removed since the listing.
        if status is not None and state in ("running", "exited"):
            self._ended[name] = (shown, status)
        return status

    async def _inspect(self, allocation: AllocationId, attempt: int) -> dict[str, Any] | None:
        """The engine's record of an attempt's container, if there is one and it is ours."""
        name = name_of(self._scope, allocation, attempt)
        try:
            record = await self._ask(lambda c: record_of(c.inspect_container(name)))
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
        auth: RegistryAuth | None = None,
    ) -> str:
        """Make the image local as the policy says; returns its digest. See the port."""
        return await self.images.pull(image, on_progress, policy, auth)

    # --- one container ----------------------------------------------------------------------------

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """Start the attempt, or return its existing container. See the port."""
        async with self._isolation.held((plan.allocation, plan.attempt)):
            record = await self._inspect(plan.allocation, plan.attempt)
            if record is None:
                record = await self._create(plan)
            status = self._status(record)
            if status.spec_hash != plan.spec_hash:
                raise Conflict("This attempt already has a container with another specification.")
            if record["State"]["Status"] == "created":
                return await self._run(status, record, plan.secrets, created=True)
            return status

    async def _prepare(self, plan: ContainerPlan) -> Prepared:
        """Find the image, and make the directories that are mounted."""
        check_given(plan.spec.secrets, plan.secrets)
        local = await self.images.find(plan.spec.image)
        # Another task's pull may have given the name to an image that only that task may use.
        if local is None or plan.image_digest not in ("", local.digest):
            raise RuntimeUnavailable(
                f"The image {plan.spec.image} is not on this node any longer.",
                hint="The agent pulls it again.",
            )
        await self.images.used(plan.spec.image)
        settings, agent = self._settings, self._settings.agent_directory or self._directory
        allowed, url = settings.bind_directories, self._engine.address
        sources = await trio.to_thread.run_sync(
            mount_sources, plan, self.store, allowed, agent, url
        )
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = limits.PROCESS_FILES_MAX
        files = files if most == resource.RLIM_INFINITY else min(files, most)
        return Prepared(
            image=local.pinned,
            digest=local.digest,
            sources=sources,
            gpus=settings.gpus,
            files_max=files,
            image_variables=local.variables,
            oci_runtime=settings.oci_runtime,
            image_entrypoint=local.entrypoint,
            image_command=local.command,
            secrets=secrets_mount(self._scope, plan, read_only=True) if plan.secrets else None,
            first=(INIT_PATH,) if has_variables(plan.secrets) else (),
        )

    async def _create(self, plan: ContainerPlan) -> dict[str, Any]:
        support = await self._engine.support()
        support.check_runtime(self._settings.oci_runtime)
        prepared = await self._prepare(plan)
        # A sandbox holds the memory of secrets, too.
        joins = self._settings.isolation or plan.secrets
        network = await self._isolation.join(plan) if joins else BRIDGE
        wanted = container_config(
            self._scope, plan, attrs.evolve(prepared, network=network), support
        )
        try:
            return await self._create_from(plan, wanted)
        except P2poolError as error:
            if not isinstance(error, RuntimeUnavailable):
                await self._isolation.left((plan.allocation, plan.attempt))
            raise

    async def _create_from(self, plan: ContainerPlan, wanted: dict[str, Any]) -> dict[str, Any]:
        wait_ms = limits.STOP_POLL_MIN_MS
        for _ in range(limits.CREATE_TRIES_MAX):
            try:
                await self._ask(
                    lambda c: c.create_container_from_config(wanted["body"], wanted["name"])
                )
            except APIError as error:
                if "storage-opt" in explanation(error) and "StorageOpt" in _host(wanted):
                    self._engine.refused_quota(explanation(error))
                    del _host(wanted)["StorageOpt"]
                    continue
                if error.status_code != 409:
                    raise self._start_error(error) from error
            # A taken name belongs to a start of the same attempt, now or before; the engine
            # reserves the name slightly before it knows the container.
            record = await self._inspect(plan.allocation, plan.attempt)
            if record is not None:
                return record
            await trio.sleep(wait_ms / 1000)
            wait_ms *= 2
        raise Conflict(f"The name {wanted['name']} is taken on this engine.")

    async def _run(
        self,
        of: ContainerStatus,
        record: dict[str, Any],
        secrets: Sequence[SecretValue],
        *,
        created: bool,
    ) -> ContainerStatus:
        """Start a container within its network, which has its rules by then, with its secrets; one
        with GPUs only while no other container holds them."""
        name, key = str(record["Id"]), (of.allocation, of.attempt)
        if needs_secrets(record["Config"].get("Labels")) and not secrets:
            raise not_given()
        try:
            box = await self._isolation.up(key, record, fresh=bool(secrets))
            if secrets:
                await deliver(self._engine, box, record, secrets)
            async with self.gpus_free(of.gpus):
                await self._ask(lambda c: c.start(name))
        except (APIError, P2poolError) as error:
            refused = self._start_error(error) if isinstance(error, APIError) else error
            gone = isinstance(refused, NotFound)  # It never runs again: a new start makes another.
            if gone or (created and not isinstance(refused, RuntimeUnavailable)):
                with suppress(APIError):
                    await self._ask(lambda c: c.remove_container(name, v=True, force=True))
                await self._isolation.left(key)
            if created and gone:
                refused = RuntimeUnavailable(refused.message)
            raise refused from error
        found = await self._inspect(of.allocation, of.attempt)
        if found is None:
            raise RuntimeUnavailable("The container is gone right after its start.")
        return self._status(found)

    @asynccontextmanager
    async def gpus_free(self, gpus: tuple[str, ...]) -> AsyncGenerator[None, None]:
        """Hold a lock while a container with GPUs starts. Raises if another container holds them,
        even another agent's on this machine."""
        if not gpus:
            yield
            return
        async with self._gpu_door:
            rows = await self._ask(lambda c: rows_of(c.containers(filters={"label": [GPUS]})))
            for row in rows:
                both = [gpu for gpu in gpus_of(row.get("Labels")) if gpu in gpus]
                if both:
                    raise RuntimeUnavailable(
                        f"{', '.join(both)} is held by the container {name_in(row)}"
                        " on this machine.",
                        hint="Agents that share a machine name different gpu_uuids in [resources].",
                    )
            yield

    async def restart(
        self, allocation: AllocationId, attempt: int, secrets: tuple[SecretValue, ...] = ()
    ) -> ContainerStatus:
        """Start an ended container again. See the port."""
        async with self._isolation.held((allocation, attempt)):
            record = await self._inspect(allocation, attempt)
            if record is None:
                raise NotFound("This attempt has no container.")
            self._ended.pop(str(record["Id"]), None)
            if record["State"].get("Running"):
                return self._status(record)
            return await self._run(self._status(record), record, secrets, created=False)

    async def stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        """Stop the container, by force after the grace period. See the port."""
        await self._stop(allocation, attempt, grace_ms)
        await self._isolation.settle((allocation, attempt))

    async def _stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
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
                record = await self._ask(lambda c: record_of(c.inspect_container(name)))
            except NoSuch:
                return
            except APIError as error:
                raise other_error(error) from error
            if not record["State"].get("Running"):
                return
            await trio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, limits.STOP_POLL_MAX_MS)

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """Remove an ended container. See the port."""
        async with self._isolation.held((allocation, attempt)):
            record = await self._inspect(allocation, attempt)
            if record is not None and record["State"].get("Running"):
                raise Conflict("The container is running: stop it first.")
            try:
                if record is not None:
                    name = str(record["Id"])
                    await self._ask(lambda c: c.remove_container(name, v=True))
            except NoSuch:
                pass  # It went in the meantime; its network still has to.
            except APIError as error:
                raise other_error(error) from error
            await self._isolation.left((allocation, attempt))

    async def read_file(
        self, allocation: AllocationId, attempt: int, path: str, most_bytes: int
    ) -> bytes:
        """A file that an ended container left behind. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None:
            raise no_file(path)
        name = str(record["Id"])
        try:
            return await self._ask(lambda c: archived_file(c, name, path, most_bytes))
        except APIError as error:
            raise other_error(error) from error

    # --- the disk ---------------------------------------------------------------------------------

    @property
    def volumes(self) -> Keeper:
        """The volumes that tasks keep on this machine."""
        return self._keeper

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """The copies that hold more of the disk than they asked for. See the port."""
        return await self._keeper.overused(held)

    async def tidy(self, over: TaskEnded, keep: Retention) -> tuple[str, ...]:
        """Delete whatever has outlived its keep time. See the port."""
        await self.helper.sweep()
        gone = (*await self._keeper.sweep(over, keep), *await self.images.collect())
        await self.images.forget_private()
        if self._settings.isolation:
            await self._isolation.refresh()
        return gone

    # --- streams ----------------------------------------------------------------------------------

    async def watch(self) -> AsyncGenerator[RuntimeChanged, None]:
        """Yields hints for as long as the engine is there."""
        filters = {
            "type": "container",
            "event": list(EVENTS),
            "label": scope_filter(self._scope),
        }
        async with aclosing(
            follow_events(self._engine.client, filters, self._engine.streams)
        ) as events:
            async for event in events:
                said = read_labels(self._scope, event.get("Actor", {}).get("Attributes"))
                if said is not None:
                    yield RuntimeChanged(said.allocation, said.attempt)
                elif event.get("Action") == "die":  # A copy does not outlive its sandbox.
                    of = sandbox_of(self._scope, event.get("Actor", {}).get("Attributes"))
                    if of is not None:
                        yield RuntimeChanged(*of)

    async def logs(
        self,
        allocation: AllocationId,
        attempt: int,
        *,
        follow: bool = False,
        tail_lines: int = -1,
        since_ms: int = 0,
    ) -> AsyncGenerator[LogChunks, None]:
        """Log lines in order. See the port."""
        record = await self._inspect(allocation, attempt)
        if record is None:
            raise NotFound("This attempt has no container.", hint="It may be gone.")
        params = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "tail": "all" if tail_lines < 0 else str(tail_lines),
            "since": f"{since_ms / 1000:.3f}" if since_ms else "0",
        }
        name = str(record["Id"])
        async with aclosing(
            follow_logs(self._engine.client, name, params, self._engine.streams)
        ) as batches:
            async for chunks in batches:
                recent = tuple(chunk for chunk in chunks if chunk.at_ms >= since_ms)
                if recent:
                    yield recent


def _host(wanted: dict[str, Any]) -> dict[str, Any]:
    host: dict[str, Any] = wanted["body"]["HostConfig"]
    return host
