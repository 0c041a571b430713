"""A pool through any of its agents, for programs that block.

    from p2pool.client import Client, KeySigner

    client = Client(["https://a.example:9443", "https://b.example:9443"],
                    token_file="api.token", signer=KeySigner.from_keystore("key.json", "..."))
    task = client.submit({"name": "hello", "image": "busybox", "command": ["echo", "hello"]})
    print(client.wait(task.task_id, until="ended").state)

One client may be used by several threads: each call is a conversation of its own.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar, cast

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
from p2pool.client.library.documents import document
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
from p2pool.client.transport import Transport
from p2pool.model.errors import Misconfigured, P2poolError

T = TypeVar("T")


class Stream(Generic[T]):
    """Values as they come. Close it, or leave its block, to end its connection."""

    def __init__(self, run: "_Blocking[None]") -> None:
        self._run = run

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        given = self._run.advance()
        if given is None:
            raise StopIteration
        return cast(T, given.value)

    def close(self) -> None:
        """End it."""
        self._run.close()

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Blocking(Run[T]):
    """Carries out a flow's steps on sockets that block."""

    _lines: Iterator[list[bytes]] | None = None

    def advance(self) -> Give | None:
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
                    answer = self._do(step)
                except P2poolError as failed:
                    error = failed
        except BaseException:
            self.close()
            raise

    def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                status, body = self._to(step.agent).exchange(step.method, step.path, step.body)
                return status, document(body)
            case Open():
                self._end_stream()
                transport = self._to(step.agent)
                self._lines = transport.lines(step.method, step.path, step.body, step.kind)
            case Read():
                return None if self._lines is None else next(self._lines, None)
            case Close():
                self._end_stream()
            case Pause():
                time.sleep(step.seconds)
            case Clock():
                return time.monotonic()
            case Sign():
                assert self.base.signer is not None
                given = self.base.signer(step.typed_data)
                if hasattr(given, "__await__"):
                    getattr(given, "close", lambda: None)()
                    raise Misconfigured(
                        "The signer is async, and Client blocks.",
                        hint="Use AsyncClient, or a signer that is a plain function.",
                    )
                return given
        return None

    def _to(self, agent: int) -> Transport:
        return Transport(named.found(self.base.agents[agent]), self.base.timeout_s)

    def _end_stream(self) -> None:
        if self._lines is not None:
            cast(Generator[list[bytes], None, None], self._lines).close()
            self._lines = None

    def close(self) -> None:
        """End the flow and its stream."""
        self.flow.close()
        self._end_stream()


class Client(Base):
    """A pool, through whichever of the named agents answers. See `Base` for what it takes."""

    def _ask(self, flow: Flow[T]) -> T:
        run = _Blocking(self, flow)
        if run.advance() is not None:
            _misused()
        return cast(T, run.result)

    # --- reads ------------------------------------------------------------------------------------

    def pool(self, *, consistent: bool = False) -> Pool:
        """The pool. `consistent`: as the leader knows it now."""
        return self._ask(self.questions().pool_now(consistent))

    def task(self, name: str, *, consistent: bool = False) -> Task:
        """One task by its id, its name, or the beginning of its id. `NotFound`, `Conflict` where
        several are meant."""
        return self._ask(self.questions().task(name, consistent))

    def tasks(
        self,
        *,
        states: Iterable[str] = LIVING,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        consistent: bool = False,
    ) -> list[Task]:
        """The tasks that fit all that is given, the newest first; those that have not ended, if
        `states` says no other, and with `states=()` all."""
        return self._ask(self.questions().tasks(states, labels or {}, name, consistent))

    def node(self, name: str) -> Node:
        """One node by its id or the beginning of it."""
        return self._ask(self.questions().node(name))

    def nodes(self, *, consistent: bool = False) -> list[Node]:
        """All nodes, by id."""
        return self._ask(self.questions().nodes(consistent))

    def metrics(self, name: str) -> list[CopyMetrics]:
        """The last numbers that each copy of a task wrote to its metrics socket."""
        return self._ask(self.questions().metrics(name))

    def access(self, account: str | None = None, *, consistent: bool = False) -> list[Grant]:
        """Who holds which right in the pool, and what of its limits is in use; of one account, or
        of all. One under which nothing was submitted is known to nobody but its holder."""
        return self._ask(self.questions().access(account, consistent))

    # --- writes -----------------------------------------------------------------------------------

    def submit(self, spec: Mapping[str, Any], *, patience_s: float | None = None) -> Accepted:
        """Run a task. `spec` has the keys of `p2pool task run --help`; `BadSpec` lists all that is
        wrong with it. Returns once it is committed; agents that go away meanwhile double nothing.
        """
        return self._ask(self.questions().submit(spec, patience_s))

    def prepare(self, spec: Mapping[str, Any]) -> Prepared:
        """Sign a submission and do not send it: for who keeps it first, or sends it by other means.
        It is good for ten minutes."""
        return self._ask(self.questions().submission(spec))

    def send(
        self, prepared: Prepared | Mapping[str, Any], *, patience_s: float | None = None
    ) -> Accepted:
        """Have a signed request carried out: what `prepare` gave, or its `body`, which may have
        been kept or come from elsewhere. Sending it again changes nothing."""
        return self._ask(self.questions().send(self.signed(prepared), patience_s))

    def stop(self, name: str, *, patience_s: float | None = None) -> Accepted:
        """Stop a task; `wait(..., until="ended")` waits for that."""
        return self._ask(self.questions().stop(name, patience_s))

    def act(
        self,
        action: str,
        target: str,
        value: str | None = None,
        *,
        patience_s: float | None = None,
    ) -> Accepted:
        """Any other request: drain, resume, ban or unban a node, set a setting, revoke an account's
        delegations."""
        return self._ask(self.questions().act(action, target, value, patience_s))

    # --- waiting and reading on -------------------------------------------------------------------

    def wait(self, name: str, *, until: str = "started", timeout_s: float = 300) -> Task:
        """The task once all its copies run (`started`) or it has ended; `ended`: only then.
        `Unavailable` when the time is over, with the reasons; the task goes on."""
        return self._ask(self.questions().wait(name, until, timeout_s))

    def events(self, after: str | None = None, *, patience_s: float = 60) -> Stream[Event]:
        """The pool's events after an id, or from now on, across agents; without an end. `after`:
        the id of the last one that was read, at whichever agent. A `gap` says that some are lost;
        `Stale` that the id is of no log that the agents hold."""
        return Stream(_Blocking(self, self.event_flow(after, patience_s)))

    def logs(
        self,
        name: str,
        replica: int = 0,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        since_ms: int = 0,
        patience_s: float = 60,
    ) -> Stream[LogLine]:
        """The lines of one copy of a task, wherever it runs. `follow`: until it has ended for good,
        across restarts and moves; else to the end of what is there."""
        flow = self.log_flow(
            name,
            replica,
            follow=follow,
            tail_lines=tail_lines,
            since_ms=since_ms,
            patience_s=patience_s,
        )
        return Stream(_Blocking(self, flow))


def _misused() -> NoReturn:
    raise AssertionError("a flow that answers gives nothing")
