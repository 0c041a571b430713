"""Keys of nodes in a pool that runs are replaced, and in the end a provider takes its stake back.

The tests go on with what the one before left: a peer key is replaced, then a node's key, then the
machine that got it leaves for good.
"""

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.dev.admission import admit
from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import TOKENS_WEI, Deployment
from p2pool.dev.pool import PASSPHRASE, DevPool
from p2pool.dev.processes import spawn, wait_line
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.schema import load_config
from p2pool.drivers.keys.keystore import open_key_file
from p2pool.model.ids import NodeId
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.e2e.harness.stakes import command_with, take_stake_back

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

MOUNT = ("-v", "data:/data")


def deployment(pool: DevPool) -> Deployment:
    """The contracts of a pool that runs, with its validator."""
    chain = PoolContracts.of(load_config(pool.directory / "bootstrap.toml", {}).chain)
    return Deployment(chain, KeyWriter(chain.rpc, key_of(pool, "validator")), 0)


def key_of(pool: DevPool, name: str) -> Any:
    """An account of the pool's directory."""
    path = pool.directory / "keys" / f"{name}.json"
    return open_key_file(path, PASSPHRASE, note=lambda text: None)


async def a_follower(acting: Acting) -> tuple[DevAgent, DevAgent]:
    """An agent that does not lead, and another one."""
    leader = (await acting.pool.wait_elected(acting.agents))["node_id"]
    node = next(agent for agent in acting.agents if agent.node_id != leader)
    return node, next(agent for agent in acting.agents if agent is not node)


def words_in(machine: DevAgent, name: str) -> list[str]:
    """What the files of this name hold in the volumes of a machine."""
    place = machine.directory / "containers" / "volumes"
    return [path.read_text() for path in place.rglob(name)]


async def test_a_voter_is_another_peer_and_goes_on(pool_directory: Path) -> None:
    """Its containers run on meanwhile, the pool takes its seat back and gives it one again."""
    acting = Acting.on(pool_directory)
    await acting.pool.wait_committee(3)
    node, other = await a_follower(acting)
    task = acting.submit(other, "stays", ENDLESS, "--replicas", "3")
    before = await acting.wait_states(other, task, "running", "running", "running")
    containers = await acting.containers(node)
    peer = (await node.get("/v1/agent"))["agent"]["peer_id"]

    await acting.kill(node)
    words = ("--data-dir", str(node.directory))
    told = acting.run(node, "node", "rotate-peer-key", *words)
    assert (told["old"], told["node_id"], told["voters"]) == (peer, node.node_id, 3)
    await acting.start(node)
    assert (await node.get("/v1/agent"))["agent"]["peer_id"] == told["new"]

    async def seated() -> bool:
        members = (await other.get("/v1/committee"))["committee"]["members"]
        voters = {one["node_id"]: one["peer_id"] for one in members if one["voter"]}
        return len(voters) == 3 and voters.get(node.node_id) == told["new"]

    await acting.pool.wait("a seat for the new peer", seated)
    after = await acting.wait_states(other, task, "running", "running", "running")
    assert await acting.containers(node) == containers
    assert {(c["id"], c["attempt"]) for c in after} == {(c["id"], c["attempt"]) for c in before}
    await acting.stop_task(other, task)


async def test_a_machine_becomes_another_node_with_its_volumes(pool_directory: Path) -> None:
    """Drained, out, another key, started by the command that is printed, in again; and a task finds
    what the former node's task wrote there."""
    acting = Acting.on(pool_directory)
    pool = acting.pool
    node, other = await a_follower(acting)
    script = "head -c 32 /dev/urandom | md5sum > /data/word; " + ENDLESS
    task = acting.submit(other, "writes", script, "--replicas", "3", *MOUNT)
    await acting.wait_states(other, task, "running", "running", "running")
    (word,) = words_in(node, "word")

    former, provider = node.node_id, f"{node.name}-provider"
    rekey = partial(
        p2pool,
        *("node", "rekey", "--data-dir", str(node.directory), "--light"),
        **acting.environment(node, provider),
    )
    refused = await trio.to_thread.run_sync(rekey)
    assert "Stop the agent" in refused.stderr, refused
    assert await acting.containers(node) == {}
    await acting.wait_states(other, task, "running", "running", "running")
    assert node.child is not None
    await node.child.stop()
    done = await trio.to_thread.run_sync(rekey)
    assert done.returncode == 0, done.stderr
    assert former in done.stdout
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    await acting.stop_task(other, task)

    node.child, output = spawn(
        node.name,
        [*shlex.split(told.removeprefix("next: p2pool ")), "--json"],
        pool.directory / "logs",
        {},
    )
    pool.children.append(node.child)
    pool.save()
    node.node_id = (await wait_line(node.child, output))["node_id"]
    pool.save()
    assert node.node_id != former
    assert node.node_id in done.stdout
    there = deployment(pool)
    with trio.fail_after(120):
        await admit(there, KeyManager(key_of(pool, "manager")), pool.pool_id, [node])
    await pool.wait_heartbeats()
    await pool.wait_committee(3)

    reads = "cp /data/word /data/seen; " + ENDLESS
    task = acting.submit(other, "reads", reads, "--replicas", "3", *MOUNT)
    copies = await acting.wait_states(other, task, "running", "running", "running")
    assert {copy["node_id"] for copy in copies} == {agent.node_id for agent in acting.agents}

    async def copied() -> bool:
        return words_in(node, "seen") == [word]

    await pool.wait("the former node's file read by a task", copied)
    await acting.stop_task(other, task)
    chain = there.chain
    assert not await chain.in_pool(pool.pool_id, NodeId(bytes.fromhex(former[2:])))


async def test_a_provider_leaves_for_good_and_has_all_its_tokens(pool_directory: Path) -> None:
    """Drained, out, its agent stopped; both registrations and the stake are taken back, each by a
    command whose dry run named what it sent. The pool goes on without it."""
    acting = Acting.on(pool_directory)
    chain = deployment(acting.pool).chain
    rekeyed = [agent for agent in acting.agents if (agent.directory / "former").exists()]
    node = (rekeyed or acting.agents)[0]
    other = next(agent for agent in acting.agents if agent is not node)
    task = acting.submit(other, "stays", ENDLESS, "--replicas", "2")
    await acting.wait_states(other, task, "running", "running")
    environment = acting.environment(node, f"{node.name}-provider")
    environment["P2POOL_CONFIG"] = str(acting.pool.directory / f"{node.name}.toml")
    by_provider = command_with(environment)
    mine = await trio.to_thread.run_sync(lambda: by_provider("provider", "status"))
    nodes = [one["node_id"] for one in mine["nodes"]]
    assert (node.node_id in nodes, len(nodes)) == (True, 1 + len(rekeyed))
    await trio.to_thread.run_sync(lambda: by_provider("node", "drain", node.node_id, "--wait"))
    await trio.to_thread.run_sync(lambda: by_provider("pool", "leave", node.node_id))
    assert node.child is not None
    await node.child.stop()
    assert await chain.tokens(node.provider) < TOKENS_WEI
    sent = await take_stake_back(by_provider, chain.rpc, *nodes)
    assert await chain.tokens(node.provider) == TOKENS_WEI
    assert sent.count("withdraw") == 2
    await acting.wait_states(other, task, "running", "running")
    await acting.stop_task(other, task)
