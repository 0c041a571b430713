"""Processes as /proc shows them; standard library only, since the shim uses it.

A process is identified by its number *and* its start time, in ticks since a boot, because numbers
are reused. Zombies count as gone: they run nothing, and reaping them is their parent's business.
"""

import contextlib
import os
import resource
from pathlib import Path


def read_stat(pid: int) -> tuple[str, int, int, int] | None:
    """State, parent, session and start time (ticks since boot) of a process; None: no such process.

    The name in parentheses may contain anything, so fields count from its last parenthesis.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return text[0].decode(), int(text[1]), int(text[3]), int(text[19])


def all_stats() -> dict[int, tuple[str, int, int, int]]:
    """Every process except zombies."""
    found = {}
    for name in os.listdir("/proc"):
        stat = read_stat(int(name)) if name.isdigit() else None
        if stat is not None and stat[0] not in "ZX":
            found[int(name)] = stat
    return found


def boot_id() -> str:
    """The id of the boot that start times count from."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def descendants(root: int) -> list[int]:
    """All descendants of a process, without it, parents first."""
    children: dict[int, list[int]] = {}
    for pid, stat in all_stats().items():
        children.setdefault(stat[1], []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def has_variable(pid: int, variable: str) -> bool:
    """Whether a process's environment had `NAME=value` when it called exec."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return os.fsencode(variable) in environment.split(b"\0")


def own_memory_bytes(pid: int) -> int:
    """The memory that a process holds and shares with nobody."""
    try:
        _, resident, shared = Path(f"/proc/{pid}/statm").read_bytes().split()[:3]
    except (OSError, ValueError):
        return 0
    return max(0, int(resident) - int(shared)) * resource.getpagesize()


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
