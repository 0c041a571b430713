"""Finds what this node's copies have done, and submits it to the chain for the node's provider.

Intuition: a task whose specification asks for it (`work`) leaves a file behind or writes lines to
its metrics; each is a piece, and each piece is a transaction, which costs the provider gas. So
nothing happens until the machine's owner says so (`[work] submit`), and then one after the other,
at a bounded rate, each at the price that the owner's cap allows.

Invariants: a piece is in the journal before anything of it is sent, and in it once for each file or
line, whatever restarts; a file is read before its container goes, and only if its copy succeeded;
what waits is bounded, and what finds no room is counted. A chain that does not answer, or a journal
that is damaged, ends nothing: it is told (`GET /v1/agent`) and tried again.
Source: docs/containers.md, "Work".
"""

from collections import Counter
from collections.abc import Sequence

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.agent.work import pieces
from p2pool.agent.work.journal import Piece, PieceJournal, PieceState
from p2pool.agent.work.pieces import Source
from p2pool.agent.work.submission import Submitter
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.schema import WorkConfig
from p2pool.model import limits
from p2pool.model.errors import Conflict, Malformed, NotFound, P2poolError
from p2pool.model.ids import AllocationId, PoolRef
from p2pool.model.ports.agent import WorkPiece, WorkStatus
from p2pool.model.ports.runtime import ContainerRuntime, ContainerStatus
from p2pool.model.tasks.spec import WorkRequest

log = get_logger(__name__)

OFF = "Tasks ask for their work to be submitted, and [work] submit is false in the configuration."
NO_KEY = "[work] submit is true, and the agent has no provider's key: start it with --provider-key."
HOUR_MS = 3_600_000


