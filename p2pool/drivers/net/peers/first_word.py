"""A dialled connection on which the other side speaks first.

Intuition: what we dial is named by others, and may be anything: a mail server, a printer, a metrics
port. Both sides of a connection open it with the same line, and libp2p's listener does not wait for
ours. So we keep our line until we have heard its, and whatever speaks another protocol, or none,
gets not a byte of ours.

Invariants: nothing is written before the other side's whole first line was read; any other first
word ends the connection. py-libp2p's `Multiselect.handshake` writes before it reads, in every
version of this program (tests/net/peers/test_first_word.py).
"""

from libp2p.io.abc import ReadWriteCloser
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID
from libp2p.utils import encode_delim

LINE: bytes = encode_delim(MULTISELECT_PROTOCOL_ID.encode())


class ListeningFirst(ReadWriteCloser):  # type: ignore[misc]
    """The bytes of a connection that we dialled."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        """Takes the place of `stream`."""
        self._stream = stream
        self._held = b""
        self._begun = b""
        self._heard = False

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; none at the end, and if the first word is another than libp2p's."""
        if not self._heard and not await self._hear():
            return b""
        if self._begun:
            count = len(self._begun) if n is None else n
            data, self._begun = self._begun[:count], self._begun[count:]
            return data
        data = await self._stream.read(n)
        return bytes(data)

    async def _hear(self) -> bool:
        """Read the other side's line, then send ours."""
        while len(self._begun) < len(LINE):
            part = await self._stream.read(len(LINE) - len(self._begun))
            self._begun += part
            if not part or not LINE.startswith(self._begun):
                await self._stream.close()
                return False
        self._heard = True
        held, self._held = self._held, b""
        if held:
            await self._stream.write(held)
        return True

    async def write(self, data: bytes) -> None:
        """Write the bytes, once the other side has spoken; until then they wait."""
        if self._heard:
            await self._stream.write(data)
        else:
            self._held += data

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The other side's address."""
        address: tuple[str, int] | None = self._stream.get_remote_address()
        return address
