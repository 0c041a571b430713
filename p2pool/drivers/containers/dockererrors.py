"""What the Docker Engine says when it refuses, as errors of the tree: whose fault, worth a retry?

The engine answers most failures with status 500 and a sentence; the sentences below are those of
engines 20.10 to 28. What is not recognised is taken for the engine's failure and tried again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from p2pool.model.errors import (
    CannotStart,
    DiskFull,
    ImageNotFound,
    NoGpuSupport,
    NotFound,
    P2poolError,
    RegistryUnavailable,
    RuntimeUnavailable,
)

START_HINT = "Is it running? systemctl start docker; is this user in the group docker?"

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
NO_IMAGE = (
    "manifest unknown", "not found", "pull access denied", "repository does not exist",
    "No such image", "does not exist or may require",
)  # fmt: skip


@contextmanager
def engine_errors() -> Iterator[None]:
    """Failures to talk to the engine at all become `RuntimeUnavailable`; its answers pass."""
    try:
        yield
    except APIError:
        raise
    except (DockerException, RequestException, HTTPError, OSError) as error:
        raise RuntimeUnavailable(
            f"No Docker Engine answers: {_short(error)}.", hint=START_HINT
        ) from error


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
        return ImageNotFound(f"The image is not here: {text}.")
    if any(part in text for part in SPEC_FAULTS) or error.status_code in (400, 404):
        return CannotStart(f"The container cannot be started: {text}.")
    return RuntimeUnavailable(f"The Docker Engine failed: {text}.")


def pull_error(image: str, text: str) -> P2poolError:
    """Why an image could not be fetched."""
    if "no space left" in text:
        return DiskFull(f"No space is left for the image {image}.")
    if any(part in text for part in NO_IMAGE):
        return ImageNotFound(
            f"No registry has the image {image}: {text}.",
            hint="Check its name and tag, and that it may be read without a login.",
        )
    return RegistryUnavailable(f"The image {image} could not be fetched: {text}.")


def other_error(error: APIError) -> P2poolError:
    """Why anything else failed."""
    if isinstance(error, NoSuch):
        return NotFound(f"There is no such container: {explanation(error)}.")
    return RuntimeUnavailable(f"The Docker Engine failed: {explanation(error)}.")


def explanation(error: APIError) -> str:
    """The engine's own sentence."""
    return str(error.explanation or error).strip().rstrip(".")[:500]


def _short(error: BaseException) -> str:
    return str(error).split("\n")[0][:200]
