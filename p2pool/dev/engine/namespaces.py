"""Linux namespaces for a private engine: a network, a process table and a mount table of its own.

Intuition: a machine inside this one, which shares its files, clock and kernel. A process that
starts in it finds a loopback and nothing else: no link, no route, no iptables rule, no foreign
process. Its first process, the holder, reads a pipe whose other end belongs to this process. When
this process ends, in whatever way, the holder ends too; the kernel then kills everything inside,
undoes its mounts, and deletes its links and rules. So nobody has to clean up.

Invariants:
- Nothing outside changes: links, routes, iptables and mounts are those of before.
- /run is empty inside. An engine finds no system bus there (through it, an engine would ask this
  machine's firewalld for rules) and leaves no socket. Directories that both sides share lie
  elsewhere.
- /sys shows the links of this network. Otherwise `docker0` there would mean this machine's.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import psutil

from p2pool.model.errors import Misconfigured, RuntimeUnavailable

END_DEADLINE_S = 20.0
HIDDEN = Path("/run")

# From linux/sched.h and linux/sockios.h; Python has `os.setns` only from 3.12 on.
CLONE_NEWNET, CLONE_NEWPID = 0x40000000, 0x20000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

# A sysfs shows the network of the process that mounts it. We want only its links: whatever is
# mounted below /sys (cgroups, AppArmor's profiles) stays visible. The holder ignores SIGCHLD so
# that orphans inside, which become its children, leave no zombies.
SETUP = """
mount -t tmpfs -o mode=755 none /run
mount -t sysfs none /sys/class/net
mount --bind /sys/class/net/devices/virtual/net /sys/devices/virtual/net
mount --bind /sys/class/net/class/net /sys/class/net
exec env --ignore-signal=CHLD cat
"""


@attrs.define
class Namespaces:
    """The namespaces that `create` made. `holder`: their first process, as numbered outside."""

    _process: "subprocess.Popen[bytes]"
    holder: int

    @classmethod
    def create(cls) -> "Namespaces":
        """Make them, with a loopback that is up. Misconfigured: this user or kernel cannot."""
        for program in ("unshare", "nsenter"):
            if shutil.which(program) is None:
                raise Misconfigured(
                    f"Linux namespaces need the program {program}.",
                    hint="apt-get install -y util-linux",
                )
        process = subprocess.Popen(
            [
                *("unshare", "--net", "--pid", "--mount", "--propagation", "slave"),
                *("--mount-proc", "--fork", "--kill-child", "--", "sh", "-ec", SETUP),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        try:
            _wait_echo(process)
            (holder,) = psutil.Process(process.pid).children()
            made = cls(process, holder.pid)
            with made.entered():
                _bring_loopback_up()
        except BaseException:
            _end(process)
            raise
        return made

    @contextmanager
    def entered(self) -> Iterator[None]:
        """For the length of a block, this thread's new sockets and processes belong inside.

        They stay inside after the block; everything else, files included, is as outside. Processes
        that need the mounts of inside need `mounts` too. Do not start a thread in the block or
        await a trio task: it would come along.
        """
        with (
            _opened("/proc/thread-self/ns") as before,
            _opened(f"/proc/{self.holder}/ns") as inside,
        ):
            try:
                _set(*inside)
                yield
            finally:
                _set(*before)

    @property
    def mounts(self) -> tuple[str, ...]:
        """The words before a command that give it the mounts of inside, too; its working
        directory is then the root."""
        return ("nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "--")

    @property
    def processes(self) -> Path:
        """The /proc of inside, with the process ids of inside."""
        return Path(f"/proc/{self.holder}/root/proc")

    def close(self) -> None:
        """End everything inside and wait for it. RuntimeUnavailable: something does not end."""
        _end(self._process)


def _wait_echo(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the holder's answer, which comes once everything is set up."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with suppress(BrokenPipeError):
        process.stdin.write(b"\n")
        process.stdin.flush()
    if not process.stdout.readline():
        said = process.stderr.read().decode(errors="replace").strip().replace("\n", "; ")
        raise Misconfigured(
            f"No network namespace can be made for a private Docker Engine: {said}.",
            hint="Run as root; in a container, with all capabilities (docker run --privileged).",
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the holder's pipe, and wait until the kernel has ended everything inside."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise RuntimeUnavailable(
            f"Processes of a private Docker Engine do not end; {process.pid} waits for them.",
            hint="Look for one that hangs, or that nobody has reaped: ps axf.",
        ) from None
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


# --- system calls -------------------------------------------------------------------------------


@contextmanager
def _opened(directory: str) -> Iterator[tuple[int, int]]:
    """The network and process table that a thread's children get, as descriptors."""
    network = os.open(f"{directory}/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        table = os.open(f"{directory}/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield network, table
        finally:
            os.close(table)
    finally:
        os.close(network)


def _set(network: int, table: int) -> None:
    _setns(network, CLONE_NEWNET)
    _setns(table, CLONE_NEWPID)


def _setns(descriptor: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
