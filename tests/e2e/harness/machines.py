"""A pool whose Docker Engine and GPUs the test moves: each machine thing has a stand-in."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest

from p2pool.client.agent_client import Answer
from p2pool.dev.engine.engine import Engine
from p2pool.dev.pool import DevAgent
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.schema import load_config
from p2pool.drivers.keys.keystore import load_account
from tests.containers.harness.private_engine import make_hook, private_engine
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import Acting

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
LOST = 15
PASSPHRASE = "development"


def gpus_but(*lost: int) -> str:
    """A machine with four GPUs, of which some are lost."""
    return "\n".join(
        f"gpu GPU-{n} {80 * GIB} {LOST if n in lost else 0} 0 0 0 NVIDIA H100" for n in range(4)
    )


@attrs.define
class Place(Acting):
    """A pool whose engine and GPUs the test moves."""

    engine: Engine
    machine: Path

    def run_file(self, at: DevAgent, script: str, **spec: Any) -> str:
        """Run a task from a file, for what has no flag; its id."""
        wanted = {
            "name": f"endings-{uuid.uuid4().hex[:8]}",
            "image": IMAGE,
            "command": ["sh", "-c", script],
            "resources": {"cpu_milli": 100, "memory_bytes": 64 * 2**20},
            **spec,
        }
        path = self.pool.directory / "spec.json"
        path.write_text(json.dumps(wanted))
        return str(self.run(at, "task", "run", "-f", str(path))["task_id"])

    async def wait_copy(self, at: DevAgent, task: str, what: str, done: Any) -> Answer:
        """Wait until the one copy of a task is as it should be."""

        (copy,) = await self.wait_copies(at, task, what, lambda copies: done(*copies))
        return copy

    async def running(self, at: DevAgent, task: str, attempt: int = 1) -> Answer:
        """The copy, once it runs in this attempt or a later one."""
        return await self.wait_copy(
            at, task, "running", lambda c: c["state"] == "running" and c["attempt"] >= attempt
        )

    def agent_of(self, copy: Answer) -> DevAgent:
        """The agent that runs a copy."""
        return next(a for a in self.agents if a.node_id == copy["node_id"])

    def other_than(self, *agents: DevAgent) -> DevAgent:
        """Some agent but these."""
        return next(a for a in self.agents if a not in agents)

    def gpus(self, *lost: int) -> None:
        """The machine's GPUs, of which some are lost."""
        self.machine.write_text(gpus_but(*lost))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Brought up by the command line, and down again whatever happened to it."""
    with TemporaryDirectory(prefix="p2n", dir="/tmp", ignore_cleanup_errors=True) as held:
        base = Path(held)
        tools = base / "tools"
        make_hook(tools)
        source = ROOT / "tests" / "hardware" / "nvml.c"
        library = tools / "libnvidia-ml.so.1"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        directory, machine = base / "pool", base / "machine"
        with (
            private_engine(base / "engine", tools) as engine,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("DOCKER_HOST", engine.url)
            patch.setenv("LD_LIBRARY_PATH", str(tools))
            patch.setenv("FAKE_NVML", str(machine))
            machine.write_text(gpus_but())
            try:
                up = p2pool("dev", "up", "--dir", str(directory), "--json")
                assert up.returncode == 0, up.stderr
                yield Place(Acting.on(directory).pool, engine, machine)
            finally:
                p2pool("dev", "down", "--dir", str(directory))


def chain_as(place: Place, key: str) -> tuple[PoolContracts, KeyWriter]:
    config = load_config(place.pool.directory / "agent-1.toml", {})
    at = config.chain.addresses
    rpc = Rpc.to(config.chain.id, config.chain.endpoints)
    addresses = Addresses(at.network, at.pool, at.registry, at.stake, at.domains, at.token)
    account = load_account(
        place.pool.directory / "keys" / f"{key}.json", PASSPHRASE, note=lambda text: None
    )
    return PoolContracts(rpc, addresses), KeyWriter(rpc, account)
