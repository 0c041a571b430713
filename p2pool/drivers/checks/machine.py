"""Whether the hardware meets the pool's requirements: pure judgements on what the probe read.

Intuition: the pool's data URI says what a machine needs, the probe says what this one offers after
the caps of `[resources]`. A missing requirement is a failure that names the difference; resources
that nobody asked for are only shown. A machine without a GPU may join any pool that asks for none.
"""

from collections import Counter
from pathlib import Path

import attrs
import psutil

from p2pool.drivers.hardware.host import CPUINFO, disk_free_bytes
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.model import limits
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.machine.fitness import gpu_counts, meets_one
from p2pool.model.machine.hardware import Gpu, Hardware
from p2pool.model.machine.requirements import Requirements

GIB = 2**30
FLAGS_SHOWN = ("avx", "avx2", "avx512f", "amx_tile", "asimd", "sve")
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})


@attrs.frozen
class Facts:
    """Facts for the checks alone: processor flags, and the data directory's file system."""

    cpu_cores: int
    cpu_flags: tuple[str, ...]
    file_system: str
    mount_point: str
    disk_total_bytes: int
    disk_free_bytes: int


def read_facts(directory: Path) -> Facts:
    """Read them. Raises Misconfigured if the directory's disk cannot be inspected."""
    free_bytes = disk_free_bytes(directory)
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    mounts = [p for p in psutil.disk_partitions(all=True) if place.is_relative_to(p.mountpoint)]
    mount = max(mounts, key=lambda p: len(p.mountpoint), default=None)
    return Facts(
        cpu_cores=psutil.cpu_count() or 1,
        cpu_flags=_flags(CPUINFO),
        file_system=mount.fstype if mount else "unknown",
        mount_point=mount.mountpoint if mount else "unknown",
        disk_total_bytes=int(psutil.disk_usage(str(place)).total),
        disk_free_bytes=free_bytes,
    )


def _flags(cpuinfo: Path) -> tuple[str, ...]:
    try:
        with cpuinfo.open(errors="replace") as file:
            text = file.read(limits.CPUINFO_MAX_BYTES)
    except OSError:
        return ()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            there = frozenset(value.split())
            return tuple(flag for flag in FLAGS_SHOWN if flag in there)
    return ()


def machine_checks(
    hardware: Hardware, facts: Facts, nvml: NvmlAnswer, wanted: Requirements, reserve_bytes: int
) -> list[Check]:
    """All checks of the group `hardware`."""
    checks = [
        _processor(hardware, facts, wanted),
        _memory(hardware, wanted),
        _disk(hardware, facts, wanted, reserve_bytes),
        _gpus(hardware, nvml, wanted),
    ]
    checks += [_warning("gpu", problem) for problem in nvml.problems]
    if wanted.unknown:
        checks.append(
            Check(
                Group.HARDWARE,
                "requirements",
                Verdict.WARN,
                ", ".join(wanted.unknown),
                todo="This version cannot judge some of the pool's requirements: ask its manager.",
            )
        )
    return checks


def _warning(name: str, text: str) -> Check:
    return Check(Group.HARDWARE, name, Verdict.WARN, text, todo="Look at nvidia-smi.")


def _processor(hardware: Hardware, facts: Facts, wanted: Requirements) -> Check:
    flags = f" ({' '.join(facts.cpu_flags)})" if facts.cpu_flags else ""
    found = f"{hardware.cpu_model}, {hardware.cpu_milli / 1000:g} of {facts.cpu_cores} CPUs{flags}"
    if wanted.cpu_cores is None or hardware.cpu_milli >= wanted.cpu_cores * 1000:
        needed = f"{wanted.cpu_cores} CPUs" if wanted.cpu_cores is not None else ""
        return Check(Group.HARDWARE, "processor", Verdict.PASS, found, needed=needed)
    return Check(
        Group.HARDWARE,
        "processor",
        Verdict.FAIL,
        found,
        needed=f"{wanted.cpu_cores} CPUs",
        todo=_offer_more(facts.cpu_cores >= wanted.cpu_cores, "cpu_milli"),
    )


def _memory(hardware: Hardware, wanted: Requirements) -> Check:
    total_bytes = int(psutil.virtual_memory().total)
    found = f"{_gib(hardware.memory_bytes)} of {_gib(total_bytes)}"
    if wanted.memory_bytes is None or hardware.memory_bytes >= wanted.memory_bytes:
        needed = _gib(wanted.memory_bytes) if wanted.memory_bytes is not None else ""
        return Check(Group.HARDWARE, "memory", Verdict.PASS, found, needed=needed)
    return Check(
        Group.HARDWARE,
        "memory",
        Verdict.FAIL,
        found,
        needed=_gib(wanted.memory_bytes),
        todo=_offer_more(total_bytes >= wanted.memory_bytes, "memory_bytes"),
    )


