"""One GPU as NVML reports it: its identity, its health, and the MIG instances that it is cut into.

Intuition: each field of a card is asked for separately, so a field that fails hides no other. With
MIG switched on a card runs nothing itself: tasks get its instances, each by its own UUID, so the
instances take the card's place in the list.

Invariants: a card without a UUID is reported as a problem and not offered. A card is unhealthy
after an uncorrected ECC error or an Xid of the hardware; errors that a task itself causes
(`OF_TASKS`, the list of the Kubernetes device plugin) do not count against a card.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import pynvml

from p2pool.codec.text.clip import clipped
from p2pool.model import limits
from p2pool.model.machine.hardware import UNKNOWN, Gpu, GpuLoad

T = TypeVar("T")

UNSAID = "unknown"
MIB = 2**20
OF_TASKS = frozenset({13, 31, 43, 45, 68, 109})
"""Xid errors that programs themselves cause."""


@attrs.frozen
class Seen:
    """A GPU with its load, and a sentence if something is wrong with it."""

    gpu: Gpu
    load: GpuLoad
    problem: str | None = None


def read_card(index: int, xids: Mapping[str, int]) -> tuple[list[Seen], str | None]:
    """The entries for one card: itself, or its MIG instances; a sentence if there is none.

    `xids`: the last Xid of each card, by UUID.
    """
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = short(pynvml.nvmlDeviceGetUUID(handle))
    except (pynvml.NVMLError, UnicodeDecodeError) as error:
        return [], f"GPU number {index} is not offered: {said(error)}."
    if not uuid:
        return [], f"GPU number {index} is not offered: it has no UUID."
    card = _read(handle, uuid, xids.get(uuid, 0), "")
    mode = tried(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return [card], card.problem
    parts = _instances(handle, card, xids.get(uuid, 0))
    if not parts:
        return [], f"The GPU {uuid} has MIG on but no instance: nvidia-smi mig creates one."
    return parts, card.problem


def _instances(handle: Any, card: Seen, xid: int) -> list[Seen]:
    """The MIG instances of a card; they are as healthy as the card is."""
    parts: list[Seen] = []
    for number in range(tried(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        try:
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            uuid = short(pynvml.nvmlDeviceGetUUID(part))
        except (pynvml.NVMLError, UnicodeDecodeError):
            continue  # There are fewer instances than there could be.
        if not uuid:
            continue
        seen = _read(part, uuid, xid, card.gpu.uuid)
        if not card.gpu.healthy:
            ill = attrs.evolve(seen.gpu, healthy=False, reason=card.gpu.reason)
            seen = attrs.evolve(seen, gpu=ill)
        parts.append(seen)
    return parts


def _read(handle: Any, uuid: str, xid: int, parent: str) -> Seen:
    model = short(tried(pynvml.nvmlDeviceGetName, handle) or UNSAID)
    load = _load(handle, xid)
    gpu, problem = Gpu(uuid, model, 0, parent=parent), None
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
            return _ill(gpu, load, f"{said(error)}; check nvidia-smi")
        # A GPU that shares the machine's memory has none of its own to report.
        problem = f"The GPU {uuid} does not report how much memory it has."
    else:
        load = attrs.evolve(load, memory_used_mib=int(memory.used) // MIB)
        gpu = attrs.evolve(gpu, memory_bytes=int(memory.total))
    if xid and xid not in OF_TASKS:
        return _ill(gpu, load, f"Xid {xid}; check dmesg, and reset it with nvidia-smi -r")
    if load.ecc_errors:
        count = f"{load.ecc_errors} uncorrected ECC error{'' if load.ecc_errors == 1 else 's'}"
        return _ill(gpu, load, f"{count}; reset it with nvidia-smi -r, or replace it")
    return Seen(gpu, load, problem)


def _ill(gpu: Gpu, load: GpuLoad, reason: str) -> Seen:
    gpu = attrs.evolve(gpu, healthy=False, reason=reason)
    return Seen(gpu, load, f"The GPU {gpu.uuid} is unhealthy: {reason}.")


def _load(handle: Any, xid: int) -> GpuLoad:
    """Its current state; the memory is read with the card."""
    rates = tried(pynvml.nvmlDeviceGetUtilizationRates, handle)
    errors = tried(
        pynvml.nvmlDeviceGetTotalEccErrors,
        handle,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_VOLATILE_ECC,
    )
    celsius = tried(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    running = tried(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return GpuLoad(
        temperature_c=UNKNOWN if celsius is None else celsius,
        busy_percent=UNKNOWN if rates is None else int(rates.gpu),
        memory_used_mib=UNKNOWN,
        processes=UNKNOWN if running is None else len(running),
        ecc_errors=int(errors or 0),
        xid=xid,
    )


def tried(call: Callable[..., T], *arguments: object) -> T | None:
    """The answer, or None if this one call fails: the field is optional."""
    try:
        return call(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None


def said(error: Exception) -> str:
    """NVML's own words, without a full stop."""
    text = "its answer is not text" if isinstance(error, UnicodeDecodeError) else str(error)
    return text.rstrip(".") or "unknown error"


def short(text: str) -> str:
    """At most as long as a name on the wire may be."""
    return clipped(text, limits.NAME_MAX_BYTES)
