"""What a node gains by a prover of its own making: it is found, and loses its validation."""

from typing import Any

import pytest

from p2pool.dev.agent import DevAgent
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.validator.slashes import slashes_of
from tests.e2e.conftest import p2pool
from tests.e2e.validator.engine_watch import shared_card
from tests.e2e.validator.validated_pool import PENALTY_PERCENT, ValidatedPool, verified

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]


async def _caught(pool: ValidatedPool, cheat: str, kind: str) -> Any:
    """What one turn finds of the liar, in which the honest pass: it has lost its validation by the
    policy. And what a stranger reads in the evidence."""
    *honest, liar = pool.agents
    found = pool.once(pool.honest, pool.cheats[cheat])
    told = found[liar.node_id]
    assert (told["finding"], told["conclusion"]) == (kind, "invalid"), told
    assert {found[one.node_id]["finding"] for one in honest} == {"passed"}, found
    assert not await pool.is_validated(liar)
    assert all([await pool.is_validated(one) for one in honest])
    taken = [one for one in pool.acts() if one["node"] == liar.node_id][-1]
    assert (taken["kind"], taken["state"]) == ("invalidate", "done")
    (document,) = (pool.data / "evidence").glob(f"*/{told['evidence'][2:]}.p2pool")
    seen = verified(document)
    assert seen["conclusion"] == "invalid"
    return told, seen["faults"]


CHEATS = {
    "forgets": ("short_memory", "wrong-memory", True),
    "doubles": ("late", "slow-product", False),
}
"""What a cheat does; what it counts as; its fault; whether its own signature proves it."""


@pytest.mark.parametrize("cheat", CHEATS)
async def test_a_cheat_is_found_and_invalidated(pool: ValidatedPool, cheat: str) -> None:
    """By the process and its policy, in one challenge, in which the honest pass; a stranger who
    reads the evidence comes to the same, and sees what of it is the validator's word."""
    kind, fault, proven = CHEATS[cheat]
    told, faults = await _caught(pool, cheat, kind)
    assert told["proven"] is proven
    assert {one["proven"] for one in faults if one["fault"] == fault} == {proven}


async def test_what_is_proven_costs_the_provider_stake(pool: ValidatedPool) -> None:
    """As much as the policy says, once, for the act that its reason names; `provider status` says
    what is left, and what is missing; a stranger finds the proof in the evidence."""
    liar = pool.agents[-1]
    before_wei = await _stake_wei(pool, liar)
    told, faults = await _caught(pool, "fakes", "wrong_product")
    assert {one["proven"] for one in faults if one["fault"] == "wrong-product"} == {True}
    (slash,) = [
        one
        for one in pool.acts()
        if one["kind"] == "slash"
        and one["state"] != "planned"
        and told["evidence"][2:] in one["findings"]
    ]
    amount_wei = int(slash["amount_wei"])
    assert (slash["state"], slash["node"]) == ("done", liar.node_id)
    assert amount_wei == before_wei * PENALTY_PERCENT // 100
    after = pool.provider_status(liar)
    past = (await slashes_of(await Reader.at_head(pool.chain), liar.provider)).need("slashes")
    done = past.for_reason(bytes.fromhex(slash["act_id"]))
    assert done is not None
    assert done.amount_wei == amount_wei
    # On a machine that is busy the liar may have been asked in a second turn, and slashed again.
    slashed_wei = sum(one.amount_wei for one in past.listed)
    assert int(after["stake_wei"]) == before_wei - slashed_wei
    plain = p2pool("provider", "status", after["account"], **pool.environment())
    assert "too little: p2pool provider stake add" in plain.stdout
    pool.told("provider", "stake", "add", key=f"{liar.name}-provider")
    assert await _stake_wei(pool, liar) >= int(after["stake_needed_wei"])


async def _stake_wei(pool: ValidatedPool, agent: DevAgent) -> int:
    facts = await (await Reader.at_head(pool.chain)).provider(agent.provider)
    return facts.stake_wei.need("stake")


async def test_nodes_that_share_a_card_are_found_together(pool: ValidatedPool) -> None:
    """Either alone shows the card in time. But nodes of one provider are asked in the same moment,
    and then both are late; another provider's node passes in the same turn."""
    honest, *sharing = pool.agents
    image = pool.cheats["shares"]
    assert len({one.provider for one in sharing}) == 1
    assert honest.provider != sharing[0].provider
    with shared_card(pool.engine_url, image) as told:
        assert pool.check(sharing[0], "--image", image)["conclusion"] == "valid"
        assert not told
        found = pool.once(pool.honest, image)
        assert len(set(told)) == len(sharing)
    kinds = {one.name: found[one.node_id]["finding"] for one in pool.agents}
    assert kinds == {honest.name: "passed"} | {one.name: "late" for one in sharing}
    assert await pool.is_validated(honest)
    assert not any([await pool.is_validated(one) for one in sharing])
