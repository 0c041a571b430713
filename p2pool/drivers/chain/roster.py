"""Follows the roster: a full read, then events of each block, and a full read on any doubt.

Intuition: membership changes rarely, and the chain says when. After one full read at a block's
hash, the follower looks through each new block for the contracts' events and reads again what they
touch. Doubts that cost a full read: a parent hash that is not ours (a reorganisation), a
`ComputePoolLeft` of any pool (a silent join of a moved node always comes with one), an
event that is not plainly another pool's, a gap in the blocks, and time
(`CHAIN_FULL_READ_INTERVAL_MS`).

It compares several endpoints. A finalized block takes rights away, so it asks all of them for that
block's hash, and takes the block only if no answer contradicts it. And it has the contents read
once more, at the same block's hash, by another endpoint: only what two give alike is `agreed`, and
what another contradicts, while none agrees, is not taken at all. Until then the last roster stands,
with a warning, and another endpoint is asked first. Blocks without an event keep what was agreed.

Invariants: the follower sends complete observations or none; all reads of one are at one block
hash; *unknown is never gone*: with the chain out of reach the follower says so and sends nothing
else;
the finalized block only ever moves on, to its own descendants.
Source: docs/design/chain.md, "Following the chain".
"""

import traceback
from collections.abc import AsyncIterator, Callable, Mapping

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.rows import encode_record
from p2pool.codec.text.data_uri import requirements
from p2pool.core.inputs import ChainObserved, ChainUnreachable
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import events_first_of, function, topic
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.answers import WORD, Block, Log
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.root.contract import contract_address
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.model import limits
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.errors import ChainUnavailable, Malformed, NotFound, WrongChain
from p2pool.model.ids import Address, NodeId

log = get_logger(__name__)

NEVER_S = float("-inf")
UNUSABLE = (ChainUnavailable, NotFound, WrongChain, Reverted)


@attrs.frozen
class _Read:
    block: Block
    roster: ChainRoster
    read_at_s: float
    taken_at_s: float
    by: str = attrs.field(repr=False)
    agreed: bool = False


def roster_filter(at: Addresses, pool_id: int, block_hash: str) -> Callable[[Log], bool]:
    """Tells of each event of a block whether it may change a pool's roster.

    No doubt is only an event of the contract of pools, or of the one of their records, that we
    know, of this block, that names another pool, and of which nothing but that pool can have
    changed: a node that *left* another pool may have moved here without a word.
    """
    pools, records = address_text(at.pool).lower(), address_text(contract_address(at)).lower()
    mine = "0x" + pool_id.to_bytes(WORD, "big").hex()
    left = "0x" + topic("ComputePool", "ComputePoolLeft").hex()
    known = {
        records: events_first_of("PoolRoot", "poolId"),
        pools: events_first_of("ComputePool", "poolId") - {left},
    }

    def touches(event: Log) -> bool:
        if event.address not in known or event.removed or event.block != block_hash:
            return True
        kind, named = event.topics[:1], event.topics[1:2]
        return not (kind and kind[0] in known[event.address] and named and named[0] != mine)

    return touches


def _requirements(uri: str) -> str:
    """What the pool asks of a machine; a sentence where nobody can tell."""
    try:
        return requirements(uri)
    except Malformed as error:
        return f"unknown: {error.message}"


class _Disputed(Exception):
    """Another endpoint reads other contents at the same block, and none agrees with the first."""


