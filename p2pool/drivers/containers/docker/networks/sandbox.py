"""The container that holds the network namespace of one attempt: its labels and its request. Pure.

Intuition: a copy's namespace has to be there, with its rules, before the copy begins; and it
carries what belongs to a network rather than to a program: addresses, published ports, names. So a
sandbox of our own image holds it, in which nothing but `sleep` runs, and the copy joins.

Invariants: its labels are not a copy's, so no listing of copies shows it. Its one capability is for
the rules; the copy shares its network, and neither its processes nor its capability. The sandbox of
a copy with secrets also holds their memory, and may give files to the copy's user.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pool.codec.json.hex import unhex
from p2pool.drivers.containers.docker.container.labels import (
    COPY,
    PREFIX,
    is_of,
    name_of,
    numbers_of,
    scope_labels,
    texts_of,
)
from p2pool.drivers.containers.docker.secrets.volume import CAPABILITIES, secrets_mount
from p2pool.model import limits
from p2pool.model.ids import TASK_ID_BYTES, AllocationId, TaskId
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope

Key = tuple[AllocationId, int]
"""An attempt of a copy."""

SANDBOX = f"{PREFIX}.sandbox"
NFT = "/usr/sbin/nft"
SLEEP = ("/bin/busybox", "sleep", "2147483647")


def sandbox_name(scope: RuntimeScope, key: Key) -> str:
    """The unique name of an attempt's sandbox on an engine."""
    return f"{name_of(scope, *key)}-net"


def sandbox_of(scope: RuntimeScope, labels: Mapping[str, str] | None) -> Key | None:
    """Whose sandbox a container is; None: it is none, or another scope's."""
    given = texts_of(labels)
    if COPY in given:  # Its image may carry any label besides.
        return None
    if not is_of(scope, given):
        return None
    head, _, rest = given.get(SANDBOX, "").partition("-")
    task, numbers = unhex(head, TASK_ID_BYTES), numbers_of(rest, "-", 2)
    if task is None or numbers is None:
        return None
    replica, attempt = numbers
    return AllocationId(TaskId(task), replica), attempt


def sandbox_body(
    scope: RuntimeScope, plan: ContainerPlan, network: str, resolvers: Sequence[str]
) -> dict[str, Any]:
    """The body of `POST /containers/create`, without the image and the runtime."""
    task, replica = plan.allocation.task_id.hex(), plan.allocation.replica
    secret = bool(plan.secrets)
    return {
        "Entrypoint": [],
        "Cmd": list(SLEEP),
        "User": "0:0",
        "Labels": scope_labels(scope) | {SANDBOX: f"{task}-{replica}-{plan.attempt}"},
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in plan.spec.ports},
        "Healthcheck": {"Test": ["NONE"]},
        # The first process of a namespace heeds no other signal that it does not handle.
        "StopSignal": "SIGKILL",
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": {
            "Privileged": False,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN", *(CAPABILITIES if secret else ())],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Memory": limits.SANDBOX_MEMORY_BYTES,
            "MemorySwap": limits.SANDBOX_MEMORY_BYTES,
            "PidsLimit": limits.SANDBOX_PIDS_MAX,
            "NetworkMode": network,
            "CgroupnsMode": "private",
            "IpcMode": "private",
            "PidMode": "",
            "UTSMode": "",
            "Init": False,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,
            "LogConfig": {"Type": "none", "Config": {}},
            "Dns": list(resolvers),
            "PublishAllPorts": False,
            "PortBindings": {
                f"{port.container}/{port.protocol}": [{"HostPort": str(port.host or "")}]
                for port in plan.spec.ports
            },
            "Mounts": [secrets_mount(scope, plan, read_only=False)] if secret else [],
        },
    }
