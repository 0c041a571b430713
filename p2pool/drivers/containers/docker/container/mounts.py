"""Which directory of the host is behind a mount: a volume of the agent's, or a place its owner
allows.

A volume's directory is made here, below directories that only the agent's user can enter, so no
container can put anything in the way of its path; what is below it is the containers' own, and
nobody follows links there. A bind mount is read-only and lies below one of the owner's directories
once its links are followed; what could give a task the machine is refused even there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from p2pool.drivers.containers.docker.engine.client import LOCAL
from p2pool.drivers.containers.volumes import Volumes
from p2pool.model.errors import CannotStart
from p2pool.model.ports.runtime import ContainerPlan
from p2pool.model.tasks.spec import Mount, MountKind

SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")


def mount_sources(
    plan: ContainerPlan, volumes: Volumes, allowed: Sequence[Path], agent: Path, engine_url: str
) -> Mapping[Mount, Path]:
    """The host's directory of each mount that has one; volumes are made where they are not there.

    Blocks for a short while. `CannotStart` for what a task may not have.
    """
    sources: dict[Mount, Path] = {}
    for mount in plan.spec.mounts:
        if mount.kind is MountKind.BIND:
            sources[mount] = bind_source(mount, allowed, agent, engine_url)
        elif mount.kind is not MountKind.TMPFS:
            sources[mount] = volumes.make(plan.allocation, mount)
    return sources


def bind_source(mount: Mount, allowed: Sequence[Path], agent: Path, engine_url: str) -> Path:
    """The directory behind a bind mount, links followed."""
    source = Path(mount.source).resolve()
    if not any(source.is_relative_to(Path(one).resolve()) for one in allowed):
        raise CannotStart(
            f"This node does not let tasks mount {mount.source}.",
            hint="Its operator allows directories in [runtime] bind_directories.",
        )
    if not source.is_dir():
        raise CannotStart(f"{mount.source} is no directory on this node.")
    sockets = (
        [*SOCKETS, engine_url.removeprefix(LOCAL)] if engine_url.startswith(LOCAL) else SOCKETS
    )
    for place in (agent, *(Path(one) for one in sockets)):
        secret = place.resolve()
        if secret.is_relative_to(source) or source.is_relative_to(secret):
            raise CannotStart(
                f"{mount.source} holds what no task may have: {place}.",
                hint="Allow directories of data only in [runtime] bind_directories.",
            )
    return source
