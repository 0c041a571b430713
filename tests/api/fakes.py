"""An agent's port that answers from a view, records what it was asked, and fails as it is told."""

from collections.abc import AsyncGenerator, AsyncIterator

import attrs
import trio

from p2pool.model.access.grants import SignedGrant
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.errors import Conflict, NotAllowed, NotFound, P2poolError
from p2pool.model.ids import (
    Address,
    AllocationId,
    Digest,
    NodeId,
    PeerKey,
    PoolRef,
    StoreId,
    TaskId,
)
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.machine.hardware import FreeResources, Gpu, Hardware
from p2pool.model.messages.task_streams import (
    FullReason,
    LogChunk,
    LogChunks,
    MetricsAnswered,
    TaskMetric,
)
from p2pool.model.ports.agent import (
    NO_WORK,
    Accepted,
    Ask,
    ChallengeStatus,
    EventStream,
    JoinStatus,
    LogEnds,
    LogOptions,
    ProviderStatus,
    ReadIndexCommand,
    WebhookStatus,
    WorkStatus,
)
from p2pool.model.ports.runtime import RuntimeInfo, RuntimeKind, Unsupported
from p2pool.model.ports.view import AllocationView, Event, EventId, NodeView, TaskView, View
from p2pool.model.ports.volumes import Volume
from p2pool.model.states import (
    AllocationState,
    Intent,
    Membership,
    PoolStatus,
    RaftRole,
    Reachability,
)
from p2pool.model.tasks.spec import MountKind, TaskSpec
from tests.wire.samples import NODE_ID, PEER_KEY, POOL

OTHER_NODE = NodeId(b"\xab" * 20)
TASK_ID = TaskId(bytes(range(16)))
ALLOCATION = AllocationId(TASK_ID, 0)
SPEC = TaskSpec("train", "busybox:1", command=("echo", "hi"), environment=(("LR", "0.1"),))
HARDWARE = Hardware("cpu", 8000, 2**33, 2**36, (Gpu("GPU-1", "h100", 2**36),))


def sample_view() -> View:
    """A pool of two nodes with one running task."""
    store = StoreId(b"s" * 16)
    voter = Voter(NODE_ID, PEER_KEY, store)
    return View(
        revision=7,
        as_of_ms=1_800_000_000_000,
        pool=POOL,
        node_id=NODE_ID,
        peer_key=PEER_KEY,
        store_id=store,
        role=RaftRole.LEADER,
        epoch=1,
        log_id=Digest(b"l" * 32),
        term=3,
        leader=NODE_ID,
        leader_since_ms=1_800_000_000_000,
        commit_index=12,
        applied_index=12,
        configuration=Configuration((voter,), ()),
        roster=ChainRoster(
            block_number=100,
            block_hash=Digest(b"h" * 32),
            block_time_ms=1,
            members=(ChainMember(NODE_ID, Address(b"p" * 20), True),),
            creator=Address(b"p" * 20),
            manager=Address(b"m" * 20),
            status=PoolStatus.ACTIVE,
            root=None,
            pool_name="demo",
        ),
        roster_final=None,
        roster_age_ms=500,
        nodes=(
            _node(NODE_ID, Reachability.HEALTHY, PEER_KEY, HARDWARE),
            _node(OTHER_NODE, Reachability.DEAD, None, None),
        ),
        tasks=(
            TaskView(
                TASK_ID,
                SPEC,
                Address(NODE_ID),
                "running",
                1_800_000_000_000,
                (
                    AllocationView(
                        ALLOCATION, 1, AllocationState.RUNNING, NODE_ID, ("GPU-1",), "started"
                    ),
                ),
            ),
        ),
        peers_connected=1,
    )


def _node(
    node_id: NodeId, reachability: Reachability, key: PeerKey | None, hardware: Hardware | None
) -> NodeView:
    return NodeView(
        node_id,
        Address(b"p" * 20),
        Membership.MEMBER,
        reachability,
        Intent.ELIGIBLE,
        True,
        peer_key=key,
        hardware=hardware,
        free=FreeResources(4000, 2**32, 2**35, 1) if hardware else None,
    )


@attrs.define
class FakeLogs:
    """Log streams that yield fixed chunks, then end, fail, or go on for ever."""

    chunks: list[LogChunk] = attrs.Factory(list)
    refuse: P2poolError | None = None
    then: P2poolError | None = None
    endless: bool = False
    opened: list[tuple[AllocationId, LogOptions, SignedGrant]] = attrs.Factory(list)
    closed: trio.Event = attrs.Factory(trio.Event)

    async def open(
        self, allocation: AllocationId, options: LogOptions, grant: SignedGrant
    ) -> AsyncIterator[LogChunks]:
        """See the class."""
        self.opened.append((allocation, options, grant))
        if self.refuse:
            raise self.refuse
        try:
            if self.chunks:
                yield tuple(self.chunks)
            while self.endless:
                await trio.lowlevel.checkpoint()
                yield (LogChunk(1, 0, b"x" * 16_000),)
            if self.then:
                raise self.then
        finally:
            self.closed.set()