def _disk(hardware: Hardware, facts: Facts, wanted: Requirements, reserve_bytes: int) -> Check:
    needed_bytes = max(wanted.disk_bytes or 0, reserve_bytes)
    found = (
        f"{_gib(hardware.disk_bytes)} offered, {_gib(facts.disk_free_bytes)} of"
        f" {_gib(facts.disk_total_bytes)} free on {facts.mount_point} ({facts.file_system})"
    )
    needed = f"{_gib(needed_bytes)} free"
    offered_bytes = hardware.disk_bytes if wanted.disk_bytes else facts.disk_free_bytes
    if offered_bytes < needed_bytes or facts.disk_free_bytes < reserve_bytes:
        return Check(
            Group.HARDWARE,
            "disk",
            Verdict.FAIL,
            found,
            needed=needed,
            todo=_offer_more(facts.disk_free_bytes >= needed_bytes, "disk_bytes")
            if facts.disk_free_bytes >= needed_bytes
            else "Free some space, or move the data directory: --data-dir.",
        )
    if facts.file_system in NETWORK_FILE_SYSTEMS:
        return Check(
            Group.HARDWARE,
            "disk",
            Verdict.WARN,
            found,
            needed=f"{needed}, on a local file system",
            todo="A log on a network file system is slow and may lose writes: use a local disk.",
        )
    return Check(Group.HARDWARE, "disk", Verdict.PASS, found, needed=needed)


def _gpus(hardware: Hardware, nvml: NvmlAnswer, wanted: Requirements) -> Check:
    needed = " or ".join(f"({option})" for option in wanted.gpus)
    well = [gpu for gpu in hardware.gpus if gpu.healthy]
    found = _counted(hardware.gpus) or (nvml.reason or "none")
    if not wanted.gpus:
        if nvml.reason is not None and not nvml.absent:
            return Check(
                Group.HARDWARE,
                "gpu",
                Verdict.WARN,
                found,
                todo="The scheduler gives this node no task that needs GPUs.",
            )
        return Check(Group.HARDWARE, "gpu", Verdict.PASS, found, needed="none is asked for")
    if meets_one(well, wanted.gpus):
        return Check(Group.HARDWARE, "gpu", Verdict.PASS, found, needed=needed)
    if meets_one(well, wanted.gpus, unknown_fits=True):
        return Check(
            Group.HARDWARE,
            "gpu",
            Verdict.WARN,
            found,
            needed=needed,
            todo="A GPU does not report its memory, so nothing says whether it is enough. Tasks"
            " that ask for GPU memory do not come here.",
        )
    todo = "This machine cannot join this pool; look for one that asks for less."
    dim = [(option.count, gpu_counts(well, option, unknown_fits=True)) for option in wanted.gpus]
    fewer = [count for count, counts in dim if count is not None and counts]
    if fewer:
        todo = (
            f"The pool takes that number and no other: set [resources] gpus = {max(fewer)}, or name"
            " them in gpu_uuids."
        )
    elif nvml.reason is not None and not nvml.absent:
        todo = "Fix the driver, then check again."
    elif any(not gpu.healthy for gpu in hardware.gpus):
        todo = "Fix the unhealthy GPUs, then check again."
    return Check(Group.HARDWARE, "gpu", Verdict.FAIL, found, needed=needed, todo=todo)


def _counted(gpus: tuple[Gpu, ...]) -> str:
    """`2 x Tesla T4 (15 GiB), 1 unhealthy`."""
    kinds = Counter((gpu.model, gpu.memory_bytes) for gpu in gpus)
    parts = [
        f"{count} x {model} ({_gib(size) if size else 'memory unknown'})"
        for (model, size), count in kinds.items()
    ]
    ill = sum(not gpu.healthy for gpu in gpus)
    return ", ".join([*parts, *([f"{ill} unhealthy"] if ill else [])])


def _offer_more(there: bool, key: str) -> str:
    if there:
        return f"Raise [resources] {key}: the machine has enough."
    return "This machine is too small for this pool; look for one that asks for less."


def _gib(count: int) -> str:
    return f"{count / GIB:.1f}".removesuffix(".0") + " GiB"
