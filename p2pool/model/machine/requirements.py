"""A pool's requirements for machines, from its data URI, and a task's for its nodes.

GPU alternatives mean "any of these": a machine has to satisfy one of them, with GPUs of one model,
and a count is exact: who offers more than is asked for does not qualify.
The network's requirement strings use MiB and GiB; here both are bytes. A field that is None is not
required.
"""

import attrs


@attrs.frozen
class GpuRequirement:
    """One alternative. `models`: any of these words in the model's name; `memory_*` of each card,
    `total_*` of all cards of that model together. `memory_bytes` is a minimum, for the card that is
    sold as one of 80 GB reports a little more or less."""

    count: int | None = None
    models: tuple[str, ...] = ()
    memory_bytes: int | None = None
    memory_min_bytes: int | None = None
    memory_max_bytes: int | None = None
    total_memory_min_bytes: int | None = None
    total_memory_max_bytes: int | None = None

    def __str__(self) -> str:
        """Its readable form: `8 GPUs, h100, at least 80 GiB each`."""
        many = "GPUs" if self.count is None else f"{self.count} GPU{'' if self.count == 1 else 's'}"
        parts = [many]
        if self.models:
            parts.append(" or ".join(self.models))
        for bound, text in (
            (self.memory_bytes, "at least {} each"),
            (self.memory_min_bytes, "at least {} each"),
            (self.memory_max_bytes, "at most {} each"),
            (self.total_memory_min_bytes, "at least {} in all"),
            (self.total_memory_max_bytes, "at most {} in all"),
        ):
            if bound is not None:
                parts.append(text.format(f"{bound // 2**20} MiB"))
        return ", ".join(parts)


@attrs.frozen
class Requirements:
    """All requirements. `unknown`: keys that this version cannot judge."""

    gpus: tuple[GpuRequirement, ...] = ()
    cpu_cores: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    unknown: tuple[str, ...] = ()
