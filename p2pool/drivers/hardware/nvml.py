"""The machine's GPUs as NVML, NVIDIA's management library, reports them.

Intuition: NVML is a C library that comes with the driver; a machine without GPUs does not have it.
Whatever it says, or fails to say, is an answer with a reason: the agent runs on without GPUs.

Invariants: one GPU that does not answer hides no other; a GPU is named by its UUID, never by its
index, so one that cannot even tell its UUID is a problem that is told, and no GPU that is offered.
NVML is initialised anew for each reading, so that a driver that came or went is seen. A call that
hangs in the driver cannot be ended: it holds its thread, and the one place for such threads.
"""

from collections.abc import Callable

import attrs
import pynvml
import trio

from p2pool.model import limits
from p2pool.model.hardware import Gpu

_THREADS = trio.CapacityLimiter(1)

UNSAID = "unknown"


@attrs.frozen
class NvmlAnswer:
    """What NVML said. `gpus` are sorted by UUID, those that do not answer `healthy=False`.

    `reason` is why there is no answer at all, empty where there is one. `absent`: NVML is not
    installed, as on every machine without an NVIDIA driver. `problems` are sentences on single
    GPUs.
    """

    gpus: tuple[Gpu, ...] = ()
    driver_version: str = ""
    reason: str = ""
    absent: bool = False
    problems: tuple[str, ...] = ()


async def read_gpus(timeout_ms: int = limits.NVML_TIMEOUT_MS) -> NvmlAnswer:
    """All GPUs of the machine; never raises for what the driver does."""
    with trio.move_on_after(timeout_ms / 1000):
        return await trio.to_thread.run_sync(_read, abandon_on_cancel=True, limiter=_THREADS)
    return NvmlAnswer(
        reason=f"The NVIDIA driver did not answer within {timeout_ms} ms; look at nvidia-smi."
    )


def _read() -> NvmlAnswer:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _none(error)
    try:
        return _read_all()
    except pynvml.NVMLError as error:
        return NvmlAnswer(reason=f"NVML does not list the GPUs: {_text(error)}.")
    finally:
        _tried(pynvml.nvmlShutdown)


def _none(error: pynvml.NVMLError) -> NvmlAnswer:
    """Why there is no NVML, and what to do."""
    if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        why = "No NVIDIA driver is installed (there is no libnvidia-ml.so.1)."
        return NvmlAnswer(reason=why, absent=True)
    if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return NvmlAnswer(
            reason="The NVIDIA driver is installed but not loaded: run 'modprobe nvidia' as root,"
            " or reboot."
        )
    if error.value == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return NvmlAnswer(
            reason="The NVIDIA driver that is loaded is of another version than its library:"
            " reboot after the driver's update."
        )
    return NvmlAnswer(reason=f"NVML does not start: {_text(error)}.")


def _read_all() -> NvmlAnswer:
    version = _tried(pynvml.nvmlSystemGetDriverVersion)
    count: int = pynvml.nvmlDeviceGetCount()
    found: dict[str, Gpu] = {}
    problems: list[str] = []
    for index in range(count):
        gpu, problem = _read_one(index)
        if gpu is not None:
            found[gpu.uuid] = gpu
        if problem:
            problems.append(problem)
    gpus = tuple(found[uuid] for uuid in sorted(found))
    if len(gpus) > limits.GPUS_PER_NODE_MAX:
        most = limits.GPUS_PER_NODE_MAX
        problems.append(f"There are {len(gpus)} GPUs; the first {most} by UUID count.")
        gpus = gpus[:most]
    return NvmlAnswer(gpus, _short(version or ""), problems=tuple(problems))


def _read_one(index: int) -> tuple[Gpu | None, str]:
    """One GPU, and a sentence when something is wrong with it."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _short(pynvml.nvmlDeviceGetUUID(handle))
    except (pynvml.NVMLError, UnicodeDecodeError) as error:
        return None, f"GPU number {index} is not offered: {_text(error)}."
    if not uuid:
        return None, f"GPU number {index} is not offered: it has no UUID."
    model = _short(_tried(pynvml.nvmlDeviceGetName, handle) or UNSAID)
    try:
        memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
            # A GPU that shares the machine's memory has none of its own to tell.
            return Gpu(uuid, model, 0), f"The GPU {uuid} does not tell how much memory it has."
        reason = f"{_text(error)}; look at nvidia-smi"
        return Gpu(uuid, model, 0, False, reason), f"The GPU {uuid} is not well: {reason}."
    return Gpu(uuid, model, memory_bytes), ""


def _tried(call: Callable[..., str | None], *arguments: object) -> str | None:
    """The answer, or None where this one call fails: what it tells is not needed."""
    try:
        return call(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None


def _text(error: Exception) -> str:
    """NVML's own words, without a full stop."""
    said = "its answer is no text" if isinstance(error, UnicodeDecodeError) else str(error)
    return said.rstrip(".") or "unknown error"


def _short(text: str) -> str:
    """At most as long as a name on the wire may be."""
    return text.encode()[: limits.NAME_MAX_BYTES].decode(errors="ignore")
