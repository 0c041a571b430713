"""Chooses where a development pool's tasks run, in a Docker Engine or as processes, and says why.

Intuition: a pool should come up on any machine, with containers wherever possible. An engine is
used only if it has just run a container of the tasks' image: one that answers may still lack an
image, room, or kernel support.

Invariants: nothing here waits longer than its deadline; the pool's end removes an image that it
brought; a user without containers learns why, and what to do about it.
"""

import errno
import grp
import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import docker
import trio
from docker.errors import DockerException
from requests.exceptions import RequestException

from p2pool.dev.engine.engine import import_busybox
from p2pool.dev.narrator import Say
from p2pool.drivers.containers.docker.engine.address import (
    LOCAL,
    EngineAddress,
    engine_address,
    rootless_socket,
)
from p2pool.drivers.containers.docker.probe import probe_container
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.errors import Misconfigured, P2poolError, RuntimeUnavailable
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.ports.runtime import RuntimeScope

WANTED = "busybox:latest"
OURS = "p2pool-dev/busybox"
ENGINE_DEADLINE_S = 15.0
CONTAINER_DEADLINE_MS = 30_000
PULL_DEADLINE_MS = 60_000
REMOVE_TIMEOUT_S = 10
ADDRESS_HINT = "write unix:///path/to/docker.sock or tcp://HOST:PORT, or unset it."
NOBODY = RuntimeScope(PoolRef(DEVELOPMENT_CHAIN_ID, Address(bytes(20)), 0), NodeId(bytes(20)))


@attrs.frozen
class Image:
    """An image's name, and whether to remove it because it was not here before.

    `engine`: the address of its engine, empty for the usual one. `helper`: the name of the agents'
    helper image, if it was not here before either.
    """

    name: str
    brought: bool = False
    engine: str = ""
    helper: str = ""


NO_IMAGE = Image("none")


async def choose(directory: Path, say: Say) -> tuple[str, Image]:
    """The kind of runtime, and the image of its tasks. Never fails, but says why tasks do not
    run in containers."""
    say("looking for a Docker Engine")
    try:
        engine = engine_address()
        await _look(engine)
        image = await _image(directory, say, engine)
    except P2poolError as error:
        say(f"tasks run as processes, not in containers. {error.message}")
        if error.hint:
            say(f"to have containers: {error.hint}")
        return "process", NO_IMAGE
    say(f"tasks run in containers of {image.name}")
    return "docker", image


async def _look(engine: EngineAddress) -> None:
    """Put a client's error into plain words: no engine answers there."""
    url, named = engine.url, f" ({engine.named})" if engine.named else ""
    what = engine.named or url
    try:
        parts = urlsplit(url)
        with trio.fail_after(ENGINE_DEADLINE_S):
            if url.startswith(LOCAL):
                path = Path("/" + url.removeprefix(LOCAL).lstrip("/"))
                try:
                    stream: trio.abc.Stream = await trio.open_unix_socket(path)
                except (OSError, ValueError) as error:
                    raise _no_engine(path, named, error) from error
            elif parts.scheme in ("tcp", "http", "https") and parts.hostname and parts.port:
                stream = await trio.open_tcp_stream(parts.hostname, parts.port)
            elif parts.scheme == "ssh":
                return
            else:
                raise Misconfigured(
                    f"{what} is not the address of an engine.",
                    hint=ADDRESS_HINT,
                )
            await stream.aclose()
    except trio.TooSlowError as error:
        raise _silent_engine() from error
    except OSError as error:
        raise RuntimeUnavailable(
            f"No Docker Engine answers{named}: {error.strerror or error}.",
            hint=_other_hint(),
        ) from error
    except ValueError as error:
        raise Misconfigured(
            f"{what} is not the address of an engine: {error}.", hint=ADDRESS_HINT
        ) from error


def _other_hint() -> str:
    if os.environ.get("DOCKER_HOST"):
        return "start it, or unset DOCKER_HOST to use this machine's."
    return "start it, or use this machine's: docker context use default."


def _silent_engine() -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"The Docker Engine does not answer within {ENGINE_DEADLINE_S:g} s.",
        hint="sudo systemctl restart docker",
    )


