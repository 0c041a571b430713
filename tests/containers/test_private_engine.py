"""A private engine neither sees nor disturbs the machine it is on, and leaves nothing there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from p2pool.dev.engine.engine import (
    BUSYBOX_IMAGE,
    CGROUPS,
    Engine,
    import_busybox,
    remove_cgroups,
    running_engine,
    start_engine,
)
from p2pool.dev.engine.namespaces import Namespaces
from p2pool.model.errors import Misconfigured, RuntimeUnavailable

pytestmark = pytest.mark.docker

DEADLINE_S = 60
PORT = 18_080
NOBODY = 65_534
SERVE = "mkdir /w; echo well > /w/index.html; exec busybox httpd -f -p 80 -h /w"
PLAYED = """
import sys
from pathlib import Path
import docker
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, import_busybox, start_engine
engine = start_engine(Path(sys.argv[1]))
client = docker.APIClient(base_url=engine.url, version="auto")
import_busybox(client, engine.directory)
ports = client.create_host_config(port_bindings={80: 18080})
made = client.create_container(BUSYBOX_IMAGE, ["sleep", "1000"], ports=[80], host_config=ports)
client.start(made)
print(engine.namespaces.holder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory whose paths are short enough for sockets, gone after the test."""
    directory = Path(tempfile.mkdtemp(prefix="p2v", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def machine(engine: Engine) -> Iterator[Namespaces]:
    """What plays a machine here: a network, where nobody else changes anything meanwhile."""
    made = Namespaces.create()
    yield made
    made.close()


def network_of(machine: Namespaces) -> dict[str, Any]:
    """Links with their addresses, routes and rules."""
    with machine.entered():
        saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
        return {
            "links": psutil.net_if_addrs(),
            "up": {name: link.isup for name, link in psutil.net_if_stats().items()},
            "routes": Path("/proc/thread-self/net/route").read_text(),
            "routes6": Path("/proc/thread-self/net/ipv6_route").read_text(),
            "rules": [line for line in saved.stdout.splitlines() if line.startswith("-")],
        }


def docker0(machine: Namespaces) -> list[Any]:
    """The addresses of its bridge."""
    return list(network_of(machine)["links"].get("docker0", ()))


class Serving:
    """A container of an engine that serves a page, at its own address and at a published port."""

    def __init__(self, engine: Engine) -> None:
        """Starts it."""
        self.engine = engine
        self.client = docker.APIClient(base_url=engine.url, version="auto")
        import_busybox(self.client, engine.directory)
        published = self.client.create_host_config(port_bindings={80: PORT})
        self.container = self.client.create_container(
            BUSYBOX_IMAGE,
            ["sh", "-c", SERVE],
            ports=[80],
            host_config=published,
            stop_signal="SIGKILL",
        )
        self.client.start(self.container)
        networks = self.client.inspect_container(self.container)["NetworkSettings"]
        self.address, self.gateway = str(networks["IPAddress"]), str(networks["Gateway"])

    def reached_by_port(self) -> bool:
        """Whether the port that was published answers, inside."""
        return self._answers(f"{self.gateway}:{PORT}")

    def reached_by_address(self) -> bool:
        """Whether it answers on its engine's bridge, inside."""
        return self._answers(self.address)

    def reached_by_another(self) -> bool:
        """Whether another container of the engine starts, and reaches it."""
        script = f"for n in 1 2 3 4 5 6 7 8 9; do wget -qO- {self.address} && exit; sleep 1; done"
        other = self.client.create_container(BUSYBOX_IMAGE, ["sh", "-c", script])
        self.client.start(other)
        self.client.wait(other)
        said = bytes(self.client.logs(other))
        self.client.remove_container(other)
        return said.endswith(b"well\n")

    def _answers(self, host: str) -> bool:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            with suppress(OSError), self.engine.namespaces.entered():
                with urllib.request.urlopen(f"http://{host}/", timeout=5) as answer:
                    return bool(answer.read() == b"well\n")
            time.sleep(0.1)
        return False


@pytest.mark.parametrize("end", [Engine.halt, Engine.crash], ids=["halt", "crash"])
def test_it_does_not_notice_when_the_machines_own_ends(
    machine: Namespaces, base: Path, end: Any
) -> None:
    """Both have a docker0 with the same address. The other ends, begins again with fresh rules, and
    at last takes its docker0 away: containers of this one still start and reach each other."""
    own = start_engine(base / "own", inside=machine)
    try:
        with machine.entered():
            # Ports are published by rules alone, not by a process as well.
            mine = start_engine(base / "mine", arguments=("--userland-proxy=false",))
        try:
            serving = Serving(mine)
            assert docker0(machine)[0].address == docker0(mine.namespaces)[0].address
            assert serving.reached_by_port()
            end(own)
            assert serving.reached_by_another()
            own.go_on()
            assert serving.reached_by_port()
            own.halt()
            own.arguments = ("--bridge=none",)
            own.go_on()
            assert docker0(machine) == []
            assert serving.reached_by_another()
            assert serving.reached_by_port()
            serving.client.close()
        finally:
            mine.stop()
    finally:
        own.stop()


def test_links_routes_and_rules_of_the_machine_stay_as_they_are(
    machine: Namespaces, base: Path
) -> None:
    """Before, while and after it has networks and published ports, beside an engine with its own
    bridge and rules."""
    own = start_engine(base / "own", inside=machine)
    try:
        before = network_of(machine)
        assert "docker0" in before["links"]
        assert any("DOCKER" in rule for rule in before["rules"])
        with machine.entered():
            mine = start_engine(base / "mine")
        try:
            serving = Serving(mine)
            serving.client.create_network("another")
            assert serving.reached_by_port()
            assert network_of(machine) == before
            assert network_of(mine.namespaces) != before
            serving.client.close()
        finally:
            mine.stop()
        assert network_of(machine) == before
    finally:
        own.stop()


def test_containers_keep_their_network_while_it_is_away(engine: Engine, base: Path) -> None:
    """A crash leaves the bridge there, for containers that run on; they are found again on it."""
    mine = start_engine(base / "mine", arguments=("--live-restore",))
    try:
        serving = Serving(mine)
        assert serving.reached_by_address()
        mine.crash()
        assert serving.reached_by_address()
        mine.go_on()
        assert serving.reached_by_another()
        assert serving.reached_by_port()
        serving.client.close()
    finally:
        mine.stop()


# --- what is left -------------------------------------------------------------------------------


def left_of(directory: Path) -> list[str]:
    """Processes, mounts and cgroups of an engine that was in this directory."""
    mark = f"{directory}/"
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if mark in " ".join(process.info["cmdline"] or ()):
            found.append(f"process {process.pid}: {process.info['cmdline']}")
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if mark in line]
    return found


