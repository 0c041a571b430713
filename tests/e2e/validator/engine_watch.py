"""What the machine's owner sees and does by the engine: provers at work, and a card that two share.

Intuition: provers have no network and no mount, so nodes that show one card twice need somebody on
the machine who tells their provers of each other. The engine can: by a signal.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.errors import APIError

from p2pool.drivers.containers.docker.container.labels import PREFIX
from p2pool.drivers.containers.docker.prover import PROVER

TELL_S = 0.1
"""How often it is told again: a prover that only just starts does not listen yet."""


@contextmanager
def _client(url: str) -> Iterator[Any]:
    client = docker.APIClient(base_url=url, version="auto")
    try:
        yield client
    finally:
        client.close()


def provers(url: str, node_id: str = "") -> list[str]:
    """The containers of provers that there are, running or not. `node_id`: of this node alone."""
    labels = [PROVER, *([f"{PREFIX}.node={node_id.removeprefix('0x')}"] if node_id else [])]
    with _client(url) as client:
        return [one["Id"] for one in client.containers(all=True, filters={"label": labels})]


def prover_computes(url: str, node_id: str) -> bool:
    """Whether a node's has begun to compute: it has threads for that from its first work on, which
    comes after the challenge was issued."""
    with _client(url) as client:
        for one in provers(url, node_id):
            with suppress(APIError):  # It does not run yet, or any more.
                if len(client.top(one, "-eLo pid,comm")["Processes"]) > 1:
                    return True
    return False


@contextmanager
def shared_card(url: str, image: str) -> Iterator[list[str]]:
    """For as long as the block: whenever provers of this image run side by side, each is told. Whom
    was told is in the list."""
    over, told = threading.Event(), list[str]()

    def tell() -> None:
        with _client(url) as client:
            while not over.wait(TELL_S):
                running = [one["Id"] for one in client.containers(filters={"ancestor": image})]
                if len(running) < 2:
                    continue
                for one in running:
                    with suppress(APIError):  # It has just ended.
                        client.kill(one, "SIGUSR1")
                        told.append(one)

    owner = threading.Thread(target=tell, daemon=True)
    owner.start()
    try:
        yield told
    finally:
        over.set()
        owner.join()
