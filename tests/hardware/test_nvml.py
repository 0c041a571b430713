"""NVML through its real bindings, on machines with none, some, mixed, lost and hanging GPUs.

A stand-in for the driver's library is compiled from C; each reading is in a process of its own,
as a process loads the library once.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOST, DRIVER_NOT_LOADED, MISMATCH, UNKNOWN, NOT_SUPPORTED = 15, 9, 18, 999, 3
H100, T4 = "NVIDIA H100 80GB HBM3", "Tesla T4"
READ = """
import json, sys, attrs, trio
from p2pool.drivers.hardware.nvml import read_gpus
async def main():
    return [attrs.asdict(await read_gpus(int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print(json.dumps(trio.run(main)))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled stand-in."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a stand-in for NVML")
    directory = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml.c")
    made = directory / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(made), str(source)], check=True
    )
    return directory


def gpu(
    uuid: str,
    memory: int,
    model: str,
    *,
    handle: int = 0,
    name: int = 0,
    info: int = 0,
    at: int = 0,
) -> str:
    """A line of the machine's description."""
    return f"gpu {uuid} {memory} {handle} {at} {name} {info} {model}"


def read(
    library: Path,
    machine: str = "",
    timeout_ms: int = 10_000,
    times: int = 1,
    code: str = READ,
) -> Any:
    """What a process on such a machine reads: the last answer."""
    described = library / "machine"
    described.write_text(machine)
    environment = dict(os.environ)
    environment |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(described)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(timeout_ms), str(times)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer[-1] if isinstance(answer, list) else answer


def test_a_machine_without_the_library_has_a_reason(tmp_path: Path) -> None:
    """No driver is the usual case: absent, and no trouble."""
    # A file that is no library stands before any real one on the machine.
    (tmp_path / "libnvidia-ml.so.1").write_text("")
    environment = dict(os.environ) | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", READ, "10000", "2"], env=environment, capture_output=True, text=True
    )
    for one in json.loads(done.stdout):
        assert (one["gpus"], one["absent"]) == ([], True)
        assert "No NVIDIA driver is installed" in one["reason"]


def test_none_some_and_mixed_models(library: Path) -> None:
    """GPUs come by UUID, sorted, with name and memory, whatever their index is."""
    none = read(library)
    assert (none["gpus"], none["reason"], none["driver_version"]) == ([], None, "550.54.15")
    machine = "\n".join([gpu("GPU-b", 80 << 30, H100), gpu("GPU-a", 15 << 30, T4)])
    mixed = read(library, machine)
    assert [(one["uuid"], one["model"], one["memory_bytes"]) for one in mixed["gpus"]] == [
        ("GPU-a", T4, 15 << 30),
        ("GPU-b", H100, 80 << 30),
    ]
    assert all(one["healthy"] and not one["reason"] for one in mixed["gpus"])
    assert mixed["problems"] == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (DRIVER_NOT_LOADED, "not loaded: run 'modprobe nvidia'"),
        (MISMATCH, "reboot after the driver's update"),
        (UNKNOWN, "NVML does not start"),
    ],
)
def test_a_driver_that_does_not_start_has_a_reason(library: Path, code: int, said: str) -> None:
    """With what to do, and not as a machine without GPUs."""
    one = read(library, f"init {code}\n" + gpu("GPU-a", 1, T4))
    assert (one["gpus"], one["absent"]) == ([], False)
    assert said in one["reason"]


def test_a_list_that_fails_has_a_reason(library: Path) -> None:
    """NVML starts and then does not count."""
    one = read(library, f"count {UNKNOWN}")
    assert (one["gpus"], "does not list the GPUs" in one["reason"]) == ([], True)


def test_a_lost_gpu_hides_no_other(library: Path) -> None:
    """Lost at once: told by number. Lost later: listed as unhealthy. The others are there."""
    machine = [
        gpu("GPU-gone", 1, H100, handle=LOST),
        gpu("GPU-mute", 1, H100, at=LOST),
        gpu("GPU-sick", 1, H100, info=LOST),
        gpu("GPU-well", 80 << 30, H100),
    ]
    one = read(library, "\n".join(machine))
    assert [(g["uuid"], g["healthy"]) for g in one["gpus"]] == [
        ("GPU-sick", False),
        ("GPU-well", True),
    ]
    assert "GPU is lost" in one["gpus"][0]["reason"]
    said = " ".join(one["problems"])
    assert all(part in said for part in ("GPU number 0", "GPU number 1", "GPU-sick", "is lost"))
    assert "GPU-well" not in said


def test_a_gpu_without_a_name_or_memory_of_its_own_is_well(library: Path) -> None:
    """A name that is no text, or memory shared with the machine, keeps no GPU out."""
    machine = [gpu("GPU-a", 1, T4, name=UNKNOWN), gpu("GPU-b", 9, T4, info=NOT_SUPPORTED)]
    one = read(library, "\n".join(machine))
    assert [(g["model"], g["memory_bytes"], g["healthy"]) for g in one["gpus"]] == [
        ("unknown", 1, True),
        (T4, 0, True),
    ]


