"""A small reverse proxy: passes each connection on, with the path of its first request changed."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Change = Callable[[str], str]


@contextmanager
def proxied(to: tuple[str, int], change: Change, host: str) -> Iterator[str]:
    """The URL of a proxy to an address, until the block ends. `change`: makes the path that is
    passed on; `host`: the Host header that is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, to, change, host), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, to: tuple[str, int], change: Change, host: str) -> None:
    with suppress(OSError):
        while True:
            opened = server.accept()[0]
            threading.Thread(target=_serve, args=(opened, to, change, host), daemon=True).start()


def _serve(opened: socket.socket, to: tuple[str, int], change: Change, host: str) -> None:
    with suppress(OSError), opened, socket.create_connection(to, 10) as behind:
        raw = b""
        while b"\r\n\r\n" not in raw:
            if not (piece := opened.recv(65536)):
                return
            raw += piece
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, version = first.split()
        kept = [line for line in lines if not line.lower().startswith(("host:", "connection:"))]
        told = [f"{method} {change(path)} {version}", f"Host: {host}", "Connection: close", *kept]
        behind.sendall("\r\n".join([*told, "", ""]).encode() + rest)
        threading.Thread(target=_pump, args=(opened, behind), daemon=True).start()
        _pump(behind, opened)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
