"""An engine's capabilities, from its own report: pure.

The engine's report decides, and its version only where the report is silent. Each thing that a task
may ask for and cannot get here has a name and a reason, which an operator can read and act on: disk
quotas need a storage driver that has them, CDI an engine that knows it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from p2pool.drivers.containers.docker.engine.answers import items, objects, text
from p2pool.drivers.containers.settings import TOOLKIT, GpuPath
from p2pool.model.errors import NoGpuSupport, RuntimeUnavailable
from p2pool.model.ports.runtime import RuntimeInfo, RuntimeKind, Unsupported

API_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\Z")
API_VERSION_MIN = (1, 41)
CDI_API_VERSION_MIN = (1, 44)
CDI_KIND = "nvidia.com/gpu"
QUOTA_DRIVERS = ("btrfs", "zfs", "windowsfilter")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@attrs.frozen
class EngineSupport:
    """Known facts about an engine. A reason is empty if the feature is supported."""

    version: str
    api: tuple[int, ...]
    operating_system: str
    platform: str
    storage_driver: str
    cgroup_version: str
    data_root: str
    gpu_support: bool
    toolkit: bool
    runtimes: tuple[str, ...]
    no_seccomp: str | None
    no_disk_quota: str | None
    no_cdi: str | None
    no_init: str | None
    unsupported: tuple[Unsupported, ...]
    warnings: tuple[str, ...]

    def check_runtime(self, named: str) -> None:
        """RuntimeUnavailable: copies would not be isolated, by this runtime or on this engine."""
        if named.startswith(TOOLKIT):
            raise RuntimeUnavailable(
                f"The runtime {named} would give GPUs to whoever names some.",
                hint="Take it out of [runtime] oci_runtime: GPUs come by hook or CDI.",
            )
        if named not in self.runtimes:
            known = ", ".join(self.runtimes) or "none"
            raise RuntimeUnavailable(
                f"The Docker Engine has no runtime named {named}; it has: {known}.",
                hint="Name one of them in [runtime] oci_runtime, or add it to daemon.json.",
            )
        if self.no_seccomp is not None:
            raise RuntimeUnavailable(
                f"Copies would run without a seccomp filter: {self.no_seccomp}.",
                hint="Take seccomp-profile out of daemon.json, then restart docker.",
            )

    def info(self) -> RuntimeInfo:
        """The same in the port's form. RuntimeUnavailable: the engine is too old."""
        api = ".".join(str(part) for part in self.api)
        if self.api < API_VERSION_MIN:
            raise RuntimeUnavailable(
                f"Docker {self.version} is too old: it speaks API {api}.",
                hint="Install Docker 20.10 or later.",
            )
        return RuntimeInfo(
            RuntimeKind.DOCKER,
            self.version,
            api,
            gpu_support=self.gpu_support,
            operating_system=self.operating_system,
            architecture=self.platform.partition("/")[2],
            storage_driver=self.storage_driver,
            cgroup_version=self.cgroup_version,
            warnings=self.warnings,
            unsupported=self.unsupported,
        )


def support_of(
    version: Mapping[str, Any], info: Mapping[str, Any], quota_refused: str | None = None
) -> EngineSupport:
    """From the answers to `/version` and `/info`, and from an earlier refusal of a disk quota:
    overlay2 over xfs has quotas only if xfs was mounted with them."""
    told = API_VERSION.match(str(version.get("ApiVersion")))
    api = (int(told[1]), int(told[2])) if told else (0, 0)
    runtimes = sorted(map(str, items(info.get("Runtimes"))))
    toolkit = TOOLKIT in runtimes
    no_cdi = _no_cdi(api, info)
    no_quota = _no_disk_quota(info) or quota_refused
    no_init = _no_init(info)
    machine = str(info.get("Architecture", ""))
    system = str(info.get("OSType", "linux"))
    return EngineSupport(
        version=str(version.get("Version", "")),
        api=api,
        operating_system=str(info.get("OperatingSystem", "")),
        platform=f"{system}/{ARCHITECTURES.get(machine, machine)}",
        storage_driver=str(info.get("Driver", "")),
        cgroup_version=str(info.get("CgroupVersion", "")),
        data_root=str(info.get("DockerRootDir", "")),
        gpu_support=toolkit or no_cdi is None,
        toolkit=toolkit,
        runtimes=tuple(runtimes),
        no_seccomp=_no_seccomp(info),
        no_disk_quota=no_quota,
        no_cdi=no_cdi,
        no_init=no_init,
        unsupported=tuple(_unsupported(info, no_quota, no_cdi, no_init)),
        warnings=tuple(map(str, items(info.get("Warnings")))),
    )


