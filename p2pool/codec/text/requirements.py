"""Requirement strings of pools: `gpu:count=8;gpu:model=h100,h200;ram_mb=64000;storage_gb=1000`.

The form is the one that the network's tools write. A second `gpu:count` begins another
alternative. Unknown keys are kept apart, so the rest can still be judged for a pool of a newer
version; an error names the key whose value is not a number.
"""

import attrs

from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.machine.requirements import GpuRequirement, Requirements

MIB, GIB = 2**20, 2**30
_GPU_FIELDS = {
    "gpu:memory_mb": "memory_bytes",
    "gpu:memory_mb_min": "memory_min_bytes",
    "gpu:memory_mb_max": "memory_max_bytes",
    "gpu:total_memory_min": "total_memory_min_bytes",
    "gpu:total_memory_max": "total_memory_max_bytes",
}
_PLAIN_FIELDS = {
    "cpu:cores": ("cpu_cores", 1),
    "ram_mb": ("memory_bytes", MIB),
    "storage_gb": ("disk_bytes", GIB),
}


def parse_requirements(text: str) -> Requirements:
    """Read a requirement string; `Malformed` names every pair that cannot be read."""
    problems: list[str] = []
    gpus: list[GpuRequirement] = []
    plain: dict[str, int] = {}
    unknown: list[str] = []
    for pair in text.split(";"):
        key, separator, value = (part.strip() for part in pair.partition("="))
        if not key and not value:
            continue
        if not separator:
            problems.append(f"{pair.strip()!r} is not key=value")
        elif key.startswith("p2pool:"):
            continue
        elif key == "gpu:model":
            models = tuple(_plain_name(name) for name in value.split(",") if name.strip())
            _change(gpus, models=models)
        elif key not in _GPU_FIELDS and key not in _PLAIN_FIELDS and key != "gpu:count":
            unknown.append(key)
        elif (number := _number(value)) is None:
            problems.append(f"{key}={value!r} is not a number")
        elif key == "gpu:count":
            _count(gpus, number)
        elif key in _GPU_FIELDS:
            _change(gpus, **{_GPU_FIELDS[key]: number * MIB})
        else:
            field, unit = _PLAIN_FIELDS[key]
            plain[field] = number * unit
    if problems:
        raise Malformed(
            f"The pool's requirements cannot be read: {'; '.join(problems)}.",
            hint="Ask its creator or manager to correct them in the pool's data URI.",
        )
    return Requirements(gpus=tuple(gpus), unknown=tuple(dict.fromkeys(unknown)), **plain)


def names_model(model: str, wanted: str) -> bool:
    """Whether a GPU's model matches a requirement: `h100` matches `NVIDIA H100 80GB`."""
    return wanted in _plain_name(model)


def _plain_name(text: str) -> str:
    return text.strip().lower().replace(" ", "_")


def _number(text: str) -> int | None:
    good = text.isascii() and text.isdigit() and len(text) < 16
    return int(text) if good and int(text) <= limits.RESOURCE_MAX_BYTES else None


def _count(gpus: list[GpuRequirement], count: int) -> None:
    """A count begins an alternative, unless the current one has none yet."""
    if gpus and gpus[-1].count is None:
        _change(gpus, count=count)
    else:
        gpus.append(GpuRequirement(count=count))


def _change(gpus: list[GpuRequirement], **fields: object) -> None:
    if not gpus:
        gpus.append(GpuRequirement())
    gpus[-1] = attrs.evolve(gpus[-1], **fields)  # type: ignore[arg-type]
