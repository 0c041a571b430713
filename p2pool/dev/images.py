"""The image of the demonstration: busybox, however it can be had; removed if we brought it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs
import docker
from docker.errors import APIError, DockerException

from p2pool.dev.engine import import_busybox
from p2pool.model.errors import Misconfigured

WANTED = "busybox:latest"
OURS = "p2pool-demo/busybox:1"


def _nothing() -> None:
    """Nothing is to be removed."""


@attrs.frozen
class Image:
    """An image's name, and what removes it if it was not here before."""

    name: str
    remove: Callable[[], None] = _nothing


def demo_image(runtime: str, directory: Path) -> Image:
    """An image with a shell. Processes need none; an engine uses its own busybox, else one made
    of this machine's, else the registry's (fetched when the task starts)."""
    if runtime == "process":
        return Image("none")
    client = docker.from_env().api
    with suppress(DockerException):
        client.inspect_image(WANTED)
        return Image(WANTED)
    try:
        import_busybox(client, directory, OURS)
    except Misconfigured:
        return Image(WANTED, lambda: _remove(WANTED))
    return Image(OURS, lambda: _remove(OURS))


def _remove(name: str) -> None:
    with suppress(APIError, DockerException):
        docker.from_env().api.remove_image(name, force=True)
