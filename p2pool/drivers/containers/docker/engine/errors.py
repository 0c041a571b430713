"""Maps the Docker Engine's refusals to errors of the tree: whose fault, and worth a retry?

The engine reports most failures as status 500 and a sentence; the sentences below are those of
engines 20.10 to 28. A refusal (status 4xx) never changes: unless it is known to be the task's fault
it counts as this node's. Any other unknown sentence counts as the engine's failure and is retried.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException, StreamParseError
from docker.errors import ImageNotFound as NoImage
from docker.errors import NotFound as NoSuch
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from p2pool.codec.text.clip import clipped
from p2pool.drivers.containers.docker.engine.address import LOCAL, rootless_socket
from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.model.errors import (
    BadSpec,
    CannotStart,
    DiskFull,
    HostPortTaken,
    ImageNotFound,
    NodeCannotStart,
    NodeExhausted,
    NoGpuSupport,
    NotFound,
    P2poolError,
    RegistryDenied,
    RegistryUnavailable,
    RuntimeUnavailable,
    WrongPlatform,
)

_WRAPPED_MAX = 8
RETRIED = (408, 425, 429)
"""Refusals that ask to come again."""
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
NO_GPUS = (
    "could not select device driver",
    "nvidia-container-cli",
    "nvidia-container-runtime",
    "CDI device",
    "unknown or invalid runtime name: nvidia",
)
NO_SPACE = ("no space left", "disk quota exceeded")
PORT_TAKEN = (
    "port is already allocated",
    "Ports are not available",
    "failed to bind host port",
    "failed to bind port",
    "listen tcp",
    "listen udp",
)
EXHAUSTED = (
    "non-overlapping IPv4 address pool",
    "address pools have been fully subnetted",
    "no available IPv4 addresses",
    "Address already in use",
    "cannot allocate memory",
)
"""What this machine has none of just now."""
TASK_FAULTS = (
    "executable file not found",
    'exec: "',
    "exec: no such file",
    "chdir to cwd",
    "unable to find user",
    "unable to find group",
    "no matching entries in passwd",
    "container init was OOM-killed",
    "Minimum memory limit",
    "no command specified",
    "No command specified",
    "invalid reference format",
)
"""What the image or the specification brings along: it is so on every node."""
NOT_A_NAME = ("invalid reference format", "must be lowercase")
WRONG_PLATFORM = (
    "no matching manifest for",
    "does not match the specified platform",
    "cannot be used on this platform",
    "no match for platform",
)
NO_LOGIN = (
    "no basic auth credentials",
    "error getting credentials",
    "unauthorized",
    "authentication required",
    "401 Unauthorized",
    "pull access denied",
    "denied: requested access",
    "403 Forbidden",
    "incorrect username",
)
NO_TRUST = ("x509:", "server gave HTTP response to HTTPS client", "tls: ")
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
NODE_CANNOT_UNPACK = (
    "failed to register layer",
    "lchown",
    "operation not permitted",
    "no longer supported",
    "unsupported media type",
)
WRAPPERS = re.compile(
    r"(?:(?:Error response from daemon|failed to create (?:task for container|shim task|shim)"
    r"|failed to start (?:container|shim)|OCI runtime create failed|runc create failed"
    r"|(?:container|process)_linux\.go:\d+|unable to start container process"
    r"|error during container init|starting container process caused|container init caused"
    r"|failed to set up container networking"
    r"|driver failed programming external connectivity on endpoint [^:]*): ?)+"
)
"""What engines and runtimes say before they come to the cause."""


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
    """Why a container could not be created or started, the cause first."""
    text, why = explanation(error), cause(error)
    if any(part in text for part in NO_GPUS):
        return NoGpuSupport(
            f"The engine cannot hand out GPUs: {why}.",
            hint="Install the NVIDIA Container Toolkit, then restart docker.",
        )
    if any(part in text for part in NO_SPACE):
        return DiskFull(f"No space is left for the container: {why}.")
    if isinstance(error, NoImage) or "No such image" in text:
        return RuntimeUnavailable(f"The image is not on this node any longer: {why}.")
    if "exec format error" in text:
        return WrongPlatform(f"The image is for another processor than this node's: {why}.")
    if any(part in text for part in ENGINE_FAULTS):
        return RuntimeUnavailable(f"The engine failed: {why}.")
    if any(part in text for part in PORT_TAKEN):
        return HostPortTaken(f"A published port is in use on this node: {why}.")
    if any(part in text for part in EXHAUSTED):
        return NodeExhausted(f"This node has no room for it: {why}.")
    if any(part in text for part in TASK_FAULTS):
        return CannotStart(f"The container cannot be started: {why}.")
    final = error.status_code is not None and 400 <= error.status_code < 500
    if final or "OCI runtime" in text or "runc" in text or "mount" in text:
        return NodeCannotStart(f"This node cannot start it: {why}.")
    return RuntimeUnavailable(f"The engine failed: {why}.")


def pull_error(image: str, text: str, status: int | None = None) -> P2poolError:
    """Why an image could not be pulled. `status`: that of the engine's answer, if it refused."""
    text = safe_text(text)
    if any(part in text for part in NOT_A_NAME):
        return BadSpec(f"{image} is not the name of an image: {text}.")
    if any(part in text for part in NO_SPACE):
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
    if any(part in text for part in NO_TRUST):
        return RegistryDenied(
            f"This node's engine does not trust the registry of {image}: {text}.",
            hint="Its owner adds the registry's certificate to the engine.",
        )
    if any(part in text for part in NODE_CANNOT_UNPACK):
        return NodeCannotStart(f"This node's engine cannot unpack the image {image}: {text}.")
    if any(part in text for part in AWAY):
        return RegistryUnavailable(
            f"The registry of the image {image} does not answer: {text}.",
            hint="The agent will try again.",
        )
    if any(part in text for part in NO_IMAGE):
        return ImageNotFound(
            f"The registry does not have the image {image}: {text}.",
            hint="Check its name and tag.",
        )
    if status is not None and 400 <= status < 500 and status not in RETRIED:
        return NodeCannotStart(f"This node's engine does not pull the image {image}: {text}.")
    return RegistryUnavailable(f"The image {image} could not be pulled: {text}.")


def other_error(error: APIError) -> P2poolError:
    """Why anything else failed."""
    if isinstance(error, NoSuch):
        return NotFound(f"There is no such container: {explanation(error)}.")
    return RuntimeUnavailable(f"The Docker Engine failed: {explanation(error)}.")


def explanation(error: APIError) -> str:
    """The engine's own sentence."""
    text = safe_text(str(error.explanation or error)).strip().rstrip(".")
    return clipped(text, limits.ENGINE_TEXT_MAX_BYTES)


def cause(error: APIError) -> str:
    """What the engine's sentence comes to, without what it says before that."""
    text = explanation(error).removesuffix(": unknown")
    for _ in range(_WRAPPED_MAX):
        bare = WRAPPERS.sub("", text, count=1) if WRAPPERS.match(text) else text
        if bare == text or not bare:
            break
        text = bare
    return text


def _short(error: BaseException) -> str:
    return clipped(safe_text(str(error).split("\n")[0]), limits.REFUSAL_TEXT_MAX_BYTES)
