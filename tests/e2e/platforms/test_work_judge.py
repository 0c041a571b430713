"""The judge that runs work again, on a pool of three agents of three providers."""

import hashlib
from typing import Any

import pytest
import trio

from p2pool.client import Client, KeySigner
from p2pool.codec.json.hex import unhex
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId, PoolRef
from p2pool.validator.judging.judge import SubmittedWork, WorkConclusion
from p2pool.validator.judging.re_execution import LABEL, NAME, ReExecution
from p2pool.validator.judging.trial import Trials
from tests.e2e.harness.actions import Acting
from tests.e2e.platforms.conftest import small

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

DEADLINE_S = 120
SUM = "seq 100 > /work.json; sha256sum /work.json"
RANDOM = "head -c 32 /dev/urandom > /work.json; sha256sum /work.json"
WORK = {"file": "/work.json", "units": 12}


async def ran(client: Client, name: str, script: str, node: str) -> bytes:
    """A task that has ended on a node; the digest of its file, as its log tells."""
    spec = small(name, "sh", "-c", script, labels={LABEL: NAME}, work=WORK)
    pinned = {"constraints": [{"attribute": "node", "value": node}]}

    def run() -> bytes:
        said = client.submit({**spec, **pinned})
        task = client.wait(str(said.task_id), until="ended", timeout_s=DEADLINE_S)
        assert task.state == "succeeded", task
        with client.logs(task.task_id) as lines:
            (line,) = [one.data for one in lines]
        return bytes.fromhex(line.split()[0].decode())

    return await trio.to_thread.run_sync(run)


async def test_a_piece_is_run_again_by_other_providers(acting: Acting, manager: KeySigner) -> None:
    """What another node comes to as well is right; what two others agree against is wrong; what
    comes out differently each time is unknown. Nothing of it is left running."""
    client = Client([str(one.directory) for one in acting.agents], signer=manager, patience_s=60)
    nodes = await trio.to_thread.run_sync(client.nodes)
    pool = await trio.to_thread.run_sync(client.pool)
    assert len({one.provider for one in nodes}) == 3
    node, other, _ = nodes
    trials = Trials(ReExecution(client, 2, DEADLINE_S), 3 * DEADLINE_S)

    def piece(of: Any, key: bytes, units: int = 12) -> SubmittedWork:
        contract, node_id, provider = (
            unhex(text, ADDRESS_BYTES) or b"" for text in (pool.contract, of.node_id, of.provider)
        )
        return SubmittedWork(
            pool=PoolRef(pool.chain_id, Address(contract), pool.pool_id),
            node_id=NodeId(node_id),
            provider=Address(provider),
            key=key,
            units=units,
            block=1,
        )

    true = await ran(client, "judged", SUM, node.node_id)
    assert true == hashlib.sha256(b"".join(b"%d\n" % n for n in range(1, 101))).digest()
    right = await trials.of(piece(node, true))
    assert right.conclusion is WorkConclusion.RIGHT, right
    more = await trials.of(piece(node, true, units=16))
    assert (more.conclusion, more.shortfall_permille) == (WorkConclusion.WRONG, 250), more
    wrong = await trials.of(piece(node, b"\x01" * 32))
    assert (wrong.conclusion, wrong.shortfall_permille) == (WorkConclusion.WRONG, 1000), wrong
    assert wrong.evidence.count(true.hex()) == 2
    assert node.provider not in wrong.evidence

    drawn = await ran(client, "drawn", RANDOM, other.node_id)
    unknown = await trials.of(piece(other, drawn))
    assert unknown.conclusion is WorkConclusion.UNKNOWN, unknown
    assert "Each run comes to another file" in unknown.evidence
    living = await trio.to_thread.run_sync(client.tasks)
    assert [one.name for one in living if one.name.startswith("judge-")] == []
