"""Bytes in pieces that say how they ended, so that a reader knows whether it has all of them.

Each piece comes after its length in 4 bytes, big-endian; after length 0 a JSON object follows that
is empty, or has the problem document as `error`.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from p2pool.api.http.problems import problem_of
from p2pool.model.errors import P2poolError

FRAMES = "application/vnd.p2pool.frames"
LAST = bytes(4)


async def framed(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Pieces in their frames, and the end."""
    async with aclosing(pieces):
        async for piece in pieces:
            if piece:
                yield len(piece).to_bytes(4, "big") + piece
    yield LAST + b"{}"


def failed(error: P2poolError) -> bytes:
    """The end of what is not whole."""
    return LAST + json.dumps({"error": problem_of(error)}).encode()
