"""Short-lived containers of our own image, for work that needs rights which only containers have.

Intuition: files in volumes and networks of copies belong to containers' users, and an agent need
not be root. So the agent asks the engine for a container with one mount or one network, and with
the capabilities of that work alone; what a task planted there finds nothing else in it.

    ran = await helper.run(("/usr/sbin/nft", "-f", "-"), network_of=container_id,
                           capabilities=("NET_ADMIN",), stdin=rules, deadline_ms=10_000)

In the image `tar`, `rm`, `du` and `find` are GNU's. A shell there prefers busybox's programs: write
`/bin/tar`, `/bin/rm`, `/usr/bin/du`, `/usr/bin/find`.

Invariants: it has no network but the one that is named, no capability but those given, no log, and
a deadline. It is removed at its end, whatever happens; one that outlives its agent is removed when
the next agent starts. It is made from the image's identifier, never from a name.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import trio
from docker.errors import APIError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.containers.docker.container.labels import COPY, scope_filter, scope_labels
from p2pool.drivers.containers.docker.engine.answers import name_in, number, part, rows_of
from p2pool.drivers.containers.docker.engine.attachment import STDOUT, Opened, attach, feed, follow
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error, start_error
from p2pool.drivers.containers.docker.images.helper_image import LABEL, HelperImage, helper_image
from p2pool.model import limits
from p2pool.model.errors import Overloaded, P2poolError, RuntimeUnavailable
from p2pool.model.ports.runtime import RuntimeScope

log = get_logger(__name__)

WORK = "1"
"""The label of a container that does a piece of work, where the image's is its layer."""
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
FED = ("/bin/busybox", "sh", "-c", 'head -c "$0" | "$@"')
"""Ends a command's input after a number of bytes, which no other end could be given to."""


class Ran(NamedTuple):
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@attrs.frozen
class HelperMount:
    """A directory, as the engine's machine names it, and where the helper sees it. `of_engine`: it
    lies where the engine keeps its own things."""

    source: Path
    target: str
    read_only: bool = False
    of_engine: bool = False


