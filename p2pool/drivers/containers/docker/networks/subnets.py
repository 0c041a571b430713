"""Chooses a subnet for a task's network: small, and in nobody's way. Pure.

Intuition: Docker's own pools end at some thirty networks, and a node may run hundreds of tasks. So
a task gets few addresses, out of ranges that the machine's owner names, and whatever the machine
already routes or another network holds is stepped over.

Invariants: what is chosen lies in one of the ranges and overlaps nothing that is taken; the work
grows with what is taken, not with the size of the ranges.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from p2pool.model import limits

BITS = 32
NOT_FOR_COPIES = 3  # The network's own address, the machine's on it, and the broadcast.


def prefix_for(replicas: int) -> int:
    """The length of the prefix that has room for a task's copies, each with a successor."""
    wanted = max(2 * replicas + NOT_FOR_COPIES, limits.TASK_SUBNET_MIN_ADDRESSES)
    return BITS - (wanted - 1).bit_length()


def first_free(
    ranges: Sequence[IPv4Network], taken: Iterable[IPv4Network], prefix: int
) -> IPv4Network | None:
    """The first subnet of this length in the ranges that overlaps nothing; None: there is none."""
    size = 1 << (BITS - prefix)
    busy = sorted((int(one.network_address), int(one.broadcast_address)) for one in taken)
    for one in ranges:
        at = -(-int(one.network_address) // size) * size
        for low, high in busy:
            if low >= at + size:
                break
            if high >= at:
                at = -(-(high + 1) // size) * size
        if at + size - 1 <= int(one.broadcast_address):
            return IPv4Network((at, prefix))
    return None
