"""The flags of `p2pool task run`, and the specification that they make with a file.

Flags have docker's names where docker has them; the signed specification (`codec.spec`) holds whole
bytes, thousandths of a processor, and seconds.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from p2pool.cli.shared import types
from p2pool.cli.shared.output import size
from p2pool.cli.task import flag_values, spec_file
from p2pool.cli.task.flag_names import in_flags
from p2pool.cli.task.secrets import flags as secret_flags
from p2pool.cli.task.secrets.flags import GivenSecrets
from p2pool.model import limits
from p2pool.model.errors import BadSpec
from p2pool.model.tasks.spec import MountKind, PullPolicy, RestartMode, TaskSpec

F = TypeVar("F", bound=Callable[..., Any])

_RESTARTS = [mode.value for mode in RestartMode]
_PULLS = [policy.value for policy in PullPolicy]
_KINDS = ", ".join(kind.value for kind in MountKind)
_TASK = TaskSpec(name="", image="")
_RESOURCES = _TASK.resources
"""Defaults, for the help texts."""
_SIZE = types.Size(limits.SIZE_MIN_BYTES)

OPTIONS = (
    click.option(
        "-f",
        "--file",
        "path",
        type=types.FilePath(),
        help="A specification in JSON, TOML or YAML; - reads standard input.",
    ),
    click.option("--image", help="Container image."),
    click.option("--pull", type=click.Choice(_PULLS), help="When to fetch the image."),
    click.option("--name", help="Name of the task. Default: the image's name."),
    click.option("--entrypoint", help="Replaces the image's entrypoint."),
    click.option(
        "--replicas",
        type=types.Number(1, limits.REPLICAS_MAX),
        help=f"Number of copies. Default: {_TASK.replicas}.",
    ),
    click.option(
        "--gpus",
        type=types.Number(0, limits.GPUS_PER_NODE_MAX),
        help="GPUs of each copy. Default: none.",
    ),
    click.option("--gpu-model", help="Part of the GPUs' model name, such as h100, in any case."),
    click.option("--gpu-memory", type=_SIZE, help="Minimum memory of each GPU, such as 40GiB."),
    click.option(
        "--requirements",
        metavar="TEXT",
        help="What a node's whole machine must have, as pools write it, such as"
        " 'gpu:count=8;gpu:model=h100;ram_mb=64000'.",
    ),
    click.option(
        "--cpus",
        type=types.Cpus(),
        help=f"Processors of each copy, such as 0.5. Default: {_RESOURCES.cpu_milli / 1000:g}.",
    ),
    click.option(
        "--memory",
        type=types.Size(limits.TASK_MEMORY_MIN_BYTES, none=False),
        help=f"Memory of each copy, such as 2GiB. Default: {size(_RESOURCES.memory_bytes)}.",
    ),
    click.option("--swap", type=_SIZE, help="Swap on top of the memory. Default: none."),
    click.option(
        "--shm",
        type=types.Size(limits.MEMORY_FILES_MIN_BYTES),
        help=f"Size of /dev/shm. Default: {size(_RESOURCES.shm_bytes)}.",
    ),
    click.option("--disk", type=_SIZE, help="Most that a copy may write outside its mounts."),
    click.option(
        "--pids",
        type=types.Number(1, limits.TASK_PIDS_MAX),
        help=f"Most processes and threads of each copy. Default: {_RESOURCES.pids}.",
    ),
    click.option(
        "--read-only", is_flag=True, default=None, help="Let it write only to its mounts."
    ),
    click.option(
        "-e",
        "--env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Environment variable, public in the pool; NAME alone: with its value here."
        " Repeatable.",
    ),
    click.option(
        "--env-file",
        "env_files",
        multiple=True,
        type=types.FilePath(),
        help="File with a variable a line, as for --env, and # comments; - reads standard input."
        " Repeatable.",
    ),
    click.option(
        "--init/--no-init",
        "init",
        default=None,
        help="Run a small first process that takes in orphans and passes signals on. Default: yes.",
    ),
    click.option(
        "-v",
        "--volume",
        "volumes",
        multiple=True,
        metavar="SOURCE:DIR[:ro]",
        help="A pool volume by its name, or a directory of the host by its path, with :ro. Short"
        " for --mount. Repeatable.",
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
        help="Port to publish, or a range: 8000-8003:80-83. Repeatable.",
    ),
    click.option("--restart", type=click.Choice(_RESTARTS), help="When to start a copy again."),
    click.option(
        "--restart-attempts",
        type=types.Number(0, limits.RESTART_ATTEMPTS_MAX),
        help=f"Most restarts in a row; a run of ten minutes ends the row. Default: "
        f"{_TASK.restart.attempts}.",
    ),
    click.option(
        "--restart-unhealthy",
        is_flag=True,
        default=None,
        help="End a copy whose image's health check fails, as a failure.",
    ),
    click.option("--deadline", type=types.Span(), help="Stop it after this time, such as 2h."),
    click.option(
        "--stop-grace",
        type=types.Span(most=limits.STOP_GRACE_MAX_S),
        help="Time to end after SIGTERM, before SIGKILL.",
    ),
    click.option(
        "--priority",
        type=types.Number(0, limits.PRIORITY_MAX),
        help=f"0 to {limits.PRIORITY_MAX}, the highest first. Default: {_TASK.priority}.",
    ),
    *secret_flags.OPTIONS,
)


def run_options(command: F) -> F:
    """All flags that say what to run."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def specification(
    given: dict[str, Any],
    free: Callable[[str], str],
    seal: Callable[[GivenSecrets], dict[str, Any]],
) -> str:
    """The text that is signed, from flags and a file. `free`: a name that no task has, for one that
    was given none. `seal`: what to say of secrets, once they are encrypted. `UsageError` where a
    flag is to blame, in the flag's words; `BadSpec` where only the file is."""
    from p2pool.codec.spec.spec import spec_json

    base = spec_file.from_file(given["path"]) if given["path"] else {}
    _refuse_empty(given)
    flag_values.check_text("The command", given["command"])
    flag_values.check_text("--label", given["labels"])
    image = given["image"] or base.get("image")
    if not image:
        raise click.UsageError("Say what to run: --image IMAGE, or -f FILE.")
    flags: dict[str, Any] = {
        "image": given["image"],
        "name": given["name"]
        or (None if "name" in base else free(spec_file.default_name(str(image)))),
        "command": given["command"],
        "entrypoint": (given["entrypoint"],) if given["entrypoint"] else (),
        "env": flag_values.environment(given["env_files"], given["env"]),
        "labels": spec_file.named_values("--label", given["labels"]),
        "replicas": given["replicas"],
        "priority": given["priority"],
        "pull": given["pull"],
        "read_only": given["read_only"],
        "init": given["init"],
        "requirements": given["requirements"],
        "mounts": (
            *(flag_values.mount(text) for text in given["mounts"]),
            *(flag_values.volume(text) for text in given["volumes"]),
        ),
        "ports": tuple(port for text in given["ports"] for port in flag_values.ports(text)),
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
    secrets = secret_flags.wanted_secrets(given, base)
    try:
        text = spec_json(spec_file.merged(base, flags))
        if not secrets:
            return text
        # A task that is not good in itself has nobody's password typed for it.
        flags["secrets"] = seal(secrets.read(str(image)))
        return spec_json(spec_file.merged(base, flags))
    except BadSpec as error:
        wrong = in_flags(error.problems, flags)
        if wrong is None:
            raise
        raise click.UsageError("\n".join(wrong)) from error


def _refuse_empty(given: dict[str, Any]) -> None:
    for option in ("image", "name", "entrypoint", "gpu_model", "requirements"):
        if given[option] == "":
            flag = "--" + option.replace("_", "-")
            raise click.UsageError(f"{flag} is empty: name one, or leave {flag} out.")
