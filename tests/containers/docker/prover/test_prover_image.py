"""The tests' image of the reference prover runs on a real engine, with nothing that it should not
need."""

import json
from typing import Any

import docker
import pytest
from docker.utils.socket import frames_iter

from p2pool.dev.engine.engine import Engine
from tests.containers.harness.prover_image import make_prover_image

pytestmark = pytest.mark.docker

DEADLINE_S = 60
STDOUT = 1
LOAD = {"device": 1, "seed": "11" * 32, "inner": 64, "columns": 8}


def ask(client: Any, image: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Its answers, from a container without network, rights, or a file that it may write."""
    held = client.create_host_config(
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit="512m",
        pids_limit=100,
    )
    made = client.create_container(image, stdin_open=True, host_config=held)
    try:
        given = client.attach_socket(
            made, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        )
        given._sock.settimeout(DEADLINE_S)
        client.start(made)
        given._sock.sendall("".join(f"{json.dumps(one)}\n" for one in requests).encode())
        said = b""
        for stream, piece in frames_iter(given, tty=False):
            assert stream == STDOUT, piece
            said += piece
            if said.count(b"\n") == len(requests):
                break
        given.close()
        return [json.loads(line) for line in said.splitlines()]
    finally:
        client.remove_container(made, force=True)


def test_it_answers_without_a_network_on_a_disk_that_it_cannot_write_to(engine: Engine) -> None:
    """By its digest, as two devices: it lists them, and loads its NumPy."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    image = make_prover_image(client, "--devices", "2", "--memory-bytes", "1048576")
    listing, loaded = ask(
        client,
        image.digest,
        [{"id": 1, "op": "devices"}, {"id": 2, "op": "load", "shares": [LOAD]}],
    )
    assert [one["uuid"] for one in listing["devices"]] == ["CPU-0", "CPU-1"]
    assert [one["memory_bytes"] for one in listing["devices"]] == [1048576, 1048576]
    assert loaded == {"id": 2, "shares": [{}]}
    client.close()


def test_an_engine_gets_it_once(engine: Engine) -> None:
    """Asked again, the same image is there, by the same digest; other arguments make another."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    first = make_prover_image(client)
    assert make_prover_image(client) == first
    assert client.inspect_image(first.digest)["RepoTags"] == [first.name]
    assert make_prover_image(client, "--devices", "2").digest != first.digest
    client.close()
