"""A pool whose agents all come back from the disks of a released version goes on where it was."""

from pathlib import Path

import attrs
import pytest
import trio
from nacl.signing import SigningKey

from p2pool.codec.cbor.structs import decode_struct
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.knowledge.bindings import BINDINGS_TABLE
from p2pool.core.log.pool_log import META_TABLE, ROOT_KEY
from p2pool.drivers.keys.keystore import peer_key_of
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.store import Restored
from tests.golden.reading import PEER_KEY_NAME, restored_from
from tests.golden.released import RELEASES, facts_of, pool_of, unpack
from tests.sim.harness.pool import Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.disk import Disk
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

LATER_MS = 60_000


def disk_of(found: Restored) -> Disk:
    """A disk of the simulator with what a store held."""
    return Disk(
        store_id=found.store_id,
        incarnation=found.incarnation,
        log_id=found.log_id,
        hard=found.hard_state,
        snapshot=found.snapshot,
        entries={entry.index: entry for entry in found.entries},
        tables={name: dict(rows) for name, rows in found.tables.items()},
        base_index=found.entries[0].index - 1,
        last_index=found.entries[-1].index,
    )


@attrs.frozen
class Disks:
    """What was found on the disks of a pool, by agent."""

    found: dict[str, Restored]
    seeds: dict[str, bytes]

    def bindings(self) -> dict[PeerKey, PeerBinding]:
        """The agents' bindings: nobody has their node keys any more, but each other's disk has
        what they signed."""
        rows = [row for one in self.found.values() for row in one.tables[BINDINGS_TABLE].values()]
        known = [decode_struct(PeerKnown, row).binding for row in rows]
        return {binding.peer_key: binding for binding in known}

    def root(self) -> RootRecord:
        """The record that founds their log."""
        first = next(iter(self.found.values()))
        return decode_struct(RootRecord, first.tables[META_TABLE][ROOT_KEY])


async def open_disks(release: str, path: Path) -> Disks:
    """Open the data directory of each agent, which migrates it."""
    disks = Disks({}, {})
    for agent in facts_of(release)["agents"]:
        unpack(release, agent, path / agent)
        disks.found[agent] = await restored_from(path / agent, pool_of(release))
        disks.seeds[agent] = (path / agent / PEER_KEY_NAME).read_bytes()
    return disks


def pool_from(release: str, disks: Disks, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Nodes on these disks, a minute after the last of them ended."""
    agents, bindings = facts_of(release)["agents"], disks.bindings()
    wall_ms = max(agent["log_time_ms"] for agent in agents.values()) + LATER_MS
    for name in ("world.world", "faults.scenario"):
        monkeypatch.setattr(f"tests.sim.{name}.POOL", pool_of(release))
        monkeypatch.setattr(f"tests.sim.{name}.WALL_MS", wall_ms)
    monkeypatch.setattr(
        "tests.sim.world.network.make_binding",
        lambda pool, account, key, at_s: bindings[PeerKey(bytes(key.verify_key))],
    )
    world = World(7, len(agents))
    for machine, (agent, facts) in zip(world.machines, agents.items(), strict=True):
        machine.signing_key = SigningKey(disks.seeds[agent])
        machine.peer_key = peer_key_of(disks.seeds[agent])
        machine.node_id = NodeId(bytes.fromhex(facts["node_id"][2:]))
        machine.disk = disk_of(disks.found[agent])
    world.by_key = {machine.peer_key: machine for machine in world.machines}
    world.root = disks.root()
    pool = Pool(7, world, Checks(world), world.rng)
    for machine in world.machines:
        world.start(machine.number)
    return pool


def state_of(machine: Machine) -> PoolState:
    """What a node has applied."""
    assert machine.node is not None
    state = machine.node.context.pool_log.state
    assert state is not None
    return state


@pytest.mark.parametrize("release", RELEASES)
def test_a_pool_on_old_disks_elects_a_leader_and_takes_a_task(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All agents are upgraded at once: the old tasks are there, a new one runs, and all nodes hold
    one state, of the old log."""
    facts = facts_of(release)
    disks = trio.run(open_disks, release, tmp_path)
    pool = pool_from(release, disks, monkeypatch)
    machines = pool.world.machines
    leads = [m.node.context.pool_log for m in machines if m.node is not None]
    pool.until(lambda: sum(log.leads for log in leads) == 1, 120_000)
    terms = [agent["term"] for agent in facts["agents"].values()]
    assert pool.leader().disk.hard.term > max(terms)
    new = pool.run_task(pool.other().number)
    old = {task["task_id"] for task in facts["tasks"]}
    ends = {state_of(m).applied_index for m in machines}
    pool.until(
        lambda: (
            len({state_of(m).applied_index for m in machines}) == 1
            and min(state_of(m).applied_index for m in machines) >= max(ends)
        )
    )
    assert len({digest_of(state_of(m)) for m in machines}) == 1
    for machine in machines:
        names = {name.hex() for name in state_of(machine).tasks}
        assert names == old | {new.hex()}
        assert machine.disk.log_id is not None
        assert machine.disk.log_id.hex() == facts["log_id"]
        wanted = facts["agents"].values()
        assert machine.store_id.hex() in {agent["store_id"] for agent in wanted}
