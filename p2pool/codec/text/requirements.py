"""Requirement strings: `gpu:count=8;gpu:model=h100,h200;ram_mb=64000;storage_gb=1000`.

A pool asks with them of whoever joins, a task of the nodes that its copies may go to. The form is
the one that the network's tools write, and it means what they take it to mean: a second `gpu:count`
begins another alternative, `gpu:memory_mb` is a minimum as `gpu:memory_mb_min` is, and a model's
name matches without regard to case, spaces and underscores. Of a pool's, unknown keys are kept
apart, so the rest can still be judged for one of a newer version, while those tools refuse the
whole text for one of them (`refusals`), and so does a task; an error names the key whose value is
not a number.
"""

from collections.abc import Iterator
from functools import lru_cache

import attrs

from p2pool.codec.text.data_uri import OWN_PREFIX
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
KEYS = frozenset({"gpu:count", "gpu:model", *_GPU_FIELDS, *_PLAIN_FIELDS})
"""All keys there are."""
NUMBER_MAX = 2**32 - 1
"""The greatest number that the network's tools read."""


def parse_requirements(text: str) -> Requirements:
    """Read a pool's requirement string; `Malformed` names every pair that cannot be read."""
    read, problems = _read(text)
    if problems:
        raise Malformed(
            f"The pool's requirements cannot be read: {'; '.join(problems)}.",
            hint="Ask its creator or manager to correct them: p2pool pool set-requirements.",
        )
    return read


@lru_cache(maxsize=limits.TASK_REQUIREMENTS_CACHED_MAX)
def task_requirements(text: str) -> Requirements:
    """What a task's requirement string means, of which `refusals` finds nothing."""
    return _read(text)[0]


def _read(text: str) -> tuple[Requirements, list[str]]:
    """What can be read of a text, and what is wrong with the rest."""
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
        elif key.startswith(OWN_PREFIX):
            continue
        elif key == "gpu:model":
            models = tuple(_plain_name(name) for name in value.split(",") if name.strip())
            _change(gpus, models=models)
        elif key not in KEYS:
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
    problems += [problem for gpu in gpus for problem in _contradictions(gpu)]
    read = Requirements(gpus=tuple(gpus), unknown=tuple(dict.fromkeys(unknown)), **plain)
    return read, problems


def requirement_pairs(text: str) -> tuple[str, ...]:
    """The pairs of a data URI that are requirements, each as `key=value`."""
    split = (pair.partition("=") for pair in text.split(";"))
    return tuple(f"{k.strip()}={v.strip()}" for k, _, v in split if k.strip() in KEYS)


def unknown_pairs(text: str) -> tuple[str, ...]:
    """The pairs of a data URI that are neither requirements nor p2pool's own, as they stand."""
    keys = ((pair.partition("=")[0].strip(), pair) for pair in text.split(";") if pair.strip())
    return tuple(p.strip() for k, p in keys if k not in KEYS and not k.startswith(OWN_PREFIX))


def refusals(text: str) -> tuple[str, ...]:
    """Why other tools of the network refuse a whole text, and then check nothing by it."""
    found: list[str] = []
    for pair in text.split(";"):
        key, separator, value = (part.strip() for part in pair.partition("="))
        if not key and not separator:
            continue
        if not separator:
            found.append(f"{key!r} is not key=value")
        elif key not in KEYS:
            found.append(f"{key!r} is none of the keys")
        elif key != "gpu:model" and ((number := _number(value)) is None or number > NUMBER_MAX):
            found.append(f"{key}={value!r} is not a number up to {NUMBER_MAX}")
    return tuple(found or _read(text)[1])


def _plain_name(text: str) -> str:
    return text.strip().lower().replace(" ", "_")


def _number(text: str) -> int | None:
    digits = text.removeprefix("+")
    good = digits.isascii() and digits.isdigit() and len(digits) < 16
    return int(digits) if good and int(digits) <= limits.RESOURCE_MAX_BYTES else None


def _contradictions(gpu: GpuRequirement) -> Iterator[str]:
    """What no card can meet, or what says one thing twice."""
    least, most = gpu.memory_min_bytes, gpu.memory_max_bytes
    if gpu.memory_bytes is not None and (least is not None or most is not None):
        yield "gpu:memory_mb stands beside gpu:memory_mb_min or gpu:memory_mb_max"
    if least is not None and most is not None and least > most:
        yield f"gpu:memory_mb_min={least // MIB} is above gpu:memory_mb_max={most // MIB}"
    least, most = gpu.total_memory_min_bytes, gpu.total_memory_max_bytes
    if least is not None and most is not None and least > most:
        yield f"gpu:total_memory_min={least // MIB} is above gpu:total_memory_max={most // MIB}"


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