class Helper:
    """The helper containers of one scope on one engine."""

    def __init__(self, scope: RuntimeScope, engine: DockerClient) -> None:
        """Makes no call to the engine yet."""
        self._scope, self._engine = scope, engine
        self._image: str | None = None
        self._loading = trio.Lock()
        self._limiter = trio.CapacityLimiter(limits.HELPERS_IN_FLIGHT_MAX)
        self._threads = trio.CapacityLimiter(limits.HELPERS_IN_FLIGHT_MAX)
        self._streaming = 0
        self._stream_threads = trio.CapacityLimiter(limits.VOLUME_EXPORTS_MAX)
        self._live: dict[str, None] = {}

    # --- the image --------------------------------------------------------------------------------

    async def ready(self) -> str:
        """Load the image if the engine does not have it; returns its identifier there.

        Misconfigured: there is none for this engine's processor. RuntimeUnavailable: the engine
        is away, or does not take it.
        """
        async with self._loading:
            if self._image is None:
                wanted = await self._wanted()
                self._image = await self._find(wanted) or await self._load(wanted)
            return self._image

    async def loaded(self) -> bool:
        """Whether the engine has the image now."""
        return await self._find(await self._wanted()) is not None

    async def reference(self) -> str:
        """The name under which it is loaded. Misconfigured: there is none for this processor."""
        return (await self._wanted()).reference

    async def _wanted(self) -> HelperImage:
        return helper_image((await self._engine.support()).platform)

    async def _find(self, wanted: HelperImage) -> str | None:
        for name in (*wanted.ids, wanted.reference):
            try:
                record = await self._engine.ask(partial(_inspect, name))
            except NoImage:
                continue
            except APIError as error:
                raise other_error(error) from error
            if wanted.is_it(record):
                return str(record["Id"])
        return None

    async def _load(self, wanted: HelperImage) -> str:
        archive = await trio.to_thread.run_sync(wanted.archive)

        deadline_ms = limits.HELPER_LOAD_DEADLINE_MS

        def load(api: Any) -> list[Any]:
            # The SDK's own `load_image` waits no longer than for any other answer.
            url = api._url("/images/load")
            response = api._post(url, data=archive, stream=True, timeout=deadline_ms / 1000)
            api._raise_for_status(response)
            return list(api._stream_helper(response, decode=True))

        try:
            said = await self._engine.ask(load, deadline_ms)
        except APIError as error:
            raise start_error(error) from error
        found = await self._find(wanted)
        if found is None:
            why = "; ".join(str(one.get("error") or one.get("stream") or "") for one in said)
            raise RuntimeUnavailable(
                f"The Docker Engine does not load the image {wanted.reference}: {why[:300]}.",
                hint="See its log: journalctl -u docker.",
            )
        log.info("loaded the helper image", image=wanted.reference)
        return found

    # --- running ----------------------------------------------------------------------------------

    async def run(
        self,
        command: Sequence[str],
        *,
        mounts: Sequence[HelperMount] = (),
        network_of: str | None = None,
        of_host: bool = False,
        capabilities: Sequence[str] = (),
        stdin: bytes | None = None,
        deadline_ms: int,
    ) -> Ran:
        """Run a command to its end. `network_of`: the container whose network it joins; `of_host`:
        it sees that of the engine's machine, without any right; otherwise it has none. Of what it
        writes to stderr, the beginning is kept.

        NodeCannotStart: a mount that the engine does not see, a network that is gone.
        RuntimeUnavailable: the engine is away, the deadline is over, or stdout is too much.
        """
        body = _body(self._scope, command, mounts, network_of, capabilities, stdin)
        if of_host:
            assert not capabilities
            # The machine's network belongs to no other user namespace than the machine's.
            body["HostConfig"] |= {"NetworkMode": "host", "UsernsMode": "host"}
        with trio.move_on_after(deadline_ms / 1000) as scope:
            async with self._limiter, self._started(body, self._threads) as running:
                return await self._finished(running, stdin)
        assert scope.cancelled_caught
        raise RuntimeUnavailable(
            f"A helper container did not end within {deadline_ms / 1000:g} s: {command[0]}."
        )

    async def _finished(self, running: "Running", stdin: bytes | None) -> Ran:
        """Give a command its input while its output is read, and wait for its end."""
        failed: list[P2poolError] = []
        said = bytearray()

        async def give(data: bytes, scope: trio.CancelScope) -> None:
            try:
                await feed(self._engine, running.name, data)
            except P2poolError as error:
                failed.append(error)
                scope.cancel()

        async with trio.open_nursery() as nursery:
            if stdin:
                nursery.start_soon(give, stdin, nursery.cancel_scope)
            async for piece in running.stdout:
                said += piece
                if len(said) > limits.HELPER_OUTPUT_MAX_BYTES:
                    failed.append(RuntimeUnavailable("A helper container writes too much."))
                    break
            nursery.cancel_scope.cancel()
        if failed:
            raise failed[0]
        return (await running.finish())._replace(stdout=bytes(said))

    @asynccontextmanager
    async def stream(
        self,
        command: Sequence[str],
        *,
        mounts: Sequence[HelperMount] = (),
        capabilities: Sequence[str] = (),
    ) -> AsyncGenerator["Running", None]:
        """Run a command whose output is read as it comes, however much it is and however long it
        takes. Who reads slowly slows it down; leaving the block ends it."""
        if self._streaming >= limits.VOLUME_EXPORTS_MAX:
            raise Overloaded("Too many volumes are exported at once.", hint="Try again later.")
        self._streaming += 1
        try:
            body = _body(self._scope, command, mounts, None, capabilities, None)
            async with self._started(body, self._stream_threads) as running:
                yield running
        finally:
            self._streaming -= 1

    @asynccontextmanager
    async def _started(
        self, body: dict[str, Any], threads: trio.CapacityLimiter
    ) -> AsyncGenerator["Running", None]:
        """A container that lives for as long as the block, at most."""
        name = f"p2pool-helper-{secrets.token_hex(8)}"
        self._live[name] = None
        opened: Opened | None = None
        try:
            try:
                await self._create(name, body)
                opened = await attach(self._engine, name)
                await self._engine.ask(lambda c: c.start(name))
            except APIError as error:
                raise start_error(error) from error
            running = Running(self._engine, name)
            async with aclosing(_stdout(follow(opened, threads), running.errors)) as stdout:
                running.stdout = stdout
                yield running
        finally:
            if opened is not None:
                opened[1]()
            with trio.CancelScope(shield=True), trio.move_on_after(limits.KILL_DEADLINE_MS / 1000):
                await self._remove(name)
            del self._live[name]

    async def _create(self, name: str, body: dict[str, Any]) -> None:
        for last in (False, True):
            wanted = body | {"Image": await self.ready()}
            try:
                await self._engine.ask(partial(_create, wanted, name))
                return
            except NoImage:
                if last:
                    raise
                self._image = None  # Somebody deleted it since.

    async def _remove(self, name: str) -> None:
        try:
            await self._engine.ask(lambda c: c.remove_container(name, v=True, force=True))
        except NoSuch:
            return
        except (APIError, P2poolError) as error:
            log.info("a helper container stays until the next sweep", name=name, reason=str(error))

    async def sweep(self, *, young: bool = False) -> None:
        """Remove helpers that nobody waits for. `young`: also those that another program of this
        node's owner may still be waiting for, such as `agent check`."""
        # Whatever else runs our image, such as the sandboxes of copies, inherits the image's label.
        filters = {"label": [*scope_filter(self._scope), f"{LABEL}={WORK}"]}
        try:
            rows = await self._engine.ask(
                lambda c: rows_of(c.containers(all=True, filters=filters))
            )
        except APIError as error:
            raise other_error(error) from error
        for row in rows:
            if COPY in part(row, "Labels"):  # Its image carries our label.
                continue
            name = name_in(row)
            age_ms = (time.time() - number(row.get("Created"))) * 1000
            if name not in self._live and (young or age_ms > limits.HELPER_LEFTOVER_MS):
                await self._remove(str(row["Id"]))


