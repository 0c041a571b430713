"""The agent as its API sees it: the latest view, requests, events, log lines and metrics."""

from collections import Counter
from collections.abc import Callable

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.contract_judge import ContractJudge
from p2pool.agent.event_hub import EventHub
from p2pool.agent.loop import Loop
from p2pool.agent.telemetry.log_streams import LogStreams
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.codec.text.fit import fitted
from p2pool.core.effects import Reply
from p2pool.core.inputs import Asked
from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.errors import Overloaded, P2poolError, Unavailable
from p2pool.model.ids import AllocationId, NodeId, PoolRef, TaskId
from p2pool.model.messages.task_streams import FullReason, MetricsAnswered
from p2pool.model.ports.agent import (
    NO_WORK,
    Accepted,
    Ask,
    ChallengeStatus,
    EventStream,
    InviteOffered,
    JoinStatus,
    LogEnds,
    LogEndsCommand,
    ProviderStatus,
    SubmitCommand,
    WebhookStatus,
    WorkStatus,
)
from p2pool.model.ports.evidence import EvidenceKeeper
from p2pool.model.ports.runtime import ContainerRuntime, RuntimeInfo
from p2pool.model.ports.view import EventId, View
from p2pool.model.ports.volumes import VolumeKeeper
from p2pool.wire.signers import SignerCache


@attrs.define
class _Waiting:
    done: trio.Event = attrs.field(factory=trio.Event)
    result: Accepted | LogEnds | P2poolError | None = None


class AgentApi:
    """`model.ports.agent.AgentPort` of one agent."""

    def __init__(
        self,
        loop: Loop,
        logs: LogStreams,
        metrics: Metrics,
        runtime: ContainerRuntime,
        contract_judge: ContractJudge,
        evidence: EvidenceKeeper,
    ) -> None:
        """Pool questions go to the loop's node, machine questions to its runtime."""
        self._contract_judge = contract_judge
        self._evidence = evidence
        self._runtime = runtime
        self._log_streams = logs
        # Those that the API ended by itself, by why it did.
        self.connections: Counter[str] = Counter()
        held = loop.node.context.pool_log
        self.event_hub = EventHub(held.window, lambda: held.applied_place, loop.wait_stepped)
        self._loop = loop
        self._metrics = metrics
        self._signers = SignerCache(loop.node.context.config.pool)
        self._waiting: dict[int, _Waiting] = {}
        self.notified: Callable[[], tuple[WebhookStatus, ...]] = tuple
        self.joins: Callable[[], JoinStatus | None] = lambda: None
        self.provided: Callable[[], ProviderStatus | None] = lambda: None
        self.worked: Callable[[], WorkStatus] = lambda: NO_WORK
        self.challenged: Callable[[], ChallengeStatus] = lambda: ChallengeStatus("", False, 0)
        self._last = 0
        self._view: View | None = None

    @property
    def logs(self) -> LogStreams:
        """Log lines of any copy."""
        return self._log_streams

    @property
    def volumes(self) -> VolumeKeeper:
        """The volumes that tasks keep on this machine."""
        return self._runtime.volumes

    @property
    def evidence(self) -> EvidenceKeeper:
        """The documents behind validators' verdicts."""
        return self._evidence

    async def runtime_info(self) -> RuntimeInfo:
        """The runtime that runs containers here."""
        return fitted(await self._runtime.probe())

    @property
    def pool(self) -> PoolRef:
        """The pool of the agent."""
        return self._loop.node.context.config.pool

    def view(self) -> View:
        """The latest view, built once per revision."""
        if self._view is None or self._view.revision != self._loop.node.revision:
            self._view = self._loop.node.view(read_clock())
        return self._view

    async def ask(self, request: Ask, deadline_ms: int) -> Accepted:
        """Have a request carried out, here or at the leader."""
        signers: Signers | None = None
        if isinstance(request, SubmitCommand):
            # The API has already recovered the signers; a delegation says more than that.
            delegated = request.signed.delegation is not None
            signers = (
                self._signers.signers(request.signed) if delegated else Signers(request.signer)
            )
        if isinstance(request, InviteOffered):
            roster = self._loop.node.context.roster
            await self._contract_judge.check_invite(request.invite, roster.latest)
        result = await self._ask(request, signers, deadline_ms)
        assert isinstance(result, Accepted)
        return result

    async def log_ends(self, deadline_ms: int) -> LogEnds:
        """The log ends known here: our own and those of connected peers."""
        result = await self._ask(LogEndsCommand(), None, deadline_ms)
        assert isinstance(result, LogEnds)
        return result

    async def _ask(
        self, request: Ask | LogEndsCommand, signers: Signers | None, deadline_ms: int
    ) -> Accepted | LogEnds:
        if len(self._waiting) >= limits.REQUESTS_IN_FLIGHT_MAX:
            raise Overloaded("Too many requests are in progress.", hint="Retry in a second.")
        self._last += 1
        number, waiting = self._last, _Waiting()
        self._waiting[number] = waiting
        try:
            await self._loop.put(Asked(number, request, signers, deadline_ms))
            with trio.move_on_after(deadline_ms / 1000 + 1):
                await waiting.done.wait()
        finally:
            del self._waiting[number]
        if isinstance(waiting.result, P2poolError):
            raise waiting.result
        if waiting.result is None:
            raise Unavailable("The agent did not answer in time.", hint="Send the request again.")
        return waiting.result

    def reply(self, reply: Reply) -> None:
        """Deliver the core's answer to a request."""
        waiting = self._waiting.get(reply.request_id)
        if waiting is not None:
            waiting.result = reply.result
            waiting.done.set()

    async def task_metrics(self, allocation: AllocationId) -> MetricsAnswered:
        """The latest metrics that a copy reported."""
        return await self._log_streams.metrics_of(allocation)

    async def full_reasons(self, task_id: TaskId, where: NodeId) -> tuple[FullReason, ...]:
        """Why a node's copies of a task ended or did not start, in full."""
        return await self._log_streams.reasons_of(task_id, where)

    async def events(self, after: EventId | None) -> EventStream:
        """Events after an id (None: from now on)."""
        return await self.event_hub.listen(after)

    def webhooks(self) -> tuple[WebhookStatus, ...]:
        """How deliveries of events go."""
        return self.notified()

    def joining(self) -> JoinStatus | None:
        """Where this node is on its way into the pool."""
        return self.joins()

    def provider(self) -> ProviderStatus | None:
        """What the chain last said of this node's provider."""
        return self.provided()

    def work(self) -> WorkStatus:
        """What the copies here have done, on its way to the chain."""
        return self.worked()

    def challenges(self) -> ChallengeStatus:
        """How validators' challenges of this node go."""
        return self.challenged()

    def metrics(self) -> bytes:
        """The Prometheus exposition text."""
        return self._metrics.render(self.view())
