"""Talks to an agent's API, one request after the other, through `http.client`.

Commands are short-lived, and importing an HTTP library costs more than most of them do. Every
answer is a dictionary as the API describes it (`/v1/openapi.json`); every failure is an error of
the tree. Sending a signed request again is safe: the pool carries it out once.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from p2pool.client.errors import error_of
from p2pool.codec.json import requests
from p2pool.codec.json.hex import unhex
from p2pool.model import limits
from p2pool.model.access.grants import SignedGrant
from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Misconfigured, Overloaded, P2poolError, Unavailable
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef
from p2pool.model.ports.agent import LogOptions

Answer = dict[str, Any]

_PIECE_BYTES = 256 * 1024
_FRAMES = "application/vnd.p2pool.frames"


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

    def nodes(self, *, consistent: bool = False) -> list[Answer]:
        """All nodes."""
        return list(self.get("/v1/nodes", **_query(consistent))["nodes"])

    def node(self, node_id: str) -> Answer:
        """One node and its allocations: `{"node": ..., "allocations": [...]}`."""
        return self.get(f"/v1/nodes/{quote(node_id, safe='')}")

    def tasks(self, *, consistent: bool = False) -> list[Answer]:
        """All tasks, the newest first."""
        return list(self.get("/v1/tasks", **_query(consistent))["tasks"])

    def task(self, task_id: str, *, consistent: bool = False) -> Answer:
        """One task with its allocations."""
        path = f"/v1/tasks/{quote(task_id, safe='')}"
        return dict(self.get(path, **_query(consistent))["task"])

    def task_metrics(self, task_id: str) -> list[Answer]:
        """The numbers that a task reports, copy by copy."""
        return list(self.get(f"/v1/tasks/{quote(task_id, safe='')}/metrics")["copies"])

    def pool(self) -> Answer:
        """The pool."""
        return dict(self.get("/v1/pool")["pool"])

    def pool_ref(self) -> PoolRef:
        """The agent's pool, for which requests are signed."""
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
        signed: SignedRequest,
        *,
        patience_ms: int = limits.CLIENT_RETRY_MS,
        waiting: Callable[[P2poolError], None] = lambda _: None,
    ) -> Answer:
        """Have a signed request carried out; returns once it is committed.

        While there is no leader it sends the request again, for `patience_ms` in all, and tells
        `waiting` why.
        """
        return self._insist("/v1/requests", requests.request_json(signed), patience_ms, waiting)

    def invite(self, invite: Invite) -> Answer:
        """Hand an invite to the agent, which keeps it for the invited node."""
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
        self, allocation: str, grant: SignedGrant, options: LogOptions
    ) -> Iterator[list[Answer]]:
        """Chunks `{"stream", "at_ms", "text" or "base64"}` of one copy's log until its end, in
        batches as they come."""
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
        return list(self.get("/v1/volumes")["volumes"])

    def remove_volume(self, volume_id: str) -> None:
        """Delete one, if nothing uses it."""
        self._json("DELETE", "/v1/volumes?" + urlencode({"id": volume_id}), None)

    def runtime(self) -> Answer:
        """The container runtime of its machine, and what that cannot do."""
        return self.get("/v1/runtime")

    def export_volume(self, volume_id: str) -> Iterator[bytes]:
        """A volume as a tar archive. After its last piece: the agent's error if it is not whole,
        `Unavailable` if it breaks off."""
        connection = self._connection()
        try:
            query = {"id": volume_id, "framed": "true"}
            path = "/v1/volumes/export?" + urlencode(query)
            response = self._ask(connection, "GET", path, None)
            if response.status != 200:
                raise error_of(response.status, _document(response.read()))
            if response.headers.get_content_type() == _FRAMES:
                yield from _unframed(response)
                return
            while piece := response.read(_PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    # --- HTTP -----------------------------------------------------------------------------------

    def _json(self, method: str, path: str, body: Answer | None) -> Answer:
        status, answer = self._exchange(method, path, body)
        document = _document(answer)
        if status != 200:
            raise error_of(status, document)
        return document

    def _exchange(self, method: str, path: str, body: Answer | None) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            response = self._ask(connection, method, path, body)
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _lines(self, method: str, path: str, body: Answer | None) -> Iterator[list[bytes]]:
        """Lines of an answer with their ends, in batches as they come."""
        connection = self._connection()
        try:
            response = self._ask(connection, method, path, body)
            if response.status != 200:
                raise error_of(response.status, _document(response.read()))
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
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=context
        )

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Answer | None
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "*/*"}
        sent = None if body is None else json.dumps(body).encode()
        if sent is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
        except ssl.SSLError as error:
            raise Misconfigured(
                f"The certificate of {self.url} cannot be trusted: {error}.",
                hint="Check [api] tls_certificate of that agent, and that this machine trusts it.",
            ) from error
        except OSError as error:
            raise _NoAgent(
                f"No agent answers at {self.url} ({error}).",
                hint="Start it with 'p2pool agent run', or name another: --agent URL|DIR.",
            ) from error
        connection.request(method, path, sent, headers)
        return connection.getresponse()

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


def _query(consistent: bool) -> dict[str, str]:
    return {"consistent": "true"} if consistent else {}


def _unframed(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The pieces of a framed answer; raises the error at its end, if there is one."""
    while length := int.from_bytes(_exactly(response, 4), "big"):
        while length:
            piece = _exactly(response, min(length, _PIECE_BYTES))
            length -= len(piece)
            yield piece
    document = _document(response.read())
    if "error" in document:
        problem = document["error"]
        raise error_of(int(problem.get("status", 500)), problem)


def _exactly(response: http.client.HTTPResponse, count: int) -> bytes:
    data = response.read(count)
    if len(data) < count:
        raise http.client.IncompleteRead(data, count - len(data))
    return data


def _document(body: bytes) -> Answer:
    """The JSON object in a body, empty if the body holds no object."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
