"""Serf of the distribution, as many agents as asked for, on loopback, and when each said what."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs

from p2pool.dev.chain.anvil import free_port
from tests.bench.waiting import wait_until

READY_S = 30.0


@attrs.define
class Agent:
    """One agent. `heard`: (event, of whom) -> when its log said so, on the monotonic clock."""

    name: str
    bind: str
    rpc: str
    process: "subprocess.Popen[bytes] | None" = None
    heard: dict[tuple[str, str], float] = attrs.field(factory=dict)
    failures: int = 0

    def start(self) -> None:
        """Start it; it belongs to nobody yet."""
        self.process = subprocess.Popen(
            ["serf", "agent", "-node", self.name, "-bind", self.bind, "-rpc-addr", self.rpc],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        """Lines as `... serf: EventMemberFailed: n3 127.0.0.1`, while it lives."""
        assert process.stdout is not None
        for line in process.stdout:
            _, found, rest = line.decode(errors="replace").partition("serf: EventMember")
            if found:
                event, name = rest.split()[:2]
                self.heard[event.rstrip(":"), name] = time.perf_counter()
                self.failures += event == "Failed:"
            elif b"Serf agent starting" in line:
                self.heard["Started", self.name] = time.perf_counter()

    def join(self, other: "Agent") -> None:
        """Join the cluster of another."""
        subprocess.run(
            ["serf", "join", f"-rpc-addr={self.rpc}", other.bind],
            check=True,
            capture_output=True,
            timeout=READY_S,
        )

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def heard_by_all(agents: list[Agent], event: str, name: str, since: float) -> float | None:
    """When the last of these heard an event, None while there is one that did not."""
    times = [agent.heard.get((event, name), 0.0) for agent in agents]
    return max(times) if min(times) > since else None


@contextlib.contextmanager
def running(directory: Path, size: int) -> Iterator[list[Agent]]:
    """A cluster in which all know all; its processes end with the block."""
    agents = [
        Agent(f"n{n}", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}") for n in range(size)
    ]
    try:
        for agent in agents:
            agent.start()
        for agent in agents:
            wait_until(partial(heard_by_all, [agent], "Started", agent.name, 0.0), READY_S)
            time.sleep(0.2)
        for agent in agents[1:]:
            agent.join(agents[0])
        for agent in agents:
            others = [a for a in agents if a is not agent]
            wait_until(partial(heard_by_all, others, "Join", agent.name, 0.0), READY_S)
        yield agents
    finally:
        for agent in agents:
            agent.kill()
