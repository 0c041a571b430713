"""Talks to an agent's API, one request after the other.

Commands are short-lived, and importing an HTTP library costs more than most of them do; so does
what only requests need, which is imported where they are made. Every answer is a dictionary as the
API describes it (`/v1/openapi.json`); every failure is an error of the tree. Sending a signed
request again is safe: the pool carries it out once.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from p2pool.client.discovery import FoundAgent
from p2pool.client.errors import error_of, not_an_agent
from p2pool.client.transport import NoAgent, Told, Transport
from p2pool.model import limits
from p2pool.model.errors import P2poolError, Unavailable

if TYPE_CHECKING:
    from p2pool.model.access.grants import SignedGrant
    from p2pool.model.access.requests import SignedRequest
    from p2pool.model.chain.invite import Invite
    from p2pool.model.ids import PoolRef
    from p2pool.model.ports.agent import LogOptions

Answer = dict[str, Any]
Query = Sequence[tuple[str, str]]


class AgentClient:
    """One agent, by URL and token; sends nothing before somebody calls a method. `meta`: how much
    the agent had seen when it gave the last answer that says so. `read_up_to`: the place up to
    which `events` has read."""

    def __init__(
        self, url: str, token: str, *, timeout_s: float = limits.CLIENT_TIMEOUT_MS / 1000
    ) -> None:
        """`timeout_s`: how long the agent may be silent."""
        self._transport = Transport(FoundAgent(url, token), timeout_s)
        self.url = self._transport.url
        self.directory: Path | None = None
        self.socket: Path | None = None
        self.meta: Answer = {}
        self.read_up_to = ""

    @classmethod
    def of(
        cls, found: FoundAgent, *, timeout_s: float = limits.CLIENT_TIMEOUT_MS / 1000
    ) -> "AgentClient":
        """A client of an agent that was found, with what is known of its certificate."""
        client = cls(found.url, found.token, timeout_s=timeout_s)
        client._transport, client.directory = Transport(found, timeout_s), found.directory
        client.socket = found.socket
        return client

    # --- reads ----------------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> Told:
        """A read; `path` begins with `/v1/`."""
        return self._json("GET", path + ("?" + urlencode(query) if query else ""), None)

    def pages(self, path: str, rows: str, query: Query) -> Iterator[Answer]:
        """The rows of all pages of a list; `query` may name a parameter several times."""
        after = ""
        for _ in range(limits.CLIENT_PAGES_MAX):
            asked = [*query, ("limit", str(limits.API_PAGE_MAX))]
            answer = self._json("GET", f"{path}?{urlencode([*asked, ('after', after)])}", None)
            yield from _objects(answer, rows)
            # An agent before version 0.3 gives the whole list, and no place to go on from.
            before, after = after, answer.get("next") or ""
            if not after:
                return
            if not isinstance(after, str) or after == before:
                break
        raise not_an_agent("its list has no end", self.url)

    def nodes(self, *, consistent: bool = False) -> list[Answer]:
        """All nodes, by id."""
        return list(self.pages("/v1/nodes", "nodes", _query(consistent)))

    def bindings(self) -> list[Answer]:
        """What proves the members' peer keys, for `client.secrets.candidates_of`."""
        return list(self.pages("/v1/bindings", "bindings", []))

    def node(self, text: str) -> Answer:
        """One node and its allocations: `{"node": ..., "allocations": [...]}`; by its id or the
        beginning of it."""
        return self.get(f"/v1/nodes/{quote(text, safe='')}")

    def tasks(
        self, *, consistent: bool = False, states: Iterable[str] = (), labels: Iterable[str] = ()
    ) -> list[Answer]:
        """All tasks, or those in these states and with all these labels, the newest first."""
        wanted = [("state", state) for state in states] + [("label", label) for label in labels]
        return list(self.pages("/v1/tasks", "tasks", [*wanted, *_query(consistent)]))

    def task(self, text: str, *, consistent: bool = False) -> Answer:
        """One task with its allocations; by its id, its name, or the beginning of its id."""
        path = f"/v1/tasks/{quote(text, safe='')}"
        return _object(self.get(path, **dict(_query(consistent))), "task")

    def task_metrics(self, task_id: str) -> list[Answer]:
        """The numbers that a task reports, copy by copy."""
        return _objects(self.get(f"/v1/tasks/{quote(task_id, safe='')}/metrics"), "copies")

    def evidence(self) -> list[Answer]:
        """The proofs against voters that lied, the latest term last."""
        return _objects(self.get("/v1/evidence"), "evidence")

    def validations(
        self,
        node_id: str | None = None,
        validator: str | None = None,
        conclusion: str | None = None,
    ) -> list[Answer]:
        """What validators say of the nodes, or of one: the newest verdict of each validator, by
        node."""
        given = [("node", node_id), ("validator", validator), ("conclusion", conclusion)]
        wanted = [(name, value) for name, value in given if value is not None]
        return list(self.pages("/v1/validations", "validations", wanted))

    def validation(self, digest: str) -> Iterator[bytes]:
        """The evidence that a verdict names, in pieces. After the last one: the agent's error if it
        is not whole, `Unavailable` if it breaks off."""
        path = f"/v1/validations/{quote(digest, safe='')}?framed=true"
        yield from self._transport.pieces(path, "application/vnd.p2pool.evidence+cbor")

    def task_reasons(self, task_id: str) -> Answer:
        """Why a task's copies ended, in full, node by node."""
        return self.get(f"/v1/tasks/{quote(task_id, safe='')}/reasons")

    def access(self, delegate: str | None = None, *, consistent: bool = False) -> list[Answer]:
        """Who holds which right in the pool, by account, or what one account holds: delegations by
        which it has tasks, and accounts that were revoked."""
        wanted = [("delegate", delegate)] if delegate is not None else []
        return list(self.pages("/v1/access", "access", [*wanted, *_query(consistent)]))

    def pool(self) -> Answer:
        """The pool."""
        return _object(self.get("/v1/pool"), "pool")

    def pool_ref(self) -> "PoolRef":
        """The agent's pool, for which requests are signed."""
        from p2pool.codec.json.hex import unhex
        from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef

        pool = self.pool()
        contract = unhex(str(pool["contract"]), ADDRESS_BYTES)
        if contract is None:
            raise not_an_agent("it says no contract's address", self.url)
        return PoolRef(int(pool["chain_id"]), Address(contract), int(pool["pool_id"]))

    def logs_held(self) -> Answer:
        """Which log each reachable agent holds: `{"logs": [...], "silent": [...]}`."""
        return self.get("/v1/logs-held")

    def ready(self) -> Answer:
        """`{"ready": bool, "problems": [...]}`; an agent that is not ready is no error."""
        status, body = self._exchange("GET", "/v1/readiness", None)
        document = self._transport.document(body)
        if status not in (200, 503) or "ready" not in document:
            raise self._transport.refused(status, document)
        return document

    # --- writes ---------------------------------------------------------------------------------

    def send(
        self,
        signed: "SignedRequest",
        *,
        secrets: bytes | None = None,
        patience_ms: int = limits.CLIENT_RETRY_MS,
        waiting: Callable[[P2poolError], None] = lambda _: None,
    ) -> Answer:
        """Have a signed request carried out; returns once it is committed. `secrets`: the blob that
        it names, if it names one.

        While there is no leader it sends the request again, for `patience_ms` in all, and tells
        `waiting` why.
        """
        from p2pool.codec.json import requests

        return self._insist(
            "/v1/requests", requests.request_json(signed, secrets), patience_ms, waiting
        )

    def invite(self, invite: "Invite") -> Answer:
        """Hand an invite to the agent, which keeps it for the invited node."""
        from p2pool.codec.json import requests

        return _accepted(self._json("POST", "/v1/invites", requests.invite_json(invite)))

    def _insist(
        self, path: str, body: Answer, patience_ms: int, waiting: Callable[[P2poolError], None]
    ) -> Answer:
        end = time.monotonic() + patience_ms / 1000
        while True:
            try:
                return _accepted(self._json("POST", path, body))
            except Unavailable as error:
                if (
                    isinstance(error, NoAgent)
                    or time.monotonic() + limits.CLIENT_RETRY_PAUSE_MS / 1000 > end
                ):
                    raise
                waiting(error)
            time.sleep(limits.CLIENT_RETRY_PAUSE_MS / 1000)

    # --- streams --------------------------------------------------------------------------------

    def logs(
        self, allocation: str, grant: "SignedGrant", options: "LogOptions"
    ) -> Iterator[list[Answer]]:
        """Chunks `{"stream", "at_ms", "text" or "base64"}` of one copy's log until its end, in
        batches as they come."""
        from p2pool.codec.json import requests

        path = f"/v1/allocations/{quote(allocation, safe='')}/logs"
        wanted = requests.logs_json(grant, options)
        for lines in self._transport.lines("POST", path, wanted, "application/x-ndjson"):
            chunks: list[Answer] = []
            for line in lines:
                value = self._transport.document(line)  # Empty for a ping.
                if "error" in value or value.get("end"):
                    if chunks:
                        yield chunks
                    if "error" in value:
                        raise error_of(int(value["error"].get("status", 500)), value["error"])
                    return
                if value:
                    chunks.append(value)
            if chunks:
                yield chunks
        raise Unavailable("The log broke off before its end.", hint="Read on with --since.")

    def events(self, after: str | None = None, *, ends_soon: bool = False) -> Iterator[Answer]:
        """Events `{"id", "at_ms", "kind", "subject", "text", "details"}` from now on, or after an
        id. One of the kind `gap` says that events up to its id are lost; a stream that ends is
        `Unavailable`, an id of the future `Stale`. `read_up_to` is from where to read on, once
        the agent has answered. `ends_soon`: who reads them does not wait for new ones."""
        path = "/v1/events" + ("?" + urlencode({"after": after}) if after else "")
        kind = place = ""
        self.read_up_to = ""
        lines = self._transport.lines("GET", path, None, "text/event-stream", ends_soon=ends_soon)
        for line in chain.from_iterable(lines):
            name, _, value = line.decode(errors="replace").rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                place = self._event_id(value)
            elif name == "data":
                document = self._transport.document(value.encode())
                if kind == "error":
                    raise error_of(int(document.get("status", 500)), document)
                self.read_up_to = place
                yield document
            elif not name.strip() and place:
                self.read_up_to = place
        raise Unavailable("The events broke off.", hint="Read on after the last event's id.")

    def newest_event(self) -> str:
        """The id up to which the agent has told events; empty from one before version 0.3."""
        lines = self._transport.lines(
            "GET", "/v1/events", None, "text/event-stream", ends_soon=True
        )
        with closing(cast("Generator[list[bytes], None, None]", lines)):
            for line in chain.from_iterable(lines):
                name, _, value = line.decode(errors="replace").rstrip("\r\n").partition(": ")
                return self._event_id(value) if name == "id" else ""
        raise Unavailable("The events broke off.", hint="Ask again.")

    def _event_id(self, text: str) -> str:
        if not is_event_id(text):
            raise not_an_agent(f"{text[:64]!r} is not the id of an event", self.url)
        return text

    # --- the agent's own machine ----------------------------------------------------------------

    def volumes(self) -> list[Answer]:
        """The volumes on its machine and their sizes."""
        return list(self.pages("/v1/volumes", "volumes", []))

    def remove_volume(self, volume_id: str) -> None:
        """Delete one, if nothing uses it."""
        done = self._json("DELETE", "/v1/volumes?" + urlencode({"id": volume_id}), None)
        if done["id"] != volume_id:
            raise not_an_agent("it removed something else", self.url)

    def runtime(self) -> Answer:
        """The container runtime of its machine, and what that cannot do."""
        return self.get("/v1/runtime")

    def export_volume(self, volume_id: str) -> Iterator[bytes]:
        """A volume as a tar archive. After its last piece: the agent's error if it is not whole,
        `Unavailable` if it breaks off."""
        path = "/v1/volumes/export?" + urlencode({"id": volume_id, "framed": "true"})
        yield from self._transport.pieces(path, "application/x-tar")

    # --- the agent's own tokens -----------------------------------------------------------------

    def tokens(self) -> list[Answer]:
        """What is known of each token; the agent's own first."""
        return _objects(self.get("/v1/tokens"), "tokens")

    def create_token(self, name: str, scope: str, lifetime_s: int | None = None) -> Answer:
        """Make a token that lives so long, or until it is revoked: its `token`, which nobody can
        read again, `name`, `scope` and `expires_at_ms`."""
        wanted: Answer = {"name": name, "scope": scope}
        if lifetime_s is not None:
            wanted["lifetime_s"] = lifetime_s
        made = self._json("POST", "/v1/tokens", wanted)
        if not isinstance(made["token"], str) or type(made["expires_at_ms"]) is not int:
            raise not_an_agent("its answer has no token", self.url)
        return made

    def revoke_token(self, name: str) -> None:
        """End a token, and the streams that it opened."""
        done = self._json("DELETE", f"/v1/tokens/{quote(name, safe='')}", None)
        if done["name"] != name:
            raise not_an_agent("it revoked something else", self.url)

    # --- HTTP -----------------------------------------------------------------------------------

    def _exchange(self, method: str, path: str, body: Answer | None) -> tuple[int, bytes]:
        return self._transport.exchange(method, path, body)

    def _json(self, method: str, path: str, body: Answer | None) -> Told:
        status, answer = self._exchange(method, path, body)
        document = self._transport.document(answer)
        if status != 200:
            raise self._transport.refused(status, document)
        if not document:
            raise not_an_agent("its answer is no JSON object", self.url)
        self.meta = document.get("meta", self.meta)
        return document


def is_event_id(text: str) -> bool:
    """Whether a text is EPOCH.INDEX.NUMBER."""
    parts = text.split(".")
    return len(parts) == 3 and all(p.isascii() and p.isdigit() and len(p) < 20 for p in parts)


def _accepted(answer: Told) -> Told:
    """An answer that says that something was accepted: nobody takes another one for it."""
    if type(answer["index"]) is not int:
        raise not_an_agent("its answer accepts nothing", answer.url)
    return answer


def _objects(answer: Told, key: str) -> list[Answer]:
    """A list of objects in an answer."""
    found = answer[key]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise not_an_agent(f"{key!r} of its answer is no list of objects", answer.url)
    return found


def _object(answer: Told, key: str) -> Answer:
    """An object in an answer."""
    found = answer[key]
    if not isinstance(found, dict):
        raise not_an_agent(f"{key!r} of its answer is no object", answer.url)
    return found


def _query(consistent: bool) -> Query:
    return [("consistent", "true")] if consistent else []
