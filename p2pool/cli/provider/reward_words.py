"""What a provider's nodes have earned, for `p2pool provider status`: in words and in a document."""

from typing import TYPE_CHECKING, Any

import attrs

from p2pool.codec.text.amounts import tokens_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pool.drivers.chain.provider.facts import Reading
    from p2pool.drivers.chain.provider.reads import Reader
    from p2pool.drivers.chain.provider.rewards import Reward
    from p2pool.drivers.chain.validator.reward_claims import PastClaims
    from p2pool.model.ids import Address, NodeId


@attrs.frozen
class Earned:
    """The rewards of some nodes in a pool. `rewards`: in the order of the nodes, none where the
    deployment pays none. `claims`: of before; None: nobody was asked."""

    pool_id: int
    where: "Reading[Address]"
    node_ids: "tuple[NodeId, ...]"
    rewards: "tuple[Reading[Reward], ...]" = ()
    claims: "Reading[PastClaims] | None" = None

    def claimed_wei(self, node_id: "NodeId") -> int | None:
        """What was claimed for a node; None: unknown."""
        past = None if self.claims is None else self.claims.value
        return None if past is None else past.by_node.get(node_id, 0)

    @property
    def unknown(self) -> list[str]:
        """Why what is unknown is."""
        asked = [self.where, *self.rewards, *((self.claims,) if self.claims is not None else ())]
        return [one.why for one in asked if one.why]


async def earned_by(reader: "Reader", pool_id: int, node_ids: "Sequence[NodeId]") -> Earned:
    """Read it."""
    from p2pool.drivers.chain.provider.rewards import rewards_of
    from p2pool.drivers.chain.validator.reward_claims import claims_of

    listed = tuple(node_ids)
    where, rewards = await rewards_of(reader, pool_id, listed)
    if where.value is None:
        return Earned(pool_id, where, listed)
    claims = await claims_of(reader, where.value, pool_id)
    return Earned(pool_id, where, listed, tuple(rewards), claims)


def reward_rows(earned: Earned) -> list[tuple[str, ...]]:
    """A row for each node: what can be claimed, what is locked, what was claimed."""
    rows: list[tuple[str, ...]] = []
    for node_id, one in zip(earned.node_ids, earned.rewards, strict=True):
        claimed_wei = earned.claimed_wei(node_id)
        claimed = "unknown" if claimed_wei is None else tokens_text(claimed_wei)
        due, locked = (
            ("unknown", "unknown")
            if one.value is None
            else (tokens_text(one.value.due_wei), tokens_text(one.value.locked_wei))
        )
        rows.append(("0x" + node_id.hex(), due, locked, claimed))
    return rows


def reward_notes(earned: Earned) -> list[str]:
    """What a reader of the rows has to know."""
    if earned.where.why:
        return [f"Rewards of pool {earned.pool_id} are unknown: {earned.where.why}"]
    if earned.where.value is None:
        return [f"Pool {earned.pool_id} pays no rewards on the chain."]
    notes = [f"Not all rewards are known: {why}" for why in dict.fromkeys(earned.unknown)]
    past = None if earned.claims is None else earned.claims.value
    if past is not None and past.first_block:
        notes.append(f"What was claimed before block {past.first_block} is not counted.")
    if any(one.value is not None and one.value.due_wei for one in earned.rewards):
        notes.append("To claim: p2pool provider claim")
    return notes


def reward_document(earned: Earned) -> dict[str, Any]:
    """For programs: amounts in wei, as text; null: unknown."""
    past = None if earned.claims is None else earned.claims.value
    return {
        "pool_id": earned.pool_id,
        "paid": earned.where.presence.value,
        "contract": None if earned.where.value is None else "0x" + earned.where.value.hex(),
        "claimed_since_block": None if past is None else past.first_block,
        "nodes": [
            {
                "node_id": "0x" + node_id.hex(),
                "due_wei": None if one.value is None else str(one.value.due_wei),
                "locked_wei": None if one.value is None else str(one.value.locked_wei),
                "claimed_wei": _text(earned.claimed_wei(node_id)),
            }
            for node_id, one in zip(earned.node_ids, earned.rewards, strict=bool(earned.rewards))
        ],
    }


def _text(amount_wei: int | None) -> str | None:
    return None if amount_wei is None else str(amount_wei)
