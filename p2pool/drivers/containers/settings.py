"""The owner's decisions about containers on this machine, in the form the runtime takes."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import attrs

from p2pool.model import limits

TOOLKIT = "nvidia"
"""The runtime through which NVIDIA's toolkit gives GPUs to containers, as the engine lists it."""

TASK_SUBNETS = ("10.213.0.0/16", "172.29.0.0/16", "192.168.208.0/20")
"""Where the networks of tasks are taken from, the first with room first."""
SUBNETS = tuple(IPv4Network(one) for one in TASK_SUBNETS)
RUNC = "runc"
"""The runtime that every engine has, and that gives a container nothing by its environment."""


class GpuPath(StrEnum):
    """How GPUs get into a container: through NVIDIA's toolkit, or by Container Device Interface
    names."""

    AUTO = "auto"
    TOOLKIT = "toolkit"
    CDI = "cdi"


@attrs.frozen(kw_only=True)
class Settings:
    """`registries`: where images may come from; empty: anywhere. `bind_directories` may be
    mounted, read-only; no other place of the host may. `images_max_bytes` 0: no limit.
    `oci_runtime` starts every copy, whatever the engine's default is.

    `isolation`: each task has a network of its own, below `subnets`, and reaches the public
    internet, the resolvers (empty: those of the engine's machine) and `egress_opened`; the machine
    itself only with `egress_host`.

    `docker_config` is the directory of the Docker configuration with the registry logins;
    None: DOCKER_CONFIG, else `~/.docker` of the agent's user. `agent_directory` holds the
    agent's keys: no directory that contains it is ever mounted.
    """

    registries: tuple[str, ...] = ()
    bind_directories: tuple[Path, ...] = ()
    gpus: GpuPath = GpuPath.AUTO
    oci_runtime: str = RUNC
    isolation: bool = True
    subnets: tuple[IPv4Network, ...] = SUBNETS
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()
    egress_opened: tuple[IPv4Network | IPv6Network, ...] = ()
    egress_host: bool = False
    images_max_bytes: int = 0
    disk_reserve_bytes: int = limits.DISK_RESERVE_DEFAULT_BYTES
    docker_config: Path | None = None
    agent_directory: Path | None = None
    pull_stall_ms: int = limits.PULL_STALL_MS
    image_grace_ms: int = limits.IMAGE_GRACE_MS
