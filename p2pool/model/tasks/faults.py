"""Whose fault it is that a container did not start: the task's, its node's, or the world's.

Intuition: who is at fault decides what helps. A task that no node can start ends. What one node
refuses goes to another node. What the world refuses is tried again where it is, for a while.

Invariants: only what is known to be the task's own fault counts as that. What nobody foresaw counts
as its node's: if it is the task's after all, every node refuses it, and that ends it too.
Source: docs/design/tasks.md, "Whose fault a failed start is".
"""

from collections.abc import Mapping
from enum import Enum

from p2pool.model import errors as e
from p2pool.model.states import StartRefusal


class Fault(Enum):
    """Who has to mend it. NODE_NOW: the node's, and it may mend by itself."""

    TASK = "task"
    NODE = "node"
    NODE_NOW = "node-now"
    WORLD = "world"


FAULTS: Mapping[type[e.P2poolError], Fault] = {
    e.P2poolError: Fault.NODE,
    # The registry answered, and the same registry answers every node.
    e.ImageNotFound: Fault.TASK,
    e.CannotStart: Fault.TASK,
    e.BadSpec: Fault.TASK,
    # A node's logins, allow-list, platform and devices are its own.
    e.Refusal: Fault.NODE,
    e.ImageRefused: Fault.NODE,
    e.ImageNotHere: Fault.NODE,
    e.RegistryDenied: Fault.NODE,
    e.WrongPlatform: Fault.NODE,
    e.NotOffered: Fault.NODE,
    e.NodeCannotStart: Fault.NODE,
    e.Misconfigured: Fault.NODE,
    e.NoGpuSupport: Fault.NODE,
    # These pass, once whoever holds the port, the name or the space lets go of it.
    e.HostPortTaken: Fault.NODE_NOW,
    e.PortTaken: Fault.NODE_NOW,
    e.NodeExhausted: Fault.NODE_NOW,
    e.Conflict: Fault.NODE_NOW,
    e.DiskFull: Fault.NODE_NOW,
    e.StoreFailed: Fault.NODE_NOW,
    e.DirectoryUnseen: Fault.NODE_NOW,
    # A container that somebody removed is created anew; an engine or a registry comes back.
    e.NotFound: Fault.WORLD,
    e.Unavailable: Fault.WORLD,
}
"""The fault of each error, and of those below it in the tree that have no row."""

REFUSALS: Mapping[Fault, StartRefusal] = {
    Fault.TASK: StartRefusal.NONE,
    Fault.NODE: StartRefusal.LASTING,
    Fault.NODE_NOW: StartRefusal.PASSING,
    Fault.WORLD: StartRefusal.PASSING,
}
"""What a node reports of a start that it gave up."""


def fault_of(error: e.P2poolError) -> Fault:
    """Whose fault an error is: the row of its class, or of the nearest one above it."""
    return next(FAULTS[cls] for cls in type(error).__mro__ if cls in FAULTS)
