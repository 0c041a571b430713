"""A stream that gives what it is made of."""

import trio


class Pieces:
    """A stream that gives these pieces, then its end."""

    def __init__(self, pieces: list[bytes]) -> None:
        """`pieces` in order."""
        self._pieces = list(pieces)

    async def read(self, n: int) -> bytes:
        """The next piece."""
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""
