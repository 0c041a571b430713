"""The gate sees whatever a command leaves behind: each kind is planted, and found by its name."""

import importlib.util
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import docker
import psutil
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, import_busybox, running_engine
from p2pool.model.errors import Misconfigured, RuntimeUnavailable

ROOT = Path(__file__).resolve().parents[2]
STRANGER = ROOT / ".ci" / "stranger"
DEADLINE_S = 120
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and makes network namespaces")

WATCH = """
import sys
from pathlib import Path
import traces, screen
traces.adopt_orphans()
place, command = Path(sys.argv[1]), sys.argv[2]
environment = {"PATH": sys.argv[3], "STRANGER": "mark-of-this-test"}
before = traces.Traces.now("mark-of-this-test", place)
assert screen.watched(command, place, environment, 60) == 0
for line in before.left(within_s=1.0):
    print("LEFT", line, flush=True)
traces.end("mark-of-this-test", place)
"""


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, which is in no package."""
    found = importlib.util.spec_from_file_location("traces", STRANGER / "traces.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "traces", module)
    found.loader.exec_module(module)
    # Here it would take the exit codes of other tests' processes.
    monkeypatch.setattr(module, "reap", lambda: None)
    return module


@pytest.fixture
def place() -> Iterator[Path]:
    """A stranger's directory, outside those that are looked at."""
    with tempfile.TemporaryDirectory(prefix="stranger ü ", dir="/var/tmp") as name:
        yield Path(name)


def left_by(command: str, place: Path) -> list[str]:
    """What a watched command leaves, as the gate tells it; its processes are ended."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(place), command, os.environ["PATH"]],
        env={**os.environ, "PYTHONPATH": str(STRANGER)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [line.removeprefix("LEFT ") for line in lines if line.startswith("LEFT ")]


def of_processes(lines: list[str]) -> list[str]:
    """The lines that tell of processes: others may make directories meanwhile."""
    return [line for line in lines if line.startswith("process ")]


def test_nothing_is_found_where_nothing_is_left(place: Path) -> None:
    """Children that end, even late, and files in its own directory are no traces."""
    assert of_processes(left_by("touch here; sleep 0.3 & true", place)) == []


@pytest.mark.parametrize(
    "command",
    [
        "setsid sleep 1000 >/dev/null 2>&1 &",
        # A daemon: forked twice, in a session of its own, elsewhere, with an empty environment.
        "(cd / && setsid env -i sh -c 'sleep 1000 & sleep 1000 &' >/dev/null 2>&1 &)",
        # It still holds the output: the gate does not wait for it.
        "sleep 1000 &",
    ],
)
def test_a_process_is_found_however_it_hides(command: str, place: Path) -> None:
    """Found, and ended by its id."""
    found = of_processes(left_by(command, place))
    assert found
    assert all("sleep 1000" in line for line in found)
    for line in found:
        pid = int(line.split()[1].rstrip(":"))
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_a_process_that_somebody_else_started_is_found(place: Path) -> None:
    """By its directory, by its mark, or by its command line; others are left alone."""
    mark = "mark-of-this-test"
    ours = [
        subprocess.Popen(["sleep", "1000"], cwd=place),
        subprocess.Popen(["sleep", "1000"], env={**os.environ, "STRANGER": mark}),
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", str(place)]),
    ]
    other = subprocess.Popen(["sleep", "1000"])
    try:
        found = of_processes(left_by("true", place))
        assert {line.split()[1] for line in found} == {f"{process.pid}:" for process in ours}
        assert [process.wait(DEADLINE_S) for process in ours] == [-signal.SIGKILL] * 3
        assert other.poll() is None
    finally:
        for process in [*ours, other]:
            process.kill()
            process.wait(DEADLINE_S)


def test_a_directory_is_found_where_programs_put_them(
    place: Path, traces: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the temporary directories, and three levels deep in the home; not in the own place."""
    home = place.parent / f"home-{uuid.uuid4().hex}"
    home.mkdir()
    entry = pwd.struct_passwd(("somebody", "x", 0, 0, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    (home / ".cache").mkdir()
    before = traces.Traces.now("no mark", place)
    (place / "inside").mkdir()
    cache = home / ".cache" / "p2pool" / "anvil"
    cache.mkdir(parents=True)
    temporary = Path(tempfile.mkdtemp(prefix="p2pool-left-", dir="/tmp"))
    try:
        found = before.left(within_s=0)
        assert {f"path {cache}", f"path {cache.parent}", f"path {temporary}"} <= set(found)
        assert not any(str(place) in line for line in found)
    finally:
        temporary.rmdir()
        for directory in (cache, cache.parent, home / ".cache", home):
            directory.rmdir()


@AS_ROOT
def test_a_mount_and_networks_are_found(place: Path, traces: ModuleType) -> None:
    """A tmpfs, a pair of interfaces, and a namespace with a name."""
    name = uuid.uuid4().hex[:8]
    mounted = place / "mounted"
    mounted.mkdir()
    before = traces.Traces.now("no mark", place)
    undo = [
        ["umount", str(mounted)],
        ["ip", "link", "del", f"s{name}"],
        ["ip", "netns", "del", name],
    ]
    try:
        for command in (
            ["mount", "-t", "tmpfs", "tmpfs", str(mounted)],
            ["ip", "link", "add", f"s{name}", "type", "veth", "peer", "name", f"t{name}"],
            ["ip", "netns", "add", name],
        ):
            subprocess.run(command, check=True)
        found = set(before.left(within_s=0))
        # /proc writes a space as \040.
        assert any(line.startswith("mount tmpfs on") and line.endswith("mounted") for line in found)
        assert {f"interface s{name}", f"interface t{name}", f"namespace {name}"} <= found
    finally:
        for command in undo:
            subprocess.run(command, check=False)


@AS_ROOT
@pytest.mark.docker
def test_what_is_left_in_an_engine_is_found(
    traces: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image, a container, a network and a volume, of the engine that DOCKER_HOST names."""
    with tempfile.TemporaryDirectory(prefix="p2i", dir="/tmp") as directory:
        try:
            with running_engine(Path(directory) / "e") as engine:
                monkeypatch.setenv("DOCKER_HOST", engine.url)
                before = traces.Traces.now("no mark", place)
                client = docker.APIClient(base_url=engine.url, version="auto")
                import_busybox(client, engine.directory)
                client.create_container(BUSYBOX_IMAGE, ["true"], name="left-container")
                client.create_network("left-network")
                client.create_volume("left-volume")
                client.close()
                found = before.left(within_s=0)
        except (Misconfigured, RuntimeUnavailable) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no private Docker Engine: {error}")
    for kind in ("image", "container", "network", "volume"):
        assert any(line.startswith(f"{kind} ") for line in found), (kind, found)
    for name in ("left-container", "left-network", "left-volume", BUSYBOX_IMAGE):
        assert any(name in line for line in found), (name, found)
