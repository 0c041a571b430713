"""Agreeing on a protocol, in lines that are short and few.

Intuition: multistream-select is a few lines before each stream, and before a connection is secured
and muxed. The library believes the length that a line claims, and answers proposals for as long as
they come.

Invariants: a line is read only if it has at most AGREEMENT_LINE_MAX_BYTES, and of one agreement no
more than AGREEMENT_LINES_MAX are. Source: libp2p, connections spec (multistream-select 1.0).
"""

from typing import Any

from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from p2pool.model import limits


class BoundedCommunicator(MultiselectCommunicator):  # type: ignore[misc]
    """The library's, which reads so many short lines and no more."""

    def __init__(self, read_writer: Any) -> None:
        """Lines over a connection or a stream."""
        super().__init__(read_writer)
        self._lines = 0

    async def read(self) -> str:
        """The next line. MultiselectCommunicatorError: it is none, is too long, or one too many."""
        self._lines += 1
        if self._lines > limits.AGREEMENT_LINES_MAX:
            raise MultiselectCommunicatorError("too many lines")
        try:
            line: bytes = await read_varint_prefixed_bytes_limited(
                self.read_writer, limits.AGREEMENT_LINE_MAX_BYTES
            )
            if not line.endswith(b"\n"):
                raise MultiselectCommunicatorError("a line has no end")
            return line[:-1].decode()
        except (ParseError, IOException, UnicodeDecodeError) as error:
            raise MultiselectCommunicatorError("no line could be read") from error


class BoundedMultiselect(Multiselect):  # type: ignore[misc]
    """The library's side that answers, over short lines."""

    async def negotiate(self, communicator: Any, *args: Any, **kwargs: Any) -> Any:
        """As the library's."""
        bounded = BoundedCommunicator(communicator.read_writer)
        return await super().negotiate(bounded, *args, **kwargs)


class BoundedMultiselectClient(MultiselectClient):  # type: ignore[misc]
    """The library's side that proposes, over short lines."""

    async def select_one_of(
        self, protocols: Any, communicator: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As the library's."""
        bounded = BoundedCommunicator(communicator.read_writer)
        return await super().select_one_of(protocols, bounded, *args, **kwargs)


def bound(selector: Any) -> None:
    """Let a selector, or a host, agree over short lines."""
    selector.multiselect = BoundedMultiselect(dict(selector.multiselect.handlers))
    selector.multiselect_client = BoundedMultiselectClient()
