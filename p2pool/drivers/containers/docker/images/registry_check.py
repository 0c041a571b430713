"""Asks a registry whether somebody may read an image, whatever of it the engine has.

Intuition: an engine that has an image by its digest says that a pull is done, and asks nobody
(Docker 28, its own image store). So the question goes through another call, which always fetches
the manifest with the credentials that are given.

Source: Docker Engine API, "Get image information from the registry".
"""

import trio
from docker.errors import APIError

from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import engine_errors, explanation, pull_error
from p2pool.drivers.containers.docker.engine.socket import answered_within
from p2pool.model import limits


async def check_readable(engine: DockerClient, image: str, header: bytes | None) -> None:
    """Whether the registry gives an image for the credentials in a header, or for none. Errors of
    `pull_error`: it does not."""

    def ask() -> None:
        # No header at all would make the SDK's own login stand in.
        headers = {"X-Registry-Auth": header} if header else {}
        with engine_errors(), answered_within(limits.REGISTRY_ANSWER_MS / 1000):
            api = engine.client()
            url = api._url("/distribution/{0}/json", image)
            api._raise_for_status(api._get(url, headers=headers))

    try:
        # A registry that is slow keeps pulls waiting, and nothing else.
        await trio.to_thread.run_sync(ask, limiter=engine.pulls, abandon_on_cancel=True)
    except APIError as error:
        raise pull_error(image, explanation(error), error.status_code) from error
