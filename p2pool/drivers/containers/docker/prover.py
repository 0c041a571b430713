"""Provers as containers: devices and lines, and nothing else of the machine.

Intuition: the engine hands the container's streams to whoever attaches before it starts. Requests
go in and answers come out over one connection. Where the agent dies it ends, with it the prover's
input, and with that the prover; the container is swept at the next start.

Invariants: no network, no mount, no capability, a root that can only be read; an image by digest
alone; GPUs that no other container on this machine holds, and that no other gets meanwhile
(`runtime.gpus_free`); nothing is kept of what it writes beside its answers but the beginning of its
errors. Source: Docker Engine API, "Attach to a container"; docs/design/validation.md.
"""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any

import trio
from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.codec.spec.rules import chooses_devices
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.containers.docker.container.labels import (
    GPUS,
    PREFIX,
    scope_filter,
    scope_labels,
)
from p2pool.drivers.containers.docker.container.plan import visible_gpus
from p2pool.drivers.containers.docker.engine.answers import name_in, rows_of
from p2pool.drivers.containers.docker.engine.attachment import (
    STDOUT,
    Opened,
    Piece,
    attach_both_ways,
    follow,
)
from p2pool.drivers.containers.docker.engine.capabilities import gpu_request
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error, start_error
from p2pool.drivers.containers.docker.images.store import Images, Local
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import P2poolError, RuntimeUnavailable
from p2pool.model.ports.prover import PROCESSOR
from p2pool.model.ports.runtime import RuntimeScope

log = get_logger(__name__)

