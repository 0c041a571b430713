"""A Docker Engine: the machine's, or a private one for tests, ended by its process id.

A private engine has a directory of its own for everything (images, containers, sockets, settings),
and a network, a process table and a mount table of its own (`dev.engine.namespaces`), so it neither
sees nor disturbs another engine on this machine: their bridges are both called docker0. Clients
reach it by its socket; services that it reaches by TCP, such as a registry, have to be inside:

    with engine.namespaces.entered():
        server = socket.create_server(("127.0.0.1", 0))

It has to run as root.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from p2pool.dev.engine.namespaces import HIDDEN, Namespaces
from p2pool.drivers.containers.docker.engine.address import engine_address
from p2pool.model.errors import Misconfigured, P2poolError, RuntimeUnavailable

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
POLL_S = 0.1
SETTINGS = "daemon.json"
CONTAINERD_PID = "exec/containerd/containerd.pid"
CGROUPS = Path("/sys/fs/cgroup")
BUSYBOX_IMAGE = "p2pool-test/busybox:1"
BUSYBOX = Path("/bin/busybox")


@attrs.frozen
class Found:
    """Whether an engine answers here, which version, or why not."""

    answers: bool
    version: str = ""
    reason: str = ""


def find_engine(base_url: str = "") -> Found:
    """Ask the engine at `base_url`, else the one that docker's own settings name."""
    try:
        client = docker.APIClient(version="auto", timeout=5, **engine_address(base_url).options)
        try:
            return Found(True, str(client.version().get("Version", "")))
        finally:
            client.close()
    except (DockerException, RequestException, OSError, P2poolError) as error:
        return Found(False, reason=str(error).split("\n")[0][:160])


