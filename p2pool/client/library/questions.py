"""What a client asks of agents, and when it turns to another one: written once, for both drivers.

Intuition: one list of agents, and the one that answered last. Where it gives no answer now
(`Unavailable`), or is no agent any more (`Misconfigured`), the next one is asked; after a round
without an answer comes a pause, and when patience ends the last error is raised. A refusal is an
answer: another agent would give the same.

Invariants: an agent is asked for its pool before anything else is taken from it, so a list that
mixes pools is refused, and nothing is signed for a pool that was not meant; a signed request is
made once; what was read is never older than what this client has seen (`_behind`).
Source: docs/design/api.md, "The client library".
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import attrs

from p2pool.client.errors import error_of, not_an_agent
from p2pool.client.library import answers
from p2pool.client.library.agents import Named, Rotation, name_of
from p2pool.client.library.answers import read
from p2pool.client.library.signers import plain, signature_of
from p2pool.client.library.steps import Ask, Clock, Flow, Pause, Sign
from p2pool.client.requests import grant_for, request_for
from p2pool.codec.json import requests as forms
from p2pool.codec.json.hex import unhex
from p2pool.codec.spec.spec import spec_json
from p2pool.model import limits
from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.access.grants import SignedGrant
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.errors import (
    BadSpec,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    P2poolError,
    Unavailable,
)
from p2pool.model.ids import ADDRESS_BYTES, TASK_ID_BYTES, Address, PoolRef

T = TypeVar("T")
Body = dict[str, Any]
Query = Sequence[tuple[str, str]]
_AWAY = (502, 503, 504)
"""What a proxy answers where its agent does not."""
_ELSEWHERE = {
    Action.SUBMIT: "Call submit(spec).",
    Action.SET_SECRET: "The command line encrypts secrets: p2pool task set-secret.",
}
"""Requests that hold what this client has another way for, or none."""


@attrs.frozen
class Prepared:
    """A signed submission. `body` is what is posted to `/v1/requests`, by anybody and as often as
    it takes: who keeps it before sending it can go on after a crash, and still run one task."""

    task_id: str
    body: dict[str, Any]


@attrs.define
class Search:
    """For an agent that answers: until when, and what was heard in this round."""

    end: float
    failed: list[P2poolError] = attrs.field(factory=list)


@attrs.define
class Questions:
    """The agents, the pool, who signs, and what was seen so far. `seen`: epoch and index up to
    which answers told of the log; `reached`: the same of each agent."""

    agents: tuple[Named | None, ...]
    patience_s: float
    signs: bool
    delegation: SignedDelegation | None = None
    pool: PoolRef | None = None
    contract: Address | None = None
    rotation: Rotation = attrs.field(init=False)
    seen: tuple[int, int] = (0, 0)
    reached: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    _checked: set[int] = attrs.field(factory=set)
    _grants: dict[str, SignedGrant] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """The first agent's turn."""
        self.rotation = Rotation(len(self.agents))

    # --- whoever answers ----------------------------------------------------------------------

    def insist(self, ask: Callable[[int], Flow[T]], patience_s: float | None = None) -> Flow[T]:
        """What one of the agents answers, asked in turn until patience ends."""
        patience = self.patience_s if patience_s is None else patience_s
        search = Search((yield Clock()) + patience)
        while True:
            agent = self.rotation.at
            try:
                yield from self.check(agent)
                return (yield from ask(agent))
            except (Unavailable, Misconfigured) as error:
                yield from self.turn_away(search, agent, error)

    def turn_away(self, search: Search, agent: int, error: P2poolError) -> Flow[None]:
        """The next agent's turn, after a pause if that was a round; raises `error` when patience
        has ended. Faults that no time mends, at every agent, are raised after one round."""
        self.rotation.leave(agent)
        self._checked.discard(agent)  # What listens there next may be another one.
        search.failed.append(error)
        if len(search.failed) < len(self.agents):
            return
        lasting = all(isinstance(one, Misconfigured) for one in search.failed)
        pause_s = limits.CLIENT_RETRY_PAUSE_MS / 1000
        if lasting or (yield Clock()) + pause_s > search.end:
            raise error
        search.failed.clear()
        yield Pause(pause_s)

    def check(self, agent: int) -> Flow[None]:
        """That an agent is of our pool: once, before the first question."""
        if agent in self._checked:
            return
        document = yield from self._document(agent, "/v1/pool")
        said = read(answers.Pool, document.get("pool"), self._name(agent))
        contract = unhex(said.contract, ADDRESS_BYTES)
        if contract is None:
            raise not_an_agent("it says no contract's address", self._name(agent))
        pool = PoolRef(said.chain_id, Address(contract), said.pool_id)
        if self.pool is not None and pool != self.pool:
            raise Misconfigured(
                f"The agent at {self._name(agent)} is of another pool:"
                f" {pool_text(pool)}, not {pool_text(self.pool)}.",
                hint="Name agents of one pool.",
            )
        self.pool = pool
        self._checked.add(agent)

    def settle(self, agent: int, error: P2poolError) -> Flow[P2poolError]:
        """Why a stream was refused. Where the agent takes its token no more, that is for who lists
        the agents, and others may take theirs: who asks it for its pool learns that."""
        if isinstance(error, NotAllowed):
            self._checked.discard(agent)
            try:
                yield from self.check(agent)
            except (Unavailable, Misconfigured) as failed:
                return failed
        return error

    def _document(self, agent: int, path: str) -> Flow[Body]:
        """The body of a good answer, with what it says of the log noted."""
        status, body = yield Ask(agent, "GET", path)
        return self.note(agent, status, body)

    def note(self, agent: int, status: int, body: Body) -> Body:
        """A body, or the error that it is; how far the agent is."""
        if status != 200:
            raise self.refused(agent, status, body)
        meta = body.get("meta")
        if isinstance(meta, Mapping):
            at = (meta.get("epoch", 0), meta.get("applied_index", 0))
            if any(type(one) is not int for one in at):
                raise not_an_agent("it does not say where in the log it is", self._name(agent))
            self.reached[agent] = at
            self.seen = max(self.seen, at)
        return body

    def refused(self, agent: int, status: int, body: object) -> P2poolError:
        """The error that an answer is. That an agent does not take its token, or the name that it
        was called by, is for who lists the agents; others may take theirs."""
        name = self._name(agent)
        if not isinstance(body, Mapping) or ("code" not in body and status not in _AWAY):
            return not_an_agent(f"it answers with HTTP status {status}, and no reason", name)
        error = error_of(status, body)
        if status not in (401, 421):
            return error
        return Misconfigured(f"{name}: {error.message}", hint=error.hint)

    def _name(self, agent: int) -> str:
        return name_of(self.agents[agent])

    def _behind(self, agent: int) -> bool:
        """Whether an agent may know less than this client has seen: then it is asked to catch up
        with the leader first."""
        return self.reached.get(agent, (0, 0)) < self.seen

    def get(
        self, path: str, query: Query = (), consistent: bool = False, *, catches_up: bool = True
    ) -> Flow[Body]:
        """A read, by whoever answers; never older than what was seen before, if the route
        `catches_up`."""

        def ask(agent: int) -> Flow[Body]:
            wanted = [*query]
            if consistent or (catches_up and self._behind(agent)):
                wanted.append(("consistent", "true"))
            asked = path + ("?" + urlencode(wanted) if wanted else "")
            return (yield from self._document(agent, asked))

        return (yield from self.insist(ask))

    def pages(self, path: str, rows: str, query: Query, consistent: bool) -> Flow[list[Body]]:
        """The rows of all pages of a list."""
        found: list[Body] = []
        after = ""
        for _ in range(limits.CLIENT_PAGES_MAX):
            asked = [*query, ("limit", str(limits.API_PAGE_MAX))]
            asked += [("after", after)] if after else []
            answer = yield from self.get(path, asked, consistent)
            found += _rows(answer, rows)
            before, after = after, answer.get("next") or ""
            if not after:
                return found
            if not isinstance(after, str) or after == before:
                break
        raise not_an_agent("its list has no end")

    # --- reads --------------------------------------------------------------------------------

    def pool_now(self, consistent: bool) -> Flow[answers.Pool]:
        """The pool."""
        answer = yield from self.get("/v1/pool", (), consistent)
        return read(answers.Pool, answer.get("pool"))

    def pool_ref(self) -> Flow[PoolRef]:
        """The pool's name on the chain, for which requests are signed."""

        def nothing(agent: int) -> Flow[None]:
            yield from ()

        if self.pool is None or not self._checked:
            yield from self.insist(nothing)
        assert self.pool is not None
        return self.pool

    def task(self, name: str, consistent: bool = False) -> Flow[answers.Task]:
        """One task by its id, its name, or the beginning of its id. Which task has a name is the
        agent's word; a whole id is that task's and no other's, whatever an agent says."""
        path = f"/v1/tasks/{_part(name, 'task')}"
        answer = yield from self.get(path, (), consistent)
        found = read(answers.Task, answer.get("task"))
        whole = unhex(name, TASK_ID_BYTES)
        if whole is not None and found.task_id != whole.hex():
            raise NotFound(f"There is no task {name}: the agent told of {found.task_id[:64]!r}.")
        return found

    def tasks(
        self, states: Iterable[str], labels: Mapping[str, str], name: str | None, consistent: bool
    ) -> Flow[list[answers.Task]]:
        """Tasks that fit all that is given, the newest first."""
        query = [("state", one) for one in states]
        query += [("label", f"{key}={value}") for key, value in labels.items()]
        query += [("name", name)] if name is not None else []
        rows = yield from self.pages("/v1/tasks", "tasks", query, consistent)
        return [read(answers.Task, row) for row in rows]

    def node(self, name: str) -> Flow[answers.Node]:
        """One node by its id or the beginning of it."""
        answer = yield from self.get(f"/v1/nodes/{_part(name, 'node')}")
        return read(answers.Node, answer.get("node"))

    def nodes(self, consistent: bool) -> Flow[list[answers.Node]]:
        """All nodes, by id."""
        rows = yield from self.pages("/v1/nodes", "nodes", (), consistent)
        return [read(answers.Node, row) for row in rows]

    def metrics(self, name: str) -> Flow[list[answers.CopyMetrics]]:
        """The last numbers that each copy of a task reported."""
        task = yield from self.task(name)
        path = f"/v1/tasks/{task.task_id}/metrics"
        answer = yield from self.get(path, catches_up=False)
        return [read(answers.CopyMetrics, one) for one in _rows(answer, "copies")]

    def access(self, account: str | None, consistent: bool) -> Flow[list[answers.Grant]]:
        """Who holds which right, and what of it is in use; of one account, or of all."""
        query = [("delegate", account)] if account is not None else []
        rows = yield from self.pages("/v1/access", "access", query, consistent)
        return [read(answers.Grant, row) for row in rows]

    # --- writes -------------------------------------------------------------------------------

    def prepare(self, action: Action, target: str = "", text: str = "") -> Flow[SignedRequest]:
        """A signed request, not sent yet."""
        from p2pool.wire import typed_data

        pool = yield from self.pool_ref()
        request = request_for(pool, action, target, text)
        signature = yield from self._signature(typed_data.request_typed_data(pool, request))
        signed = SignedRequest(request, signature, self.delegation, self.contract)
        typed_data.recover_signers(pool, signed)
        return signed

    def _signature(self, data: dict[str, Any]) -> Flow[bytes]:
        if not self.signs:
            raise Misconfigured(
                "This needs a signature, and the client has no signer.",
                hint="Give it one: Client(..., signer=KeySigner(KEY)).",
            )
        given = yield Sign(plain(data))
        return signature_of(given, contract=self.contract is not None)

    def send(self, signed: SignedRequest, patience_s: float | None) -> Flow[answers.Accepted]:
        """Have it carried out, by whichever agent takes it: the pool carries it out once."""
        body = forms.request_json(signed)

        def ask(agent: int) -> Flow[answers.Accepted]:
            status, answer = yield Ask(agent, "POST", "/v1/requests", body)
            said = read(answers.Accepted, self.note(agent, status, answer))
            self.seen = max(self.seen, (self.seen[0], said.index))
            return said

        return (yield from self.insist(ask, patience_s))

    def submission(self, spec: Mapping[str, Any]) -> Flow[Prepared]:
        """A signed submission, not sent yet."""
        from p2pool.wire import typed_data

        _check_secrets(spec)
        signed = yield from self.prepare(Action.SUBMIT, "", spec_json(spec))
        pool = yield from self.pool_ref()
        return Prepared(typed_data.task_id(pool, signed).hex(), forms.request_json(signed))

    def submit(self, spec: Mapping[str, Any], patience_s: float | None) -> Flow[answers.Accepted]:
        """Sign a submission and have it carried out."""
        _check_secrets(spec)
        signed = yield from self.prepare(Action.SUBMIT, "", spec_json(spec))
        return (yield from self.send(signed, patience_s))

    def stop(self, name: str, patience_s: float | None) -> Flow[answers.Accepted]:
        """Stop a task by its id, its name, or the beginning of its id."""
        task = yield from self.task(name)
        signed = yield from self.prepare(Action.STOP, task.task_id)
        return (yield from self.send(signed, patience_s))

    def act(
        self, action: str, target: str, value: str | None, patience_s: float | None
    ) -> Flow[answers.Accepted]:
        """Any other request of the pool."""
        try:
            wanted = Action(action)
        except ValueError as error:
            known = ", ".join(one.value for one in Action if one not in _ELSEWHERE)
            raise Malformed(f"{action!r} is no action.", hint=f"One of {known}.") from error
        if wanted in _ELSEWHERE:
            raise Malformed(f"{action} needs more than a target.", hint=_ELSEWHERE[wanted])
        text = json.dumps({"value": value}, separators=(",", ":")) if value is not None else ""
        signed = yield from self.prepare(wanted, target, text)
        return (yield from self.send(signed, patience_s))

    def grant(self, task_id: str) -> Flow[SignedGrant]:
        """A right to read a task's log that is good for a while yet."""
        from p2pool.wire import typed_data

        kept = self._grants.get(task_id)
        lasts_s = limits.GRANT_LIFETIME_MAX_S / 2
        if kept is not None and kept.grant.not_after_s - time.time() > lasts_s:
            return kept
        pool = yield from self.pool_ref()
        grant = grant_for(pool, task_id)
        signature = yield from self._signature(typed_data.grant_typed_data(pool, grant))
        signed = SignedGrant(grant, signature, self.delegation, self.contract)
        typed_data.recover_signers(pool, signed)
        while len(self._grants) >= limits.CLIENT_LOG_COPIES_MAX:
            del self._grants[next(iter(self._grants))]
        self._grants[task_id] = signed
        return signed

    # --- waiting ------------------------------------------------------------------------------

    def wait(self, name: str, until: str, timeout_s: float) -> Flow[answers.Task]:
        """The task, once all its copies run (`started`) or it has ended. Raises `Unavailable` when
        the time is over; the task goes on."""
        if until not in ("started", "ended"):
            raise Malformed(f"{until!r} is nothing to wait for.", hint="started or ended.")
        end = (yield Clock()) + timeout_s
        why, last = "", ""
        while True:
            try:
                task = yield from self.task(name)
                if task.ended or (until == "started" and task.started):
                    return task
                why = "; ".join(task.reasons) or task.state
            except Unavailable as error:
                last = error.message
            if (yield Clock()) + limits.CLIENT_POLL_MS / 1000 > end:
                because = why or last
                raise Unavailable(
                    f"After {timeout_s:g} s the task {name} has not {until} ({because}); it goes"
                    " on.",
                    hint="Wait longer, or read why in its allocations and refusals.",
                )
            yield Pause(limits.CLIENT_POLL_MS / 1000)


def _check_secrets(spec: Mapping[str, Any]) -> None:
    """`BadSpec` for what only the command line encrypts, before anything is signed."""
    for key in ("secrets", "registry_auth", "secret_recipients"):
        if key in spec:
            raise BadSpec(
                f"This client encrypts no secrets, and the specification has {key!r}:"
                " p2pool task run does, with --secret and --registry-auth.",
                problems=(f"{key} is for p2pool task run",),
            )


def pool_text(pool: PoolRef) -> str:
    """A pool's name on the chain, for people."""
    return f"pool {pool.pool_id} of 0x{pool.contract.hex()} on chain {pool.chain_id}"


def _rows(answer: Body, key: str) -> list[Body]:
    """A list of objects in an answer."""
    found = answer.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise not_an_agent(f"{key!r} of its answer is no list of objects")
    return found


def _part(name: str, what: str) -> str:
    """A name as part of a path; one that would be another route names nothing."""
    if not name or "/" in name:
        raise NotFound(f"There is no {what} {name[:64]!r}.")
    return quote(name, safe="")
