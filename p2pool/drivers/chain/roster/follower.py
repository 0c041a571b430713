"""Follows the roster: a full read, then events of each block, and of what they are about a read.

Intuition: membership changes rarely, and the chain says when. After one full read at a block's
hash, the follower looks through the events of new blocks, and reads again what they touch
(`events`). In rest that is two calls for each new block, whatever the pool's size: the newest
block, and the events of the one that is deep enough. Doubts that cost a full read: a parent hash
that is not ours (a reorganisation), an event that nobody knows, too large a gap in the blocks. An
endpoint may leave out an event, so a member is read again from time to time, and the list of them
(`audit`).

The final block goes by what was read when it was new (`trail`), so it needs no state that an
endpoint has pruned since. It takes rights away, so all endpoints are asked for its hash, and it is
taken only if no answer contradicts it. What changed is read once more, at the same block's hash, by
another endpoint (`opinions`): only what two give alike is `agreed`, and what another contradicts,
while none agrees, is not taken at all. Until then the last roster stands, with a warning, and
another endpoint is asked first.

Invariants: the follower sends complete observations or none; all reads of one are at one block
hash; *unknown is never gone*: with the chain out of reach the follower says so and sends nothing
else; the finalized block only ever moves on, to its own descendants.
Source: docs/design/chain.md, "Following the chain".
"""

import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import attrs
import trio

from p2pool.core.inputs import ChainObserved, ChainUnreachable
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.answers import Block, Log
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.endpoints.heads import Heads
from p2pool.drivers.chain.roster.audit import Audit
from p2pool.drivers.chain.roster.events import (
    EVERYTHING,
    NOTHING,
    roster_touch,
    touched_by,
)
from p2pool.drivers.chain.roster.head import HeadWatch, Pace
from p2pool.drivers.chain.roster.opinions import Base, Disputed, Opinions
from p2pool.drivers.chain.roster.reader import BlockMissing, RosterReader, moved
from p2pool.drivers.chain.roster.trail import Change, Read, Trail
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model import limits
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.errors import ChainUnavailable, NotFound, WrongChain

log = get_logger(__name__)

NEVER_S = float("-inf")


