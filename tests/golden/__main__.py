"""`python -m tests.golden`: makes the golden disks of this version.

`tests/golden/disks/README.md` describes them.

A development pool of three agents lives for a few minutes; their stores and peer keys go into
`tests/golden/disks/VERSION`, with what this version reads from them. A disk that is there stays.
"""

import argparse
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool import __version__
from p2pool.cli.shared.signer import opened_account
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import find_agent
from p2pool.client.requests import request_for
from p2pool.dev.agent import DevAgent
from p2pool.dev.pool import DevPool
from p2pool.drivers.build import this_build
from p2pool.drivers.config.schema import load_config
from p2pool.drivers.store import DATABASE_NAME
from p2pool.model.access.requests import Action
from p2pool.model.ids import ADDRESS_BYTES, NodeId
from p2pool.model.log.state_digests import DigestAlgorithm
from p2pool.wire.typed_data import sign_request
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.golden.reading import PEER_KEY_NAME, facts_in, node_from, restored_from
from tests.golden.released import DISKS

PROGRAM = (sys.executable, "-m", "tests.golden.short_lived")
SETTINGS = 14
"""How many changes of a setting there are: enough for a snapshot and a log after it."""


async def live(acting: Acting) -> dict[str, Any]:
    """The life of the pool; what its API says at the end."""
    for agent in acting.agents:
        await restart(acting, agent)
    first, second = acting.agents[:2]
    serves = acting.submit(first, "serve", ENDLESS, "--replicas", "2")
    await acting.wait_states(first, serves, "running", "running")
    await acting.wait_states(first, acting.submit(first, "finish", "exit 0"), "succeeded")
    failing = acting.submit(first, "fail", "exit 3", "--restart", "never")
    await acting.wait_states(first, failing, "failed")
    stopped = acting.submit(first, "stop-me", ENDLESS)
    await acting.wait_states(first, stopped, "running")
    await acting.stop_task(first, stopped)
    acting.run(first, "pool", "set", "eject-stalled", "1d")
    for number in range(SETTINGS):
        acting.run(first, "pool", "set", "timing", "default" if number % 2 == 0 else "lan")
    await trio.to_thread.run_sync(revoke, acting, first)
    acting.run(first, "node", "drain", second.node_id)
    await trio.sleep(5)  # A last heartbeat of each, and the orders that follow.
    tasks = (await first.get("/v1/tasks"))["tasks"]
    nodes = (await first.get("/v1/nodes"))["nodes"]
    for agent in acting.agents:
        assert agent.child is not None
        await agent.child.stop()
    return {
        "tasks": [{key: task[key] for key in ("task_id", "name", "state")} for task in tasks],
        "nodes": [
            {key: node[key] for key in ("node_id", "membership", "intent", "reachability")}
            for node in nodes
        ],
    }


def revoke(acting: Acting, at: DevAgent) -> None:
    """Void the delegations of an account, which has no command: sign it as a platform would."""
    keys = acting.pool.directory / "keys"
    manager = opened_account(str(keys / "manager.json"), str(keys / "passphrase"))
    found = find_agent(str(at.directory), {})
    client = AgentClient(found.url, found.token)
    pool = client.pool_ref()
    request = request_for(pool, Action.REVOKE, "11" * ADDRESS_BYTES, "{}")
    client.send(sign_request(pool, manager, request))


async def restart(acting: Acting, agent: DevAgent) -> None:
    """Let an agent go on with few entries between its snapshots."""
    assert agent.child is not None
    await agent.child.stop()
    await acting.pool.start_agent(agent, PROGRAM)

    async def ready() -> bool:
        return bool((await agent.get("/v1/agent"))["agent"]["ready"])

    await acting.pool.wait(f"{agent.name} ready", ready)


def pack(agent: DevAgent, into: Path) -> None:
    """The store and the peer key of an agent, without times and owners."""
    with tarfile.open(into / f"{agent.name}.tar.xz", "w:xz") as packed:
        for name in (PEER_KEY_NAME, DATABASE_NAME):
            data = (agent.directory / name).read_bytes()
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(data), 0o600
            packed.addfile(about, io.BytesIO(data))


async def read(acting: Acting, into: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What this version reads from the disks, and what its API said."""
    facts: dict[str, Any] = {"commit": this_build().commit, "version": __version__}
    agents = {}
    for agent in acting.agents:
        pool = load_config(acting.pool.directory / f"{agent.name}.toml").pool_ref
        pack(agent, into)
        assert not (agent.directory / f"{DATABASE_NAME}-wal").exists()
        restored = await restored_from(agent.directory, pool)
        node = node_from(
            restored, agent.directory, pool, NodeId(bytes.fromhex(str(agent.node_id)[2:]))
        )
        agents[agent.name] = facts_in(restored, node, DigestAlgorithm.ROWS)
        assert restored.snapshot is not None
        assert restored.log_id is not None
        facts["log_id"] = restored.log_id.hex()
        facts["pool"] = attrs.asdict(pool) | {"contract": f"0x{pool.contract.hex()}"}
    one = next(iter(agents.values()))
    shared = {name: one[name] for name in ("settings", "revocations")}
    return {**facts, **said, **shared, "agents": agents}


async def make(into: Path) -> None:
    """Let the pool live, and keep its disks in a folder that is not there yet."""
    into.mkdir()
    directory = Path(tempfile.mkdtemp(prefix="p2g", dir="/tmp"))
    pool = DevPool(directory / "pool", lambda text: None, "process")
    try:
        await pool.up(3)
        await pool.wait_heartbeats()
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(3)
        acting = Acting(pool)
        facts = await read(acting, into, await live(acting))
        (into / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(into)
        raise
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """0 when the disks are there now, 1 where they were before."""
    argparse.ArgumentParser(prog="make golden-disks", description=__doc__).parse_args()
    into = DISKS / __version__
    if into.exists():
        print(f"{into} is there already, and a disk that is there stays", file=sys.stderr)
        return 1
    trio.run(make, into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
