"""From a plan to what the Docker Engine is asked for: pure, hardened, and without surprises.

Nothing of a specification reaches the engine but by a line here. No privilege, no host namespaces,
no restart policy of the engine's, limits on everything that can be limited, and directories of the
host only where the agent's own data or its configuration allow it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2pool.drivers.containers.labels import labels_of, name_of
from p2pool.model import limits
from p2pool.model.errors import CannotStart
from p2pool.model.runtime import ContainerPlan, RuntimeScope
from p2pool.model.tasks import Mount, MountKind

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""What a container's root may do, of all that Docker would give it."""
NANO_PER_MILLI = 1_000_000
VOLUMES = "volumes"


def container_config(
    scope: RuntimeScope, plan: ContainerPlan, directory: Path, allowed: Sequence[Path]
) -> dict[str, Any]:
    """The body of `POST /containers/create`, and its `name`. `CannotStart` for refused mounts."""
    spec = plan.spec
    environment = dict(spec.environment) | dict(plan.environment)
    exposed: dict[str, Any] = {f"{port.container}/{port.protocol}": {} for port in spec.ports}
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Labels": labels_of(scope, plan),
        "ExposedPorts": exposed,
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": _host_config(plan, directory, allowed),
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint:
        body["Entrypoint"] = list(spec.entrypoint)
    return {"name": name_of(scope, plan.allocation, plan.attempt), "body": body}


def _host_config(plan: ContainerPlan, directory: Path, allowed: Sequence[Path]) -> dict[str, Any]:
    wanted = plan.spec.resources
    host: dict[str, Any] = {
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        "SecurityOpt": ["no-new-privileges:true"],
        "PidsLimit": wanted.pids,
        "NanoCpus": wanted.cpu_milli * NANO_PER_MILLI,
        "Memory": wanted.memory_bytes,
        # Memory and swap together: without swap asked for, a limit is one.
        "MemorySwap": wanted.memory_bytes + wanted.swap_bytes,
        "ShmSize": wanted.shm_bytes,
        "NetworkMode": "bridge",
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": {
            "Type": "json-file",
            "Config": {
                "max-size": str(limits.CONTAINER_LOG_FILE_MAX_BYTES),
                "max-file": str(limits.CONTAINER_LOG_FILES_MAX),
            },
        },
        "PortBindings": {
            f"{port.container}/{port.protocol}": [{"HostPort": str(port.host or "")}]
            for port in plan.spec.ports
        },
        "Mounts": [_mount(plan, mount, directory, allowed) for mount in plan.spec.mounts],
    }
    if plan.gpus:
        request = {"Driver": "", "DeviceIDs": list(plan.gpus), "Capabilities": [["gpu"]]}
        host["DeviceRequests"] = [request]
    return host


def _mount(
    plan: ContainerPlan, mount: Mount, directory: Path, allowed: Sequence[Path]
) -> dict[str, Any]:
    if mount.kind is MountKind.TMPFS:
        made: dict[str, Any] = {"Type": "tmpfs", "Target": mount.target}
        if mount.size_bytes:
            made["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
        return made
    source = mount_source(plan, mount, directory, allowed)
    return {
        "Type": "bind",
        "Source": str(source),
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def mount_source(
    plan: ContainerPlan, mount: Mount, directory: Path, allowed: Sequence[Path]
) -> Path:
    """The directory of the host behind a mount, links followed; `CannotStart` where it is none
    that a task may have."""
    if mount.kind is MountKind.BIND:
        source = Path(mount.source).resolve()
        if not any(source.is_relative_to(Path(one).resolve()) for one in allowed):
            raise CannotStart(
                f"This node does not let tasks mount {mount.source}.",
                hint="Its operator allows directories in [runtime] bind_directories.",
            )
        return source
    root = (directory / VOLUMES).resolve()
    if mount.kind is MountKind.POOL:
        root = root / "pool"
    else:
        root = root / plan.allocation.task_id.hex() / str(plan.allocation.replica)
    source = (root / mount.source).resolve()
    if not source.is_relative_to(root) or (mount.source and source == root):
        raise CannotStart(f"The volume {mount.source!r} leads out of the agent's directory.")
    return source


def own_directories(plan: ContainerPlan, directory: Path, allowed: Sequence[Path]) -> list[Path]:
    """The agent's own directories that a plan mounts: they are made before it starts."""
    kinds = (MountKind.TASK, MountKind.POOL)
    return [
        mount_source(plan, mount, directory, allowed)
        for mount in plan.spec.mounts
        if mount.kind in kinds
    ]
