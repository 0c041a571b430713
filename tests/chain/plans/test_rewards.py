"""Rewards are there, absent or unknown, and only what can be claimed is claimed."""

from typing import Any

import attrs
import pytest
from eth_abi.abi import encode

from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Presence, Reading
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.provider.rewards import (
    EARNED_AND_LOCKED,
    WHERE,
    Reward,
    claim_plan,
    rewards_of,
)
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable, NotFound
from p2pool.model.ids import Address
from tests.chain.plans.facts import AT, ME, NO, NODE, UNKNOWN

PAYS = Address(b"r" * 20)
REFUSES = {"error": {"code": 3, "message": "execution reverted", "data": "0x"}}
NO_RATE = {
    "error": {
        "code": 3,
        "message": "execution reverted: Rate not set",
        "data": "0x08c379a0" + encode(("string",), ("Rate not set",)).hex(),
    }
}


def words(*numbers: int) -> dict[str, Any]:
    """An answer of so many numbers."""
    return {"result": "0x" + b"".join(one.to_bytes(32, "big") for one in numbers).hex()}


@attrs.define
class Paying:
    """An endpoint that answers calls by their selectors."""

    answers: dict[bytes, dict[str, Any]]

    def make_request(self, method: str, params: list[Any]) -> dict[str, Any]:
        """As web3's provider."""
        if method == "eth_chainId":
            return {"result": "0x1"}
        return self.answers[bytes.fromhex(params[0]["data"][2:10])]


def reader(where: dict[str, Any], earned: dict[str, Any] | None = None) -> Reader:
    """A reader of a chain with these answers."""
    rpc = Rpc.to(1, ["http://h.example"])
    answers = {WHERE.call(7)[:4]: where, EARNED_AND_LOCKED.call(NODE)[:4]: earned or {}}
    rpc.endpoints[0].provider = Paying(answers)  # type: ignore[assignment]
    return Reader(PoolContracts(rpc, AT), 1, 0)


@pytest.mark.parametrize(
    ("where", "earned", "presence", "found"),
    [
        (words(int.from_bytes(PAYS, "big")), words(21, 5), Presence.PRESENT, Reward(NODE, 21, 5)),
        (words(int.from_bytes(PAYS, "big")), words(21), Presence.PRESENT, Reward(NODE, 21, 0)),
        (words(int.from_bytes(PAYS, "big")), NO_RATE, Presence.PRESENT, None),
        (words(0), None, Presence.ABSENT, None),
        (REFUSES, None, Presence.ABSENT, None),
        ({"result": "0x"}, None, Presence.ABSENT, None),
        ({"error": {"code": -32000, "message": "busy"}}, None, Presence.UNKNOWN, None),
    ],
)
async def test_a_deployment_has_rewards_or_none_or_nobody_says(
    where: dict[str, Any], earned: dict[str, Any] | None, presence: Presence, found: Reward | None
) -> None:
    """A contract without the function has none; one without a rate says nothing yet."""
    at, rewards = await rewards_of(reader(where, earned), 7, [NODE])
    assert at.presence is presence
    if presence is Presence.PRESENT:
        assert rewards[0].value == found
        assert bool(rewards[0].why) is (found is None)


def test_what_can_be_claimed_is_claimed() -> None:
    """A node each; what is locked is told, and what is unknown is no zero."""
    earned = [Reading.of(Reward(NODE, 21, 5)), Reading.of(Reward(NODE, 0, 10**18))]
    plan = claim_plan(ME, 7, Reading.of(PAYS), earned)
    assert [(one.name, one.to, one.arguments) for one in plan.ready] == [("claimed", PAYS, (NODE,))]
    assert "locked" in plan.notes[0]
    with pytest.raises(NotFound, match="pays no rewards"):
        claim_plan(ME, 7, NO, [])
    for where, rewards in ((UNKNOWN, []), (Reading.of(PAYS), [UNKNOWN])):
        with pytest.raises(ChainUnavailable):
            claim_plan(ME, 7, where, rewards)
