"""Xid errors: what the NVIDIA driver tells of a card at the moment when it goes wrong.

Intuition: NVML remembers no Xid; whoever waits for it hears it. So one thread waits for as long as
the agent runs, a few seconds at a time, and the last Xid of each card is kept until the agent ends:
a card that was reset by hand is well again after a restart of the agent, which needs no root.

Invariants: a driver that is not there, or that tells no events, is tried again now and then and
costs nothing else; the thread ends within one wait of the agent's end.
"""

from typing import Any

import pynvml
import trio

from p2pool.drivers.hardware.nvmlgpu import short, tried
from p2pool.model import limits

_THREADS = trio.CapacityLimiter(1)


class XidWatch:
    """The last Xid of each card, by UUID, in `seen`."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self.seen: dict[str, int] = {}
        self._ended = False

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                await trio.to_thread.run_sync(
                    self._listen, abandon_on_cancel=True, limiter=_THREADS
                )
                await trio.sleep(limits.XID_RETRY_MS / 1000)
        finally:
            self._ended = True

    def _listen(self) -> None:
        """Hear events for as long as the driver tells them."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        try:
            events, cards = pynvml.nvmlEventSetCreate(), 0
            try:
                for index in range(pynvml.nvmlDeviceGetCount()):
                    cards += self._register(index, events)
                while cards and not self._ended:
                    self._wait(events)
            finally:
                tried(pynvml.nvmlEventSetFree, events)
        except pynvml.NVMLError:
            return  # A lost card, or a driver that is being taken out: begin anew later.
        finally:
            tried(pynvml.nvmlShutdown)

    def _register(self, index: int, events: Any) -> bool:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        except pynvml.NVMLError:
            return False
        return True

    def _wait(self, events: Any) -> None:
        try:
            told = pynvml.nvmlEventSetWait(events, limits.XID_WAIT_MS)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_TIMEOUT:
                raise
            return
        uuid = tried(pynvml.nvmlDeviceGetUUID, told.device)
        if uuid:
            self.seen[short(uuid)] = int(told.eventData)