@attrs.define
class Engine:
    """A private engine. `url` is for DOCKER_HOST. `path_prefix` goes before its PATH."""

    directory: Path
    url: str
    namespaces: Namespaces
    process: "subprocess.Popen[bytes]"
    path_prefix: str = ""
    arguments: tuple[str, ...] = ()
    shares_namespaces: bool = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def halt(self) -> None:
        """End it, with its containers, but keep its directory and network: `go_on` starts it
        again."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.crash()
        _kill_below(self.directory)

    def crash(self) -> None:
        """Kill the engine alone, as the kernel would: its containers run on without it."""
        self.process.kill()
        self.process.wait()
        _wait_gone(self.directory / CONTAINERD_PID, self.namespaces)

    def go_on(self) -> None:
        """Start it again on its directory. RuntimeUnavailable: it does not come up."""
        self.process = _spawn(
            self.directory, self.url, self.namespaces, self.path_prefix, self.arguments
        )
        _wait_answering(self)

    def stop(self) -> None:
        """End it and everything in its namespaces, and remove its directory."""
        self.halt()
        if not self.shares_namespaces:
            self.namespaces.close()
        remove_cgroups(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)


def start_engine(
    directory: Path,
    path_prefix: str = "",
    arguments: tuple[str, ...] = (),
    *,
    inside: Namespaces | None = None,
) -> Engine:
    """Start a private engine in a directory; `path_prefix` goes before PATH (stand-in hooks),
    `arguments` after the engine's own. It runs in namespaces of its own, or `inside` others,
    which may hold only one engine and outlive it.

    Misconfigured: not root, no dockerd, or a kernel without namespaces. RuntimeUnavailable: it
    does not come up in time.
    """
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise Misconfigured(
            "A private Docker Engine needs root and dockerd.",
            hint="apt-get install -y docker.io iptables",
        )
    directory = directory.resolve()
    if directory.is_relative_to(HIDDEN.resolve()):
        raise Misconfigured(
            f"A private Docker Engine sees nothing of {HIDDEN}, so it cannot be in {directory}.",
            hint="Choose another directory: TMPDIR=/var/tmp.",
        )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SETTINGS).write_text("{}\n")
    url = f"unix://{directory}/docker.sock"
    namespaces = inside or Namespaces.create()
    process = _spawn(directory, url, namespaces, path_prefix, arguments)
    engine = Engine(
        directory=directory,
        url=url,
        namespaces=namespaces,
        process=process,
        path_prefix=path_prefix,
        arguments=arguments,
        shares_namespaces=inside is not None,
    )
    try:
        _wait_answering(engine)
    except BaseException:
        engine.stop()
        raise
    return engine


def _spawn(
    directory: Path,
    url: str,
    namespaces: Namespaces,
    path_prefix: str,
    arguments: tuple[str, ...],
) -> "subprocess.Popen[bytes]":
    path = os.environ.get("PATH", "")
    # A killed engine leaves this file: its successor refuses to start while the file exists and
    # another process has got its number.
    (directory / "pid").unlink(missing_ok=True)
    with (directory / "dockerd.log").open("ab") as log, namespaces.entered():
        return subprocess.Popen(
            [
                *namespaces.mounts,
                *("dockerd", "--data-root", f"{directory}/data", "-H", url),
                *("--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/pid"),
                # The machine's own engine has its settings in the usual place.
                *("--config-file", f"{directory}/{SETTINGS}"),
                # systemd, asked for a cgroup, would take a process id from inside for one of its
                # own.
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
                *("--cgroup-parent", f"/{_cgroup(directory)}"),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "PATH": f"{path_prefix}:{path}" if path_prefix else path,
                # A containerd that answers late has to write its stacks down there.
                "TMPDIR": str(directory),
            },
        )


def _wait_answering(engine: Engine) -> None:
    end = time.monotonic() + START_DEADLINE_S
    while not find_engine(engine.url).answers:
        if time.monotonic() > end or engine.process.poll() is not None:
            tail = (engine.directory / "dockerd.log").read_text(errors="replace")[-800:]
            raise RuntimeUnavailable(f"The private Docker Engine did not start: {tail}")
        time.sleep(POLL_S)


@contextmanager
def running_engine(directory: Path, path_prefix: str = "") -> Iterator[Engine]:
    """A private engine for the length of a block."""
    engine = start_engine(directory, path_prefix)
    try:
        yield engine
    finally:
        engine.stop()


def _wait_gone(file: Path, namespaces: Namespaces) -> None:
    """Wait until the containerd of a killed engine, which dies with it, is gone: an engine that
    found it in its last moments would wait for it in vain."""
    try:
        pid = int(file.read_text())
    except (FileNotFoundError, ValueError):
        return
    end = time.monotonic() + STOP_DEADLINE_S
    while (namespaces.processes / str(pid)).exists():
        if time.monotonic() > end:
            raise RuntimeUnavailable(
                "The containerd of a killed Docker Engine does not end.",
                hint=f"Its log is in {file.parent.parent.parent / 'dockerd.log'}.",
            )
        time.sleep(POLL_S)
    file.unlink(missing_ok=True)


def _kill_below(directory: Path) -> None:
    """End what a killed engine left: its containerd, shims and containers, all recognised by paths
    of its own directory in their arguments, and the shims' children."""
    mark = f"{directory}/exec".encode()
    ours: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # A process may end while it is inspected.
        with suppress(OSError):
            if mark in (entry / "cmdline").read_bytes():
                for children in entry.glob("task/*/children"):
                    ours += [int(pid) for pid in children.read_text().split()]
                ours.append(int(entry.name))
    for pid in ours:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _cgroup(directory: Path) -> str:
    """The parent of the cgroups of an engine's containers."""
    return f"p2pool-engine-{hashlib.sha256(bytes(directory)).hexdigest()[:12]}"


def remove_cgroups(directory: Path) -> None:
    """Remove the empty cgroups of containers that were killed from outside, in the one hierarchy
    of version 2 or in each of version 1."""
    for root in (CGROUPS, *CGROUPS.glob("*/")):
        for at, _, _ in os.walk(root / _cgroup(directory), topdown=False):
            # Two names of one hierarchy: cpu and cpuacct.
            with suppress(FileNotFoundError):
                os.rmdir(at)


def import_busybox(client: Any, directory: Path, image: str = BUSYBOX_IMAGE) -> None:
    """Make an image of this machine's static busybox: no registry is needed.

    `client` is a `docker.APIClient`. Misconfigured: this machine has no static busybox.
    """
    if not BUSYBOX.exists():
        raise Misconfigured(
            "There is no busybox to make an image of.", hint="apt-get install -y busybox-static"
        )
    root = directory / "busybox"
    (root / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    listed = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox" and not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")
    archive = directory / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")
    name, _, tag = image.partition(":")
    client.import_image(str(archive), repository=name, tag=tag or "latest")
    shutil.rmtree(root)
    archive.unlink()
