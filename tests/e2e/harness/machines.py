"""A pool whose Docker Engine and GPUs the test moves: each machine thing has a stand-in."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from p2pool.client.agent import Answer
from p2pool.dev.engine.engine import Engine, import_busybox, start_engine
from p2pool.dev.pool import DevAgent
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.writer import KeyWriter
from p2pool.drivers.config.schema import load_config
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.errors import Misconfigured, RuntimeUnavailable
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
            "name": "endings",
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
    base = Path(tempfile.mkdtemp(prefix="p2n", dir="/tmp"))
    tools = base / "tools"
    tools.mkdir()
    hook = tools / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\ncat > /dev/null\n")
    hook.chmod(0o755)
    source = ROOT / "tests" / "hardware" / "nvml.c"
    library = tools / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    try:
        engine = start_engine(base / "engine", str(tools))
    except (Misconfigured, RuntimeUnavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no private Docker Engine: {error}")
    directory, machine = base / "pool", base / "machine"
    environment = {
        "DOCKER_HOST": engine.url,
        "LD_LIBRARY_PATH": str(tools),
        "FAKE_NVML": str(machine),
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        client = docker.APIClient(base_url=engine.url, version="auto")
        import_busybox(client, base)
        client.close()
        machine.write_text(gpus_but())
        up = p2pool("dev", "up", "--dir", str(directory), "--json")
        assert up.returncode == 0, up.stderr
        yield Place(Acting.on(directory).pool, engine, machine)
    finally:
        p2pool("dev", "down", "--dir", str(directory))
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        engine.stop()
        shutil.rmtree(base, ignore_errors=True)


def chain_as(place: Place, key: str) -> tuple[PoolContracts, KeyWriter]:
    config = load_config(place.pool.directory / "agent-1.toml", {})
    at = config.chain.addresses
    rpc = Rpc.to(config.chain.id, config.chain.endpoints)
    addresses = Addresses(at.network, at.pool, at.registry, at.stake, at.domains, at.token)
    account = load_account(
        place.pool.directory / "keys" / f"{key}.json", PASSPHRASE, note=lambda text: None
    )
    return PoolContracts(rpc, addresses), KeyWriter(rpc, account)
