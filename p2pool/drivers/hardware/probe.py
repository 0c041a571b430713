"""What this agent offers: the machine's hardware, cut to the caps of `[resources]`.

Caps let several agents share one machine: each offers only its part. A cap above the machine's own
capacity is cut to it, with a warning for the operator. UUIDs are the best way to choose GPUs; a
number takes the first GPUs by UUID, healthy or not, so that a failing GPU does not move the offer
to one that another agent may have.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import trio

from p2pool.drivers.config.schema import ResourcesConfig
from p2pool.drivers.hardware.host import Host, read_host, read_load
from p2pool.drivers.hardware.nvml import NvmlAnswer, read_gpus
from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu, Hardware, Load

LISTED = 8


async def probe_hardware(
    resources: ResourcesConfig,
    directory: Path,
    runtime: str,
    *,
    timeout_ms: int = limits.NVML_TIMEOUT_MS,
    xids: Mapping[str, int] | None = None,
    answered: Callable[[NvmlAnswer], None] = lambda _: None,
) -> tuple[Hardware, Load, tuple[str, ...]]:
    """What to offer, how busy the machine is, and warnings for people.

    `directory` is the data directory, `runtime` the kind of runtime ("docker", "process"). With
    `resources.gpus` 0, no GPU is looked for. Raises Misconfigured if the directory's file system
    cannot be read; a failing GPU driver is never an error. `answered` receives NVML's answer
    before the caps.
    """
    host = await trio.to_thread.run_sync(read_host, directory)
    nvml = NvmlAnswer() if resources.gpus == 0 else await read_gpus(timeout_ms, xids)
    answered(nvml)
    hardware, warnings = offer(resources, host, nvml, runtime)
    loads = {gpu.uuid: load for gpu, load in zip(nvml.gpus, nvml.loads, strict=True)}
    offered = tuple(loads[gpu.uuid] for gpu in hardware.gpus)
    return hardware, attrs.evolve(read_load(), gpus=offered), warnings


def offer(
    resources: ResourcesConfig, host: Host, nvml: NvmlAnswer, runtime: str
) -> tuple[Hardware, tuple[str, ...]]:
    """Cut the hardware to the caps; pure."""
    warnings: list[str] = []
    wanted = bool(resources.gpus or resources.gpu_uuids)
    if nvml.reason is not None and (wanted or not nvml.absent):
        warnings.append(f"No GPU is offered. {nvml.reason}")
    warnings += nvml.problems
    hardware = Hardware(
        cpu_model=host.cpu_model,
        cpu_milli=_capped("cpu_milli", resources.cpu_milli, host.cpu_milli, warnings),
        memory_bytes=_capped("memory_bytes", resources.memory_bytes, host.memory_bytes, warnings),
        disk_bytes=_capped("disk_bytes", resources.disk_bytes, host.disk_bytes, warnings),
        gpus=() if nvml.reason is not None else _chosen(resources, nvml.gpus, warnings),
        driver_version=nvml.driver_version,
        cuda_version=nvml.cuda_version,
        runtime=runtime,
        architecture=host.architecture,
    )
    return hardware, tuple(warnings)


def _capped(name: str, cap: int | None, has: int, warnings: list[str]) -> int:
    if cap is None:
        return has
    if cap > has:
        warnings.append(
            f"[resources] {name} is {cap}, but this machine has {has}: it offers {has}."
        )
    return min(cap, has)


def _chosen(
    resources: ResourcesConfig, found: tuple[Gpu, ...], warnings: list[str]
) -> tuple[Gpu, ...]:
    """The GPUs to offer, in the order of their UUIDs."""
    if resources.gpus == 0:
        return ()
    chosen = found
    if resources.gpu_uuids:
        here = {gpu.uuid for gpu in found}
        for uuid in dict.fromkeys(resources.gpu_uuids):
            if uuid not in here:
                warnings.append(
                    f"[resources] gpu_uuids names {uuid}, which is not on this machine;"
                    f" it has: {_listed(found)}."
                )
        chosen = tuple(gpu for gpu in found if gpu.uuid in resources.gpu_uuids)
    if resources.gpus is not None and resources.gpus > len(chosen):
        warnings.append(
            f"[resources] gpus is {resources.gpus}, but there are {len(chosen)} to offer."
        )
    return chosen if resources.gpus is None else chosen[: resources.gpus]


def _listed(gpus: tuple[Gpu, ...]) -> str:
    more = ", ..." if len(gpus) > LISTED else ""
    return ", ".join(gpu.uuid for gpu in gpus[:LISTED]) + more if gpus else "none"