@attrs.define
class RosterReader:
    """Reads the roster of one pool at a block."""

    chain: PoolContracts
    pool_id: int

    async def block(self, at: object) -> Block:
        """A block by number or name; `ChainUnavailable` if the endpoint does not have it."""
        tag = hex(at) if isinstance(at, int) else at
        found = await self.chain.rpc.request("eth_getBlockByNumber", tag, False, read=answers.block)
        if found is None or (isinstance(at, int) and found.number != at):
            raise ChainUnavailable(f"The endpoint has no block {at}.")
        return found

    async def read(self, block: Block) -> ChainRoster:
        """The whole roster, every part read at this block's hash."""
        at = {"blockHash": block.hash, "requireCanonical": True}
        pool = await self.chain.pool(self.pool_id, at)
        node_ids = await self._node_ids(at)
        found: dict[NodeId, ChainMember] = {}
        whitelisted: dict[Address, tuple[bool, bool]] = {}
        room = trio.CapacityLimiter(limits.CHAIN_READS_IN_FLIGHT_MAX)

        async def one(node_id: NodeId) -> None:
            async with room:
                found[node_id] = await self._member(node_id, at, whitelisted)

        # One alone first: a failure is then a plain error, not a group of them.
        for node_id in node_ids[:1]:
            await one(node_id)
        try:
            async with trio.open_nursery() as nursery:
                for node_id in node_ids[1:]:
                    nursery.start_soon(one, node_id)
        except* UNUSABLE as group:
            raise ChainUnavailable(str(group.exceptions[0])) from group
        made = ChainRoster(
            block_number=block.number,
            block_hash=block.digest,
            block_time_ms=block.time_ms,
            members=tuple(found[node_id] for node_id in node_ids),
            creator=pool.creator,
            manager=pool.manager,
            status=pool.status,
            root=pool.root,
            pool_name=answers.cut(pool.name),
            domain_id=pool.domain_id,
            requirements=_requirements(pool.data_uri),
            bootstrap=pool.bootstrap,
        )
        try:
            encode_record(made)
        except Malformed as error:
            # The core keeps rosters on disk: what its codec does not take never gets there.
            raise ChainUnavailable(f"The endpoint's roster is none: {error}") from error
        return made

    async def touched(self, block: Block) -> bool:
        """Whether an event of the block may change the roster."""
        at = self.chain.at
        told = (at.pool, at.registry, at.network, contract_address(at))
        query = {
            "blockHash": block.hash,
            "address": [address_text(one) for one in told],
        }
        logs = await self.chain.rpc.request("eth_getLogs", query, read=answers.logs)
        return any(map(roster_filter(at, self.pool_id, block.hash), logs))

    async def _node_ids(self, at: Mapping[str, object]) -> list[NodeId]:
        call = function("ComputePool", "getComputePoolNodes").call(self.pool_id)
        transaction = {"to": address_text(self.chain.at.pool), "data": "0x" + call.hex()}
        return await self.chain.rpc.request("eth_call", transaction, at, read=answers.members)

    async def _member(
        self,
        node_id: NodeId,
        at: Mapping[str, object],
        providers: dict[Address, tuple[bool, bool]],
    ) -> ChainMember:
        chain = self.chain
        node = await chain.node(node_id, at)
        if node is None:
            return ChainMember(node_id, Address(bytes(20)), False, "removed from the registry")
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


