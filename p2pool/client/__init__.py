"""Talks to agents over their API: what programs import, and what the commands use.

    from p2pool.client import AsyncClient, Client, KeySigner

These names are stable, and told in docs/platforms.md. Each is imported when it is first used, since
commands, which last as long as their imports, have modules here too. Neither libp2p nor web3, nor
anything else of an agent, comes with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pool.client.library.agents import Agent
    from p2pool.client.library.answers import (
        Accepted,
        Allocation,
        CopyMetrics,
        Event,
        Grant,
        LogLine,
        Metric,
        Node,
        NodeRefusal,
        Pool,
        Quota,
        QuotaUse,
        Task,
    )
    from p2pool.client.library.async_client import AsyncClient, AsyncStream
    from p2pool.client.library.client import Client, Stream
    from p2pool.client.library.questions import Prepared
    from p2pool.client.library.signers import KeySigner, Signer, TypedData
    from p2pool.model.access.delegations import DelegationFile
    from p2pool.model.errors import (
        BadKey,
        BadSignature,
        BadSpec,
        Conflict,
        Malformed,
        Misconfigured,
        NoLeader,
        NotAllowed,
        NotForUs,
        NotFound,
        Overloaded,
        P2poolError,
        Refusal,
        Stale,
        TooMany,
        Unavailable,
    )
    from p2pool.model.ids import PoolRef

_PLACES = {
    "library.agents": ("Agent",),
    "library.answers": (
        *("Accepted", "Allocation", "CopyMetrics", "Event", "Grant", "LogLine", "Metric"),
        *("Node", "NodeRefusal", "Pool", "Quota", "QuotaUse", "Task"),
    ),
    "library.async_client": ("AsyncClient", "AsyncStream"),
    "library.client": ("Client", "Stream"),
    "library.questions": ("Prepared",),
    "library.signers": ("KeySigner", "Signer", "TypedData"),
}
_OF_THE_MODEL = {
    "access.delegations": ("DelegationFile",),
    "errors": (
        *("BadKey", "BadSignature", "BadSpec", "Conflict", "Malformed", "Misconfigured"),
        *("NoLeader", "NotAllowed", "NotFound", "NotForUs", "Overloaded", "P2poolError"),
        *("Refusal", "Stale", "TooMany", "Unavailable"),
    ),
    "ids": ("PoolRef",),
}
_MODULES = {
    **{name: f"p2pool.client.{module}" for module, names in _PLACES.items() for name in names},
    **{name: f"p2pool.model.{module}" for module, names in _OF_THE_MODEL.items() for name in names},
}

__all__ = [
    "Accepted",
    "Agent",
    "Allocation",
    "AsyncClient",
    "AsyncStream",
    "BadKey",
    "BadSignature",
    "BadSpec",
    "Client",
    "Conflict",
    "CopyMetrics",
    "DelegationFile",
    "Event",
    "Grant",
    "KeySigner",
    "LogLine",
    "Malformed",
    "Metric",
    "Misconfigured",
    "NoLeader",
    "Node",
    "NodeRefusal",
    "NotAllowed",
    "NotForUs",
    "NotFound",
    "Overloaded",
    "P2poolError",
    "Pool",
    "PoolRef",
    "Prepared",
    "Quota",
    "QuotaUse",
    "Refusal",
    "Signer",
    "Stale",
    "Stream",
    "Task",
    "TooMany",
    "TypedData",
    "Unavailable",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if (module := _MODULES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
