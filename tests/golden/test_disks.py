"""The disks of every released version are opened by today's program, with all that was on them."""

from pathlib import Path
from typing import Any

import pytest

from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.node import Node
from p2pool.model.ids import NodeId, StateDigest
from p2pool.model.log.state_digests import DigestAlgorithm
from tests.golden.reading import (
    WITHOUT_ALGORITHM,
    facts_in,
    node_from,
    restored_from,
)
from tests.golden.released import RELEASES, facts_of, pool_of, unpack

AGENTS = [(release, agent) for release in RELEASES for agent in facts_of(release)["agents"]]


async def opened(release: str, agent: str, path: Path) -> tuple[Node, dict[str, Any]]:
    """A node from a disk, and what today's program reads there."""
    pool, wanted = pool_of(release), facts_of(release)["agents"][agent]
    unpack(release, agent, path)
    restored = await restored_from(path, pool)
    node = node_from(restored, path, pool, NodeId(bytes.fromhex(wanted["node_id"][2:])))
    by = DigestAlgorithm.ARRAY if release in WITHOUT_ALGORITHM else DigestAlgorithm.ROWS
    return node, facts_in(restored, node, by)


def test_there_is_a_disk_of_the_first_release() -> None:
    """The tests below are about something."""
    assert "0.1.0" in RELEASES


@pytest.mark.parametrize(("release", "agent"), AGENTS)
async def test_a_disk_says_what_its_release_read_from_it(
    release: str, agent: str, tmp_path: Path
) -> None:
    """Log, term, tasks, nodes, settings, and the digest by the algorithm of that release."""
    node, found = await opened(release, agent, tmp_path / "data")
    wanted = facts_of(release)["agents"][agent]
    for listed in ("stopped", "finished"):
        wanted[listed] = sorted(wanted[listed])
    assert found == wanted
    log_id = node.context.pool_log.log_id
    assert log_id is not None
    assert log_id.hex() == facts_of(release)["log_id"]


@pytest.mark.parametrize("release", RELEASES)
async def test_the_agents_of_a_pool_come_to_one_digest(release: str, tmp_path: Path) -> None:
    """Replicas that were equal are equal after each migrated for itself."""
    digests: dict[int, set[StateDigest]] = {}
    for agent in facts_of(release)["agents"]:
        node, _ = await opened(release, agent, tmp_path / agent)
        state = node.context.pool_log.state
        assert state is not None
        digests.setdefault(state.applied_index, set()).add(digest_of(state))
    assert all(len(found) == 1 for found in digests.values())


@pytest.mark.parametrize(("release", "agent"), AGENTS)
async def test_all_tasks_and_nodes_are_there(release: str, agent: str, tmp_path: Path) -> None:
    """As the release's API showed them to people."""
    node, _ = await opened(release, agent, tmp_path / "data")
    state, facts = node.context.pool_log.state, facts_of(release)
    assert state is not None
    assert {t.task_id.hex(): t.spec.name for t in state.tasks.values()} == {
        t["task_id"]: t["name"] for t in facts["tasks"]
    }
    assert {f"0x{n.hex()}" for n in state.nodes} == {n["node_id"] for n in facts["nodes"]}
    assert len(node.context.pool_log.configuration.voters) == len(facts["agents"])
