"""Whether the container engine is there, new enough, and gives containers the GPUs.

First the engine's own report (version, API, cgroups, storage driver), then a container of our own
image, which needs no registry and must see the agent's directories. Where there are GPUs, or the
configuration names an image, a probe inside another one (`docker.probe`) follows. If that image is
missing it is only a warning: tasks bring images of their own.
"""

import re

from p2pool.drivers.containers.docker.probe import Probed, probe_container
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.errors import P2poolError
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.ports.runtime import RuntimeInfo

DOCKER_MIN = (20, 10)
CDI_MIN = (25, 0)
_NUMBER = re.compile(r"[0-9]{1,9}")
GPU_IMAGE = "ubuntu:24.04"
# Without quotas in the driver we measure what is written; CDI is one of two ways to give GPUs.
OPTIONAL = frozenset({"disk-quota", "cdi"})
SLOW_STORAGE = frozenset({"vfs", "devicemapper", "aufs"})
NO_DRIVER = "could not select device driver"
TOOLKIT = (
    "Install the NVIDIA Container Toolkit, run 'nvidia-ctk runtime configure --runtime=docker' and"
    " restart Docker."
)


async def software_checks(
    runtime: DockerRuntime, gpus: tuple[str, ...], probe_image: str = ""
) -> list[Check]:
    """All checks of the group `software`; `gpus`: UUIDs of the GPUs that this machine offers."""
    try:
        info = await runtime.probe()
    except P2poolError as error:
        return [
            Check(
                Group.SOFTWARE,
                "docker",
                Verdict.FAIL,
                error.message,
                needed=f"Docker Engine {_dotted(DOCKER_MIN)} or later",
                todo=error.hint or "Start it.",
            )
        ]
    checks = engine_checks(info)
    checks.append(await directory_check(runtime))
    if gpus:
        checks.append(toolkit_check(info))
    if not gpus and not probe_image:
        return checks
    image = probe_image or GPU_IMAGE
    # Even if the engine announces no GPU support: the toolkit's hook alone is enough.
    checks.append(container_check(await probe_container(runtime, image, gpus), image, gpus))
    return checks


async def directory_check(runtime: DockerRuntime) -> Check:
    """Whether a container of our own image starts, and gets the agent's directories."""
    name, needed = "a container", "one starts, and sees the data directory"
    try:
        await runtime.probe_directories(fresh=True)
    except P2poolError as error:
        todo = error.hint or "Look at Docker's log: journalctl -u docker."
        return Check(Group.SOFTWARE, name, Verdict.FAIL, error.message, needed=needed, todo=todo)
    found = "started, saw the data directory, and ended"
    return Check(Group.SOFTWARE, name, Verdict.PASS, found, needed=needed)


def engine_checks(info: RuntimeInfo) -> list[Check]:
    """The engine's own report."""
    version = _parts(info.version)
    good = version >= DOCKER_MIN
    cdi = "" if version >= CDI_MIN else "; GPUs by CDI name need 25.0"
    checks = [
        Check(
            Group.SOFTWARE,
            "docker",
            Verdict.PASS if good else Verdict.FAIL,
            f"{info.version}, API {info.api_version}{cdi}",
            needed=f"Docker Engine {_dotted(DOCKER_MIN)} or later",
            todo="" if good else "Upgrade Docker.",
        ),
        Check(Group.SOFTWARE, "cgroups", Verdict.PASS, f"version {info.cgroup_version or '1'}"),
    ]
    if info.storage_driver in SLOW_STORAGE:
        checks.append(
            Check(
                Group.SOFTWARE,
                "storage",
                Verdict.WARN,
                info.storage_driver,
                needed="overlay2",
                todo="Images take much space and time: set Docker's storage-driver to overlay2.",
            )
        )
    else:
        checks.append(Check(Group.SOFTWARE, "storage", Verdict.PASS, info.storage_driver))
    checks += [
        Check(Group.SOFTWARE, one.feature, Verdict.WARN, one.reason, needed="as tasks ask for it")
        for one in info.unsupported
        if one.feature not in OPTIONAL
    ]
    checks += [
        Check(Group.SOFTWARE, "docker says", Verdict.WARN, text, todo="Some limits may not apply.")
        for text in info.warnings
    ]
    return checks


def toolkit_check(info: RuntimeInfo) -> Check:
    """Whether the engine says that it can give GPUs; the probe shows whether it does."""
    needed = "NVIDIA toolkit or CDI"
    if info.gpu_support:
        return Check(
            Group.SOFTWARE, "gpu toolkit", Verdict.PASS, "the engine hands out GPUs", needed=needed
        )
    found = "the engine announces neither the NVIDIA runtime nor CDI"
    return Check(Group.SOFTWARE, "gpu toolkit", Verdict.WARN, found, needed=needed, todo=TOOLKIT)


def container_check(probed: Probed, image: str, gpus: tuple[str, ...]) -> Check:
    """The outcome of the probe inside a container."""
    name = "gpus in a container" if gpus else "a container of the probe image"
    needed = f"{len(gpus)} GPUs are seen inside" if gpus else "one starts and ends"
    if NO_DRIVER in (probed.reason or ""):
        found = "the engine hands out no GPUs"
        return Check(Group.SOFTWARE, name, Verdict.FAIL, found, needed=needed, todo=TOOLKIT)
    if not probed.ran:
        return Check(
            Group.SOFTWARE,
            name,
            Verdict.WARN,
            f"not tried: {probed.reason}",
            needed=needed,
            todo=f"Make {image} available to Docker, or name another: [runtime] probe_image.",
        )
    if probed.exit_code != 0:
        verdict = Verdict.FAIL
        todo = TOOLKIT if gpus else "Look at Docker's log: journalctl -u docker."
        found = probed.reason or f"it ended with {probed.exit_code}"
        return Check(Group.SOFTWARE, name, verdict, found, needed=needed, todo=todo)
    missing = [uuid for uuid in gpus if uuid not in probed.gpus]
    if missing:
        return Check(
            Group.SOFTWARE,
            name,
            Verdict.FAIL,
            f"not seen inside: {', '.join(missing)}",
            needed=needed,
            todo="Restart Docker; after 'systemctl daemon-reload' containers can lose their GPUs.",
        )
    extra = [uuid for uuid in probed.gpus if uuid not in gpus]
    if extra:
        return Check(
            Group.SOFTWARE,
            name,
            Verdict.FAIL,
            f"seen inside, but not given: {', '.join(extra)}",
            needed=needed,
            todo="Containers see GPUs that they were not given: check the toolkit's settings.",
        )
    return Check(Group.SOFTWARE, name, Verdict.PASS, needed if gpus else "started and ended")


def _parts(version: str) -> tuple[int, int]:
    numbers = [part for part in version.split("+")[0].split(".") if _NUMBER.fullmatch(part)]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 else (0, 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
