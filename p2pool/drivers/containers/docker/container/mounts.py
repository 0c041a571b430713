"""Finds the host directory behind a mount: a volume of the agent's, or a place its owner allows.

A volume's directory is made here, below directories that only the agent's user can enter, so no
container can redirect its path. Everything inside the volume belongs to the containers, and nobody
follows links there. A bind mount is read-only and, once its links are resolved, lies below one of
the owner's directories; a path that could give a task control of the machine is refused even there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from p2pool.drivers.containers.docker.engine.address import LOCAL
from p2pool.drivers.containers.volumes import Volumes
from p2pool.model.errors import NotOffered
from p2pool.model.ports.runtime import ContainerPlan
from p2pool.model.tasks.spec import Mount, MountKind

SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")


def mount_sources(
    plan: ContainerPlan, volumes: Volumes, allowed: Sequence[Path], agent: Path, engine_url: str
) -> Mapping[Mount, Path]:
    """The host directory of each mount that has one; missing volumes are made.

    Blocks for a short while. `NotOffered`: a task may not have this mount.
    """
    sources: dict[Mount, Path] = {}
    for mount in plan.spec.mounts:
        if mount.kind is MountKind.BIND:
            sources[mount] = bind_source(mount, allowed, agent, engine_url)
        elif mount.kind is not MountKind.TMPFS:
            sources[mount] = volumes.make(plan.allocation, mount)
    return sources


def bind_source(mount: Mount, allowed: Sequence[Path], agent: Path, engine_url: str) -> Path:
    """The directory behind a bind mount, links resolved."""
    source = Path(mount.source).resolve()
    if not any(source.is_relative_to(Path(one).resolve()) for one in allowed):
        raise NotOffered(
            f"This node does not let tasks mount {mount.source}.",
            hint="Its operator can allow the directory in [runtime] bind_directories.",
        )
    if not source.is_dir():
        raise NotOffered(f"{mount.source} is not a directory on this node.")
    sockets = (
        [*SOCKETS, engine_url.removeprefix(LOCAL)] if engine_url.startswith(LOCAL) else SOCKETS
    )
    for place in (agent, *(Path(one) for one in sockets)):
        secret = place.resolve()
        if secret.is_relative_to(source) or source.is_relative_to(secret):
            raise NotOffered(
                f"{mount.source} contains what no task may have: {place}.",
                hint="Allow only directories of data in [runtime] bind_directories.",
            )
    return source
