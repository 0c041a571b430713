"""Answers HEAD and OPTIONS for every route, in one place (RFC 9110, 9.3.2 and 9.3.7).

HEAD is GET without the body: the route runs up to the head of its answer, and what would follow, a
stream of events for one, is ended there. OPTIONS says what a path takes, as the refusal of a wrong
method does.
"""

from typing import Any

import trio
from litestar.types import ASGIApp, Receive, Scope, Send

_NO_METHOD = "(none)"


class Methods:
    """An ASGI application that knows HEAD and OPTIONS, before one that knows the others."""

    def __init__(self, app: ASGIApp) -> None:
        """`app`: the application that answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; HEAD and OPTIONS changed."""
        asked: Any = scope
        method = asked["method"] if asked["type"] == "http" else ""
        if method not in ("HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        with trio.CancelScope() as rest:

            async def head_only(message: Any) -> None:
                if message["type"] != "http.response.start":
                    return
                if method == "OPTIONS" and message["status"] == 405:
                    kept = [(name, value) for name, value in message["headers"] if name == b"allow"]
                    message = {**message, "status": 204, "headers": kept}
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                rest.cancel()

            instead = "GET" if method == "HEAD" else _NO_METHOD
            changed: Any = {**asked, "method": instead}
            await self._app(changed, receive, head_only)


def allowed(methods: str) -> str:
    """What a path takes, in order, from what its routes take."""
    found = {one.strip() for one in methods.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))