class Running:
    """A command that runs: read `stdout` to its end, then `finish` says how it ended."""

    def __init__(self, engine: DockerClient, name: str) -> None:
        """`name`: its container's."""
        self.name, self.errors = name, bytearray()
        self.stdout: AsyncGenerator[bytes, None]
        self._engine = engine

    async def finish(self) -> Ran:
        """How it ended, without the output that was read. RuntimeUnavailable: nobody knows."""
        try:
            ended = await self._engine.ask(lambda c: c.wait(self.name))
        except NoSuch as error:
            raise RuntimeUnavailable("A helper container was removed from outside.") from error
        except APIError as error:
            raise other_error(error) from error
        return Ran(int(ended["StatusCode"]), b"", bytes(self.errors))


def _create(body: dict[str, Any], name: str, client: Any) -> None:
    client.create_container_from_config(body, name)


def _inspect(image: str, client: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.inspect_image(image)
    return found


async def _stdout(
    batches: AsyncGenerator[list[tuple[int, bytes]], None], errors: bytearray
) -> AsyncGenerator[bytes, None]:
    """What a command writes to stdout; the beginning of stderr goes to `errors`."""
    async with aclosing(batches):
        async for pieces in batches:
            for number, piece in pieces:
                if number == STDOUT:
                    yield piece
                else:
                    errors += piece[: limits.HELPER_ERRORS_MAX_BYTES - len(errors)]


def _body(
    scope: RuntimeScope,
    command: Sequence[str],
    mounts: Sequence[HelperMount],
    network_of: str | None,
    capabilities: Sequence[str],
    stdin: bytes | None,
) -> dict[str, Any]:
    """The request for a container, without its image."""
    if stdin is not None:
        command = (*FED, str(len(stdin)), *command)
    return {
        "Entrypoint": [],
        "Cmd": list(command),
        "Env": [PATH, "LC_ALL=C"],
        "User": "0:0",
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": scope_labels(scope) | {LABEL: WORK},
        "Tty": False,
        "OpenStdin": stdin is not None,
        "HostConfig": {
            "Runtime": "runc",
            "NetworkMode": f"container:{network_of}" if network_of else "none",
            "IpcMode": "private",
            "Privileged": False,
            "CapDrop": ["ALL"],
            "CapAdd": list(capabilities),
            # Naming no profile leaves the engine's own seccomp and AppArmor profiles on.
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Memory": limits.HELPER_MEMORY_BYTES,
            "MemorySwap": limits.HELPER_MEMORY_BYTES,
            "PidsLimit": limits.HELPER_PIDS_MAX,
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
            # The engine would remove it before anybody could ask how it ended.
            "AutoRemove": False,
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": str(mount.source),
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                    "BindOptions": {
                        # An engine takes nothing else below its own directory.
                        "Propagation": "rslave" if mount.of_engine else "rprivate",
                        "NonRecursive": True,
                    },
                }
                for mount in mounts
            ],
        },
    }
