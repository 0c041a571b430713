"""The flags of `p2pool task run`, and the specification that they and a file make together.

Named as docker's where docker has them; what is signed is `codec.spec`'s, with whole bytes,
thousandths of a processor and seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from p2pool.cli.shared import types
from p2pool.cli.task import spec_file
from p2pool.model.tasks.spec import MountKind, PullPolicy, RestartMode

F = TypeVar("F", bound=Callable[..., Any])

_RESTARTS = [mode.value for mode in RestartMode]
_PULLS = [policy.value for policy in PullPolicy]
_KINDS = ", ".join(kind.value for kind in MountKind)

OPTIONS = (
    click.option("-f", "--file", "path", type=click.Path(path_type=Path), help="JSON or TOML."),
    click.option("--image", help="The container image."),
    click.option("--pull", type=click.Choice(_PULLS), help="When the image is fetched."),
    click.option("--name", help="Default: the image's name."),
    click.option("--entrypoint", help="In place of the image's."),
    click.option("--replicas", type=int, help="How many copies."),
    click.option("--gpus", type=int, help="GPUs of each copy."),
    click.option("--gpu-model", help="Part of the GPUs' model name, such as h100."),
    click.option("--gpu-memory", type=types.Size(), help="Least memory of each GPU."),
    click.option("--cpus", type=types.Cpus(), help="Processors of each copy, such as 0.5."),
    click.option("--memory", type=types.Size(), help="Memory of each copy, such as 2GiB."),
    click.option("--swap", type=types.Size(), help="Swap on top of the memory. Default: none."),
    click.option("--shm", type=types.Size(), help="Size of /dev/shm."),
    click.option("--disk", type=types.Size(), help="What it may write outside its mounts."),
    click.option("--pids", type=int, help="Processes and threads of each copy."),
    click.option(
        "--read-only", is_flag=True, default=None, help="It can write to its mounts only."
    ),
    click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Public in the pool."),
    click.option(
        "--mount",
        "mounts",
        multiple=True,
        metavar="type=T,target=DIR,...",
        help=f"T: {_KINDS}. More: source=NAME (a host's directory for bind), readonly,"
        " size=SIZE, keep=TIME.",
    ),
    click.option(
        "-p", "--publish", "ports", multiple=True, metavar="[HOST:]PORT[/udp]", help="A port."
    ),
    click.option("--restart", type=click.Choice(_RESTARTS), help="When it is started again."),
    click.option("--restart-attempts", type=int, help="How often at most."),
    click.option(
        "--restart-unhealthy",
        is_flag=True,
        default=None,
        help="Failing its image's health check counts.",
    ),
    click.option("--deadline", type=types.Span(), help="The time it has, such as 2h."),
    click.option("--stop-grace", type=types.Span(), help="The time it has to end by itself."),
    click.option("--priority", type=int, help="0 to 100."),
)


def run_options(command: F) -> F:
    """All flags that say what is to run."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def specification(given: dict[str, Any]) -> dict[str, Any]:
    """What is asked for, as the mapping that becomes the specification."""
    base = spec_file.from_file(given["path"]) if given["path"] else {}
    image = given["image"] or base.get("image")
    if not image:
        raise click.UsageError("Say what to run: --image IMAGE, or -f FILE.")
    flags = {
        "image": given["image"],
        "name": given["name"] or (None if "name" in base else spec_file.default_name(str(image))),
        "command": given["command"],
        "entrypoint": (given["entrypoint"],) if given["entrypoint"] else (),
        "env": spec_file.environment(given["env"]),
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
    """`type=task,source=data,target=/data,readonly,size=1GiB,keep=7d`, as docker writes mounts."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        key = _MOUNT_KEYS.get(name)
        if key is None or (not equals and key != "read_only"):
            known = ", ".join(("type", "target", "source", "readonly", "size", "keep"))
            raise click.UsageError(f"--mount {text}: {part!r} is none of {known}.")
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
    """`8080:80/tcp`, `80`: the engine chooses the host's port where none is named."""
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
