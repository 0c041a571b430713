"""What lies around an engine in these tests: an internet, a site's neighbours, a metadata service.

A second network namespace stands for all of them, a hop away. Everything in it answers at one port,
so what a copy cannot reach is shut by its rules and by nothing else.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from p2pool.dev.engine.engine import Engine
from p2pool.dev.engine.namespaces import Namespaces

INTERNET = "9.9.9.9"
RESOLVER = "10.255.255.53"
NEIGHBOURS = ("10.99.0.9", "172.16.5.5", "192.168.77.7", "100.64.0.9", RESOLVER)
METADATA = ("169.254.169.254", "100.100.100.200")
PUBLIC_OF_HOST = "8.8.4.4"
PORT, DNS = 4001, 53


def inside(namespaces: Namespaces, *command: str) -> None:
    """Run a command in the network of namespaces."""
    subprocess.run(
        ["nsenter", "-t", str(namespaces.holder), "-n", *command], check=True, capture_output=True
    )


@contextmanager
def world(engine: Engine) -> Iterator[None]:
    """The surroundings for the length of a block; the engine's machine has a listener too."""
    outside = Namespaces.create()
    with outside_of(engine, outside):
        yield
    outside.close()


@contextmanager
def outside_of(engine: Engine, outside: Namespaces) -> Iterator[None]:
    """Links, routes, addresses and listeners."""
    here = engine.namespaces
    link = ("ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0")
    inside(here, *link, "netns", str(outside.holder))
    for name, where, address in (("out0", here, "203.0.113.1"), ("in0", outside, "203.0.113.2")):
        inside(where, "ip", "addr", "add", f"{address}/30", "dev", name)
        inside(where, "ip", "link", "set", name, "up")
    inside(here, "ip", "addr", "add", f"{PUBLIC_OF_HOST}/32", "dev", "lo")
    inside(here, "ip", "route", "add", "default", "via", "203.0.113.2")
    inside(outside, "ip", "route", "add", "default", "via", "203.0.113.1")
    places = (INTERNET, *NEIGHBOURS, *METADATA)
    for one in places:
        inside(outside, "ip", "addr", "add", f"{one}/32", "dev", "lo")
    with outside.entered():
        opened = [socket.create_server(("0.0.0.0", port), backlog=64) for port in (PORT, DNS)]
    with here.entered():
        opened.append(socket.create_server(("0.0.0.0", PORT), backlog=64))
    with outside.entered():
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((RESOLVER, DNS))
    for server in opened:  # No thread can begin inside: its processes would be numbered there.
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
    threading.Thread(target=_resolve, args=(names,), daemon=True).start()
    try:
        yield
    finally:
        for server in (*opened, names):
            server.close()
        inside(here, "ip", "link", "del", "out0")
        inside(here, "ip", "addr", "del", f"{PUBLIC_OF_HOST}/32", "dev", "lo")


def _answer(server: socket.socket) -> None:
    """Take each connection, and end it with a word, until the server is closed."""
    while True:
        try:
            taken, _ = server.accept()
            with taken:
                taken.sendall(b"hello\n")
        except OSError:
            return


def _resolve(server: socket.socket) -> None:
    """Say of every name that it is INTERNET, until the socket is closed (RFC 1035)."""
    while True:
        try:
            asked, who = server.recvfrom(512)
            question = asked[12 : asked.index(0, 12) + 5]
            wanted = question[-4:-2] == b"\0\1"  # An address of version 4.
            counts = bytes((0, 1, 0, wanted, 0, 0, 0, 0))
            found = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(INTERNET)
            answer = asked[:2] + b"\x81\x80" + counts + question + (found if wanted else b"")
            server.sendto(answer, who)
        except OSError:
            return
