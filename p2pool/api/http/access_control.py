"""Decides, before the framework sees a request, whether its client may speak to this agent.

A page can make a browser send requests to loopback, even under a name of its own (DNS rebinding).
So the `Host` header must be one of ours, and CORS never gets an answer. Every route but health
needs a bearer token that is in force; which routes it opens is judged where the route is known
(`scopes`). A body that announces too great a length stays unread.

A proxy may show the agent below a path of its own and pass that on, or cut it off: with a prefix
the agent takes both, so the same URL works through the proxy and beside it. Headers in which
proxies tell of themselves (`X-Forwarded-*`) are not read: anybody can send them.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
from litestar.types import ASGIApp, Receive, Scope, Send

from p2pool.api.http.head import one_spelling, split_host
from p2pool.api.http.problems import MEDIA_TYPE, Problem, body_of, headers_of, problem
from p2pool.api.http.scopes import OPEN, SCOPES, challenge
from p2pool.api.http.tokens import SHOWN, Shown, TokenTable
from p2pool.model import limits

OPEN_PATHS = frozenset(path for (path, _), needed in SCOPES.items() if needed is OPEN)
PLACE = "p2pool.place"
"""Under this name a scope's extensions hold the place of its connection."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class AccessControl:
    """An ASGI application that passes on allowed requests."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenTable,
        hosts: Iterable[str],
        any_ip: bool,
        path_prefix: str = "",
    ) -> None:
        """`hosts`: names by which clients reach this agent beside loopback; `any_ip`: it listens on
        all addresses, and a page cannot make a browser send a number that is not ours.
        `path_prefix`: below it clients of a proxy find the routes."""
        self._app, self._tokens, self._any_ip = app, tokens, any_ip
        self._hosts = LOOPBACK_NAMES | set(map(one_spelling, hosts))
        self._prefix = path_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        kind = str(scope["type"])
        if kind == "http":
            self._cut_prefix(scope)
        if kind == "http" and (refused := self._refusal(scope)):
            await send_problem(send, refused.document, refused.headers)
        elif kind in ("http", "lifespan"):
            await self._app(scope, receive, send)

    def _cut_prefix(self, scope: Any) -> None:
        """A path below the prefix without it. Escaped letters in it are another path's."""
        if not self._prefix:
            return
        whole, raw, inside = scope["path"], scope["raw_path"], self._prefix + "/"
        if whole.startswith(inside) and raw.startswith(inside.encode()):
            scope["path"] = whole.removeprefix(self._prefix)
            scope["raw_path"] = raw.removeprefix(self._prefix.encode())

    def _refusal(self, scope: Any) -> "_Refusal | None":
        """Why a request may not pass, None if it may. Its connection keeps its place for having
        shown the token."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name.lower() == b"host"]
        found = split_host(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if found is None:
            hint = "Write it as HOST or HOST:PORT, once."
            return _Refusal(problem("malformed", 400, "The Host header names no host.", hint))
        if not self._is_ours(found[0]):
            hint = "Use 127.0.0.1, localhost, or a name in [api] hosts of the agent."
            said = "The Host header names another machine."
            return _Refusal(problem("not-for-us", 421, said, hint))
        if (wrong := self._admit(scope, headers)) is not None:
            return wrong
        most = limits.API_BODY_MAX_BYTES
        for name, value in headers:
            count = int(value) if len(value) < 20 and value.isdigit() else 0
            if name.lower() == b"content-length" and count > most:
                said = f"The body is longer than {most} bytes."
                return _Refusal(problem("malformed", 413, said))
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

    def _admit(self, scope: Any, headers: list[tuple[bytes, bytes]]) -> "_Refusal | None":
        """Note which token a request showed, for whoever judges its route; or why it showed none
        that is in force. A connection has its place by what it showed last."""
        given = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        text = text.strip() if scheme.lower() == b"bearer" else b""
        shown = self._tokens.shown(text) if text else None
        place = scope.get("extensions", {}).get(PLACE)
        if shown is not None and not shown.is_over():
            if place is not None:
                place.show()
            scope.setdefault("extensions", {})[SHOWN] = shown
            return None
        if place is not None:
            place.doubt()
        if scope["path"] in OPEN_PATHS:
            return None
        return _unauthorized(bool(given), shown)


@attrs.frozen
class _Refusal:
    """A problem, and headers beside those that go with its status."""

    document: Problem
    headers: Mapping[str, str] = MappingProxyType({})


def _unauthorized(given: bool, over: Shown | None) -> _Refusal:
    """What to say to who showed nothing, something, or a token that is over: only its holder can
    show that one, and may know."""
    if over is not None:
        said = over.ended
        hint = "Ask the agent's owner for another: p2pool agent token create."
    else:
        said = "The token is missing or wrong."
        hint = (
            "Send 'Authorization: Bearer TOKEN': one that 'p2pool agent token create' made, or the"
            " line in api.token in its data directory."
        )
    words = said.replace('"', "'") if given else ""
    told = challenge("invalid_token" if given else "", words)
    return _Refusal(problem("not-allowed", 401, said, hint), {"www-authenticate": told})


async def send_problem(
    send: Send, document: Problem, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Answer with a problem document. `more`: headers."""
    body = body_of(document)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
    headers |= {**headers_of(document), **more}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": document["status"], "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
