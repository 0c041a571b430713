"""Who is killed in the middle of a challenge leaves nothing behind, and loses nothing by it."""

import signal
from typing import Any

import pytest
import trio

from p2pool.dev.agent import DevAgent
from tests.e2e.harness.actions import Acting
from tests.e2e.validator.engine_watch import prover_computes, provers
from tests.e2e.validator.validated_pool import ValidatedPool

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]


async def _computes(pool: ValidatedPool, node: DevAgent) -> None:
    async def seen() -> bool:
        return await trio.to_thread.run_sync(prover_computes, pool.engine_url, node.node_id)

    await pool.wait(f"a prover that computes for {node.name}", seen)


async def _no_prover(pool: ValidatedPool) -> None:
    async def gone() -> bool:
        return not await trio.to_thread.run_sync(provers, pool.engine_url)

    await pool.wait("the end of all provers", gone)


async def test_a_validator_and_an_agent_are_killed_in_a_challenge(pool: ValidatedPool) -> None:
    """No prover stays. The agent's node counts as absent, which is no fraud, and nothing follows
    for it; another node of its provider passes beside it, and all do in the next turn."""
    acting, images = Acting(pool), (pool.cheats["shares"], pool.honest)
    _, node, beside = pool.agents
    acts = {one["act_id"] for one in pool.acts()}
    named = (word for image in images for word in ("--image", image))
    child = pool.validator("--once", "--every", "1s", *named)
    try:
        await _computes(pool, node)
    finally:
        child.signal(signal.SIGKILL)
        await child.wait_gone()
    await _no_prover(pool)
    found: dict[str, Any] = {}

    async def turn() -> None:
        found.update(await trio.to_thread.run_sync(lambda: pool.turn(*images)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        await _computes(pool, node)
        await acting.kill(node)
    told = found[node.node_id]
    assert (told["finding"], told["proven"]) == ("offline", False), told
    assert told["evidence"] is not None
    assert found[beside.node_id]["finding"] == "passed", found
    await acting.start(node)
    await _no_prover(pool)
    found = pool.once(pool.honest)
    assert {one["finding"] for one in found.values()} == {"passed"}, found
    assert {one["act_id"] for one in pool.acts()} == acts
    assert all([await pool.is_validated(one) for one in pool.agents])
