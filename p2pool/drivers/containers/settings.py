"""What a node's owner decides about containers on this machine, as the runtime is given it."""

from enum import StrEnum
from pathlib import Path

import attrs

from p2pool.model import limits

TOOLKIT = "nvidia"
"""The runtime by which NVIDIA's toolkit hands GPUs to containers, as the engine lists it."""


class GpuPath(StrEnum):
    """How GPUs get into a container: by NVIDIA's toolkit, or by names of the Container Device
    Interface."""

    AUTO = "auto"
    TOOLKIT = "toolkit"
    CDI = "cdi"


@attrs.frozen(kw_only=True)
class Settings:
    """`registries` are those that images may come from; none named: any. `bind_directories` may be
    mounted, read-only; no other place of the host may. `images_max_bytes` 0: no limit.

    `docker_config` is the directory of the Docker configuration with the logins of registries;
    None: DOCKER_CONFIG, else `~/.docker` of the agent's user. `agent_directory` holds the agent's
    keys: nothing that it is in is ever mounted.
    """

    registries: tuple[str, ...] = ()
    bind_directories: tuple[Path, ...] = ()
    gpus: GpuPath = GpuPath.AUTO
    images_max_bytes: int = 0
    disk_reserve_bytes: int = limits.DISK_RESERVE_DEFAULT_BYTES
    docker_config: Path | None = None
    agent_directory: Path | None = None
    pull_stall_ms: int = limits.PULL_STALL_MS
    image_grace_ms: int = limits.IMAGE_GRACE_MS
