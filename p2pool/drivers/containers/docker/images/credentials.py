"""Registry logins: a task's own, or from the Docker configuration of the agent's user.

A task's own win, and are used for that task alone. The file that `docker login` writes is read
before each pull, so a new login takes effect at once. The credentials go to the
engine in a header and nowhere else: not into a specification, an error, a log line or the disk.
Source: docker's `config.json`: `auths`, `credsStore`, `credHelpers`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker import auth
from docker.errors import DockerException

from p2pool.drivers.containers.docker.images.reference import reference_of
from p2pool.drivers.redaction import register_secret
from p2pool.model.errors import RegistryDenied
from p2pool.model.tasks.secrets import RegistryAuth

CONFIG = "config.json"


def auth_header(image: str, directory: Path | None) -> bytes | None:
    """The header for pulling an image, or None without a login for its registry.

    Runs a credential helper if the file names one, so call it in a thread. RegistryDenied: the
    file is damaged or its helper failed.
    """
    found = login_in(image, directory or _default_directory())
    return bytes(auth.encode_header(dict(found))) if found else None


def login_in(image: str, directory: Path) -> Mapping[str, Any] | None:
    """The login for an image's registry in a Docker configuration, or None. As `auth_header`."""
    path = directory / CONFIG
    if not path.exists():
        return None
    registry = reference_of(image).registry
    try:
        json.loads(path.read_bytes())  # The SDK treats a damaged file as empty.
        config = auth.load_config(str(path), credstore_env=dict(os.environ))
        found: dict[str, Any] | None = config.resolve_authconfig(registry)
    except (DockerException, ValueError, KeyError, TypeError, AttributeError, OSError):
        # A helper's output can hold a secret: it is not passed on.
        raise RegistryDenied(
            f"The login for the registry {registry} could not be read from {path}.",
            hint=f"Log in again as the agent's user: docker login {registry}.",
        ) from None
    return found


def task_header(image: str, given: RegistryAuth) -> bytes:
    """The header for pulling an image with its task's own credentials. They go to no registry but
    the one in its name."""
    register_secret(given.password)
    return bytes(
        auth.encode_header(
            {
                "username": given.username,
                "password": given.password,
                "serveraddress": reference_of(image).registry,
            }
        )
    )


def _default_directory() -> Path:
    given = os.environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path.home() / ".docker"
