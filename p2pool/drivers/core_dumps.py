"""Keeps this process's memory out of core dumps: it holds keys, and the secrets of tasks.

Intuition: a kernel that pipes dumps to a program (systemd-coredump, apport) ignores a limit of no
bytes, and takes one byte for "none" (core(5)); for a dump into a file both are too few.
"""

import resource

MOST_BYTES = 1


def forbid_core_dumps() -> None:
    """This process and what it starts write no core dumps, and cannot allow themselves any."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = MOST_BYTES if hard == resource.RLIM_INFINITY else min(MOST_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
