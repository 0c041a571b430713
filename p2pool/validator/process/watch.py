"""Which nodes there are to challenge: those of the pool, and those that wait to be validated.

Intuition: the pool's roster is followed as an agent follows it, at the cost of what changes. A node
that waits to be validated is in no pool yet; the registry's events name it, and so do our own
findings after a restart.

Invariants: what nobody reads now stays as it was read last; nobody is called gone because an
endpoint does not answer.
"""

from collections.abc import Collection

import attrs
import trio

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import NodeFacts, Presence
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.validator.newcomers import registered_lately
from p2pool.drivers.config.schema import ChainConfig
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from p2pool.model.ids import Address, NodeId
from p2pool.validator.process.rota import Candidate

log = get_logger(__name__)

READ_AT_ONCE = 32
REREAD_BLOCKS = 64
"""So many blocks are looked through again, in case an endpoint was behind."""


@attrs.define
class Watch:
    """The nodes of one pool, and those that wait to enter one. `known`: from earlier findings."""

    chain: PoolContracts
    config: ChainConfig
    pool_id: int
    known: Collection[NodeId] = ()
    candidates: tuple[Candidate, ...] = ()
    members: frozenset[NodeId] = frozenset()
    read_once: trio.Event = attrs.field(factory=trio.Event)
    _unreachable: str = ""
    _heard_to: int = 0

    async def run(self) -> None:
        """Follow the roster until cancelled; the chain never makes it raise."""
        reader = RosterReader(self.chain, self.pool_id)
        follower = RosterFollower(
            reader, self.config.confirmations, final_depth=self.config.final_depth
        )
        async for observed in follower.observations():
            reason = getattr(observed, "reason", "")
            if reason and reason != self._unreachable:
                log.warning("the chain cannot be read: the nodes are those of before", why=reason)
            self._unreachable = reason
            if not reason and follower.latest is not None:
                members = follower.latest.roster.members
                self.members = frozenset(one.node_id for one in members)
                self.read_once.set()

    async def refresh(self) -> None:
        """Read who waits, and where each stands. `ChainUnavailable`: nobody tells."""
        reader = await Reader.at_head(self.chain)
        named = await registered_lately(reader, self._heard_to)
        self._heard_to = max(0, reader.block - REREAD_BLOCKS)
        waiting = (one.node_id for one in self.candidates)
        listed = dict.fromkeys((*self.members, *waiting, *self.known, *named))
        node_ids = list(listed)[: limits.VALIDATOR_NODES_MAX]
        found: list[Candidate] = []
        before = {one.node_id: one for one in self.candidates}
        # Who is a member and validated, as nearly all are, is read again when its turn comes.
        settled = [one for one in node_ids if self._is_settled(before.get(one))]
        found += [before[one] for one in settled]
        asked = [one for one in node_ids if one not in set(settled)]
        for first in range(0, len(asked), READ_AT_ONCE):
            for facts in await reader.registry_nodes(asked[first : first + READ_AT_ONCE]):
                candidate = self._candidate(facts, before.get(facts.node_id))
                if candidate is not None:
                    found.append(candidate)
        self.candidates = tuple(found)

    async def read_again(self, candidates: Collection[Candidate]) -> list[Candidate]:
        """The same as they stand now; those that are gone are left out."""
        reader = await Reader.at_head(self.chain)
        before = {one.node_id: one for one in candidates}
        found = (
            self._candidate(facts, before[facts.node_id])
            for facts in await reader.registry_nodes(list(before))
        )
        now = {one.node_id: one for one in found if one is not None}
        self.candidates = tuple(
            now.get(one.node_id, one)
            for one in self.candidates
            if one.node_id in now or one.node_id not in before
        )
        return list(now.values())

    async def read(self, node_id: NodeId) -> Candidate | None:
        """One node, member or not; None: the registry does not have it."""
        reader = await Reader.at_head(self.chain)
        (facts,) = await reader.nodes(self.pool_id, [node_id])
        if facts.registry.is_absent or facts.registry.value is None:
            return None
        info = facts.registry.value
        return Candidate(node_id, info.provider, facts.is_member, info.validated)

    def _is_settled(self, before: Candidate | None) -> bool:
        return before is not None and before.is_validated and before.node_id in self.members

    def _candidate(self, facts: NodeFacts, before: Candidate | None) -> Candidate | None:
        registry, is_member = facts.registry, facts.node_id in self.members
        if registry.presence is Presence.UNKNOWN:
            return before
        if registry.value is None:
            return None
        provider: Address = registry.value.provider
        candidate = Candidate(facts.node_id, provider, is_member, registry.value.validated)
        # Who is validated and in no pool, or in another one, is not ours to look after.
        return candidate if is_member or not candidate.is_validated else None


async def read_or_none(watch: Watch, candidates: Collection[Candidate]) -> list[Candidate]:
    """As `read_again`; with the chain out of reach as they were."""
    try:
        return await watch.read_again(candidates)
    except ChainUnavailable:
        return list(candidates)