@attrs.define
class RosterFollower:
    """Observes one pool for as long as its observations are consumed. `final_depth`: how deep a
    block is final on a chain whose endpoints do not say. `heads`: tells of new blocks by itself.
    `heard`: receives the events of new blocks, more than once at times; None: nobody can tell what
    happened in them."""

    reader: RosterReader
    confirmations: int = 2
    poll_ms: int = limits.CHAIN_POLL_INTERVAL_MS
    final_depth: int | None = None
    heads: Heads | None = None
    heard: Callable[[Sequence[Log] | None], None] = lambda _: None
    full_reads: int = 0
    latest: Read | None = None
    final: Read | None = None
    trail: Trail = attrs.field(factory=Trail)
    counters: Counter[str] = attrs.field(factory=Counter)
    unexpected: str | None = None
    _watch: HeadWatch = attrs.field(factory=HeadWatch)
    _pace: Pace = attrs.field(factory=Pace)
    _audit: Audit = attrs.field(factory=Audit)
    _reread: bool = False
    _held: tuple[Block, float] | None = None
    """A block that could not be read, since when: it is tried again for a moment."""
    _good_s: float = NEVER_S
    _changed_s: float = NEVER_S
    _final_looked_s: float = NEVER_S
    _final_looked_at: tuple[str, str] | None = None
    _no_state_until_s: float = NEVER_S

    async def observations(self) -> AsyncIterator[ChainObserved | ChainUnreachable]:
        """One observation per change, one for each new block, and one per way of being unreachable.

        The chain never makes it raise: whatever fails is tried again at the next poll.
        """
        said: ChainObserved | ChainUnreachable | None = None
        while True:
            outcome: ChainObserved | ChainUnreachable | None
            try:
                outcome = await self.observe()
                self.unexpected = None
            except (ChainUnavailable, NotFound, WrongChain) as error:
                outcome = self._unreachable(error)
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
            if outcome is not None and outcome != said:
                said = outcome
                yield outcome
            await self._pace.rest(self.poll_ms, self.heads)

    def _unreachable(self, error: Exception) -> ChainUnreachable | None:
        """What to say of a failure; nothing of one that only lasts a moment: of several endpoints
        behind one address, one may not have the block that another told of."""
        lasting_s = trio.current_time() - self._good_s
        passing = isinstance(error, BlockMissing | EndpointRefused)
        if passing and lasting_s < limits.CHAIN_LAG_MS / 1000:
            return None
        return ChainUnreachable(str(error))

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
        try:
            return await self._observe()
        except (EndpointRefused, BlockMissing):
            # Another endpoint may have what this one told of; its heads are asked for anew.
            self.trail.forget_heads()
            self.reader.chain.rpc.pass_over()
            raise

    async def _observe(self) -> ChainObserved:
        self.counters["polls"] += 1
        head = await self._head()
        warning = self._watch.lag(head, self.reader.chain.rpc)
        if not self._watch.lags:
            self.trail.link(head)
            near = await self._near(head)
            warning = await self._take_latest(near)
            self._watch.see(head)
        latest = self.latest
        assert latest is not None
        doubt = await self._look_final(head, latest)
        still = await self._watch.still(self.reader.chain.rpc)
        if self.final is None:
            raise ChainUnavailable(doubt or "No endpoint has a final block yet.")
        self._good_s = trio.current_time()
        agreed = latest.agreed and self.final.agreed
        # A development chain is one machine's own: nobody lies there, and there is one endpoint.
        agreed = agreed or self.reader.chain.rpc.chain_id == DEVELOPMENT_CHAIN_ID
        warning = doubt or warning or still
        return ChainObserved(latest.roster, self.final.roster, warning, agreed)

    # --- the newest block, and the one that is deep enough ----------------------------------------

    async def _head(self) -> Block:
        """The newest block: one that an endpoint told of by itself, else what one says now."""
        pushed = self.heads.taken() if self.heads is not None else []
        for block in pushed[:-1]:
            if not self._watch.behind(block):
                self.trail.link(block)
        head = pushed[-1] if pushed else await self.reader.block("latest")
        self._pace.hear(head)
        return head

    async def _near(self, head: Block) -> Block:
        """The block at latest minus k. It was a head some blocks ago: then it is known."""
        wanted = max(0, head.number - self.confirmations)
        if wanted == head.number:
            return head
        if self._held is not None:
            return self._held[0]
        found, old = self.trail.head_at_most(wanted), self.latest
        if found is not None and (old is None or found.number > old.block.number):
            return found
        if old is not None and old.block.number == wanted:
            return old.block
        return await self.reader.block(wanted)

    async def _take_latest(self, near: Block) -> str | None:
        """Read what changed up to a block, or keep the last roster with a warning where another
        endpoint contradicts it; `ChainUnavailable` where there is no last one."""
        old = self.latest
        try:
            self.latest = await self._advance(old, near)
        except Disputed as disputed:
            self.reader.chain.rpc.pass_over()
            if old is None:
                raise ChainUnavailable(str(disputed)) from disputed
            # What nobody agreed to is read once more, by the endpoint that is asked first now.
            self._reread = self._reread or not old.agreed
            return str(disputed)
        except EndpointRefused:
            # One of several machines does not have that block yet: as soon as all do, it is read.
            now_s = trio.current_time()
            if self._held is None:
                self._held = (near, now_s)
            elif now_s - self._held[1] > limits.CHAIN_LAG_MS / 1000:
                self._held = None
            raise
        self._reread, self._held = False, None
        self.trail.note(near)
        return None

    async def _advance(self, old: Read | None, near: Block) -> Read:
        opinions = Opinions(self.reader)
        if old is not None and old.block.hash == near.hash and not self._reread:
            return await self._confirmed(opinions, old)
        events: list[Log] | None = []
        touched = EVERYTHING
        if old is not None and not self._reread:
            events = await self._events(old.block, near)
            if events is not None:
                touch = roster_touch(self.reader.chain.at, self.reader.pool_id)
                touched = touched_by(events, touch).within(old.roster)
        if old is not None:
            self.heard(None if self._reread else events)
        due = self._audit.due(old) if old is not None and not touched.whole else NOTHING
        if old is not None and not touched and not due:
            read = attrs.evolve(old, block=near, roster=moved(old.roster, near))
            self.trail.take(events or ())
            return await self._confirmed(opinions, read)
        began_s = trio.current_time()
        base = Base(old.roster if old is not None else None, touched | due)
        read = await opinions.read(near, base)
        self.counters["full_reads" if base.touched.whole else "partial_reads"] += 1
        changed = old is None or read.roster != moved(old.roster, near)
        if old is not None and not changed:
            read = attrs.evolve(old, block=near, roster=moved(old.roster, near), agreed=old.agreed)
        # Another reads only what was read again, if it agreed to the rest before.
        whole = old is None or not old.agreed
        second = Base() if whole else base
        read = await opinions.agreed(read, second, trio.current_time() - began_s)
        self._commit(read, events, base.touched.whole, changed)
        return read

    def _commit(self, read: Read, events: list[Log] | None, whole: bool, changed: bool) -> None:
        """A reading counts: keep from which block on, and which events are in it."""
        if whole:
            self.full_reads += 1
            # The chain took blocks back, or nobody knows what happened in between.
            self.trail.restart(self.final.block.number if self.final is not None else -1)
            self.trail.covered = read.block.number
        self._audit.read(whole)
        self.trail.take(events or ())
        if changed or not self.trail.changes:
            touch = roster_touch(self.reader.chain.at, self.reader.pool_id)
            about = filter(touch, events or ())
            cause = max(about, key=lambda e: e.number or 0, default=None)
            self.trail.add(read, None if whole else cause)
            self._changed_s = trio.current_time()
        else:
            self.trail.confirm(read)

    async def _confirmed(self, opinions: Opinions, read: Read) -> Read:
        """A reading of which nothing changed, agreed to if another endpoint does so now."""
        if read.agreed or len(self.reader.chain.rpc.endpoints) == 1:
            return read
        read = await opinions.agreed(read, Base())
        if read.agreed:
            self.trail.confirm(read)
        return read

    async def _events(self, old: Block, near: Block) -> list[Log] | None:
        """The events since the last block that are not in what was read; None: the chain took
        blocks back, or nobody can tell."""
        if near.number <= old.number or self.trail.contradicts(old.number, old.hash):
            return None
        if near.number == old.number + 1 and near.parent != old.hash:
            return None
        gap = near.number > old.number + 1
        # Across a gap no parent hash tells of blocks that were taken back, so one is asked for; in
        # rest not at each poll.
        if gap and self._final_is_due() and (await self.reader.block(old.number)).hash != old.hash:
            return None
        # Only as many as fit into the same question.
        room = min(limits.CHAIN_OVERLAP_BLOCKS, self.reader.span.most - (near.number - old.number))
        overlap = max(0, min(room, old.number - self.trail.covered))
        events = await self.reader.events(old, near, overlap if gap else 0)
        if events is None or any(
            e.number is not None
            and e.block is not None
            and self.trail.contradicts(e.number, e.block)
            for e in events
        ):
            return None
        return self.trail.fresh(events)

    # --- the final block --------------------------------------------------------------------------

    def _final_is_due(self) -> bool:
        """Whether to look at the final block: at each poll while a change is not final, and for a
        while after each; else now and then."""
        now_s = trio.current_time()
        changes = self.trail.changes
        pending = self.final is None or (
            bool(changes) and changes[-1].number > self.final.block.number
        )
        watched = now_s - self._changed_s < limits.CHAIN_CHANGE_WATCH_MS / 1000
        rested = now_s - self._final_looked_s >= limits.CHAIN_FINAL_LOOK_MS / 1000
        return pending or watched or rested

    async def _look_final(self, head: Block, latest: Read) -> str | None:
        """Move the final roster on, if the chain has; returns what is wrong with the endpoints."""
        looked_at = (head.hash, latest.block.hash)
        if not self._final_is_due() or self._final_looked_at == looked_at:
            return None
        final = await self._final_block(latest)
        old = self.final
        lag = self._watch.lag_of_final(final, old.block if old else None, self.reader.chain.rpc)
        if old is not None and final.number < old.block.number:
            return lag
        doubt = await self._dispute(final)
        if doubt is None:
            doubt = await self._take_final(final, latest)
        if doubt is None:
            self._final_looked_s, self._final_looked_at = trio.current_time(), looked_at
        return doubt

    async def _final_block(self, latest: Read) -> Block:
        """The last finalized block, or the last one that we followed if that is behind it. Where no
        endpoint knows of finality, the one that is as deep as the configuration says."""
        try:
            final = await self.reader.block("finalized")
        except (EndpointRefused, BlockMissing) as refused:
            if self.final_depth is None:
                raise EndpointRefused(
                    f"No RPC endpoint tells which block is final: {refused.message}",
                    hint="Set [chain] final_depth to the number of blocks after which this chain"
                    " takes none back, or add an endpoint that knows `finalized`.",
                ) from refused
            depth = max(0, self.final_depth - self.confirmations)
            final = await self.reader.block(max(0, latest.block.number - depth))
        return final if final.number <= latest.block.number else latest.block

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

    async def _take_final(self, final: Block, latest: Read) -> str | None:
        """The roster at a final block: what was read when it was new, else a reading of its own."""
        opinions, old = Opinions(self.reader), self.final
        if old is not None and old.block.hash == final.hash:
            read = old
        else:
            change = await self._change_at(final)
            if change is None:
                read = await self._first_final(opinions, final, latest)
            else:
                known = change.read
                read = attrs.evolve(known, block=final, roster=moved(known.roster, final))
        try:
            self.final = await opinions.agreed(read, Base())
        except Disputed as disputed:
            self.reader.chain.rpc.pass_over()
            if self.final is None:
                raise ChainUnavailable(str(disputed)) from disputed
            return str(disputed)
        self.trail.settle(self.final)
        return None

    async def _change_at(self, final: Block) -> Change | None:
        """The change that a final block goes by, if its block is an ancestor; None: it is none, or
        nothing was read yet that is as old."""
        change = self.trail.at(final.number)
        if change is None or change.hash == final.hash:
            return change
        if self.final is not None and change.number <= self.final.block.number:
            return change
        if (await self.reader.block(change.number)).hash == change.hash:
            return change
        self.trail.restart(self.final.block.number if self.final is not None else -1)
        return self.trail.at(final.number)

    async def _first_final(self, opinions: Opinions, final: Block, latest: Read) -> Read:
        """The roster at a final block of before our time. Where no endpoint has its state any more,
        that of the newest block, if no event since says otherwise."""
        now_s = trio.current_time()
        text = (
            f"No RPC endpoint has the state of the final block {final.number} any more. The roster"
            f" counts once block {latest.block.number} is final; an archive endpoint in [chain]"
            " endpoints makes that shorter."
        )
        if now_s < self._no_state_until_s:
            raise ChainUnavailable(text)
        try:
            read = await opinions.read(final, Base())
        except EndpointRefused as refused:
            events = await self.reader.events(final, latest.block)
            touch = roster_touch(self.reader.chain.at, self.reader.pool_id)
            if events is None or touched_by(events, touch):
                self._no_state_until_s = now_s + limits.CHAIN_CHANGE_WATCH_MS / 1000
                raise ChainUnavailable(text) from refused
            read = attrs.evolve(latest, block=final, roster=moved(latest.roster, final))
        else:
            self.full_reads += 1
            self.counters["full_reads"] += 1
        return read
