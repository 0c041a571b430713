"""What the flags of `p2pool task run` hold that is more than a number: variables, mounts, ports.

Each is written as docker takes it. What docker knows and the pool does not have is refused with the
reason, never left out.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from p2pool.cli.shared import types
from p2pool.drivers.input_files import read_input
from p2pool.model import limits

_MOUNT_WORDS = {
    "kind": ("type", "kind"),
    "target": ("target", "dst", "destination"),
    "source": ("source", "src"),
    "size_bytes": ("size",),
    "keep_s": ("keep",),
    "read_only": ("readonly", "ro"),
}
_MOUNT_KEYS = {word: key for key, words in _MOUNT_WORDS.items() for word in words}
_TRUTHS = {"": True, "true": True, "1": True, "false": False, "0": False}

_PORT = re.compile(
    r"(?:(?P<ip>\[.*\]|[0-9]+(?:\.[0-9]+){3}):)?(?:(?P<host>[0-9]{1,5}(?:-[0-9]{1,5})?)?(?P<colon>:))?"
    r"(?P<inside>[0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(?P<protocol>[a-z]+))?",
    re.IGNORECASE,
)


# --- variables ----------------------------------------------------------------------------------


def environment(files: tuple[Path, ...], given: tuple[str, ...]) -> dict[str, str]:
    """The variables of files and flags; of one named twice, the last, and a flag's before a
    file's."""
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(_lines(path), 1):
            text = line.lstrip()
            if text and not text.startswith("#"):
                found |= _variable(text, f"--env-file {path}, line {number}")
    for text in given:
        found |= _variable(text, "--env")
    return found


def _lines(path: Path) -> list[str]:
    try:
        data = read_input(path, limits.SPEC_JSON_MAX_BYTES, "file of variables")
        if len(data) > limits.SPEC_JSON_MAX_BYTES:
            raise click.UsageError(f"--env-file {path} is too long for a task specification.")
        return data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise click.UsageError(f"--env-file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--env-file {path} is not text in UTF-8.") from error


def check_text(where: str, given: tuple[str, ...]) -> None:
    """`UsageError` if one of these is no text: what was typed may be any bytes."""
    for text in given:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError(f"{where}: {ascii(text)[:80]} is not text in UTF-8.") from error


def _variable(text: str, where: str) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` with its value in this command's own environment."""
    name, equals, value = text.partition("=")
    if not name:
        raise click.UsageError(f"{where}: {text!r} has no name: write it as NAME=VALUE.")
    if not equals:
        if name not in os.environ:
            raise click.UsageError(f"{where}: {name} is not set here: write it as {name}=VALUE.")
        value = os.environ[name]
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError(f"{where}: the value of {name} is not text in UTF-8.") from error
    return {name: value}


# --- mounts -------------------------------------------------------------------------------------


def mount(text: str) -> dict[str, Any]:
    """A mount written as docker's: `type=task,source=data,target=/data,size=1GiB,keep=7d`."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        key = _MOUNT_KEYS.get(name)
        if key is None or (not equals and key != "read_only"):
            known = ", ".join(("type", "target", "source", "readonly", "size", "keep"))
            raise click.UsageError(f"--mount {text}: {part!r} is not one of {known}.")
        if key in found:
            raise click.UsageError(f"--mount {text}: {name} is given twice.")
        try:
            found[key] = _mount_value(key, value, in_memory=_in_memory(text))
        except click.BadParameter as error:
            raise click.UsageError(f"--mount {text}: {error.message}") from error
    return found


def _in_memory(text: str) -> bool:
    return any(part in ("type=tmpfs", "kind=tmpfs") for part in text.split(","))


def _mount_value(key: str, value: str, *, in_memory: bool) -> Any:
    match key:
        case "read_only":
            if value.lower() not in _TRUTHS:
                raise click.BadParameter(f"readonly is true or false, not {value!r}.")
            return _TRUTHS[value.lower()]
        case "size_bytes":
            least = limits.MEMORY_FILES_MIN_BYTES if in_memory else limits.SIZE_MIN_BYTES
            return types.Size(least).convert(value, None, None)
        case "keep_s":
            return types.Span(most=limits.VOLUME_KEEP_MAX_S).convert(value, None, None)
        case _:
            return value


def volume(text: str) -> dict[str, Any]:
    """A mount in docker's short form: `NAME:/data`, `NAME:/data:ro`, `/srv/set:/set:ro`."""
    source, *rest = text.split(":")
    options = rest[1].split(",") if len(rest) == 2 else []
    if len(rest) not in (1, 2) or not source or any(one not in ("ro", "rw") for one in options):
        raise click.UsageError(
            f"--volume {text}: write it as NAME:DIR[:ro], or as /HOST/DIR:DIR:ro; other kinds with"
            " --mount."
        )
    if source.startswith((".", "~")):
        raise click.UsageError(
            f"--volume {text}: the directory lies on whichever node runs the copy: write its whole"
            " path, beginning with a slash."
        )
    bound, read_only = source.startswith("/"), "ro" in options
    if bound and not read_only:
        raise click.UsageError(
            f"--volume {text}: directories of the host are read-only: {source}:{rest[0]}:ro."
        )
    return {
        "kind": "bind" if bound else "pool",
        "source": source,
        "target": rest[0],
        "read_only": read_only,
    }


# --- ports --------------------------------------------------------------------------------------


def ports(text: str) -> Iterator[dict[str, Any]]:
    """Ports: `8080:80/tcp`, a range `8000-8003:80-83`, or `80`, for which the engine chooses the
    host's port."""
    found = _PORT.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--publish {text}: write it as [HOST:]PORT[/udp].")
    if found["ip"]:
        raise click.UsageError(
            f"--publish {text}: a port is published on every address of its node: leave out"
            f" {found['ip']}."
        )
    protocol = (found["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp"):
        raise click.UsageError(f"--publish {text}: {protocol!r} is not tcp or udp.")
    inside = _range(text, found["inside"])
    host = _range(text, found["host"]) if found["host"] else None
    if host is not None and len(host) != len(inside):
        raise click.UsageError(f"--publish {text}: the ranges differ in length.")
    for number, container in enumerate(inside):
        one: dict[str, Any] = {"container": container}
        if host is not None:
            one["host"] = host[number]
        if found["protocol"]:
            one["protocol"] = protocol
        yield one


def _range(text: str, ports: str) -> range:
    first, _, last = ports.partition("-")
    least, most = int(first), int(last or first)
    if not least <= most <= limits.PORT_MAX or most - least >= limits.PORTS_MAX:
        raise click.UsageError(
            f"--publish {text}: {ports} is not a port, or a range of {limits.PORTS_MAX} at most."
        )
    return range(least, most + 1)
