"""Raw clients that behave badly: idle sockets, requests ahead of answers, heads that are none."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection on which nothing is sent yet."""
    opened = socket.create_connection(address, timeout=10)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


@contextmanager
def idle(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """So many connections on which nothing is sent, until the block ends."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(connect(address))
        yield held
    finally:
        for one in held:
            one.close()


def until_closed(opened: socket.socket) -> bytes:
    """All that still comes."""
    found = b""
    try:
        while piece := opened.recv(1 << 16):
            found += piece
    except ConnectionError:
        pass
    return found


def answer(address: tuple[str, int], sent: bytes, *, ends: bool = False) -> bytes:
    """All that comes back for these bytes until the other side closes. `ends`: then say no more."""
    with connect(address) as opened:
        try:
            opened.sendall(sent)
            if ends:
                opened.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # Refused while we were talking: the answer is there all the same.
        return until_closed(opened)
