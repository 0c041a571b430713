"""Xid errors: the NVIDIA driver's reports about a card, at the moment it fails.

Intuition: NVML remembers no Xid; only a listener hears it. So one thread listens for as long as the
agent runs, a few seconds at a time, and keeps the last Xid of each card until the agent ends. After
a reset by hand, a restart of the agent makes the card healthy again, and needs no root.

Invariants: a driver that is missing, or that reports no events, is retried periodically and costs
nothing else; the thread ends within one wait of the agent's end.
"""

from typing import Any

import pynvml
import trio

from p2pool.drivers.hardware.nvml_gpu import short, tried
from p2pool.model import limits

_THREADS = trio.CapacityLimiter(1)


class XidWatch:
    """The last Xid of each card, by UUID, in `seen`."""

    def __init__(self) -> None:
        """No event has arrived yet."""
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
        """Receive events for as long as the driver reports them."""
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
            return  # A lost card, or a driver that is being unloaded: start again later.
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
