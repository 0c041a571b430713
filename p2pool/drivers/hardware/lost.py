"""Which GPUs are lost: told by NVML several times over, and never for want of an answer.

Intuition: a driver that hangs, is being upgraded or does not answer says nothing about any card, so
nothing that runs is ended for it. A card that NVML itself calls lost or broken, or leaves out while
it answers, time after time, will not come back by itself. Pure.
"""

from collections.abc import Sequence

from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu


class LostGpus:
    """The GPUs of one machine over time."""

    def __init__(self) -> None:
        """None is known yet."""
        self._missed: dict[str, int] = {}

    @property
    def any(self) -> bool:
        """Whether the machine was ever seen to have one."""
        return bool(self._missed)

    def read(self, gpus: Sequence[Gpu], answered: bool) -> tuple[str, ...]:
        """Take a reading; the UUIDs of those that are lost by now, sorted.

        `answered`: NVML said something; `gpus` is then all that it sees.
        """
        if answered:
            well = {gpu.uuid for gpu in gpus if gpu.healthy}
            for uuid in sorted(well | {gpu.uuid for gpu in gpus}):
                self._missed.setdefault(uuid, 0)
            for uuid in self._missed:
                self._missed[uuid] = 0 if uuid in well else self._missed[uuid] + 1
        most = limits.GPU_LOST_READINGS
        return tuple(sorted(uuid for uuid, times in self._missed.items() if times >= most))
