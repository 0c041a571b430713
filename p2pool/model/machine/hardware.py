"""A machine's resources, total and free. Units are in the names."""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import Name, bounded

UNKNOWN = -1
"""A figure of `GpuLoad` that the GPU does not report: unknown is not zero."""


@attrs.frozen
class Gpu:
    """One GPU as NVML reports it; identified by its UUID, never by its index. `memory_bytes` 0: it
    does not report how much it has, as one that shares the machine's memory.

    A MIG instance is a GPU of its own, with its own UUID and memory; `parent` is its card, empty
    for a whole card.
    """

    uuid: Name
    model: Name
    memory_bytes: int
    healthy: bool = True
    reason: str = ""
    parent: Name = ""

    @property
    def memory_known(self) -> bool:
        """Whether it reports how much memory it has."""
        return self.memory_bytes > 0


@attrs.frozen
class Hardware:
    """An agent's offer to the pool, after the caps of `[resources]` in its configuration."""

    cpu_model: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: Annotated[tuple[Gpu, ...], bounded(items=limits.GPUS_PER_NODE_MAX)] = ()
    driver_version: str = ""
    runtime: str = ""
    architecture: str = ""
    cuda_version: str = ""


@attrs.frozen
class FreeResources:
    """The resources that no allocation holds."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: int


@attrs.frozen
class GpuLoad:
    """One GPU's current state. `ecc_errors`: uncorrected ones since the driver was loaded; `xid`:
    the last Xid error that the driver reported while the agent ran, 0 for none. Of the others, one
    that the GPU does not report is `UNKNOWN`."""

    temperature_c: int = 0
    busy_percent: int = 0
    memory_used_mib: int = 0
    processes: int = 0
    ecc_errors: int = 0
    xid: int = 0


@attrs.frozen
class Load:
    """A machine's load in thousandths of its capacity; `gpus` in the order of `Hardware.gpus`."""

    cpu_permille: int = 0
    memory_permille: int = 0
    gpus: Annotated[tuple[GpuLoad, ...], bounded(items=limits.GPUS_PER_NODE_MAX)] = ()
