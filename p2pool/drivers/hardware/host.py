"""The machine without its GPUs: processors, memory, disk, and how busy it is.

Everything describes the whole machine, not this process: containers are the engine's children, and
a limit on the agent's service does not apply to them. Architectures have the names that images use
(`amd64`, `arm64`).
"""

import os
import platform
from pathlib import Path

import attrs
import psutil

from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.model.machine.hardware import Load

CPUINFO = Path("/proc/cpuinfo")
MODEL_FIELDS = ("model name", "cpu model", "model", "hardware")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
DISK_STEP_BYTES = 256 * 1024 * 1024
PERMILLE = 1000
MIB = 1024 * 1024


@attrs.frozen
class Host:
    """The machine's capacity. `disk_bytes`: free for the data directory, in whole steps."""

    cpu_model: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    architecture: str


def read_host(directory: Path) -> Host:
    """Read it all; `directory` need not exist yet.

    Raises Misconfigured if its file system cannot be inspected.
    """
    machine = platform.machine().lower()
    return Host(
        cpu_model=cpu_model(CPUINFO),
        cpu_milli=min((os.cpu_count() or 1) * 1000, limits.CPU_MILLI_MAX),
        memory_bytes=min(int(psutil.virtual_memory().total), limits.RESOURCE_MAX_BYTES),
        disk_bytes=min(whole_steps(disk_free_bytes(directory)), limits.RESOURCE_MAX_BYTES),
        architecture=ARCHITECTURES.get(machine, machine),
    )


def read_load() -> Load:
    """How busy the machine is: processors averaged over the last minute, memory now.

    The system's own average needs no earlier sample, and does not jump with each heartbeat.
    """
    memory = psutil.virtual_memory()
    busy, cpus = psutil.getloadavg()[0], os.cpu_count() or 1
    return Load(
        cpu_permille=permille(busy, cpus),
        memory_permille=permille(memory.total - memory.available, memory.total),
    )


def permille(part: float, whole: int) -> int:
    """Thousandths, from 0 to 1000: an overloaded machine counts as full."""
    return max(0, min(PERMILLE, int(part * PERMILLE / whole))) if whole > 0 else 0


def whole_steps(count: int) -> int:
    """Rounded down, so that a log line on the disk does not change what the node offers."""
    return count - count % DISK_STEP_BYTES


def disk_free_bytes(directory: Path) -> int:
    """The bytes that a user may still write where the directory is, or will be."""
    place = directory.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return int(psutil.disk_usage(str(place)).free)
    except OSError as error:
        raise Misconfigured(
            f"The disk of {directory} cannot be inspected: {error.strerror}.",
            hint="Name another data directory.",
        ) from error


def disk_trouble(directory: Path, reserve_bytes: int = limits.DISK_RESERVE_BYTES) -> str | None:
    """Why no work should come because the disk is nearly full; None while the reserve is free."""
    try:
        free_bytes = disk_free_bytes(directory)
    except Misconfigured as error:
        return error.message
    if free_bytes >= reserve_bytes:
        return None
    free, needed = free_bytes // MIB, reserve_bytes // MIB
    return f"The disk of {directory} is nearly full: {free} MiB are free, {needed} are reserved."


def cpu_model(cpuinfo: Path) -> str:
    """The processor's name from the kernel, else its architecture."""
    try:
        with cpuinfo.open(errors="replace") as file:
            lines = file.read(limits.CPUINFO_MAX_BYTES).splitlines()
    except OSError:
        lines = []
    said: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.strip():
            said.setdefault(name.strip().lower(), " ".join(value.split()))
    for field in MODEL_FIELDS:
        # On x86 "model" is a number, not a name.
        if field in said and not said[field].isdigit():
            return said[field].encode()[: limits.NAME_MAX_BYTES].decode(errors="ignore")
    return platform.processor() or platform.machine() or "unknown"
