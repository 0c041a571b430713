"""Turns a plan into a Docker Engine request: pure, hardened, and without surprises.

Every part of a specification that reaches the engine has a line here. No privilege, no host
namespaces, no restart policy of the engine's; limits on everything that can have one; the engine's
own seccomp and AppArmor profiles stay on; and host directories only where the agent's own data or
its configuration allow them.

Whatever the engine's `daemon.json` has a default for and isolation rests on is named here for every
container: the runtime, what `NVIDIA_*` say, limits, logs, namespaces, the first process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from p2pool.codec.spec.rules import chooses_devices, device_choices
from p2pool.codec.spec.secrets import DIRECTORY
from p2pool.drivers.containers.docker.container.labels import labels_of, name_of
from p2pool.drivers.containers.docker.engine.capabilities import EngineSupport, gpu_request
from p2pool.drivers.containers.settings import RUNC, GpuPath
from p2pool.model import limits
from p2pool.model.errors import CannotStart
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope
from p2pool.model.tasks.spec import Mount, MountKind

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""The capabilities of a container's root, out of all that Docker would grant."""
NANO_PER_MILLI = 1_000_000
BRIDGE = "bridge"
"""The engine's own network, which copies share where their owner turned isolation off."""
VISIBLE_GPUS, NO_GPU = "NVIDIA_VISIBLE_DEVICES", "void"
"""The variable by which NVIDIA's runtime and hook choose GPUs; its value for none at all, whatever
the image says."""
METRICS_VARIABLE = "P2POOL_METRICS_SOCKET"
SECRETS_VARIABLE = "P2POOL_SECRETS"
METRICS_TARGET, METRICS_SOCKET = "/run/p2pool", "metrics.sock"


@attrs.frozen
class Prepared:
    """Facts collected before the engine is asked: the image that the name stands for, the names of
    its variables and its command, the host directory behind each mount that has one, the OCI
    runtime, the network, and the limit on open files (an engine refuses more than its own limit).

    `secrets`: the mount that holds them. `first`: what becomes the command once it has added secret
    variables to its environment."""

    image: str
    digest: str
    sources: Mapping[Mount, Path]
    gpus: GpuPath = GpuPath.AUTO
    files_max: int = limits.PROCESS_FILES_MAX
    image_variables: tuple[str, ...] = ()
    oci_runtime: str = RUNC
    network: str = BRIDGE
    image_entrypoint: tuple[str, ...] = ()
    image_command: tuple[str, ...] = ()
    secrets: Mapping[str, Any] | None = None
    first: tuple[str, ...] = ()


def container_config(
    scope: RuntimeScope, plan: ContainerPlan, prepared: Prepared, support: EngineSupport
) -> dict[str, Any]:
    """The body of `POST /containers/create`, and its `name`. `NoGpuSupport`: GPUs by CDI, on an
    engine without CDI. `CannotStart`: the specification chooses devices by itself."""
    spec = plan.spec
    if chosen := list(device_choices(spec)):
        raise CannotStart(f"The task chooses devices of its machine: {'; '.join(chosen)}.")
    body: dict[str, Any] = {
        "Image": prepared.image,
        "Env": _environment(plan, prepared, support),
        "Labels": labels_of(scope, plan, prepared.digest),
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": _host_config(plan, prepared, support),
    }
    if prepared.network == BRIDGE:  # Else its sandbox holds the ports.
        body["ExposedPorts"] = {f"{port.container}/{port.protocol}": {} for port in spec.ports}
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint:
        body["Entrypoint"] = list(spec.entrypoint)
    if prepared.first:
        body |= {"Entrypoint": [*prepared.first, *_whole_command(plan, prepared)], "Cmd": []}
    return {"name": name_of(scope, plan.allocation, plan.attempt), "body": body}


def _whole_command(plan: ContainerPlan, prepared: Prepared) -> tuple[str, ...]:
    """What the engine would run: who gives an entrypoint takes the image's command from it."""
    spec = plan.spec
    command = spec.command or (() if spec.entrypoint else prepared.image_command)
    if whole := (*(spec.entrypoint or prepared.image_entrypoint), *command):
        return whole
    raise CannotStart("The image says no command, and its task neither.")


