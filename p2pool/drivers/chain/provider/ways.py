"""From reads to plans: reads what a plan of nodes needs, all at one block, and makes it.

Intuition: `agent run`, its dry run and `pool join` go the same way; so they read it here, and the
dry run of one is what another sends.
"""

from collections.abc import Awaitable, Callable, Sequence

import attrs

from p2pool.drivers.chain.consent import is_well_formed
from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
from p2pool.drivers.chain.provider.entry_plans import (
    Newcomer,
    join_plan,
    move_plan,
    node_plan,
    waits_of_a_stranger,
)
from p2pool.drivers.chain.provider.facts import NodeFacts
from p2pool.drivers.chain.provider.plan import Plan, Wait
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import Address, NodeId

FindInvite = Callable[[NodeId], Awaitable[Invite | None]]
"""Finds an invite for a node: stored, given, or requested from peers."""


UNITS_PER_GPU = 1000


def compute_units(gpus: int) -> int:
    """The compute units of a node with so many GPUs; one without any has one."""
    return max(1, UNITS_PER_GPU * gpus)


Consent = Callable[[], Awaitable[bytes]]
"""Has a node's key sign its consent to a provider; asked only where it is needed, because a person
may stand behind the key."""


@attrs.frozen
class Candidate:
    """A node that somebody wants in a pool. `consent` None: its key is not at hand."""

    node_id: NodeId
    units: int
    consent: Consent | None = None

    async def signed(self, node: NodeFacts) -> bytes | None:
        """Its consent, if the registry does not have the node."""
        needed = self.consent is not None and not node.is_member and node.registry.is_absent
        return await self.consent() if needed and self.consent is not None else None


async def invite_problem(
    chain: PoolContracts, pool: PoolInfo, node_id: NodeId, invite: Invite, time_s: int
) -> str:
    """Why an invite is not worth a transaction; empty: it is."""
    wanted = (pool.domain_id, pool.pool_id, node_id)
    if not is_well_formed(invite):
        return "the known invite is not valid: its numbers are out of bounds"
    if (invite.domain_id, invite.pool_id, invite.node_id) != wanted:
        return "the known invite is not valid: it is for another node or pool"
    if invite.expiration_s <= time_s:
        return "the known invite is not valid: it has expired"
    if not await chain.invited_by(pool.manager, invite):
        return "the known invite is not valid: the pool's manager has not signed it"
    return ""


@attrs.frozen
class Ways:
    """The ways of one provider's nodes, planned at one block."""

    reader: Reader
    provider: Address

    @classmethod
    async def at_head(cls, chain: PoolContracts, provider: Address) -> "Ways":
        """At the newest block."""
        return cls(await Reader.at_head(chain), provider)

    async def into_pool(
        self,
        pool_id: int,
        candidates: Sequence[Candidate],
        find_invite: FindInvite,
        *,
        stake_max_wei: int | None = None,
        known_only: bool = False,
        refused: Callable[[Invite], None] = lambda _: None,
    ) -> Plan:
        """The whole rest of the way into a pool. `refused` hears of each invite that is no good."""
        reader = self.reader
        nodes = await reader.nodes(pool_id, [one.node_id for one in candidates])
        pool = await reader.pool(pool_id, self.provider)
        units = _new_units(nodes, candidates)
        facts = await reader.provider(self.provider, units)
        info = None if pool.info.is_absent else pool.info.value
        newcomers = []
        for one, node in zip(candidates, nodes, strict=True):
            invite, why = None, ""
            if info is not None and not node.is_member:
                invite, why = await self._invite(info, one.node_id, find_invite, refused)
            newcomers.append(
                Newcomer(
                    facts=node,
                    units=one.units,
                    consent=await one.signed(node),
                    invite=invite,
                    uninvited=why,
                )
            )
        return join_plan(
            self.reader.chain.at,
            pool,
            facts,
            newcomers,
            stake_max_wei=stake_max_wei,
            known_only=known_only,
        )

    async def of_a_stranger(self, pool_id: int, node_id: NodeId, units: int) -> tuple[Wait, ...]:
        """What a node waits for that is not registered, and whose provider nobody knows."""
        node, pool = await self.reader.node(pool_id, node_id), await self.reader.pool(pool_id)
        return waits_of_a_stranger(pool, Newcomer(facts=node, units=units))

    async def into_registry(
        self, pool_id: int, candidate: Candidate, stake_max_wei: int | None = None
    ) -> Plan:
        """A node registered, as far as the validator."""
        node = await self.reader.node(pool_id, candidate.node_id)
        units = _new_units([node], [candidate])
        facts = await self.reader.provider(self.provider, units)
        consent = await candidate.signed(node)
        newcomer = Newcomer(facts=node, units=candidate.units, consent=consent)
        return node_plan(self.reader.chain.at, facts, newcomer, stake_max_wei)

    async def between(
        self, from_id: int, to_id: int, node_ids: Sequence[NodeId], find_invite: FindInvite
    ) -> Plan:
        """Nodes from one pool into another."""
        reader = self.reader
        fro, to = await reader.pool(from_id), await reader.pool(to_id, self.provider)
        facts = await reader.provider(self.provider)
        info = None if to.info.is_absent else to.info.value
        newcomers = []
        for node in await reader.nodes(to_id, node_ids):
            invite, why = None, ""
            if info is not None and not node.is_member:
                invite, why = await self._invite(info, node.node_id, find_invite, lambda _: None)
            units = node.registry.value.compute_units if node.registry.value else 0
            newcomers.append(Newcomer(facts=node, units=units, invite=invite, uninvited=why))
        return move_plan(self.reader.chain.at, fro, to, facts, newcomers)

    async def _invite(
        self,
        info: PoolInfo,
        node_id: NodeId,
        find_invite: FindInvite,
        refused: Callable[[Invite], None],
    ) -> tuple[Invite | None, str]:
        invite = await find_invite(node_id)
        if invite is None:
            return None, ""
        why = await invite_problem(self.reader.chain, info, node_id, invite, self.reader.time_s)
        if why:
            refused(invite)
        return (None, why) if why else (invite, "")


def _new_units(nodes: Sequence[NodeFacts], candidates: Sequence[Candidate]) -> int:
    """The units of those that the registry does not have, and that are in no pool."""
    return sum(
        one.units
        for node, one in zip(nodes, candidates, strict=True)
        if not node.is_member and node.registry.is_absent
    )
