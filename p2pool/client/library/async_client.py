"""A pool through any of its agents, for programs on trio.

    client = AsyncClient(["https://a.example:9443", "https://b.example:9443"], token_file=...)
    async with client.events(after) as events:
        async for event in events:
            ...

As `Client` in everything but that it waits without holding a thread, and stops at once when it is
cancelled: what was sent by then may have been carried out, as with any request.
"""

import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import trio

from p2pool.client.library import agents as named
from p2pool.client.library.answers import (
    LIVING,
    Accepted,
    CopyMetrics,
    Event,
    Grant,
    LogLine,
    Node,
    Pool,
    Task,
)
from p2pool.client.library.base import Base, Run
from p2pool.client.library.questions import Prepared
from p2pool.client.library.steps import (
    Ask,
    Clock,
    Close,
    Flow,
    Give,
    Open,
    Pause,
    Read,
    Sign,
    Step,
)
from p2pool.client.library.trio_transport import Answer, TrioTransport
from p2pool.model.errors import P2poolError

T = TypeVar("T")


class AsyncStream(Generic[T]):
    """Values as they come. Leave its block, or close it, to end its connection."""

    def __init__(self, run: "_OnTrio[None]") -> None:
        self._run = run

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        given = await self._run.advance()
        if given is None:
            raise StopAsyncIteration
        return cast(T, given.value)

    async def aclose(self) -> None:
        """End it."""
        await self._run.aclose()

    async def __aenter__(self) -> "AsyncStream[T]":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _OnTrio(Run[T]):
    """Carries out a flow's steps on trio."""

    _stream: Answer | None = None

    async def advance(self) -> Give | None:
        """Go on to the next value that is given; None at the end."""
        answer: Any = None
        error: P2poolError | None = None
        try:
            while True:
                step = self.next(answer, error)
                answer = error = None
                if step is None or isinstance(step, Give):
                    return step
                try:
                    answer = await self._do(step)
                except P2poolError as failed:
                    error = failed
        except BaseException:
            await self.aclose()
            raise

    async def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                return await self._to(step.agent).ask(step.method, step.path, step.body)
            case Open():
                await self._end_stream()
                transport = self._to(step.agent)
                self._stream = await transport.stream(step.method, step.path, step.body, step.kind)
            case Read():
                return None if self._stream is None else await self._stream.lines()
            case Close():
                await self._end_stream()
            case Pause():
                await trio.sleep(step.seconds)
            case Clock():
                return trio.current_time()
            case Sign():
                assert self.base.signer is not None
                given = self.base.signer(step.typed_data)
                return await given if inspect.isawaitable(given) else given
        return None

    def _to(self, agent: int) -> TrioTransport:
        return TrioTransport(named.found(self.base.agents[agent]), self.base.timeout_s)

    async def _end_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.aclose()

    async def aclose(self) -> None:
        """End the flow and its stream."""
        self.flow.close()
        with trio.CancelScope(shield=True):  # It waits for nobody.
            await self._end_stream()


class AsyncClient(Base):
    """A pool, through whichever of the named agents answers. See `Base` for what it takes."""

    async def _ask(self, flow: Flow[T]) -> T:
        run = _OnTrio(self, flow)
        given = await run.advance()
        assert given is None, "a flow that answers gives nothing"
        return cast(T, run.result)

    # --- reads ------------------------------------------------------------------------------------

    async def pool(self, *, consistent: bool = False) -> Pool:
        """The pool. `consistent`: as the leader knows it now."""
        return await self._ask(self.questions().pool_now(consistent))

    async def task(self, name: str, *, consistent: bool = False) -> Task:
        """One task by its id, its name, or the beginning of its id."""
        return await self._ask(self.questions().task(name, consistent))

    async def tasks(
        self,
        *,
        states: Iterable[str] = LIVING,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        consistent: bool = False,
    ) -> list[Task]:
        """The tasks that fit all that is given, the newest first; `states=()`: ended ones too."""
        return await self._ask(self.questions().tasks(states, labels or {}, name, consistent))

    async def node(self, name: str) -> Node:
        """One node by its id or the beginning of it."""
        return await self._ask(self.questions().node(name))

    async def nodes(self, *, consistent: bool = False) -> list[Node]:
        """All nodes, by id."""
        return await self._ask(self.questions().nodes(consistent))

    async def metrics(self, name: str) -> list[CopyMetrics]:
        """The last numbers that each copy of a task wrote to its metrics socket."""
        return await self._ask(self.questions().metrics(name))

    async def access(self, account: str | None = None, *, consistent: bool = False) -> list[Grant]:
        """Who holds which right in the pool, and what of its limits is in use; of one account, or
        of all. One under which nothing was submitted is known to nobody but its holder."""
        return await self._ask(self.questions().access(account, consistent))

    # --- writes -----------------------------------------------------------------------------------

    async def submit(self, spec: Mapping[str, Any], *, patience_s: float | None = None) -> Accepted:
        """Run a task; returns once it is committed. See `Client.submit`."""
        return await self._ask(self.questions().submit(spec, patience_s))

    async def prepare(self, spec: Mapping[str, Any]) -> Prepared:
        """Sign a submission and do not send it. See `Client.prepare`."""
        return await self._ask(self.questions().submission(spec))

    async def send(
        self, prepared: Prepared | Mapping[str, Any], *, patience_s: float | None = None
    ) -> Accepted:
        """Have a signed request carried out. Sending it again changes nothing."""
        return await self._ask(self.questions().send(self.signed(prepared), patience_s))

    async def stop(self, name: str, *, patience_s: float | None = None) -> Accepted:
        """Stop a task; `wait(..., until="ended")` waits for that."""
        return await self._ask(self.questions().stop(name, patience_s))

    async def act(
        self,
        action: str,
        target: str,
        value: str | None = None,
        *,
        patience_s: float | None = None,
    ) -> Accepted:
        """Any other request: drain, resume, ban, unban, set, revoke."""
        return await self._ask(self.questions().act(action, target, value, patience_s))

    # --- waiting and reading on -------------------------------------------------------------------

    async def wait(self, name: str, *, until: str = "started", timeout_s: float = 300) -> Task:
        """The task once all its copies run (`started`) or it has ended; `ended`: only then."""
        return await self._ask(self.questions().wait(name, until, timeout_s))

    def events(self, after: str | None = None, *, patience_s: float = 60) -> AsyncStream[Event]:
        """The pool's events after an id, or from now on, across agents. See `Client.events`."""
        return AsyncStream(_OnTrio(self, self.event_flow(after, patience_s)))

    def logs(
        self,
        name: str,
        replica: int = 0,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        since_ms: int = 0,
        patience_s: float = 60,
    ) -> AsyncStream[LogLine]:
        """The lines of one copy of a task, wherever it runs. See `Client.logs`."""
        flow = self.log_flow(
            name,
            replica,
            follow=follow,
            tail_lines=tail_lines,
            since_ms=since_ms,
            patience_s=patience_s,
        )
        return AsyncStream(_OnTrio(self, flow))