def test_what_a_gpu_does_not_report_is_unknown_and_not_zero(library: Path) -> None:
    """Also while it reports no memory its errors count: a GPU of its own kind can be broken too."""
    machine = gpu("GPU-b", 9, "NVIDIA GB10", info=NOT_SUPPORTED)
    one = read(library, f"{machine}\nstate GPU-b 61 97 0 3 0\n")
    assert [(g["memory_bytes"], g["healthy"]) for g in one["gpus"]] == [(0, False)]
    assert "3 uncorrected ECC errors" in one["gpus"][0]["reason"]
    assert one["loads"][0]["memory_used_mib"] == -1


def test_more_gpus_than_a_node_may_have_are_cut(library: Path) -> None:
    """The bound on the wire holds, and the cut is told."""
    one = read(library, "\n".join(gpu(f"GPU-{i:03}", 1, T4) for i in range(70)))
    assert (len(one["gpus"]), one["gpus"][-1]["uuid"]) == (64, "GPU-063")
    assert "There are 70 GPUs" in one["problems"][0]


def test_a_driver_that_hangs_is_given_up(library: Path) -> None:
    """Twice over, with one thread: the second reading waits no longer than the first."""
    one = read(library, "sleep 600", timeout_ms=300, times=2)
    assert (one["gpus"], "did not answer within 300 ms" in one["reason"]) == ([], True)


def test_what_a_gpu_is_doing_comes_along(library: Path) -> None:
    """Temperature, use, memory and processes of each, in the order of the GPUs; CUDA's version."""
    machine = [
        gpu("GPU-b", 80 << 30, H100),
        gpu("GPU-a", 15 << 30, T4),
        f"state GPU-b 61 97 {3 << 30} 0 2",
    ]
    one = read(library, "\n".join(machine))
    assert one["cuda_version"] == "12.4"
    idle, busy = one["loads"]
    assert idle.pop("temperature_c") == -1, "it reports none"
    assert set(idle.values()) == {0}
    assert (busy["temperature_c"], busy["busy_percent"]) == (61, 97)
    assert (busy["memory_used_mib"], busy["processes"]) == (3072, 2)


def test_a_gpu_with_uncorrected_memory_errors_is_not_well(library: Path) -> None:
    """ECC repairs single bits; what it could not repair may have been somebody's result."""
    one = read(library, gpu("GPU-a", 1 << 30, T4) + "\nstate GPU-a 50 0 0 3 0")
    assert one["gpus"][0]["healthy"] is False
    assert "3 uncorrected ECC errors" in one["gpus"][0]["reason"]
    assert one["loads"][0]["ecc_errors"] == 3


def test_mig_instances_stand_in_the_place_of_their_card(library: Path) -> None:
    """Each with its own UUID and memory; a card without instances is told and not offered."""
    machine = [
        gpu("GPU-a", 80 << 30, H100),
        gpu("GPU-b", 80 << 30, H100),
        gpu("GPU-c", 80 << 30, H100),
        "mig GPU-a",
        f"part GPU-a MIG-1 {10 << 30} {H100} MIG 1g.10gb",
        f"part GPU-a MIG-2 {40 << 30} {H100} MIG 3g.40gb",
        "mig GPU-b",
    ]
    one = read(library, "\n".join(machine))
    assert [(g["uuid"], g["parent"], g["memory_bytes"] >> 30) for g in one["gpus"]] == [
        ("GPU-c", "", 80),
        ("MIG-1", "GPU-a", 10),
        ("MIG-2", "GPU-a", 40),
    ]
    assert one["gpus"][1]["model"] == f"{H100} MIG 1g.10gb"
    assert "GPU-b has MIG on but no instance" in one["problems"][0]


def test_instances_of_a_card_that_is_not_well_are_not_well(library: Path) -> None:
    """An uncorrected error of the card may be in anybody's memory."""
    machine = [
        gpu("GPU-a", 80 << 30, H100),
        "state GPU-a 50 0 0 1 0",
        "mig GPU-a",
        f"part GPU-a MIG-1 {10 << 30} {H100} MIG 1g.10gb",
    ]
    (part,) = read(library, "\n".join(machine))["gpus"]
    assert (part["healthy"], "1 uncorrected ECC error" in part["reason"]) == (False, True)


WATCH = """
import json, attrs, trio
from p2pool.drivers.hardware.nvml import read_gpus
from p2pool.drivers.hardware.xid import XidWatch
async def main():
    watch = XidWatch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        with trio.fail_after(30):
            while len(watch.seen) < 2:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return attrs.asdict(await read_gpus(xids=watch.seen))
print(json.dumps(trio.run(main)))
"""


def test_an_xid_is_heard_when_it_happens_and_kept(library: Path) -> None:
    """The hardware's speaks against the card; what a program did wrong speaks against none."""
    machine = [gpu("GPU-a", 1 << 30, H100), gpu("GPU-b", 1 << 30, H100)]
    one = read(library, "\n".join([*machine, "xid GPU-a 79", "xid GPU-b 31"]), code=WATCH)
    fallen, fine = one["gpus"]
    assert (fallen["healthy"], "Xid 79" in fallen["reason"]) == (False, True)
    assert fine["healthy"] is True
    assert [load["xid"] for load in one["loads"]] == [79, 31]
