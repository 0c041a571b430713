"""Answers HEAD and OPTIONS for every route, in one place (RFC 9110, 9.3.2 and 9.3.7).

HEAD is GET without the body: the route runs up to the head of its answer, and what would follow, a
stream of events for one, is ended there. OPTIONS says what a path takes, as the refusal of a wrong
method does.
"""

from typing import Any

import trio
from litestar.types import ASGIApp, Receive, Scope, Send

_NO_METHOD = "(none)"
ANY = b"DELETE, GET, HEAD, OPTIONS, POST"
"""What the routes take, taken together: `OPTIONS *` asks about none of them."""


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
        if asked["path"] == "*":
            await _answer_empty(send, ANY)
            return
        with trio.CancelScope() as rest:
            refused = False

            async def head_only(message: Any) -> None:
                nonlocal refused
                began = message["type"] == "http.response.start"
                # To OPTIONS a refusal is the whole answer, with its body.
                refused |= began and method == "OPTIONS" and message["status"] != 405
                if refused:
                    await send(message)
                    return
                if not began:
                    return
                if method == "OPTIONS":
                    allow = next(value for name, value in message["headers"] if name == b"allow")
                    await _answer_empty(send, allow)
                else:
                    await send(message)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                rest.cancel()

            instead = "GET" if method == "HEAD" else _NO_METHOD
            changed: Any = {**asked, "method": instead}
            await self._app(changed, receive, head_only)


async def _answer_empty(send: Send, allow: bytes) -> None:
    """What may be asked, and nothing else."""
    headers = [(b"allow", allow)]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def allowed(methods: str) -> str:
    """What a path takes, in order, from what its routes take."""
    found = {one.strip() for one in methods.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))