@attrs.define
class RosterFollower:
    """Observes one pool for as long as its observations are consumed."""

    reader: RosterReader
    confirmations: int = 2
    poll_ms: int = limits.CHAIN_POLL_INTERVAL_MS
    full_reads: int = 0
    latest: _Read | None = None
    final: _Read | None = None
    kept: dict[str, _Read] = attrs.field(factory=dict)
    unexpected: str | None = None

    async def observations(self) -> AsyncIterator[ChainObserved | ChainUnreachable]:
        """One observation per change, at least one a minute, and one per way of being unreachable.

        The chain never makes it raise: whatever fails is tried again at the next poll.
        """
        said: ChainObserved | ChainUnreachable | None = None
        while True:
            outcome: ChainObserved | ChainUnreachable
            try:
                outcome = await self.observe()
                self.unexpected = None
            except (ChainUnavailable, NotFound, WrongChain) as error:
                outcome = ChainUnreachable(str(error))
            except Reverted as error:
                outcome = ChainUnreachable(f"The contracts refused to be read: {error}")
            except BaseExceptionGroup as group:
                # Of a group only the errors end here: cancellation goes on as it came.
                errors, others = group.split(Exception)
                if others is not None:
                    raise others from None
                outcome = self._unexpected(errors or group)
            except Exception as error:  # noqa: BLE001
                outcome = self._unexpected(error)
            if outcome != said:
                said = outcome
                yield outcome
            await trio.sleep(self.poll_ms / 1000)

    def _unexpected(self, error: BaseException) -> ChainUnreachable:
        """What nobody foresaw in reading bytes from outside: our bug, or a library's. An agent that
        ended of it would end again at its next start. The log has its place, once while it lasts,
        and not its text, which may hold an endpoint's secrets; another endpoint is asked first."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        kind = type(error).__name__
        if kind != self.unexpected:
            places = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
            log.error(
                "reading the chain raised; the last roster stands", error=kind, at=places[-1:]
            )
        self.unexpected = kind
        self.reader.chain.rpc.pass_over()
        return ChainUnreachable(f"Reading the chain failed unexpectedly ({kind}): see the log.")

    async def observe(self) -> ChainObserved:
        """The roster at latest minus k, and at the last finalized block that no endpoint
        disputes."""
        head = await self.reader.block("latest")
        near = await self.reader.block(max(0, head.number - self.confirmations))
        final = await self.reader.block("finalized")
        if self.latest is not None and self.final is not None:
            behind = self._behind(near, final, self.latest, self.final)
            if behind is not None:
                self.reader.chain.rpc.pass_over()
                return ChainObserved(self.latest.roster, self.final.roster, behind)
        doubt = await self._dispute(final)
        if doubt is None:
            self.final, doubt = await self._take(self.final, final)
        elif self.final is None:
            raise ChainUnavailable(doubt)
        self.latest, otherwise = await self._take(self.latest, near)
        agreed = self.latest.agreed and self.final.agreed
        # A development chain is one machine's own: nobody lies there, and there is one endpoint.
        agreed = agreed or self.reader.chain.rpc.chain_id == DEVELOPMENT_CHAIN_ID
        doubt = doubt or otherwise
        return ChainObserved(self.latest.roster, self.final.roster, doubt, agreed)

    async def _take(self, old: _Read | None, block: Block) -> tuple[_Read, str | None]:
        """The roster at a block, or the last one with a warning where another endpoint contradicts
        it; `ChainUnavailable` where there is no last one."""
        try:
            return await self._advance(old, block), None
        except _Disputed as disputed:
            self.reader.chain.rpc.pass_over()
            if old is None:
                raise ChainUnavailable(str(disputed)) from disputed
            # What nobody agreed to is read once more, by the endpoint that is asked first now.
            return attrs.evolve(old, read_at_s=old.read_at_s if old.agreed else NEVER_S), str(
                disputed
            )

    def _behind(self, near: Block, final: Block, latest: _Read, finalized: _Read) -> str | None:
        """The warning for an endpoint that has less of the chain than was seen already.

        Its roster would drop nodes that joined since. If a lower head lasts, the chain itself went
        back; a lower finalized block is never taken.
        """
        lasting_s = trio.current_time() - latest.taken_at_s
        if final.number < finalized.block.number:
            less, seen = final.number, f"block {finalized.block.number} was final"
        elif near.number < latest.block.number and lasting_s < limits.CHAIN_BEHIND_MAX_MS / 1000:
            less, seen = near.number, f"block {latest.block.number} was seen"
        else:
            return None
        return f"{self.reader.chain.rpc.name()} is behind: it says {less}, and {seen}."

    async def _dispute(self, final: Block) -> str | None:
        """Why a finalized block is refused; None if it is not."""
        rpc = self.reader.chain.rpc
        if self.final is not None:
            old = self.final.block
            if final.hash == old.hash:
                return None
            if (await self.reader.block(old.number)).hash != old.hash:
                return (
                    f"{rpc.name()} has another block {old.number} than the one that was final."
                    " Its block removes nobody; correct [chain] endpoints, or restart the agent"
                    " if this endpoint is right."
                )
        others = await rpc.others(
            "eth_getBlockByNumber", hex(final.number), False, read=answers.block
        )
        # An endpoint that does not have the block yet says nothing about it.
        hashes = [(name, block.hash) for name, block in others if block is not None]
        if all(text == final.hash for _, text in hashes):
            return None
        said = ", ".join(f"{name} {text[:14]}" for name, text in hashes)
        return (
            f"The RPC endpoints disagree on the finalized block {final.number}: {rpc.name()} says"
            f" {final.hash[:14]}, {said}. Nobody is removed until they agree."
        )

    async def _advance(self, old: _Read | None, block: Block) -> _Read:
        now_s = trio.current_time()
        if old is not None and old.block.hash == block.hash and old.read_at_s != NEVER_S:
            return await self._agreed(attrs.evolve(old, taken_at_s=now_s))
        stale = old is None or now_s - old.read_at_s > limits.CHAIN_FULL_READ_INTERVAL_MS / 1000
        if stale or old is None or await self._doubt(old.block, block):
            known = self.kept.get(block.hash)
            if known is not None:
                return attrs.evolve(known, taken_at_s=now_s)
            roster, by = await self._read(block)
            self.full_reads += 1
            took_s = trio.current_time() - now_s
            read = _Read(block=block, roster=roster, read_at_s=now_s, taken_at_s=now_s, by=by)
            read = await self._agreed(read, took_s)
            if read.agreed or len(self.reader.chain.rpc.endpoints) == 1:
                self.kept = {**dict(list(self.kept.items())[-3:]), block.hash: read}
            return read
        moved = attrs.evolve(
            old.roster,
            block_number=block.number,
            block_hash=block.digest,
            block_time_ms=block.time_ms,
        )
        return await self._agreed(attrs.evolve(old, block=block, roster=moved, taken_at_s=now_s))

    async def _read(self, block: Block) -> tuple[ChainRoster, str]:
        """The roster at a block, all of it by one endpoint, and whose word it is: one that fails in
        the middle could else be asked for the second opinion on what it said itself."""
        chain, failed = self.reader.chain, None
        for rpc in chain.rpc.singles():
            try:
                roster = await self._by(rpc).read(block)
            except UNUSABLE as error:
                failed = failed or error
            else:
                chain.rpc.prefer(rpc.url)
                return roster, rpc.url
        assert failed is not None
        raise failed

    def _by(self, rpc: Rpc) -> RosterReader:
        return RosterReader(attrs.evolve(self.reader.chain, rpc=rpc), self.reader.pool_id)

    async def _agreed(self, read: _Read, took_s: float = 0.0) -> _Read:
        """A reading, agreed if another endpoint gives the same contents at that block's hash;
        `_Disputed` if others give other contents only.

        One that is far slower than the first, which took `took_s`, is left out for a while, and one
        that does not have the block yet is asked again at the next.
        """
        if read.agreed:
            return read
        otherwise: list[str] = []
        for rpc in self.reader.chain.rpc.singles():
            other: ChainRoster | None = None
            if rpc.url == read.by or rpc.is_quiet:
                continue
            with trio.move_on_after(limits.CHAIN_COMPARE_TIMEOUT_MS / 1000 + 2 * took_s) as scope:
                try:
                    known = await rpc.request(
                        "eth_getBlockByHash", read.block.hash, False, read=answers.block
                    )
                    if known is not None:
                        other = await self._by(rpc).read(read.block)
                except UNUSABLE:
                    rpc.quiet()
            if scope.cancelled_caught:
                rpc.quiet()
            if other == read.roster:
                return attrs.evolve(read, agreed=True)
            if other is not None:
                otherwise.append(rpc.name())
        if otherwise:
            raise _Disputed(
                f"The RPC endpoints disagree on the contracts at block {read.block.number}:"
                f" {self.reader.chain.rpc.name()} against {', '.join(otherwise)}. The last roster"
                " stands until two agree; correct [chain] endpoints."
            )
        return read

    async def _doubt(self, old: Block, new: Block) -> bool:
        """Whether anything between two blocks could have changed the roster."""
        if new.number <= old.number or new.number - old.number > limits.PEER_LIST_MAX:
            return True
        parent = old.hash
        for number in range(old.number + 1, new.number + 1):
            block = new if number == new.number else await self.reader.block(number)
            if block.parent != parent:
                return True
            parent = block.hash
            if await self.reader.touched(block):
                return True
        return False
