"""Which Docker Engine is meant, as the docker command finds it: an address, a variable, a context.

Intuition: whoever has a rootless engine, or Docker Desktop, chose it by `docker context use`, which
sets no variable. So the contexts are read as docker reads them: DOCKER_HOST, else the context that
DOCKER_CONTEXT names, else the current one of its configuration, else the usual socket.

Invariants: nothing is asked of an engine here; a file of the user's that cannot be read is named in
the error, never passed over in favour of another engine.
Source: docker context (docs.docker.com/engine/manage-resources/contexts).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import docker

from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.model.errors import RuntimeUnavailable

LOCAL = "unix://"
DEFAULT_URL = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"
CONFIG_FILE = "config.json"
CONTEXT_HINT = (
    "See them: docker context ls. Or name the engine: DOCKER_HOST, [runtime] docker_host."
)


@attrs.frozen
class EngineAddress:
    """An engine's address, and what named it, for people. `options`: for the SDK's client."""

    url: str
    named: str
    options: Mapping[str, Any]


def engine_address(given: str = "") -> EngineAddress:
    """The engine at `given`, else the one that docker's environment and configuration name.

    RuntimeUnavailable: a context that there is not, or cannot be read; an address that is none.
    """
    if given:
        _check_address(given, "[runtime] docker_host")
        return EngineAddress(given, "[runtime] docker_host", {"base_url": given})
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        _check_address(host, "DOCKER_HOST")
        return EngineAddress(host, f"DOCKER_HOST={host}", docker.utils.kwargs_from_env())
    name, chosen_by = _context()
    if name in ("", DEFAULT_CONTEXT):
        return EngineAddress(DEFAULT_URL, "", docker.utils.kwargs_from_env())
    return _of_context(name, chosen_by)


def _check_address(url: str, named: str) -> None:
    """RuntimeUnavailable if the SDK could make nothing of it: it raises errors of many kinds."""
    try:
        docker.utils.parse_host(url)
    except (ValueError, docker.errors.DockerException) as error:
        raise RuntimeUnavailable(
            f"{named}={safe_text(url)[:80]} is not the address of an engine.",
            hint="Write unix:///path/to/docker.sock, tcp://HOST:PORT or ssh://USER@HOST.",
        ) from error


def rootless_socket() -> Path | None:
    """The socket of this user's rootless engine, if there is one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    path = Path(runtime, "docker.sock")
    try:
        return path if path.is_socket() else None
    except OSError:
        return None


def _directory() -> Path:
    given = os.environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path(os.environ.get("HOME") or "/", ".docker")


def _context() -> tuple[str, str]:
    """The name of the context in use, and what says so."""
    named = os.environ.get("DOCKER_CONTEXT", "")
    if named:
        return named, "DOCKER_CONTEXT"
    path = _directory() / CONFIG_FILE
    config = _read(path)
    current = config.get("currentContext", "") if config is not None else ""
    if not isinstance(current, str):
        raise RuntimeUnavailable(f"{path}: currentContext is no text.", hint=CONTEXT_HINT)
    return current, f"currentContext of {path}"


def _of_context(name: str, chosen_by: str) -> EngineAddress:
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    path = _directory() / "contexts" / "meta" / digest / "meta.json"
    meta = _read(path)
    shown = name[:64] if name.isprintable() else ascii(name)[:64]
    if meta is None:
        raise RuntimeUnavailable(
            f"There is no Docker context {shown!r}, which {chosen_by} names.", hint=CONTEXT_HINT
        )
    endpoints = meta.get("Endpoints")
    engine = endpoints.get("docker") if isinstance(endpoints, dict) else None
    url = engine.get("Host") if isinstance(engine, dict) else None
    if not isinstance(engine, dict) or not isinstance(url, str) or not url:
        raise RuntimeUnavailable(
            f"The Docker context {shown!r} names no engine: {path}.", hint=CONTEXT_HINT
        )
    _check_address(url, f"the Docker context {shown!r}")
    options: dict[str, Any] = {"base_url": url}
    keys = _directory() / "contexts" / "tls" / digest / "docker"
    if not url.startswith(LOCAL) and keys.is_dir():
        options["tls"] = _tls(keys, skip=engine.get("SkipTLSVerify") is True)
    return EngineAddress(url, f"the context {shown!r}, which {chosen_by} names", options)


def _tls(keys: Path, *, skip: bool) -> Any:
    """A context's certificates, as the SDK takes them."""
    ca, cert, key = (keys / f"{name}.pem" for name in ("ca", "cert", "key"))
    both = (str(cert), str(key)) if cert.is_file() and key.is_file() else None
    try:
        return docker.tls.TLSConfig(
            client_cert=both, ca_cert=str(ca) if ca.is_file() else None, verify=not skip
        )
    except docker.errors.TLSParameterError as error:
        raise RuntimeUnavailable(
            f"The certificates in {keys} cannot be used.", hint=CONTEXT_HINT
        ) from error


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if there is no such file."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.CONFIG_MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= limits.CONFIG_MAX_BYTES else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RuntimeUnavailable(
            f"{path}, which names the Docker Engine, cannot be read: {error.strerror}.",
            hint=CONTEXT_HINT,
        ) from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RuntimeUnavailable(
            f"{path}, which names the Docker Engine, is not a JSON object.", hint=CONTEXT_HINT
        )
    return found
