"""The image of the demonstration: busybox, however it can be had; removed if we brought it."""

from contextlib import suppress
from pathlib import Path

import attrs
import docker
from docker.errors import APIError, DockerException

from p2pool.dev.engine import import_busybox
from p2pool.model.errors import Misconfigured

WANTED = "busybox:latest"
OURS = "p2pool-demo/busybox:1"


@attrs.frozen
class Image:
    """An image's name, and whether it is to be removed because it was not here before."""

    name: str
    brought: bool = False


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
        return Image(WANTED, brought=True)
    return Image(OURS, brought=True)


def remove_image(image: Image) -> None:
    """Take an image away that was brought; an engine that is gone has none."""
    if image.brought:
        with suppress(APIError, DockerException):
            docker.from_env().api.remove_image(image.name, force=True)
