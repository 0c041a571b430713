"""The flags of `p2pool task run`, and the specification that they make with a file.

Flags have docker's names where docker has them; the signed specification (`codec.spec`) holds whole
bytes, thousandths of a processor, and seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from p2pool.cli.shared import types
from p2pool.cli.shared.output import size
from p2pool.cli.task import spec_file
from p2pool.model.tasks.spec import MountKind, PullPolicy, RestartMode, TaskSpec

F = TypeVar("F", bound=Callable[..., Any])

_RESTARTS = [mode.value for mode in RestartMode]
_PULLS = [policy.value for policy in PullPolicy]
_KINDS = ", ".join(kind.value for kind in MountKind)
_TASK = TaskSpec(name="", image="")
_RESOURCES = _TASK.resources
"""Defaults, for the help texts."""

OPTIONS = (
    click.option(
        "-f",
        "--file",
        "path",
        type=click.Path(path_type=Path),
        help="A specification in JSON, TOML or YAML; - reads standard input.",
    ),
    click.option("--image", help="Container image."),
    click.option("--pull", type=click.Choice(_PULLS), help="When to fetch the image."),
    click.option("--name", help="Name of the task. Default: the image's name."),
    click.option("--entrypoint", help="Replaces the image's entrypoint."),
    click.option("--replicas", type=int, help=f"Number of copies. Default: {_TASK.replicas}."),
    click.option("--gpus", type=int, help="GPUs of each copy. Default: none."),
    click.option("--gpu-model", help="Part of the GPUs' model name, such as h100."),
    click.option("--gpu-memory", type=types.Size(), help="Minimum memory of each GPU."),
    click.option(
        "--cpus",
        type=types.Cpus(),
        help=f"Processors of each copy, such as 0.5. Default: {_RESOURCES.cpu_milli / 1000:g}.",
    ),
    click.option(
        "--memory",
        type=types.Size(),
        help=f"Memory of each copy, such as 2GiB. Default: {size(_RESOURCES.memory_bytes)}.",
    ),
    click.option("--swap", type=types.Size(), help="Swap on top of the memory. Default: none."),
    click.option(
        "--shm", type=types.Size(), help=f"Size of /dev/shm. Default: {size(_RESOURCES.shm_bytes)}."
    ),
    click.option(
        "--disk", type=types.Size(), help="Most that a copy may write outside its mounts."
    ),
    click.option(
        "--pids",
        type=int,
        help=f"Most processes and threads of each copy. Default: {_RESOURCES.pids}.",
    ),
    click.option(
        "--read-only", is_flag=True, default=None, help="Let it write only to its mounts."
    ),
    click.option(
        "-e",
        "--env",
        multiple=True,
        metavar="NAME=VALUE",
        help="Environment variable, public in the pool. Repeatable.",
    ),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="NAME=VALUE",
        help="Label, for `task ls --label`. Repeatable.",
    ),
    click.option(
        "--mount",
        "mounts",
        multiple=True,
        metavar="type=T,target=DIR,...",
        help=f"T: {_KINDS}. More keys: source=NAME (for bind a directory of the host), readonly,"
        " size=SIZE, keep=TIME. Repeatable.",
    ),
    click.option(
        "-p",
        "--publish",
        "ports",
        multiple=True,
        metavar="[HOST:]PORT[/udp]",
        help="Port to publish. Repeatable.",
    ),
    click.option("--restart", type=click.Choice(_RESTARTS), help="When to start a copy again."),
    click.option(
        "--restart-attempts", type=int, help=f"Most restarts. Default: {_TASK.restart.attempts}."
    ),
    click.option(
        "--restart-unhealthy",
        is_flag=True,
        default=None,
        help="End a copy whose image's health check fails, as a failure.",
    ),
    click.option("--deadline", type=types.Span(), help="Stop it after this time, such as 2h."),
    click.option(
        "--stop-grace", type=types.Span(), help="Time to end after SIGTERM, before SIGKILL."
    ),
    click.option(
        "--priority", type=int, help=f"0 to 100, the highest first. Default: {_TASK.priority}."
    ),
)


def run_options(command: F) -> F:
    """All flags that say what to run."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def specification(given: dict[str, Any]) -> dict[str, Any]:
    """The mapping that becomes the specification, from flags and a file."""
    base = spec_file.from_file(given["path"]) if given["path"] else {}
    image = given["image"] or base.get("image")
    if not image:
        raise click.UsageError("Say what to run: --image IMAGE, or -f FILE.")
    flags = {
        "image": given["image"],
        "name": given["name"] or (None if "name" in base else spec_file.default_name(str(image))),
        "command": given["command"],
        "entrypoint": (given["entrypoint"],) if given["entrypoint"] else (),
        "env": spec_file.named_values("--env", given["env"]),
        "labels": spec_file.named_values("--label", given["labels"]),
        "replicas": given["replicas"],
        "priority": given["priority"],
        "pull": given["pull"],
        "read_only": given["read_only"],
        "mounts": tuple(_mount(text) for text in given["mounts"]),
        "ports": tuple(_port(text) for text in given["ports"]),
        "deadline_s": given["deadline"],
        "stop_grace_s": given["stop_grace"],
        "restart": {
            "mode": given["restart"],
            "attempts": given["restart_attempts"],
            "on_unhealthy": given["restart_unhealthy"],
        },
        "resources": {
            "cpu_milli": given["cpus"],
            "memory_bytes": given["memory"],
            "swap_bytes": given["swap"],
            "shm_bytes": given["shm"],
            "disk_bytes": given["disk"],
            "pids": given["pids"],
            "gpu": {
                "count": given["gpus"],
                "model": given["gpu_model"],
                "memory_min_bytes": given["gpu_memory"],
            },
        },
    }
    return spec_file.merged(base, flags)


_MOUNT_WORDS = {
    "kind": ("type", "kind"),
    "target": ("target", "dst", "destination"),
    "source": ("source", "src"),
    "size_bytes": ("size",),
    "keep_s": ("keep",),
    "read_only": ("readonly", "ro"),
}
_MOUNT_KEYS = {word: key for key, words in _MOUNT_WORDS.items() for word in words}


def _mount(text: str) -> dict[str, Any]:
    """A mount written as docker's: `type=task,source=data,target=/data,size=1GiB,keep=7d`."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        key = _MOUNT_KEYS.get(name)
        if key is None or (not equals and key != "read_only"):
            known = ", ".join(("type", "target", "source", "readonly", "size", "keep"))
            raise click.UsageError(f"--mount {text}: {part!r} is not one of {known}.")
        match key:
            case "read_only":
                found[key] = value.lower() not in ("false", "0")
            case "size_bytes":
                found[key] = types.Size().convert(value, None, None)
            case "keep_s":
                found[key] = types.Span().convert(value, None, None)
            case _:
                found[key] = value
    return found


def _port(text: str) -> dict[str, Any]:
    """A port: `8080:80/tcp`, or `80`, for which the engine chooses the host's port."""
    places, slash, protocol = text.partition("/")
    host, colon, inside = places.rpartition(":")
    digits = [part for part in (host, inside) if part or colon]
    if not all(part.isascii() and part.isdigit() for part in digits) or len(text) > 20:
        raise click.UsageError(f"--publish {text}: write it as [HOST:]PORT[/udp].")
    found: dict[str, Any] = {"container": int(inside)}
    if colon:
        found["host"] = int(host)
    if slash:
        found["protocol"] = protocol
    return found
