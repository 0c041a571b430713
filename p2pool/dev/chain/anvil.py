"""A development chain: anvil, started and stopped by its process id.

`fetch` finds or downloads the binary. The settings follow `docs/design/chain.md`: transactions are
mined at once, and blocks continue when idle, so that finality advances. anvil itself picks a free
port and reports it, so no two chains race for one.
"""

import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from p2pool.dev.chain.fetch.anvil import find_anvil
from p2pool.dev.narrator import Say
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable, P2poolError, PortTaken

DEV_CHAIN_ID = 31337
START_DEADLINE_S = 60
POLL_S = 0.05
TAIL_CHARACTERS = 500
SETTINGS = ("--slots-in-an-epoch", "1", "--block-time", "1", "--mixed-mining")
LISTENING = re.compile(r"^Listening on 127\.0\.0\.1:(\d+)$", re.MULTILINE)
TAKEN = re.compile(r"[Aa]ddress already in use")


def _silent(_: str) -> None:
    """Say nothing."""


def free_port() -> int:
    """A TCP port of loopback that is free now."""
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
        """Stop it from answering without ending it (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """End it: SIGTERM first, SIGKILL after five seconds."""
        self.process.terminate()
        for _ in range(100):
            if self.process.poll() is not None:
                return
            await trio.sleep(POLL_S)
        self.process.kill()
        self.process.wait()


async def start_anvil(
    directory: Path,
    say: Say = _silent,
    port: int = 0,
    arguments: Sequence[str] = (),
    born: Callable[["Anvil"], None] = lambda anvil: None,
) -> Anvil:
    """Start a new chain on loopback, and wait for its first answer. `port` 0: a free one.

    `born` receives the process as soon as there is one. Raises `PortTaken`, or `ChainUnavailable`
    with the end of its log if no answer comes in time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    binary = await find_anvil(say, directory)
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
        born(anvil)
        with trio.fail_after(START_DEADLINE_S):
            await _wait_listening(anvil)
            await _wait_answering(anvil)
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await anvil.stop()
        if isinstance(error, trio.TooSlowError | ChainUnavailable):
            raise _failure(anvil, port) from error
        raise
    return anvil


def _failure(anvil: Anvil, port: int) -> P2poolError:
    """Why a chain did not start."""
    said = anvil.log.read_text(errors="replace")
    if port and TAKEN.search(said):
        return PortTaken.at(f"127.0.0.1:{port}", port, "it is in use", what="The development chain")
    code = anvil.process.returncode
    ended = f"it ended with {code}" if code not in (None, -signal.SIGTERM) else "it did not answer"
    return ChainUnavailable(
        f"The development chain did not start: {ended}. {said[-TAIL_CHARACTERS:].strip()}".strip(),
        hint=f"Its log is {anvil.log}.",
    )


async def _wait_listening(anvil: Anvil) -> None:
    """Wait until it reports its port."""
    while (found := LISTENING.search(anvil.log.read_text(errors="replace"))) is None:
        if anvil.process.poll() is not None:
            raise ChainUnavailable("It ended.")
        await trio.sleep(POLL_S)
    anvil.port = int(found[1])
    anvil.url = f"http://127.0.0.1:{anvil.port}"


async def _wait_answering(anvil: Anvil) -> None:
    rpc = anvil.rpc()
    while True:
        try:
            await rpc.request("eth_blockNumber")
        except ChainUnavailable:
            if anvil.process.poll() is not None:
                raise
            await trio.sleep(POLL_S)
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