@attrs.define
class WorkReporter:
    """The work of one node's copies."""

    options: AgentOptions
    loop: Loop
    runtime: ContainerRuntime
    journal: PieceJournal
    counters: Counter[str] = attrs.field(factory=Counter)
    problem: str = ""
    judged: bool | None = None
    dropped: int = 0
    _ready: trio.Event = attrs.field(factory=trio.Event)
    _news: trio.Event = attrs.field(factory=trio.Event)
    _heard: trio.Event = attrs.field(factory=trio.Event)
    _lines: list[Piece] = attrs.field(factory=list)
    _numbers: dict[tuple[AllocationId, int], int] = attrs.field(factory=dict)
    _reading: trio.Lock = attrs.field(factory=trio.Lock)
    _failed_ms: list[int] = attrs.field(factory=list)
    """When a contract refused what was tried: a block may have taken gas for it."""

    @property
    def _submits(self) -> bool:
        return self.options.config.work.submit and self.options.provider is not None

    @property
    def _pool(self) -> PoolRef:
        return self.options.config.pool_ref

    # --- what is found ----------------------------------------------------------------------------

    def _asked(self, allocation: AllocationId, attempt: int) -> WorkRequest | None:
        """What the copy's specification asks for; None: nothing, or nothing is submitted here."""
        item = self.loop.node.parts.worker.items.get((allocation, attempt))
        spec = item.spec if item is not None else None
        if spec is None or not spec.work.is_asked:
            return None
        if not self._submits:
            self._say(NO_KEY if self.options.config.work.submit else OFF)
            return None
        return spec.work

    async def take_end(self, status: ContainerStatus) -> None:
        """Read what an ended copy left, once for each of its ends."""
        work = self._asked(status.allocation, status.attempt)
        if work is None or not work.file or status.exit_code != 0:
            return
        source = Source(status.allocation, status.attempt, status.finished_at_ms)
        # A start of the agent has the engine's list before its own journal.
        with trio.move_on_after(limits.WORK_READ_DEADLINE_MS / 1000) as scope:
            await self._ready.wait()
            async with self._reading:
                if source not in self.journal.pieces:
                    try:
                        await self._read(work, source)
                    except P2poolError as error:
                        # The engine or the disk is away: the next listing comes here again.
                        self._say(error.message)
        if scope.cancelled_caught:
            self._say(f"The work of {source} could not be read in time.")

    async def _read(self, work: WorkRequest, source: Source) -> None:
        if len(self.journal.open) >= limits.WORK_OPEN_MAX:
            self._say(
                f"{limits.WORK_OPEN_MAX} pieces of work wait for the chain: no more are read."
            )
            return
        found = Piece(
            source=source,
            key=b"",
            units=0,
            state=PieceState.WAITING,
            at_ms=read_clock().wall_ms,
        )
        at, most = (source.allocation, source.attempt), limits.WORK_RESULT_MAX_BYTES
        try:
            content = await self.runtime.read_file(*at, work.file, most)
            key, units = pieces.of_file(work, content)
            found = attrs.evolve(found, key=key, units=units)
            self._check_new(found)
        except (NotFound, Malformed, Conflict) as error:
            why = f"{error.message} {error.hint}".strip()
            found = attrs.evolve(found, state=PieceState.REFUSED, why=why)
            log.warning("a copy's work is not submitted", source=str(source), why=why)
        await self._keep(found)

    def _check_new(self, piece: Piece) -> None:
        """`Conflict` for a key that another file of this node has."""
        for one in self.journal.pieces.values():
            if one.key == piece.key and one.state is not PieceState.REFUSED:
                raise Conflict(
                    f"It is the same piece as that of {one.source}, which counts once.",
                    hint="Write something of the copy into the file, such as P2POOL_ALLOCATION.",
                )

    def take_line(
        self, allocation: AllocationId, attempt: int, found: Sequence[tuple[str, float]]
    ) -> None:
        """A line of a copy's metrics."""
        item = self.loop.node.parts.worker.items.get((allocation, attempt))
        if item is None or item.spec is None or not item.spec.work.metric:
            return  # Most lines are nobody's work: they cost no more than this.
        values = dict(found)
        if item.spec.work.metric not in values:
            return
        work = self._asked(allocation, attempt)
        if work is None:
            return
        if len(self.journal.open) + len(self._lines) >= limits.WORK_OPEN_MAX:
            self.dropped += 1
            return
        now_ms = read_clock().wall_ms
        number = max(now_ms, self._numbers.get((allocation, attempt), 0) + 1)
        self._numbers[allocation, attempt] = number
        if len(self._numbers) > limits.ITEMS_PER_NODE_MAX:
            there = self.loop.node.parts.worker.items
            self._numbers = {key: last for key, last in self._numbers.items() if key in there}
        source = Source(allocation, attempt, number)
        try:
            key, units = pieces.of_line(work, self._pool, source, values[work.metric])
        except Malformed as error:
            self.counters["malformed"] += 1
            self._say(f"A line of {source} is no work. {error.message} {error.hint}")
            return
        self._lines.append(
            Piece(source=source, key=key, units=units, state=PieceState.WAITING, at_ms=now_ms)
        )
        self._heard.set()

    async def _keep(self, piece: Piece) -> None:
        await self.journal.keep(piece)
        self.counters[piece.state.value] += 1
        self._news.set()

    # --- what is sent -----------------------------------------------------------------------------

    async def run(self, chain: PoolContracts, writer: KeyWriter | None) -> None:
        """Submit until cancelled."""
        if not self._submits or writer is None:
            if self.options.config.work.submit:
                self._say(NO_KEY)
            return
        submitter = Submitter(chain, self._pool.pool_id, self.options.node_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lines)
            nursery.start_soon(self._submit, submitter, writer)
            nursery.start_soon(self._review, submitter)

    async def _keep_lines(self) -> None:
        """The journal first, then whatever lines come."""
        while True:
            self._heard = trio.Event()
            try:
                if not self._ready.is_set():
                    await self.journal.load()
                    self._ready.set()
                while self._lines:
                    await self._keep(self._lines[0])
                    del self._lines[0]
            except P2poolError as error:
                self._say(error.message)
                await trio.sleep(limits.WORK_RETRY_MIN_MS / 1000)
            else:
                await self._heard.wait()

    async def _submit(self, submitter: Submitter, writer: KeyWriter) -> None:
        await self._ready.wait()
        pause_ms = limits.WORK_RETRY_MIN_MS
        while True:
            self._news = trio.Event()
            try:
                if not await self._next(submitter, writer):
                    await self._news.wait()
                pause_ms = limits.WORK_RETRY_MIN_MS
            except (P2poolError, Reverted) as error:
                self._say(error.message if isinstance(error, P2poolError) else str(error))
                await trio.sleep(pause_ms / 1000)
                pause_ms = min(2 * pause_ms, limits.WORK_RETRY_MAX_MS)

    async def _review(self, submitter: Submitter) -> None:
        await self._ready.wait()
        while True:
            await trio.sleep(limits.WORK_REVIEW_MS / 1000)
            try:
                await self.review(submitter)
            except (P2poolError, Reverted) as error:
                log.info("cannot see whether work stands", why=str(error))

    async def review(self, submitter: Submitter) -> None:
        """Keep which of the pieces on the chain were taken back."""
        since_ms = read_clock().wall_ms - limits.WORK_REVIEW_AGE_MS
        young = [
            one
            for one in self.journal.pieces.values()
            if one.state is PieceState.SUBMITTED and one.at_ms > since_ms
        ]
        for piece in await submitter.taken_back(young) if young else ():
            log.warning("a piece of work was taken back", source=str(piece.source), why=piece.why)
            await self._keep(piece)

    async def _next(self, submitter: Submitter, writer: KeyWriter) -> bool:
        """Submit the oldest that waits; False: none does."""
        piece = next(iter(self.journal.open.values()), None)
        if piece is None:
            return False
        now_ms = read_clock().wall_ms
        if now_ms - piece.at_ms > limits.WORK_AGE_MAX_MS:
            why = f"it waited for {limits.WORK_AGE_MAX_MS // 86_400_000} days: {self.problem}"
            await self._keep(attrs.evolve(piece, state=PieceState.REFUSED, why=why))
            return True
        if (rest_ms := self._rest_ms(now_ms)) > 0:
            with trio.move_on_after(rest_ms / 1000):
                await self._news.wait()
            return True
        found, over = await submitter.submit(piece, writer)
        self._judged(found.judged)
        self.problem = ""
        if found.plan is not None and over.state is PieceState.REFUSED:
            self._failed_ms.append(now_ms)
        await self._keep(attrs.evolve(over, at_ms=read_clock().wall_ms))
        log.info(
            "work",
            source=str(over.source),
            key="0x" + over.key.hex(),
            units=over.units,
            state=over.state.value,
            transaction=over.transaction,
            why=over.why,
        )
        return True

    def _rest_ms(self, now_ms: int) -> int:
        """How long until another piece may be sent."""
        work: WorkConfig = self.options.config.work
        most = work.per_hour_max
        self._failed_ms = [at_ms for at_ms in self._failed_ms if _lately(at_ms, now_ms)]
        known = self.journal.pieces.values()
        sent = [one.at_ms for one in known if one.transaction and _lately(one.at_ms, now_ms)]
        sent += self._failed_ms
        return sorted(sent)[-most] + HOUR_MS - now_ms if len(sent) >= most else 0

    # --- what is told -----------------------------------------------------------------------------

    def _judged(self, judged: bool) -> None:
        if self.judged is None and not judged:
            log.warning(
                "nobody judges work in this pool's domain: what is submitted stands as events"
            )
        self.judged = judged

    def _say(self, problem: str) -> None:
        """What keeps work from the chain, in the log once."""
        if problem != self.problem:
            log.warning("work is not submitted", why=problem)
        self.problem = problem

    @property
    def status(self) -> WorkStatus:
        """For the API."""
        known = list(self.journal.pieces.values())
        states = Counter(one.state for one in known)
        return WorkStatus(
            submits=self.options.config.work.submit,
            judged=self.judged,
            waiting=len(self.journal.open) + len(self._lines),
            submitted=states[PieceState.SUBMITTED],
            refused=states[PieceState.REFUSED],
            invalidated=states[PieceState.INVALIDATED],
            dropped=self.dropped,
            units=sum(one.units for one in known if one.state is PieceState.SUBMITTED),
            problem=self.problem,
            pieces=tuple(_told(one) for one in reversed(known[-limits.WORK_SHOWN_MAX :])),
        )


def _lately(at_ms: int, now_ms: int) -> bool:
    """Within an hour. What a clock that was ahead dated further on holds nothing up."""
    return abs(now_ms - at_ms) < HOUR_MS


def _told(piece: Piece) -> WorkPiece:
    return WorkPiece(
        source=str(piece.source),
        key=piece.key,
        units=piece.units,
        state=piece.state.value,
        at_ms=piece.at_ms,
        transaction=piece.transaction,
        why=piece.why,
    )
