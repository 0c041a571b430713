"""What an engine says of itself decides what it is asked for: pure, also for newer engines."""

from pathlib import Path
from typing import Any

import pytest

from p2pool.drivers.containers.docker.container.plan import Prepared, container_config
from p2pool.drivers.containers.docker.engine.capabilities import EngineSupport, support_of
from p2pool.drivers.containers.settings import GpuPath
from p2pool.model.errors import NoGpuSupport, RuntimeUnavailable
from p2pool.model.tasks.spec import Mount, MountKind, Resources
from tests.containers.harness.plans import MIB, SCOPE, plan

INFO: dict[str, Any] = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]],
    "OSType": "linux",
    "Architecture": "x86_64",
    "DockerRootDir": "/var/lib/docker",
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
    "MemoryLimit": True,
    "SwapLimit": True,
    "Runtimes": {"runc": {}},
}
CDI: dict[str, Any] = {"CDISpecDirs": ["/etc/cdi"], "Runtimes": {"runc": {}}}
TOOLKIT: dict[str, Any] = {"Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}}


def support(api: str = "1.47", **of_info: Any) -> EngineSupport:
    """What an engine that says so can do."""
    return support_of({"ApiVersion": api, "Version": "27.3.1"}, {**INFO, **of_info})


def host(of: EngineSupport, path: GpuPath = GpuPath.AUTO, **of_plan: Any) -> dict[str, Any]:
    """The HostConfig for a plan."""
    wanted = plan("true", **of_plan)
    sources = {mount: Path("/agent") / mount.source for mount in wanted.spec.mounts}
    prepared = Prepared("i@sha256:ab", "sha256:ab", sources, path)
    found: dict[str, Any] = container_config(SCOPE, wanted, prepared, of)["body"]["HostConfig"]
    return found


def reasons(of: EngineSupport) -> dict[str, str]:
    return {one.feature: one.reason for one in of.unsupported}


def test_an_engine_that_is_too_old_is_none() -> None:
    """And what to install is said."""
    with pytest.raises(RuntimeUnavailable, match=r"API 1\.40.*Docker 20\.10"):
        support("1.40").info()
    assert support("1.41").info().architecture == "amd64"


def test_quotas_are_asked_for_where_the_driver_may_have_them() -> None:
    """Overlay2 over ext4 refuses every container that has one."""
    resources = Resources(disk_bytes=10 * MIB)
    for of in (support(), support(Driver="btrfs", DriverStatus=[]), support(Driver="zfs")):
        assert host(of, resources=resources)["StorageOpt"] == {"size": str(10 * MIB)}
        assert "disk-quota" not in reasons(of)
        assert "StorageOpt" not in host(of)
    ext = support(DriverStatus=[["Backing Filesystem", "extfs"]])
    assert "StorageOpt" not in host(ext, resources=resources)
    assert "overlay2 over extfs" in reasons(ext)["disk-quota"]
    assert "measured" in reasons(ext)["disk-quota"]


def test_gpus_go_by_the_toolkit_or_by_cdi() -> None:
    """The toolkit where it is, else CDI where the engine has it; or as the owner says."""
    uuids = ("GPU-a", "GPU-b")
    by_toolkit = [{"Driver": "", "DeviceIDs": ["GPU-a", "GPU-b"], "Capabilities": [["gpu"]]}]
    names = ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]
    by_cdi = [{"Driver": "cdi", "DeviceIDs": names}]
    assert host(support(**TOOLKIT), gpus=uuids)["DeviceRequests"] == by_toolkit
    assert host(support(**CDI), gpus=uuids)["DeviceRequests"] == by_cdi
    both = support(**(CDI | TOOLKIT))
    assert host(both, gpus=uuids)["DeviceRequests"] == by_toolkit
    assert host(both, GpuPath.CDI, gpus=uuids)["DeviceRequests"] == by_cdi


@pytest.mark.parametrize(
    ("api", "info", "said"),
    [
        ("1.41", CDI, "older than Docker 25"),
        ("1.45", {}, "daemon.json"),
        ("1.51", CDI | {"DiscoveredDevices": []}, "nvidia-ctk"),
        (
            "1.51",
            CDI | {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]},
            "--device-name-strategy=uuid",
        ),
    ],
)
def test_why_there_is_no_cdi_is_said(api: str, info: dict[str, Any], said: str) -> None:
    """With what to do; an owner who wants it gets no container by another way."""
    of = support(api, **info)
    assert said in reasons(of)["cdi"]
    with pytest.raises(NoGpuSupport, match="CDI cannot give GPUs"):
        host(of, GpuPath.CDI, gpus=("GPU-a",))


