"""What a machine has and what of it is free. Units are in the names."""

import attrs


@attrs.frozen
class Gpu:
    """One GPU as NVML reports it; identified by its UUID, never by its index."""

    uuid: str
    model: str
    memory_bytes: int
    healthy: bool = True
    reason: str = ""


@attrs.frozen
class Hardware:
    """What an agent offers to the pool, after the caps of `[resources]` in its configuration."""

    cpu_model: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[Gpu, ...] = ()
    driver_version: str = ""
    runtime: str = ""
    architecture: str = ""


@attrs.frozen
class FreeResources:
    """What is not taken by allocations."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: int


@attrs.frozen
class Load:
    """Load of a machine in thousandths of what it has."""

    cpu_permille: int = 0
    memory_permille: int = 0
