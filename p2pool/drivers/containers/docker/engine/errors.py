"""Maps the Docker Engine's refusals to errors of the tree: whose fault, and worth a retry?

The engine reports most failures as status 500 and a sentence; the sentences below are those of
engines 20.10 to 28. An unknown sentence counts as the engine's failure and is retried.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException, StreamParseError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from p2pool.drivers.containers.docker.engine.address import LOCAL, rootless_socket
from p2pool.drivers.redaction import safe_text
from p2pool.model.errors import (
    CannotStart,
    DiskFull,
    ImageNotFound,
    NoGpuSupport,
    NotFound,
    P2poolError,
    RegistryDenied,
    RegistryUnavailable,
    RuntimeUnavailable,
    WrongPlatform,
)

START_HINT = "Is it running? systemctl start docker; is this user in the group docker?"

ENGINE_FAULTS = (
    "device or resource busy",
    "transport is closing",
    "containerd.sock",
    "context canceled",
    "deadline exceeded",
    "resource temporarily unavailable",
    "too many open files",
)
"""Failures that may pass by themselves, even when worded like a refused specification."""
SPEC_FAULTS = (
    "OCI runtime create failed",
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "port is already allocated",
    "address already in use",
    "invalid mount",
    "bind source path does not exist",
    "Minimum memory limit",
    "is invalid",
    "invalid",
)
WRONG_PLATFORM = (
    "no matching manifest for",
    "does not match the specified platform",
    "cannot be used on this platform",
    "no match for platform",
)
NO_LOGIN = (
    "no basic auth credentials",
    "unauthorized",
    "authentication required",
    "401 Unauthorized",
    "pull access denied",
    "denied: requested access",
    "403 Forbidden",
    "incorrect username",
)
NO_IMAGE = ("manifest unknown", "name unknown", "not found", "No such image", "NAME_UNKNOWN")
AWAY = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "deadline exceeded",
    "timeout",
    "network is unreachable",
    "no route to host",
    "connection reset",
    "EOF",
)


@contextmanager
def engine_errors() -> Iterator[None]:
    """A failure to talk to the engine at all becomes `RuntimeUnavailable`; its answers pass."""
    try:
        yield
    except APIError:
        raise
    # A stream that breaks off inside an event raises an error outside the SDK's own tree.
    except (DockerException, StreamParseError, RequestException, HTTPError, OSError) as error:
        raise RuntimeUnavailable(
            f"No Docker Engine answers: {_short(error)}.", hint=start_hint()
        ) from error


def start_hint() -> str:
    """What to do where no engine answers: this user may have one that was not named."""
    rootless = rootless_socket()
    if rootless is None:
        return START_HINT
    return f'A rootless engine listens here: set [runtime] docker_host = "{LOCAL}{rootless}".'


def start_error(error: APIError) -> P2poolError:
    """Why a container could not be created or started."""
    text = explanation(error)
    if "could not select device driver" in text or "nvidia-container-cli" in text:
        return NoGpuSupport(
            f"The Docker Engine cannot hand out GPUs: {text}.",
            hint="Install the NVIDIA Container Toolkit, then restart docker.",
        )
    if "no space left" in text:
        return DiskFull(f"No space is left for the container: {text}.")
    if isinstance(error, NoImage) or "No such image" in text:
        return ImageNotFound(f"The image is not on this node: {text}.")
    if "exec format error" in text:
        return WrongPlatform(f"The image is for another processor than this node's: {text}.")
    if any(part in text for part in ENGINE_FAULTS):
        return RuntimeUnavailable(f"The Docker Engine failed: {text}.")
    if any(part in text for part in SPEC_FAULTS) or error.status_code in (400, 404):
        return CannotStart(f"The container cannot be started: {text}.")
    return RuntimeUnavailable(f"The Docker Engine failed: {text}.")


def pull_error(image: str, text: str) -> P2poolError:
    """Why an image could not be pulled."""
    text = safe_text(text)
    if "no space left" in text:
        return DiskFull(f"No space is left for the image {image}.")
    if any(part in text for part in WRONG_PLATFORM):
        return WrongPlatform(
            f"The image {image} is not made for this node's platform: {text}.",
            hint="Build it for this platform too, or constrain the task to another architecture.",
        )
    # Docker Hub answers for a missing repository as for one that needs a login.
    if any(part in text for part in NO_LOGIN):
        return RegistryDenied(
            f"The registry does not let this node read the image {image}: {text}.",
            hint="Check its name; if it is private, the node's owner logs in as the agent's user:"
            " docker login.",
        )
    if any(part in text for part in NO_IMAGE):
        return ImageNotFound(
            f"The registry does not have the image {image}: {text}.",
            hint="Check its name and tag.",
        )
    if any(part in text for part in AWAY):
        return RegistryUnavailable(
            f"The registry of the image {image} does not answer: {text}.",
            hint="The agent will try again.",
        )
    return RegistryUnavailable(f"The image {image} could not be pulled: {text}.")


def other_error(error: APIError) -> P2poolError:
    """Why anything else failed."""
    if isinstance(error, NoSuch):
        return NotFound(f"There is no such container: {explanation(error)}.")
    return RuntimeUnavailable(f"The Docker Engine failed: {explanation(error)}.")


def explanation(error: APIError) -> str:
    """The engine's own sentence."""
    return safe_text(str(error.explanation or error)).strip().rstrip(".")[:500]


def _short(error: BaseException) -> str:
    return safe_text(str(error).split("\n")[0])[:200]