def _no_cdi(api: tuple[int, ...], info: Mapping[str, Any]) -> str | None:
    """Why GPUs cannot be named by CDI, or None."""
    if api < CDI_API_VERSION_MIN:
        return "the engine is older than Docker 25, which brought CDI"
    if not info.get("CDISpecDirs"):
        return 'CDI is off: set "features": {"cdi": true} in the daemon.json of Docker 25 to 28.1'
    devices = info.get("DiscoveredDevices")
    if devices is not None:  # Docker 28.2 and later list the devices.
        names = [text(one.get("ID")) for one in objects(devices) if one.get("Source") == "cdi"]
        if not any(name.startswith(f"{CDI_KIND}=GPU-") for name in names):
            return (
                "no CDI specification names GPUs by UUID: nvidia-ctk cdi generate"
                " --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml"
            )
    return None


def _no_disk_quota(info: Mapping[str, Any]) -> str | None:
    """Why a container's own files cannot have a quota, or None if they can or may."""
    driver = str(info.get("Driver", ""))
    if driver in QUOTA_DRIVERS:
        return None
    pairs = [pair for pair in map(items, items(info.get("DriverStatus"))) if len(pair) == 2]
    backing = {str(name): str(value) for name, value in pairs}.get("Backing Filesystem", "")
    if driver == "overlay2" and backing == "xfs":
        return None
    over = f" over {backing}" if backing else ""
    return f"the storage driver {driver}{over} has no quotas; overlay2 over xfs with pquota has"


def _no_init(info: Mapping[str, Any]) -> str | None:
    """Why a container cannot have the engine's first process, or None if it can or may."""
    told = info.get("InitCommit")
    if isinstance(told, Mapping) and told.get("ID") == "N/A":
        name = str(info.get("InitBinary") or "docker-init")
        return f"the engine finds no {name}: install the package tini, or docker-ce"
    return None


def _unsupported(
    info: Mapping[str, Any], no_quota: str | None, no_cdi: str | None, no_init: str | None
) -> Iterator[Unsupported]:
    if no_quota is not None:
        yield Unsupported("disk-quota", f"{no_quota}; what is written is measured instead")
    if no_cdi is not None:
        yield Unsupported("cdi", no_cdi)
    if no_init is not None:
        yield Unsupported("init", f"{no_init}; a copy's own first process has to take in orphans")
    for key, feature in (
        ("MemoryLimit", "memory-limit"),
        ("SwapLimit", "swap-limit"),
        ("CpuCfsQuota", "cpu-limit"),
        ("PidsLimit", "pids-limit"),
    ):
        if info.get(key) is False:
            yield Unsupported(feature, "the engine or its kernel reports no support")
    if (missing := _no_seccomp(info)) is not None:
        yield Unsupported("seccomp", missing)


def _no_seccomp(info: Mapping[str, Any]) -> str | None:
    """Why no filter of system calls is on, or None. A profile of the owner's own counts as one."""
    for option in items(info.get("SecurityOptions")):
        name, _, rest = str(option).partition(",")
        if name == "name=seccomp":
            off = "profile=unconfined" in rest.split(",")
            return "the engine's seccomp-profile is unconfined" if off else None
    return "the engine or its kernel has no seccomp"


def gpu_request(support: EngineSupport, path: GpuPath, uuids: tuple[str, ...]) -> dict[str, Any]:
    """The device request for these GPUs. `NoGpuSupport`: the engine lacks the requested path."""
    cdi = path is GpuPath.CDI or (path is GpuPath.AUTO and not support.toolkit)
    if cdi and support.no_cdi is None:
        return {"Driver": "cdi", "DeviceIDs": [f"{CDI_KIND}={uuid}" for uuid in uuids]}
    if path is GpuPath.CDI:
        raise NoGpuSupport(
            f"CDI cannot give GPUs here: {support.no_cdi}.",
            hint='Or use the NVIDIA toolkit: [runtime] gpus = "toolkit".',
        )
    # The toolkit's hook also works without its runtime, which the engine does not report: try it.
    return {"Driver": "", "DeviceIDs": list(uuids), "Capabilities": [["gpu"]]}
