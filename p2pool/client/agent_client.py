"""Talks to an agent's API, one request after the other.

Commands are short-lived, and importing an HTTP library costs more than most of them do; so does
what only requests need, which is imported where they are made. Every answer is a dictionary as the
API describes it (`/v1/openapi.json`); every failure is an error of the tree. Sending a signed
request again is safe: the pool carries it out once.
"""

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from p2pool.client import plain_http
from p2pool.client.errors import error_of
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, Overloaded, P2poolError, Unavailable

if TYPE_CHECKING:
    import http.client
    import ssl

    from p2pool.model.access.grants import SignedGrant
    from p2pool.model.access.requests import SignedRequest
    from p2pool.model.chain.invite import Invite
    from p2pool.model.ids import PoolRef
    from p2pool.model.ports.agent import LogOptions

Answer = dict[str, Any]
Query = Sequence[tuple[str, str]]

_PIECE_BYTES = 256 * 1024


class AgentClient:
    """One agent, by URL and token; sends nothing before somebody calls a method."""

    def __init__(
        self, url: str, token: str, *, timeout_s: float = limits.CLIENT_TIMEOUT_MS / 1000
    ) -> None:
        """`timeout_s`: how long the agent may be silent."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured(
                f"{url!r} is not the URL of an agent.", hint="Write it as http://HOST:PORT."
            )
        self.url, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s
        self._host, self._port, self._tls = parts.hostname, parts.port, parts.scheme == "https"

    # --- reads ----------------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> Answer:
        """A read; `path` begins with `/v1/`."""
        return self._json("GET", path + ("?" + urlencode(query) if query else ""), None)

    def pages(self, path: str, rows: str, query: Query) -> Iterator[Answer]:
        """The rows of all pages of a list; `query` may name a parameter several times."""
        after = ""
        while True:
            asked = [*query, ("limit", str(limits.API_PAGE_MAX))]
            answer = self._json("GET", f"{path}?{urlencode([*asked, ('after', after)])}", None)
            yield from answer[rows]
            # An agent before version 0.3 gives the whole list, and no place to go on from.
            if not (after := answer.get("next") or ""):
                return

    def nodes(self, *, consistent: bool = False) -> list[Answer]:
        """All nodes, by id."""
        return list(self.pages("/v1/nodes", "nodes", _query(consistent)))

    def node(self, text: str) -> Answer:
        """One node and its allocations: `{"node": ..., "allocations": [...]}`; by its id or the
        beginning of it."""
        return self.get(f"/v1/nodes/{quote(text, safe='')}")

    def tasks(self, *, consistent: bool = False, states: Iterable[str] = ()) -> list[Answer]:
        """All tasks, or those in these states, the newest first."""
        wanted = [("state", state) for state in states]
        return list(self.pages("/v1/tasks", "tasks", [*wanted, *_query(consistent)]))

    def task(self, text: str, *, consistent: bool = False) -> Answer:
        """One task with its allocations; by its id, its name, or the beginning of its id."""
        path = f"/v1/tasks/{quote(text, safe='')}"
        return dict(self.get(path, **dict(_query(consistent)))["task"])

    def task_metrics(self, task_id: str) -> list[Answer]:
        """The numbers that a task reports, copy by copy."""
        return list(self.get(f"/v1/tasks/{quote(task_id, safe='')}/metrics")["copies"])

    def pool(self) -> Answer:
        """The pool."""
        return dict(self.get("/v1/pool")["pool"])

    def pool_ref(self) -> "PoolRef":
        """The agent's pool, for which requests are signed."""
        from p2pool.codec.json.hex import unhex
        from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef

        pool = self.pool()
        contract = unhex(str(pool["contract"]), ADDRESS_BYTES)
        assert contract is not None, "an agent says the contract's address"
        return PoolRef(int(pool["chain_id"]), Address(contract), int(pool["pool_id"]))

    def logs_held(self) -> Answer:
        """Which log each reachable agent holds: `{"logs": [...], "silent": [...]}`."""
        return self.get("/v1/logs-held")

    def ready(self) -> Answer:
        """`{"ready": bool, "problems": [...]}`; an agent that is not ready is no error."""
        status, body = self._exchange("GET", "/v1/readiness", None)
        document = _document(body)
        if status not in (200, 503) or "ready" not in document:
            raise error_of(status, document)
        return document

    # --- writes ---------------------------------------------------------------------------------

    def send(
        self,
        signed: "SignedRequest",
        *,
        patience_ms: int = limits.CLIENT_RETRY_MS,
        waiting: Callable[[P2poolError], None] = lambda _: None,
    ) -> Answer:
        """Have a signed request carried out; returns once it is committed.

        While there is no leader it sends the request again, for `patience_ms` in all, and tells
        `waiting` why.
        """
        from p2pool.codec.json import requests

        return self._insist("/v1/requests", requests.request_json(signed), patience_ms, waiting)

    def invite(self, invite: "Invite") -> Answer:
        """Hand an invite to the agent, which keeps it for the invited node."""
        from p2pool.codec.json import requests

        return self._json("POST", "/v1/invites", requests.invite_json(invite))

    def _insist(
        self, path: str, body: Answer, patience_ms: int, waiting: Callable[[P2poolError], None]
    ) -> Answer:
        end = time.monotonic() + patience_ms / 1000
        while True:
            try:
                return self._json("POST", path, body)
            except Unavailable as error:
                if (
                    isinstance(error, _NoAgent)
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
        for lines in self._lines("POST", path, requests.logs_json(grant, options)):
            chunks: list[Answer] = []
            for line in lines:
                value = _document(line)  # Empty for a ping.
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

    def events(self, after: str | None = None) -> Iterator[Answer]:
        """Events `{"id", "at_ms", "kind", "subject", "text"}` from now on, or after an id."""
        path = "/v1/events" + ("?" + urlencode({"after": after}) if after else "")
        kind = ""
        for line in chain.from_iterable(self._lines("GET", path, None)):
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                document = _document(value.encode())
                if kind == "error":
                    raise error_of(int(document.get("status", 500)), document)
                yield document

    # --- the agent's own machine ----------------------------------------------------------------

    def volumes(self) -> list[Answer]:
        """The volumes on its machine and their sizes."""
        return list(self.pages("/v1/volumes", "volumes", []))

    def remove_volume(self, volume_id: str) -> None:
        """Delete one, if nothing uses it."""
        self._json("DELETE", "/v1/volumes?" + urlencode({"id": volume_id}), None)

    def runtime(self) -> Answer:
        """The container runtime of its machine, and what that cannot do."""
        return self.get("/v1/runtime")

    def export_volume(self, volume_id: str) -> Iterator[bytes]:
        """A volume as a tar archive. `Unavailable` if it breaks off."""
        path = "/v1/volumes/export?" + urlencode({"id": volume_id})
        with self._opened("GET", path, None) as response:
            while piece := response.read(_PIECE_BYTES):
                yield piece

    # --- HTTP -----------------------------------------------------------------------------------

    def _json(self, method: str, path: str, body: Answer | None) -> Answer:
        status, answer = self._exchange(method, path, body)
        document = _document(answer)
        if status != 200:
            raise error_of(status, document)
        return document

    def _exchange(self, method: str, path: str, body: Answer | None) -> tuple[int, bytes]:
        if self._tls:
            with self._asked(method, path, body) as response:
                return response.status, response.read()
        sent, headers = self._request(body)
        with self._socket() as stream:
            try:
                return plain_http.ask(stream, self._name(), method, path, headers, sent)
            except OSError as error:
                raise self._gone(error) from error

    def _lines(self, method: str, path: str, body: Answer | None) -> Iterator[list[bytes]]:
        """Lines of an answer with their ends, in batches as they come."""
        with self._opened(method, path, body) as response:
            rest = b""
            while data := response.read1(_PIECE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) >= limits.CLIENT_LINE_MAX_BYTES:
                    raise Overloaded(
                        f"The agent sent a line of more than {limits.CLIENT_LINE_MAX_BYTES} bytes.",
                        hint="Ask another agent: --agent URL|DIR.",
                    )
                if lines:
                    yield [line + b"\n" for line in lines]
            if rest:
                yield [rest]

    @contextmanager
    def _opened(
        self, method: str, path: str, body: Answer | None
    ) -> Iterator["http.client.HTTPResponse"]:
        """A good answer that is read bit by bit."""
        with self._asked(method, path, body) as response:
            if response.status != 200:
                raise error_of(response.status, _document(response.read()))
            yield response

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Answer | None
    ) -> Iterator["http.client.HTTPResponse"]:
        """Any answer, by Python's own client."""
        import http.client

        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        connection.sock = self._socket()
        sent, headers = self._request(body)
        try:
            connection.request(method, path, sent, {"Host": self._name(), **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _request(self, body: Answer | None) -> tuple[bytes | None, dict[str, str]]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "*/*"}
        if body is None:
            return None, headers
        return json.dumps(body).encode(), headers | {"Content-Type": "application/json"}

    def _name(self) -> str:
        """For the Host header."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}" if self._port is not None else host

    def _socket(self) -> socket.socket:
        """A connection; in TLS where the URL says so."""
        port = self._port or (443 if self._tls else 80)
        try:
            plain = socket.create_connection((self._host, port), self._timeout_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise self._no_agent(error) from error
        return self._wrapped(plain) if self._tls else plain

    def _wrapped(self, plain: socket.socket) -> "ssl.SSLSocket":
        import ssl

        try:
            context = ssl.create_default_context()
            return context.wrap_socket(plain, server_hostname=self._host)
        except ssl.SSLError as error:
            plain.close()
            raise Misconfigured(
                f"The certificate of {self.url} cannot be trusted: {error}.",
                hint="Check [api] tls_certificate of that agent, and that this machine trusts it.",
            ) from error
        except OSError as error:
            plain.close()
            raise self._no_agent(error) from error

    def _no_agent(self, error: OSError) -> P2poolError:
        return _NoAgent(
            f"No agent answers at {self.url} ({error}).",
            hint="Start it with 'p2pool agent run', or name another: --agent URL|DIR.",
        )

    def _gone(self, error: Exception) -> P2poolError:
        if isinstance(error, TimeoutError):
            return Unavailable(
                f"The agent at {self.url} was silent for {self._timeout_s:g} s.",
                hint="Try again, or ask another agent: --agent URL|DIR.",
            )
        return Unavailable(
            f"The connection to the agent at {self.url} broke ({error!r}).",
            hint="Try again, or ask another agent: --agent URL|DIR.",
        )


class _NoAgent(Unavailable):
    """Nothing listens there: asking again at once is useless."""


def _query(consistent: bool) -> Query:
    return [("consistent", "true")] if consistent else []


def _document(body: bytes) -> Answer:
    """The JSON object in a body, empty if the body holds no object."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
