"""The machine's GPUs as NVML, NVIDIA's management library, reports them.

Intuition: NVML is a C library that comes with the driver; a machine without NVIDIA GPUs does not
have it. Any failure of NVML becomes an answer with a reason: the agent runs on without GPUs.

Invariants: one GPU that does not answer hides no other; a GPU is identified by its UUID, never by
its index (`nvml_gpu`). Each reading initialises NVML anew, so it notices a driver that came or
went. A call that hangs in the driver cannot be ended: it keeps its thread, and the only slot for
such threads.
"""

from collections.abc import Mapping

import attrs
import pynvml
import trio

from p2pool.drivers.hardware.nvml_gpu import Seen, read_card, said, short, tried
from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu, GpuLoad

_THREADS = trio.CapacityLimiter(1)


@attrs.frozen
class NvmlAnswer:
    """NVML's answer. `gpus` are sorted by UUID, unresponsive ones `healthy=False`; `loads` are
    in the same order.

    `reason` says why there is no answer at all, None if there is one. `absent`: NVML is not
    installed, as on every machine without an NVIDIA driver. `problems` are sentences about
    single GPUs.
    """

    gpus: tuple[Gpu, ...] = ()
    driver_version: str = ""
    reason: str | None = None
    absent: bool = False
    problems: tuple[str, ...] = ()
    loads: tuple[GpuLoad, ...] = ()
    cuda_version: str = ""


async def read_gpus(
    timeout_ms: int = limits.NVML_TIMEOUT_MS, xids: Mapping[str, int] | None = None
) -> NvmlAnswer:
    """All GPUs of the machine; the driver never makes it raise.

    `xids`: the last Xid error of each card by UUID, as `xid.XidWatch` keeps them.
    """
    seen = dict(xids or {})
    with trio.move_on_after(timeout_ms / 1000):
        return await trio.to_thread.run_sync(_read, seen, abandon_on_cancel=True, limiter=_THREADS)
    return NvmlAnswer(
        reason=f"The NVIDIA driver did not answer within {timeout_ms} ms; check with nvidia-smi."
    )


def _read(xids: Mapping[str, int]) -> NvmlAnswer:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _none(error)
    try:
        return _read_all(xids)
    except pynvml.NVMLError as error:
        return NvmlAnswer(reason=f"NVML does not list the GPUs: {said(error)}.")
    finally:
        tried(pynvml.nvmlShutdown)


def _none(error: pynvml.NVMLError) -> NvmlAnswer:
    """Why there is no NVML, and what to do about it."""
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
            reason="The loaded NVIDIA driver has another version than its library:"
            " reboot after the driver's update."
        )
    return NvmlAnswer(reason=f"NVML does not start: {said(error)}.")


def _read_all(xids: Mapping[str, int]) -> NvmlAnswer:
    version = tried(pynvml.nvmlSystemGetDriverVersion)
    cuda = tried(pynvml.nvmlSystemGetCudaDriverVersion_v2) or 0
    count: int = pynvml.nvmlDeviceGetCount()
    found: dict[str, Seen] = {}
    problems: list[str] = []
    for index in range(count):
        cards, problem = read_card(index, xids)
        found |= {seen.gpu.uuid: seen for seen in cards}
        if problem is not None:
            problems.append(problem)
    seen = [found[uuid] for uuid in sorted(found)]
    if len(seen) > limits.GPUS_PER_NODE_MAX:
        most = limits.GPUS_PER_NODE_MAX
        problems.append(f"There are {len(seen)} GPUs; the first {most} by UUID count.")
        seen = seen[:most]
    return NvmlAnswer(
        tuple(one.gpu for one in seen),
        short(version or ""),
        problems=tuple(problems),
        loads=tuple(one.load for one in seen),
        # NVML reports 12040 for CUDA 12.4.
        cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
    )
