"""Decides, before the framework sees a request, whether its client may speak to this agent.

A page can make a browser send requests to loopback, even under a name of its own (DNS rebinding).
So the `Host` header must be one of ours, and CORS never gets an answer. Every route but health
needs the bearer token, compared in constant time. A body that announces too great a length stays
unread.
"""

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from p2pool.api.http.head import one_spelling, split_host
from p2pool.api.http.problems import MEDIA_TYPE, Problem, body_of, headers_of, problem
from p2pool.model import limits

OPEN_PATHS = frozenset({"/v1/health"})
PLACE = "p2pool.place"
"""Under this name a scope's extensions hold the place of its connection."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class AccessControl:
    """An ASGI application that passes on allowed requests."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], any_ip: bool) -> None:
        """`hosts`: names by which clients reach this agent beside loopback; `any_ip`: it listens on
        all addresses, and a page cannot make a browser send a number that is not ours."""
        assert len(token) >= 32, "a token that can be guessed"
        self._app, self._any_ip = app, any_ip
        self._token = token.encode()
        self._hosts = LOOPBACK_NAMES | set(map(one_spelling, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        kind = str(scope["type"])
        if kind == "http" and (refused := self._refusal(scope)):
            await send_problem(send, refused)
        elif kind in ("http", "lifespan"):
            await self._app(scope, receive, send)

    def _refusal(self, scope: Any) -> Problem | None:
        """Why a request may not pass, None if it may. Its connection keeps its place for having
        shown the token."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name.lower() == b"host"]
        found = split_host(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if found is None:
            hint = "Write it as HOST or HOST:PORT, once."
            return problem("malformed", 400, "The Host header names no host.", hint)
        if not self._is_ours(found[0]):
            hint = "Use 127.0.0.1, localhost, or a name in [api] hosts of the agent."
            return problem("not-for-us", 421, "The Host header names another machine.", hint)
        if self._has_token(headers):
            place = scope.get("extensions", {}).get(PLACE)
            if place is not None:
                place.show()
        elif scope["path"] not in OPEN_PATHS:
            hint = "Send 'Authorization: Bearer TOKEN'; api.token in its data directory holds it."
            return problem("not-allowed", 401, "The token is missing or wrong.", hint)
        most = limits.API_BODY_MAX_BYTES
        for name, value in headers:
            said = int(value) if len(value) < 20 and value.isdigit() else 0
            if name.lower() == b"content-length" and said > most:
                return problem("malformed", 413, f"The body is longer than {most} bytes.")
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts:
            return True
        if not self._any_ip:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _has_token(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        good = hmac.compare_digest(token.strip(), self._token)
        return good and scheme.lower() == b"bearer"


async def send_problem(send: Send, document: Problem) -> None:
    """Answer with a problem document."""
    body = body_of(document)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
    headers |= headers_of(document)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": document["status"], "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