def _environment(plan: ContainerPlan, prepared: Prepared, support: EngineSupport) -> list[str]:
    """The variables, as the engine takes them: one without a value is taken out of the image's."""
    named = dict(plan.spec.environment) | dict(plan.environment)
    if any(one.file for one in plan.secrets):
        named[SECRETS_VARIABLE] = DIRECTORY
    if plan.metrics_directory:
        named[METRICS_VARIABLE] = f"{METRICS_TARGET}/{METRICS_SOCKET}"
    named |= visible_gpus(gpu_request(support, prepared.gpus, plan.gpus) if plan.gpus else None)
    unset = [key for key in prepared.image_variables if chooses_devices(key) and key not in named]
    return [f"{key}={value}" for key, value in named.items()] + unset


def visible_gpus(request: Mapping[str, Any] | None) -> dict[str, str]:
    """The variable by which the toolkit's hook finds the GPUs of a device request, no others. It
    also finds the engine's own, which is added behind this one."""
    if request is None or "Capabilities" not in request:
        return {VISIBLE_GPUS: NO_GPU}
    return {VISIBLE_GPUS: ",".join(request["DeviceIDs"])}


def _host_config(plan: ContainerPlan, prepared: Prepared, support: EngineSupport) -> dict[str, Any]:
    wanted = plan.spec.resources
    init = plan.spec.init and support.no_init is None
    host: dict[str, Any] = {
        # The engine's default may be NVIDIA's, which gives GPUs to whoever names some.
        "Runtime": prepared.oci_runtime,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        # Naming no profile leaves the engine's own seccomp and AppArmor profiles on.
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": plan.spec.read_only,
        # A command that reaps nobody would fill its limit with orphans that have ended.
        "Init": init,
        "PidsLimit": wanted.pids + init,  # What is asked for is the task's own.
        "NanoCpus": wanted.cpu_milli * NANO_PER_MILLI,
        "Memory": wanted.memory_bytes,
        # Memory and swap together: without swap in the plan, one number limits both.
        "MemorySwap": wanted.memory_bytes + wanted.swap_bytes,
        "ShmSize": wanted.shm_bytes,
        "Ulimits": [
            _ulimit("nofile", prepared.files_max),
            # Of a limit of 0 no kernel takes notice that pipes its core dumps to a program; one of
            # 1 byte it obeys there too, and no file has room in it.
            _ulimit("core", 1 if plan.secrets else 0),
            *(_ulimit(name, 0) for name in ("nice", "rtprio")),
        ],
        "NetworkMode": prepared.network,
        "CgroupnsMode": "private",
        "IpcMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "PublishAllPorts": False,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": {
            "Type": "json-file",
            "Config": {
                "max-size": str(limits.CONTAINER_LOG_FILE_MAX_BYTES),
                "max-file": str(limits.CONTAINER_LOG_FILES_MAX),
                "mode": "blocking",
            },
        },
        "Mounts": [_mount(mount, prepared) for mount in plan.spec.mounts],
    }
    if prepared.network == BRIDGE:
        host["PortBindings"] = {
            f"{port.container}/{port.protocol}": [{"HostPort": str(port.host or "")}]
            for port in plan.spec.ports
        }
    if wanted.disk_bytes and support.no_disk_quota is None:
        host["StorageOpt"] = {"size": str(wanted.disk_bytes)}
    if plan.metrics_directory:
        # Read-only: a task may write to the socket in it, and make nothing beside it.
        host["Mounts"].append(
            {
                "Type": "bind",
                "Source": plan.metrics_directory,
                "Target": METRICS_TARGET,
                "ReadOnly": True,
            }
        )
    if prepared.secrets is not None:
        host["Mounts"].append(prepared.secrets)
    if plan.gpus:
        host["DeviceRequests"] = [gpu_request(support, prepared.gpus, plan.gpus)]
    return host


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def _mount(mount: Mount, prepared: Prepared) -> dict[str, Any]:
    if mount.kind is MountKind.TMPFS:
        made: dict[str, Any] = {"Type": "tmpfs", "Target": mount.target}
        if mount.size_bytes:
            made["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
        return made
    return {
        "Type": "bind",
        "Source": str(prepared.sources[mount]),
        "Target": mount.target,
        "ReadOnly": mount.read_only or mount.kind is MountKind.BIND,
        # Host mounts below that directory were not allowed with it, and engines before 25 would
        # leave them writable inside a read-only mount.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