def _no_engine(path: Path, named: str, error: OSError | ValueError) -> RuntimeUnavailable:
    """The error for a socket that refuses the connection."""
    number = error.errno if isinstance(error, OSError) else 0
    rootless = rootless_socket()
    if number == errno.ENOENT and not named and rootless is not None:
        return RuntimeUnavailable(
            f"There is no Docker Engine at {path}; a rootless one listens at {rootless}.",
            hint=f"docker context use rootless, or: export DOCKER_HOST={LOCAL}{rootless}",
        )
    if number == errno.ENOENT and not named:
        return RuntimeUnavailable(
            "There is no Docker Engine on this machine.",
            hint="sudo apt-get install docker.io, or set DOCKER_HOST to one that runs elsewhere.",
        )
    if number == errno.ENOENT:
        return RuntimeUnavailable(
            f"There is no Docker Engine at {path}{named}.",
            hint=_other_hint(),
        )
    if number in (errno.EACCES, errno.EPERM):
        group = _group_of(path)
        return RuntimeUnavailable(
            f"This user may not talk to the Docker Engine at {path}{named}.",
            hint=f"sudo usermod -aG {group} $USER, then log in again.",
        )
    if number == errno.ECONNREFUSED:
        return RuntimeUnavailable(
            f"No Docker Engine answers at {path}{named}.", hint="sudo systemctl start docker"
        )
    why = getattr(error, "strerror", "") or str(error)
    return RuntimeUnavailable(
        f"The Docker Engine at {path}{named} does not answer: {why}.",
        hint="docker info says more.",
    )


def _group_of(path: Path) -> str:
    """The group whose members may talk to an engine."""
    with suppress(OSError, KeyError):
        name = grp.getgrgid(path.stat().st_gid).gr_name
        if name != "root":
            return name
    return "docker"


async def _image(directory: Path, say: Say, address: EngineAddress) -> Image:
    """An image with a shell that this engine has just run: its own busybox, else one made of this
    machine's, else the registry's."""
    # TCP needs the environment's or the context's keys too.
    engine = address.url if address.named and address.url.startswith(LOCAL) else ""
    runtime = DockerRuntime(NOBODY, directory / "engine", base_url=engine)
    found, helper = None, ""
    with trio.move_on_after(ENGINE_DEADLINE_S) as scope:
        helper = await _missing_helper(runtime)
        try:
            await runtime.probe()  # Which tries whether tasks can be isolated, with the helper.
        except P2poolError:
            brought = Image(WANTED, engine=engine, helper=helper)
            await trio.to_thread.run_sync(remove_image, brought)
            raise
        found = await runtime.images.find(WANTED)
    if scope.cancelled_caught:
        raise _silent_engine()
    if found is not None:
        await _try(runtime, WANTED, CONTAINER_DEADLINE_MS)
        return Image(WANTED, engine=engine, helper=helper)
    mark = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    ours = Image(f"{OURS}:{mark}", brought=True, engine=engine, helper=helper)
    wanted = Image(WANTED, brought=True, engine=engine, helper=helper)
    kept: Image | None = None
    try:
        reason = await _why_not_made(runtime, directory, ours)
        if not reason:
            kept = ours
            return kept
        say(f"fetching the image {WANTED}")
        try:
            await _try(runtime, WANTED, PULL_DEADLINE_MS)
        except Misconfigured as error:
            raise Misconfigured(
                f"The Docker Engine has no image to run. {reason} {error.message}",
                hint="sudo apt-get install busybox-static, or: docker pull busybox",
            ) from error
        kept = wanted
        return kept
    finally:
        with trio.CancelScope(shield=True):
            for image in (ours, wanted):
                if image != kept:
                    await trio.to_thread.run_sync(remove_image, image)


async def _missing_helper(runtime: DockerRuntime) -> str:
    """The helper image's name, unless the engine has it, or can have none."""
    try:
        return "" if await runtime.helper.loaded() else await runtime.helper.reference()
    except Misconfigured:
        return ""


async def _why_not_made(runtime: DockerRuntime, directory: Path, image: Image) -> str:
    """Make an image of this machine's busybox that runs; returns why not, if it cannot."""

    def make() -> None:
        import_busybox(runtime.client(), directory, image.name)

    try:
        await trio.to_thread.run_sync(make)
        await _try(runtime, image.name, CONTAINER_DEADLINE_MS)
    except Misconfigured as error:
        return error.message
    except (DockerException, RequestException, OSError, subprocess.SubprocessError) as error:
        return f"This machine's busybox gave none either: {str(error)[:160]}."
    return ""


async def _try(runtime: DockerRuntime, image: str, timeout_ms: int) -> None:
    """Run a container of an image. Misconfigured: it did not run, and why."""
    probed = await probe_container(runtime, image, (), timeout_ms)
    if not probed.ran or probed.exit_code:
        reason = (probed.reason or f"it ended with {probed.exit_code}").rstrip(".")
        raise Misconfigured(f"A container of {image} does not run: {reason}.")


def remove_image(image: Image) -> None:
    """Remove the images that the pool brought; an engine that is gone has none."""
    for name in (image.name if image.brought else "", image.helper):
        if name:
            _remove(name, image.engine)


def _remove(name: str, engine: str) -> None:
    with suppress(DockerException, RequestException, OSError, P2poolError):
        options = engine_address(engine).options
        client = docker.APIClient(version="auto", timeout=REMOVE_TIMEOUT_S, **options)
        try:
            # Not by force: another pool's tasks may use it.
            client.remove_image(name)
        finally:
            client.close()
