"""A TCP proxy that passes so many bytes a second, so that what takes long elsewhere takes long
here."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from p2pool.dev.engine.engine import Engine

PIECE_BYTES = 64 * 1024


@contextmanager
def slow_proxy(engine: Engine, target: str, bytes_per_s: int) -> Iterator[str]:
    """`host:port` of a proxy to another one, both in an engine's network; ends with the block, and
    its connections with it."""
    with engine.namespaces.entered():
        server = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = [server]

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                host, _, port = target.partition(":")
                with engine.namespaces.entered():
                    upstream = socket.create_connection((host, int(port)))
                open_sockets.extend((client, upstream))
                for pair in ((client, upstream, 0), (upstream, client, bytes_per_s)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        for one in open_sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _pass_on(source: socket.socket, sink: socket.socket, bytes_per_s: int) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE_BYTES):
            sink.sendall(data)
            if bytes_per_s:
                time.sleep(len(data) / bytes_per_s)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
