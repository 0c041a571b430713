"""A pool comes up by its validator alone: what it said is known to all, and proven to strangers."""

import time
from functools import partial
from pathlib import Path

import pytest

from p2pool.client.agent_client import Answer
from p2pool.codec.json.hex import address_text
from p2pool.dev.agent import DevAgent
from p2pool.dev.pool import PASSPHRASE
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.ids import PoolRef
from p2pool.validator.challenge.figures import FigureTable
from p2pool.validator.policy.rules import Policy
from p2pool.validator.process import validator
from p2pool.validator.process.options import ValidatorOptions
from p2pool.validator.process.validator import check_node
from p2pool.wire.evm.key_signer import signer_of
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import Acting
from tests.e2e.validator.calibration import MEMORY_BYTES
from tests.e2e.validator.validated_pool import GPUS, ValidatedPool, node_id_of, verified

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED = 3
LEASED = 5


async def test_nodes_went_from_registered_to_validated(pool: ValidatedPool) -> None:
    """By a process that was killed on the way: each node was validated once, and is a member."""
    story = pool.story
    assert {one["kind"] for one in story.killed_with} == {"validate"}
    assert story.sent == story.sent_before + len(pool.agents)
    done = [one for one in pool.acts() if one["state"] == "done" and one["kind"] == "validate"]
    assert sorted(one["node"] for one in done)[: len(pool.agents)] == sorted(
        agent.node_id for agent in pool.agents
    )
    acting = Acting(pool)
    for agent in pool.agents:
        await pool.wait(f"{agent.name} ready", partial(acting.is_ready, agent))


async def test_the_honest_pass_all_the_time(pool: ValidatedPool) -> None:
    """All three in one turn, as in each turn in which another one cheats; and each shows no more
    than it claims."""
    found = pool.once(pool.honest)
    kinds = {agent.node_id: found[agent.node_id]["finding"] for agent in pool.agents}
    assert set(kinds.values()) == {"passed"}, found
    for agent in pool.agents:
        (shown, *_) = found[agent.node_id]["shown"]
        assert shown["uuid"] == GPUS[agent.name][0]
        assert 0 < shown["memory_bytes"] <= MEMORY_BYTES


async def test_every_agent_tells_the_verdicts(pool: ValidatedPool) -> None:
    """Those that it never met the validator for, too; and `node show` shows them to a reader."""
    if not pool.passed:
        pool.once(pool.honest)
    for agent in pool.agents:
        for other in pool.agents:
            (told,) = await _verdicts(pool, agent, other)
            assert told["conclusion"] == "valid"
    acting, (at, _, other) = Acting(pool), pool.agents
    (shown,) = acting.run(at, "node", "show", other.node_id)["validations"]
    assert shown["conclusion"] == "valid"
    assert shown["validator"] == address_text(pool.validator_account)
    plain = p2pool("node", "show", other.node_id, **acting.environment(at))
    assert "valid" in plain.stdout


async def _verdicts(pool: ValidatedPool, at: DevAgent, of: DevAgent) -> list[Answer]:
    async def known() -> list[Answer]:
        return list((await at.get("/v1/validations", node=of.node_id))["validations"])

    found: list[Answer] = await pool.wait(f"a verdict on {of.name} at {at.name}", known)
    return found


async def test_a_stranger_checks_the_document(pool: ValidatedPool, tmp_path: Path) -> None:
    """With the file alone, or with the chain's word on the signer; one that was changed is none."""
    document, node = tmp_path / "evidence.p2pool", pool.agents[0]
    told = pool.check(node, "--out", str(document))
    assert told["conclusion"] == "valid"
    alone = verified(document)
    assert (alone["conclusion"], alone["node_id"]) == ("valid", node.node_id)
    network = address_text(pool.chain.at.network)
    asked = ("--validator-role", "--rpc", pool.rpc_url, "--network", network)
    done = p2pool("verify", "validation", str(document), *asked, "--json")
    assert done.returncode == 0, done.stderr
    data = bytearray(document.read_bytes())
    data[len(data) // 2] ^= 1
    document.write_bytes(data)
    assert p2pool("verify", "validation", str(document)).returncode == REFUSED


async def test_a_leased_node_declines(pool: ValidatedPool) -> None:
    """It says until when, as the task has a deadline; and shows its GPU again after the task."""
    acting, at = Acting(pool), pool.agents[0]
    options = ("--gpus", "1", "--deadline", "10m")
    task = acting.submit(at, "leased", "while true; do sleep 1; done", *options)
    (copy,) = await acting.wait_states(at, task, "running")
    node = next(one for one in pool.agents if one.node_id == copy["node_id"])
    told = pool.check(node, "--image", pool.honest, code=LEASED)
    assert (told["code"], told["conclusion"]) == ("leased", "inconclusive")
    assert told["retry_at_ms"] > time.time() * 1000
    await acting.stop_task(at, task)

    async def free() -> bool:
        return bool(pool.check_code(node) == 0)

    await pool.wait("a GPU that is free", free)


async def test_who_is_no_validator_is_refused(
    pool: ValidatedPool, figures: FigureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own command first; and by the node, if it asks nonetheless."""
    node = pool.agents[0]
    refused = pool.check(node, key="manager", code=REFUSED)
    assert "VALIDATOR_ROLE" in refused["message"]

    async def unasked(*args: object, **named: object) -> None:
        return

    monkeypatch.setattr(validator, "check_role", unasked)
    found = await check_node(_stranger(pool, figures), node_id_of(node))
    assert (found.outcome.code, found.signed) == ("not_validator", None)


def _stranger(pool: ValidatedPool, figures: FigureTable) -> ValidatorOptions:
    config = pool.settings
    key = pool.directory / "keys" / "manager.json"
    account = load_account(key, PASSPHRASE, note=lambda text: None)
    return ValidatorOptions(
        directory=pool.directory / "stranger" / "validator",
        transactions=pool.directory / "stranger",
        pool=PoolRef(config.chain.id, config.chain.addresses.pool, pool.pool_id),
        chain=config.chain,
        account=signer_of(account),
        policy=Policy(),
        table=figures,
        sizes=figures.sizes,
        bootstrap=config.network.bootstrap,
    )