@attrs.define
class FakeVolumes:
    """Volumes in memory: what is in each, in pieces; removing or exporting may fail."""

    kept: dict[str, list[bytes]] = attrs.Factory(dict)
    used: set[str] = attrs.Factory(set)
    then: P2poolError | None = None

    async def list(self) -> tuple[Volume, ...]:
        """Each as large as its pieces."""
        return tuple(
            Volume(
                name,
                MountKind.POOL,
                name.rpartition("/")[2],
                None,
                sum(map(len, pieces)),
                0,
                -1,
                1,
                2,
                0,
                name in self.used,
            )
            for name, pieces in self.kept.items()
        )

    async def remove(self, volume_id: str) -> None:
        """See the port."""
        if volume_id not in self.kept:
            raise NotFound("There is no such volume.")
        if volume_id in self.used:
            raise Conflict("The volume is used.")
        del self.kept[volume_id]

    async def export(self, volume_id: str) -> AsyncGenerator[bytes, None]:
        """See the port."""
        if volume_id not in self.kept:
            raise NotFound("There is no such volume.")
        for piece in self.kept[volume_id]:
            yield piece
        if self.then:
            raise self.then


FAILING_RECEIVER = WebhookStatus(
    name="billing",
    url="https://hooks.example",
    kinds=("task",),
    delivered=3,
    failed=2,
    given_up=1,
    read_up_to="1.12.0",
    failing_since_ms=1_800_000_000_000,
    next_attempt_ms=1_800_000_002_000,
    problem="it answered with status 503",
)
"""It got three messages, and has been away since."""


@attrs.define
class FakeEvidence:
    """Documents that are here, and those that a member would give; `pairs`: which contradict."""

    here: dict[Digest, bytes] = attrs.Factory(dict)
    elsewhere: dict[Digest, bytes] = attrs.Factory(dict)
    pairs: dict[Digest, Digest] = attrs.Factory(dict)

    def is_here(self, digest: Digest) -> bool:
        """Whether it is."""
        return digest in self.here

    def contradicts(self, digest: Digest) -> Digest | None:
        """What was set."""
        return self.pairs.get(digest)

    async def document(self, digest: Digest) -> bytes:
        """From here, or from elsewhere."""
        found = {**self.elsewhere, **self.here}.get(digest)
        if found is None:
            raise NotFound("None of the 2 members that were asked has this evidence.")
        return found


@attrs.define(slots=False)
class FakePort:
    """An agent that accepts everything, unless it is told to fail."""

    seen: View = attrs.Factory(sample_view)
    logs: FakeLogs = attrs.Factory(FakeLogs)
    volumes: FakeVolumes = attrs.Factory(FakeVolumes)
    evidence: FakeEvidence = attrs.Factory(FakeEvidence)
    asked: list[Ask] = attrs.Factory(list)
    failures: list[P2poolError] = attrs.Factory(list)
    ends: LogEnds = LogEnds((), ())
    worked: WorkStatus = NO_WORK
    happened: list[Event] = attrs.Factory(list)
    newest: EventId = (1, 12, 0)
    listening: trio.Event = attrs.Factory(trio.Event)
    unlistened: trio.Event = attrs.Factory(trio.Event)
    bug: bool = False
    receivers: tuple[WebhookStatus, ...] = ()
    joins: JoinStatus | None = None
    provided: ProviderStatus | None = None
    challenged: ChallengeStatus = ChallengeStatus("", False, 0)

    @property
    def pool(self) -> PoolRef:
        """The pool of the view."""
        return self.seen.pool

    def view(self) -> View:
        """The view, one index further after each ReadIndex."""
        reads = sum(isinstance(one, ReadIndexCommand) for one in self.asked)
        return attrs.evolve(self.seen, applied_index=self.seen.applied_index + reads)

    async def ask(self, request: Ask, deadline_ms: int) -> Accepted:
        """Accept, or fail with the next failure."""
        assert deadline_ms > 0
        self.asked.append(request)
        if self.bug:
            raise RuntimeError("the insides of the agent")
        if self.failures:
            raise self.failures.pop(0)
        return Accepted(TASK_ID, 13, NODE_ID)

    async def log_ends(self, deadline_ms: int) -> LogEnds:
        """What was set."""
        assert deadline_ms > 0
        return self.ends

    async def events(self, after: EventId | None) -> EventStream:
        """Those that happened after an id, then silence; or the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        return EventStream(after or self.newest, self._events(after))

    async def _events(self, after: EventId | None) -> AsyncIterator[Event]:
        try:
            for event in self.happened:
                if after is None or event.id > after:
                    yield event
            self.listening.set()
            await trio.sleep_forever()
        finally:
            self.unlistened.set()

    async def task_metrics(self, allocation: AllocationId) -> MetricsAnswered:
        """Two numbers; or the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        metrics = (TaskMetric("loss", "0.25", 1_800_000_000_000), TaskMetric("step", "7.0", 5))
        return MetricsAnswered(allocation, metrics, 3)

    async def full_reasons(self, task_id: TaskId, where: NodeId) -> tuple[FullReason, ...]:
        """One long reason; or the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        return (FullReason(AllocationId(task_id, 0), 1, "because " * 50),)

    async def runtime_info(self) -> RuntimeInfo:
        """An engine without quotas."""
        lack = (Unsupported("disk-quota", "the storage driver has none"),)
        return RuntimeInfo(RuntimeKind.DOCKER, "20.10.24", "1.41", unsupported=lack)

    def webhooks(self) -> tuple[WebhookStatus, ...]:
        """None, or those that a test put there."""
        return self.receivers

    def joining(self) -> JoinStatus | None:
        """Nowhere, or where a test put it."""
        return self.joins

    def provider(self) -> ProviderStatus | None:
        """None, or what a test put there."""
        return self.provided

    def work(self) -> WorkStatus:
        """Nothing, or what a test put there."""
        return self.worked

    def challenges(self) -> ChallengeStatus:
        """None came, or what a test put there."""
        return self.challenged

    def metrics(self) -> bytes:
        """One metric."""
        return b"# TYPE p2pool_up gauge\np2pool_up 1\n"


NOT_YOURS = NotAllowed("The account may not submit.", hint="Ask the manager.")
