"""What a node gains by a prover of its own making: it is found, and loses its validation."""

import pytest

from tests.e2e.validator.validated_pool import ValidatedPool, verified

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

CHEATS = {
    "fakes": ("wrong_product", "wrong-product", True),
    "forgets": ("short_memory", "wrong-memory", True),
    "doubles": ("late", "slow-product", False),
}
"""What a cheat does; what it counts as; its fault; whether its own signature proves it."""


@pytest.mark.parametrize("cheat", CHEATS)
async def test_a_cheat_is_found_and_invalidated(pool: ValidatedPool, cheat: str) -> None:
    """By the process and its policy, in one challenge, in which the honest pass; a stranger who
    reads the evidence comes to the same, and sees what of it is the validator's word."""
    kind, fault, proven = CHEATS[cheat]
    *honest, liar = pool.agents
    found = pool.once(pool.honest, pool.cheats[cheat])
    told = found[liar.node_id]
    assert (told["finding"], told["conclusion"]) == (kind, "invalid"), told
    assert told["proven"] is proven
    assert {found[one.node_id]["finding"] for one in honest} == {"passed"}
    assert not await pool.is_validated(liar)
    assert all([await pool.is_validated(one) for one in honest])
    taken = [one for one in pool.acts() if one["node"] == liar.node_id][-1]
    assert (taken["kind"], taken["state"]) == ("invalidate", "done")
    (document,) = (pool.data / "evidence").glob(f"*/{told['evidence'][2:]}.p2pool")
    seen = verified(document)
    assert seen["conclusion"] == "invalid"
    assert {one["proven"] for one in seen["faults"] if one["fault"] == fault} == {proven}