def cgroups() -> set[Path]:
    """The cgroups of private engines."""
    return {*CGROUPS.glob("p2pool-*"), *CGROUPS.glob("*/p2pool-*")}


def usual_files() -> set[Path]:
    """What engines and their containerds keep where the machine's own do."""
    return {found for place in ("docker", "containerd") for found in Path("/run", place).rglob("*")}


def test_nothing_is_left_of_one_that_was_stopped(engine: Engine, base: Path) -> None:
    """Not of its containers that outlived it, nor in the machine's own directories."""
    before = cgroups(), usual_files()
    with running_engine(base / "mine") as mine:
        serving = Serving(mine)
        assert serving.reached_by_port()
        serving.client.close()
        mine.crash()
        holder = mine.namespaces.holder
        assert left_of(mine.directory) != []
    assert left_of(mine.directory) == []
    assert not psutil.pid_exists(holder)
    assert not mine.directory.exists()
    assert (cgroups(), usual_files()) == before


def test_all_ends_with_a_process_that_is_killed(engine: Engine, base: Path) -> None:
    """SIGKILL leaves no time to tidy up. The kernel does it; files and empty cgroups remain."""
    directory = base / "mine"
    player = subprocess.Popen(
        [sys.executable, "-c", PLAYED, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert player.stdin is not None
    assert player.stdout is not None
    with player.stdin, player.stdout:
        holder = psutil.Process(int(player.stdout.readline()))
        inside = [
            process
            for process in psutil.process_iter()
            if _table_of(process.pid) == _table_of(holder.pid)
        ]
        assert {"dockerd", "containerd", "docker-proxy"} <= {p.name() for p in inside}
        player.send_signal(signal.SIGKILL)
        player.wait()
        _, alive = psutil.wait_procs(inside, DEADLINE_S)
    assert alive == []
    assert left_of(directory) == []
    remove_cgroups(directory)


def _table_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def test_an_engine_that_does_not_start_leaves_nothing(engine: Engine, base: Path) -> None:
    """Its own words are told."""
    with pytest.raises(RuntimeUnavailable, match="--nonsense"):
        start_engine(base / "mine", arguments=("--nonsense",))
    assert left_of(base / "mine") == []
    assert list(base.iterdir()) == []


# --- where it cannot be -------------------------------------------------------------------------


def test_a_thread_is_back_outside_after_the_block(engine: Engine) -> None:
    """Also when the block fails: what comes next is on the machine's network."""
    links = psutil.net_if_addrs()
    with engine.namespaces.entered():
        inside = psutil.net_if_addrs()
    assert set(inside) == {"lo", "docker0"}
    assert psutil.net_if_addrs() == links
    with pytest.raises(ConnectionRefusedError), engine.namespaces.entered():
        socket.create_connection(("127.0.0.1", 9), 1)
    assert psutil.net_if_addrs() == links
    child = subprocess.Popen(["sleep", "0"])
    assert _table_of(child.pid) in (_table_of(os.getpid()), "")
    child.wait()


def refusal_as_nobody(call: str) -> str:
    """What a user without rights is told."""
    script = f"""
import os
from pathlib import Path
from p2pool.dev.engine.engine import start_engine
from p2pool.dev.engine.namespaces import Namespaces
from p2pool.model.errors import Misconfigured
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
try:
    {call}
except Misconfigured as error:
    print(error.message, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    return done.stdout


def test_who_is_not_root_is_told(engine: Engine, base: Path) -> None:
    """Before anything is made; the kernel's refusal, too, comes with what to do."""
    told = refusal_as_nobody(f"start_engine(Path({str(base / 'mine')!r}))")
    assert "needs root and dockerd" in told
    assert "apt-get install" in told
    told = refusal_as_nobody("Namespaces.create()")
    assert "Operation not permitted" in told
    assert "--privileged" in told


def test_what_is_missing_is_told(
    engine: Engine, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program, with its package."""
    tools = base / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(Misconfigured, match="dockerd") as caught:
        start_engine(base / "mine")
    assert "docker.io" in caught.value.hint
    (tools / "dockerd").symlink_to("/bin/true")
    with pytest.raises(Misconfigured, match="unshare") as caught:
        start_engine(base / "mine")
    assert "util-linux" in caught.value.hint


def test_a_directory_that_it_would_not_see_is_refused(engine: Engine) -> None:
    """What is below /run is hidden from it."""
    with pytest.raises(Misconfigured, match="/run") as caught:
        start_engine(Path("/var/run/p2pool-none"))
    assert "TMPDIR" in caught.value.hint
