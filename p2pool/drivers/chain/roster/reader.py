"""Reads the roster of a pool at a block: all of it, or only what events touched.

Intuition: a roster is the pool, the list of its members, and a row for each. A full reading costs
some three calls per member; after an event only the parts that it is about are read, and the rest
stays what it was.

Invariants: every part of one reading is read at one block's hash; a roster that our codec does not
take is none. Events are asked for by the block's hash where it is one block, for an endpoint that
does not have it says so then; in a span, those of some blocks before it are asked for again, for an
endpoint that is behind leaves out events without a word.
Source: docs/design/chain.md, "Following the chain".
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.rows import encode_record
from p2pool.codec.text.data_uri import requirements
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.answers import Block, Log
from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.root.contract import contract_address
from p2pool.drivers.chain.roster.events import Touched
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.errors import ChainUnavailable, Malformed, NotFound, WrongChain
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId

UNUSABLE = (ChainUnavailable, NotFound, WrongChain, Reverted)
"""What a reading may end with: of this endpoint there is none."""
NO_PROVIDER = Address(bytes(ADDRESS_BYTES))


class BlockMissing(ChainUnavailable):
    """An endpoint does not have a block that there should be: it is one of several, and behind."""


@attrs.define
class Span:
    """How many blocks' events endpoints give at once: found out, since each has a limit of its own,
    and its own words for it."""

    most: int = limits.CHAIN_SPAN_MAX_BLOCKS


@attrs.define
class RosterReader:
    """Reads the roster of one pool at a block."""

    chain: PoolContracts
    pool_id: int
    span: Span = attrs.field(factory=Span)

    def by(self, chain: PoolContracts) -> "RosterReader":
        """The same by other endpoints."""
        return attrs.evolve(self, chain=chain)

    async def block(self, at: object) -> Block:
        """A block by number or name; `BlockMissing` if the endpoint does not have it."""
        tag = hex(at) if isinstance(at, int) else at
        found = await self.chain.rpc.request("eth_getBlockByNumber", tag, False, read=answers.block)
        if found is None or (isinstance(at, int) and found.number != at):
            raise BlockMissing(f"The endpoint has no block {at}.")
        return found

    async def read(self, block: Block) -> ChainRoster:
        """The whole roster, every part read at this block's hash."""
        at = _at(block)
        pool = await self.chain.pool(self.pool_id, at)
        node_ids = await self._node_ids(at)
        rows = await self._rows(node_ids, at)
        return _checked(_roster(block, pool, tuple(rows[n] for n in node_ids)))

    async def update(self, old: ChainRoster, block: Block, touched: Touched) -> ChainRoster:
        """The roster at this block, where only this may have changed since `old`."""
        if touched.whole:
            return await self.read(block)
        at = _at(block)
        known = {m.node_id: m for m in old.members}
        node_ids = await self._node_ids(at) if touched.members else [*known]
        stale = [
            node_id
            for node_id in node_ids
            if node_id in touched.nodes
            or node_id not in known
            or known[node_id].provider in touched.providers
        ]
        rows = await self._rows(stale, at)
        members = tuple(rows[n] if n in rows else known[n] for n in node_ids)
        # The very same members where none changed: whoever compares rosters need not walk them.
        members = old.members if members == old.members else members
        if touched.pool:
            return _checked(_roster(block, await self.chain.pool(self.pool_id, at), members))
        return _checked(attrs.evolve(moved(old, block), members=members))

    async def events(self, old: Block, new: Block, overlap: int = 0) -> list[Log] | None:
        """The events after a block, up to and with a newer one; of a span also those of so many
        blocks before. None: too many blocks, or an answer that cannot be of them."""
        if new.parent == old.hash:
            events = await self._logs_of(new)
            return events if all(e.block == new.hash for e in events) else None
        if new.number - old.number > limits.CHAIN_SPAN_MAX_BLOCKS:
            return None
        found = await self._logs_between(max(0, old.number + 1 - overlap), new.number)
        whole = found is not None and all(e.number is not None and e.block for e in found)
        return found if whole else None

    async def _logs_of(self, block: Block) -> list[Log]:
        """The events of one block, by its hash: who does not have it says so."""
        query = {"blockHash": block.hash, "address": self._addresses()}
        return await self.chain.rpc.request("eth_getLogs", query, read=answers.logs)

    async def _logs_between(self, first: int, last: int) -> list[Log] | None:
        """The events of a span of blocks, in as many questions as the endpoint wants; None: too
        many questions."""
        found: list[Log] = []
        for _ in range(limits.CHAIN_SPANS_MAX):
            end = min(last, first + self.span.most - 1)
            query = {
                "fromBlock": hex(first),
                "toBlock": hex(end),
                "address": self._addresses(),
            }
            try:
                events = await self.chain.rpc.request("eth_getLogs", query, read=answers.logs)
            except EndpointRefused:
                # Each has a limit of its own and its own words for it: a smaller span is tried.
                if end == first:
                    raise
                self.span.most = max(1, (end - first + 1) // 2)
                continue
            if any(e.number is not None and not first <= e.number <= end for e in events):
                return None
            found += events
            first = end + 1
            if first > last:
                return found
        return None

    def _addresses(self) -> list[str]:
        at = self.chain.at
        # Those of stakes are of no roster: whoever watches a provider hears of them with the rest.
        told = (at.pool, at.registry, at.network, at.stakes, contract_address(at))
        return [address_text(one) for one in told]

    async def _node_ids(self, at: Mapping[str, object]) -> list[NodeId]:
        call = function("ComputePool", "getComputePoolNodes").call(self.pool_id)
        transaction = {"to": address_text(self.chain.at.pool), "data": "0x" + call.hex()}
        return await self.chain.rpc.request("eth_call", transaction, at, read=answers.members)

    async def _rows(
        self, node_ids: Iterable[NodeId], at: Mapping[str, object]
    ) -> dict[NodeId, ChainMember]:
        """The rows of these members; some are read side by side."""
        found: dict[NodeId, ChainMember] = {}
        providers: dict[Address, tuple[bool, bool]] = {}
        room = trio.CapacityLimiter(limits.CHAIN_READS_IN_FLIGHT_MAX)
        left = [*node_ids]

        async def one(node_id: NodeId) -> None:
            async with room:
                found[node_id] = await self._member(node_id, at, providers)

        # One alone first: a failure is then a plain error, not a group of them.
        for node_id in left[:1]:
            await one(node_id)
        try:
            async with trio.open_nursery() as nursery:
                for node_id in left[1:]:
                    nursery.start_soon(one, node_id)
        except* UNUSABLE as group:
            raise _first_of(group) from group
        return found

    async def _member(
        self,
        node_id: NodeId,
        at: Mapping[str, object],
        providers: dict[Address, tuple[bool, bool]],
    ) -> ChainMember:
        chain = self.chain
        node = await chain.node(node_id, at)
        if node is None:
            return ChainMember(node_id, NO_PROVIDER, False, "removed from the registry")
        if node.provider not in providers:
            banned = function("ComputePool", "isProviderBlacklistedFromPool")
            providers[node.provider] = (
                await chain.whitelisted(node.provider, at),
                await chain.rpc.call(chain.at.pool, banned, self.pool_id, node.provider, block=at),
            )
        listed, blacklisted = providers[node.provider]
        out = function("ComputePool", "isNodeBlacklistedFromPool")
        reason = ""
        if await chain.rpc.call(chain.at.pool, out, self.pool_id, node_id, block=at):
            reason = "node blacklisted in this pool"
        elif blacklisted:
            reason = "provider blacklisted in this pool"
        elif not listed:
            reason = "provider not whitelisted"
        return ChainMember(node_id, node.provider, not reason, reason)


def moved(roster: ChainRoster, block: Block) -> ChainRoster:
    """The same contents, at another block."""
    return attrs.evolve(
        roster, block_number=block.number, block_hash=block.digest, block_time_ms=block.time_ms
    )


def _at(block: Block) -> Mapping[str, object]:
    return {"blockHash": block.hash, "requireCanonical": True}


def _first_of(group: BaseExceptionGroup[Any]) -> ChainUnavailable:
    """One error of several, of its kind where that matters."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    kind = EndpointRefused if isinstance(error, EndpointRefused) else ChainUnavailable
    return kind(str(error))


def _roster(block: Block, pool: PoolInfo, members: tuple[ChainMember, ...]) -> ChainRoster:
    return ChainRoster(
        block_number=block.number,
        block_hash=block.digest,
        block_time_ms=block.time_ms,
        members=members,
        creator=pool.creator,
        manager=pool.manager,
        status=pool.status,
        root=pool.root,
        pool_name=answers.cut(pool.name),
        domain_id=pool.domain_id,
        requirements=_requirements(pool.data_uri),
        bootstrap=pool.bootstrap,
    )


def _requirements(uri: str) -> str:
    """What the pool asks of a machine; a sentence where nobody can tell."""
    try:
        return requirements(uri)
    except Malformed as error:
        return f"unknown: {error.message}"


def _checked(made: ChainRoster) -> ChainRoster:
    try:
        encode_record(made)
    except Malformed as error:
        # The core keeps rosters on disk: what its codec does not take never gets there.
        raise ChainUnavailable(f"The endpoint's roster is none: {error}") from error
    return made
