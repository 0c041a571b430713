"""Decides which GPUs are lost: NVML says so several times over; a missing answer never counts.

Intuition: a driver that hangs, is being upgraded or does not answer says nothing about any card, so
nothing that runs is stopped because of it. A card that NVML itself repeatedly calls lost or broken,
or leaves out of its answers, will not come back by itself. Pure.
"""

from collections.abc import Sequence

from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu


class LostGpus:
    """One machine's GPUs over time."""

    def __init__(self) -> None:
        """No GPU is known yet."""
        self._missed: dict[str, int] = {}

    @property
    def any(self) -> bool:
        """Whether the machine has ever shown a GPU."""
        return bool(self._missed)

    def read(self, gpus: Sequence[Gpu], answered: bool) -> tuple[str, ...]:
        """Take a reading; returns the UUIDs of the GPUs that are lost by now, sorted.

        `answered`: NVML answered, and `gpus` is everything that it sees.
        """
        if answered:
            well = {gpu.uuid for gpu in gpus if gpu.healthy}
            for uuid in sorted(well | {gpu.uuid for gpu in gpus}):
                self._missed.setdefault(uuid, 0)
            for uuid in self._missed:
                self._missed[uuid] = 0 if uuid in well else self._missed[uuid] + 1
        most = limits.GPU_LOST_READINGS
        return tuple(sorted(uuid for uuid, times in self._missed.items() if times >= most))
