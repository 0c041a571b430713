"""Whether hardware meets requirements: one judgement for a pool's and for a task's.

Intuition: the same text means the same in both places. A machine that joins is checked with what
its probe found (`drivers.checks.machine`), a node that a copy might go to with what it offers
(`core.scheduler.capacity`), and what no probe could read is for the caller: the check warns of it,
the scheduler goes elsewhere.

Invariants: pure; a node meets a text exactly where the check of its machine passes.
Source: the judgement of the network's own tools, whose cases are in `tests/checks`.
"""

from collections.abc import Iterable, Iterator

from p2pool.model.machine.hardware import Gpu, Hardware
from p2pool.model.machine.requirements import GpuRequirement, Requirements

MIB, GIB = 2**20, 2**30


def unmet(hardware: Hardware, wanted: Requirements, *, well: bool = False) -> str | None:
    """The first requirement that the hardware does not meet, with what there is, or None. `well`:
    judge it as if all of its GPUs were healthy."""
    return next(_all_unmet(hardware, wanted, well=well), None)


def _all_unmet(hardware: Hardware, wanted: Requirements, *, well: bool) -> Iterator[str]:
    if wanted.cpu_cores is not None and hardware.cpu_milli < wanted.cpu_cores * 1000:
        yield f"requires cpu:cores={wanted.cpu_cores}, has {hardware.cpu_milli / 1000:g}"
    if wanted.memory_bytes is not None and hardware.memory_bytes < wanted.memory_bytes:
        yield f"requires ram_mb={wanted.memory_bytes // MIB}, has {hardware.memory_bytes // MIB}"
    if wanted.disk_bytes is not None and hardware.disk_bytes < wanted.disk_bytes:
        yield f"requires storage_gb={wanted.disk_bytes // GIB}, has {hardware.disk_bytes // GIB}"
    gpus = [gpu for gpu in hardware.gpus if well or gpu.healthy]
    if wanted.gpus and not meets_one(gpus, wanted.gpus):
        dim = meets_one(gpus, wanted.gpus, unknown_fits=True)
        has = "GPUs that do not report their memory" if dim else _there(hardware.gpus)
        yield f"requires {' or '.join(f'({option})' for option in wanted.gpus)}, has {has}"


def meets_one(
    gpus: list[Gpu], options: Iterable[GpuRequirement], *, unknown_fits: bool = False
) -> bool:
    """Whether healthy GPUs satisfy an alternative. `unknown_fits`: those that do not report their
    memory have enough of it."""
    for option in options:
        counts = gpu_counts(gpus, option, unknown_fits=unknown_fits)
        if option.count in counts or (option.count is None and counts):
            return True
    return False


def gpu_counts(
    gpus: list[Gpu], option: GpuRequirement, *, unknown_fits: bool = False
) -> frozenset[int]:
    """How many GPUs there are of each model that satisfies an alternative: as many as it asks for,
    or more."""
    by_model: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        if _fits(gpu, option, unknown_fits=unknown_fits):
            by_model.setdefault(gpu.model, []).append(gpu)
    counts = {0} if option.count == 0 and not gpus else set[int]()
    for group in by_model.values():
        if option.count is not None and len(group) < option.count:
            continue
        known = all(gpu.memory_known for gpu in group)
        if (known or not unknown_fits) and not _in_all(group, option):
            continue
        counts.add(len(group))
    return frozenset(counts)


def names_model(model: str, wanted: str) -> bool:
    """Whether a GPU's model matches a requirement: `h100` matches `NVIDIA H100 80GB`, `RTX4090`
    matches `NVIDIA GeForce RTX 4090`, and either may hold the other."""
    has, needs = _bare_name(model), _bare_name(wanted)
    return bool(has and needs) and (needs in has or has in needs)


def _in_all(group: list[Gpu], option: GpuRequirement) -> bool:
    """Whether the cards of one model have together what is asked of all of them."""
    total_bytes = sum(gpu.memory_bytes for gpu in group)
    most = option.total_memory_max_bytes
    return total_bytes >= (option.total_memory_min_bytes or 0) and (
        most is None or total_bytes <= most
    )


def _fits(gpu: Gpu, option: GpuRequirement, *, unknown_fits: bool) -> bool:
    if option.models and not any(names_model(gpu.model, name) for name in option.models):
        return False
    if not gpu.memory_known:
        least, most = option.memory_bytes or option.memory_min_bytes, option.memory_max_bytes
        return unknown_fits or (not least and most is None)
    if gpu.memory_bytes < max(option.memory_bytes or 0, option.memory_min_bytes or 0):
        return False
    most = option.memory_max_bytes
    return most is None or gpu.memory_bytes <= most


def _bare_name(text: str) -> str:
    return text.lower().replace(" ", "").replace("_", "")


def _there(gpus: tuple[Gpu, ...]) -> str:
    """`2 x Tesla T4 (15360 MiB each), 1 unhealthy`."""
    kinds: dict[tuple[str, int], int] = {}
    for gpu in gpus:
        kind = gpu.model, gpu.memory_bytes // MIB
        kinds[kind] = kinds.get(kind, 0) + 1
    parts = [f"{count} x {model} ({size} MiB each)" for (model, size), count in kinds.items()]
    ill = sum(not gpu.healthy for gpu in gpus)
    return ", ".join([*parts, *([f"{ill} unhealthy"] if ill else [])]) or "no GPU"