PROVER = f"{PREFIX}.prover"
"""The label of a prover's container."""
VARIABLES = {"CUDA_CACHE_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""A prover can write nowhere."""

GpusFree = Callable[[tuple[str, ...]], AbstractAsyncContextManager[None]]
"""Holds the door while a container with these GPUs starts (`runtime.gpus_free`)."""


class DockerProvers:
    """The provers of one scope on one engine."""

    def __init__(
        self,
        scope: RuntimeScope,
        engine: DockerClient,
        images: Images,
        settings: Settings,
        gpus_free: GpusFree,
    ) -> None:
        """Makes no call to the engine yet."""
        self._scope, self._engine, self._images = scope, engine, images
        self._settings, self._gpus_free = settings, gpus_free
        self._threads = trio.CapacityLimiter(limits.PROVERS_MAX)
        self._live: dict[str, None] = {}

    async def is_here(self, image: str) -> bool:
        """Whether an image is on the engine. See the port."""
        return await self._images.find_exact(image) is not None

    async def fetch(self, image: str) -> None:
        """Pull an image. See the port."""
        await self._images.pull_exact(image)

    @asynccontextmanager
    async def running(
        self, image: str, gpus: tuple[str, ...], memory_bytes: int
    ) -> AsyncGenerator["Lines", None]:
        """A prover for as long as the block. See the port."""
        local = await self._images.find_exact(image)
        if local is None:
            raise RuntimeUnavailable(
                f"The prover's image {image} is not on this node.",
                hint="The agent fetches it; one without a registry has to be loaded by hand.",
            )
        given = tuple(uuid for uuid in gpus if not uuid.startswith(PROCESSOR))
        body = await self._body(local, given, memory_bytes)
        name = f"{PREFIX}-prover-{secrets.token_hex(8)}"
        self._live[name] = None
        try:
            async with self._started(name, body, given) as lines:
                yield lines
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(limits.KILL_DEADLINE_MS / 1000):
                await self._remove(name)
            del self._live[name]

    @asynccontextmanager
    async def _started(
        self, name: str, body: dict[str, Any], gpus: tuple[str, ...]
    ) -> AsyncGenerator["Lines", None]:
        opened: Opened | None = None
        try:
            try:
                await self._engine.ask(lambda c: c.create_container_from_config(body, name))
                opened, put = await attach_both_ways(self._engine, name)
                async with self._gpus_free(gpus):
                    await self._engine.ask(lambda c: c.start(name))
            except APIError as error:
                raise start_error(error) from error
            async with aclosing(follow(opened, self._threads)) as batches:
                yield Lines(self._engine, put, batches)
        finally:
            if opened is not None:
                with suppress(OSError, ValueError, AttributeError):
                    opened[1]()

    async def _body(self, local: Local, gpus: tuple[str, ...], memory_bytes: int) -> dict[str, Any]:
        """The request for a container. `NoGpuSupport`: the engine has none to give."""
        support = await self._engine.support()
        support.check_runtime(self._settings.oci_runtime)
        request = gpu_request(support, self._settings.gpus, gpus) if gpus else None
        named = VARIABLES | visible_gpus(request)
        unset = [key for key in local.variables if chooses_devices(key) and key not in named]
        memory_bytes += limits.PROVER_MEMORY_BYTES
        host: dict[str, Any] = {
            "Runtime": self._settings.oci_runtime,
            "NetworkMode": "none",
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "Privileged": False,
            "CapDrop": ["ALL"],
            # Naming no profile leaves the engine's own seccomp and AppArmor profiles on.
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "CpuShares": limits.PROVER_CPU_SHARES,
            "PidsLimit": limits.PROVER_PIDS_MAX,
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,
        }
        if request is not None:
            host["DeviceRequests"] = [request]
        return {
            "Image": local.pinned,
            "Env": [f"{key}={value}" for key, value in named.items()] + unset,
            "Labels": scope_labels(self._scope) | {PROVER: "1", GPUS: ",".join(gpus)},
            "Healthcheck": {"Test": ["NONE"]},
            "Tty": False,
            "OpenStdin": True,
            "StdinOnce": True,
            "HostConfig": host,
        }

    async def _remove(self, name: str) -> None:
        try:
            await self._engine.ask(lambda c: c.remove_container(name, v=True, force=True))
        except NoSuch:
            return
        except (APIError, P2poolError) as error:
            log.warning("a prover stays until the next sweep", name=name, reason=str(error))

    async def sweep(self) -> None:
        """Remove provers that nobody waits for. See the port."""
        filters = {"label": [*scope_filter(self._scope), f"{PROVER}=1"]}
        try:
            rows = await self._engine.ask(
                lambda c: rows_of(c.containers(all=True, filters=filters))
            )
        except APIError as error:
            raise other_error(error) from error
        for row in rows:
            if name_in(row) not in self._live:
                await self._remove(str(row["Id"]))


class Lines:
    """A prover that runs, line by line."""

    def __init__(
        self,
        engine: DockerClient,
        put: Callable[[bytes], None],
        batches: AsyncGenerator[list[Piece], None],
    ) -> None:
        """`put` writes to its input, and blocks; `batches` is its output."""
        self._engine, self._put, self._batches = engine, put, batches
        self._errors, self._rest = bytearray(), bytearray()

    async def ask(self, line: bytes, *, answer_max_bytes: int) -> bytes:
        """The answer to a line. See the port."""
        assert b"\n" not in line
        if self._rest:
            raise RuntimeUnavailable("The prover said more than it was asked.")
        await self._engine.ask(lambda _: self._put(line + b"\n"))
        end = -1
        async for pieces in self._batches:
            for number, piece in pieces:
                if number != STDOUT:
                    self._errors += piece[: limits.PROVER_ERRORS_MAX_BYTES - len(self._errors)]
                    continue
                scanned = len(self._rest)
                self._rest += piece
                if end < 0:
                    end = self._rest.find(b"\n", scanned)
            if (end if end >= 0 else len(self._rest)) > answer_max_bytes:
                raise RuntimeUnavailable(
                    f"The prover answers with more than {answer_max_bytes} bytes."
                )
            if end >= 0:
                answer = bytes(self._rest[:end])
                del self._rest[: end + 1]
                return answer
        raise self._ended()

    def _ended(self) -> RuntimeUnavailable:
        said = self._errors.decode(errors="replace").strip()
        return RuntimeUnavailable(
            f"The prover ended: {said or 'it said nothing'}",
            hint="Run its image by hand: docker run -i --network none IMAGE.",
        )
