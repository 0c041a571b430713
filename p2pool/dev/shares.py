"""Several agents on one machine: each gets an equal share, and whole GPUs.

Processors are offered by each of them in full: what nobody needs right now anybody may use, and an
equal share of a small machine would be filled by one copy that asks for the usual one.
"""

import psutil

from p2pool.drivers.config.reader import Size
from p2pool.drivers.config.schema import ResourcesConfig
from p2pool.drivers.hardware.nvml import read_gpus

DISK_RESERVE_BYTES = 64 * 1024 * 1024


async def shares(agents: int) -> list[ResourcesConfig]:
    """One `[resources]` for each of this many agents."""
    cpu_milli = (psutil.cpu_count() or 1) * 1000
    memory_bytes = psutil.virtual_memory().total // agents
    gpus = [gpu.uuid for gpu in (await read_gpus()).gpus]
    out = []
    for number in range(agents):
        mine = tuple(gpus[number::agents])
        out.append(
            ResourcesConfig(
                cpu_milli=cpu_milli,
                memory_bytes=memory_bytes,
                gpus=None if mine else 0,
                gpu_uuids=mine,
                disk_reserve_bytes=Size(DISK_RESERVE_BYTES),
            )
        )
    return out
