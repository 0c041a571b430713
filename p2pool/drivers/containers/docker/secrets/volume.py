"""Where a copy's secrets lie: a volume in memory, which the copy and its sandbox both mount.

Intuition: a file system in memory has to be filled before the copy begins, so something has to hold
it before that: the sandbox, which runs first and ends last. The engine mounts the volume when the
first of the two starts, and lets go of it, with all that is in it, when the last one ends. So a
restart finds it empty, and nothing of it outlives the copy, the engine or the machine.

It is a ramfs: a tmpfs whose pages the kernel never moves to swap. Only the sandbox writes there, a
known number of bytes, so it needs no bound of its own.

Invariants: the engine keeps the volume's options and no contents. Both containers name the options,
so an engine that lost the volume makes the same again, not one on its disk; `delivery` looks before
it writes all the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from docker.errors import APIError

from p2pool.codec.spec.secrets import DIRECTORY
from p2pool.drivers.containers.docker.container.labels import (
    PREFIX,
    name_of,
    scope_filter,
    scope_labels,
)
from p2pool.drivers.containers.docker.engine.answers import fields, objects, text
from p2pool.drivers.containers.docker.engine.errors import explanation, other_error
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope

Ask = Callable[[Callable[[Any], Any]], Awaitable[Any]]
"""Asks an engine."""
VOLUME = f"{PREFIX}.secrets-volume"
"""The label of such a volume."""
CAPABILITIES = ("CHOWN", "FOWNER")
"""What a sandbox needs besides, to give files to a copy's user."""
MOUNTED = "volume has active mounts"
OPTIONS = {"type": "ramfs", "device": "ramfs", "o": "mode=01777"}
"""Its sandbox's root may be no root to the machine; nobody else gets there before `delivery`
shuts it."""


def secrets_mount(scope: RuntimeScope, plan: ContainerPlan, *, read_only: bool) -> dict[str, Any]:
    """The mount of an attempt's secrets, as an engine is asked for it."""
    return {
        "Type": "volume",
        "Source": f"{name_of(scope, plan.allocation, plan.attempt)}-secrets",
        "Target": DIRECTORY,
        "ReadOnly": read_only,
        "VolumeOptions": {
            # Else the engine fills it with what the image has there.
            "NoCopy": True,
            "Labels": scope_labels(scope) | {VOLUME: "1"},
            "DriverConfig": {"Name": "local", "Options": dict(OPTIONS)},
        },
    }


async def left_volumes(scope: RuntimeScope, ask: Ask) -> list[str]:
    """The volumes of a scope that no container names any longer; they hold nothing."""
    filters = {"label": [*scope_filter(scope), VOLUME], "dangling": True}
    try:
        found = fields(await ask(lambda client: client.volumes(filters=filters)))
    except APIError as error:
        raise other_error(error) from error
    names = (text(row.get("Name")) for row in objects(found.get("Volumes")))
    return [name for name in names if name]


def remove_volume(name: str, client: Any) -> None:
    """Remove a volume. APIError: a container names it. One that an engine with live-restore counts
    as mounted since its restart stays until its next one."""
    try:
        client.remove_volume(name)
    except APIError as error:
        if MOUNTED not in explanation(error):
            raise


def volumes_of(box: Mapping[str, Any]) -> list[str]:
    """The names of the volumes that a sandbox holds."""
    return [text(one.get("Name")) for one in objects(box.get("Mounts")) if one.get("Name")]