def test_limits_that_an_engine_does_not_have_are_told() -> None:
    """Each by its name: a rootless engine has few of them."""
    poor = support(MemoryLimit=False, SwapLimit=False, CpuCfsQuota=False, PidsLimit=False)
    names = {"memory-limit", "swap-limit", "cpu-limit", "pids-limit"}
    assert names <= set(reasons(poor))
    assert "seccomp" in reasons(support(SecurityOptions=[]))
    assert not names & set(reasons(support()))


def test_an_init_where_the_engine_has_one() -> None:
    """It counts as none of the task's processes. Without a program for it no container would start,
    so there is none, and the node says so."""
    resources = Resources(pids=1)
    assert host(support(), resources=resources) | {"Init": True, "PidsLimit": 2} == host(
        support(InitBinary="docker-init", InitCommit={"ID": "", "Expected": ""}),
        resources=resources,
    )
    off = host(support(), resources=resources, init=False)
    assert (off["Init"], off["PidsLimit"]) == (False, 1)
    poor = support(InitBinary="docker-init", InitCommit={"ID": "N/A", "Expected": ""})
    assert "docker-init" in reasons(poor)["init"]
    without = host(poor, resources=resources)
    assert (without["Init"], without["PidsLimit"]) == (False, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "no seccomp"),
        (["name=apparmor"], "no seccomp"),
        (["name=seccomp,profile=unconfined"], "unconfined"),
    ],
)
def test_an_engine_without_a_filter_of_calls_is_refused(options: list[str], said: str) -> None:
    """By its own report: the copies would have the kernel's whole surface."""
    with pytest.raises(RuntimeUnavailable, match=said):
        support(SecurityOptions=options).check_runtime("runc")
    support(SecurityOptions=["name=seccomp,profile=builtin"]).check_runtime("runc")


def test_mounts_are_plain() -> None:
    """Nothing that the host mounts below comes with one; a bind is read-only whatever is said."""
    mounts = (
        Mount(MountKind.TASK, "/data", "data"),
        Mount(MountKind.BIND, "/set", "/srv/set"),
        Mount(MountKind.TMPFS, "/tmp", size_bytes=MIB),
    )
    volume, bind, tmpfs = host(support(), mounts=mounts)["Mounts"]
    assert (volume["Source"], volume["ReadOnly"], bind["ReadOnly"]) == ("/agent/data", False, True)
    for one in (volume, bind):
        assert one["BindOptions"] == {"Propagation": "rprivate", "NonRecursive": True}
    assert tmpfs == {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": MIB}}


def test_nothing_of_the_hosts_is_shared() -> None:
    """No privilege, no namespace of the host's, no restart by the engine, no profile turned off."""
    made = host(support())
    assert made["Privileged"] is False
    assert (made["Runtime"], made["CgroupnsMode"], made["Init"]) == ("runc", "private", True)
    assert {"core", "nice", "nofile", "rtprio"} == {one["Name"] for one in made["Ulimits"]}
    assert made["SecurityOpt"] == ["no-new-privileges:true"]
    assert (made["NetworkMode"], made["IpcMode"], made["PidMode"]) == ("bridge", "private", "")
    assert made["RestartPolicy"] == {"Name": "no"}
    for key in ("Binds", "Devices", "VolumesFrom", "UsernsMode", "CgroupParent"):
        assert key not in made


def test_a_tasks_labels_reach_its_container_under_our_prefix() -> None:
    """A bare one could steer what else on the machine obeys labels, such as a proxy."""
    wanted = plan("true", labels=(("traefik.enable", "true"), ("node", "x")))
    prepared = Prepared("i@sha256:ab", "sha256:ab", {})
    found = container_config(SCOPE, wanted, prepared, support())["body"]["Labels"]
    assert found["p2pool.label.traefik.enable"] == "true"
    assert "traefik.enable" not in found
    assert found["p2pool.node"] == SCOPE.node_id.hex()
