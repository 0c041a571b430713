"""An engine that cannot be used is told apart from none; tasks run as processes all the same."""

import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest
import trio

from p2pool.dev.engine import engine as engines
from p2pool.dev.engine import runtime
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.dev.engine.runtime import choose
from p2pool.drivers.containers.docker.engine import address
from tests.first_run.harness.strangers import Stranger

Answers = Callable[[str], bytes | None]
NOBODY = 65534
NO_CHAIN = {"npm_config_registry": "http://127.0.0.1:1"}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


async def refused(directory: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What is said of an engine that is not used."""
    monkeypatch.setenv("DOCKER_HOST", url)
    said: list[str] = []
    with trio.fail_after(60):
        kind, image = await choose(directory, said.append)
    assert (kind, image.name) == ("process", "none")
    assert said[0] == "looking for a Docker Engine"
    return " ".join(said[1:])


@contextmanager
def listening(path: Path, answers: bytes | Answers | None) -> Iterator[str]:
    """An engine's socket where every request gets this answer, or what is said to its first line;
    None: no answer at all."""

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.request.recv(65536).partition(b"\r\n")[0].decode()
            answer = answers(line) if callable(answers) else answers
            if answer is not None:
                head = (
                    f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(answer)}\r\n\r\n"
                )
                self.request.sendall(head.encode() + answer)
            else:
                done.wait()

    done = threading.Event()
    server = socketserver.ThreadingUnixStreamServer(str(path), Answering)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        done.set()
        server.shutdown()
        server.server_close()


@contextmanager
def forwarding(path: str) -> Iterator[str]:
    """An engine's socket over TCP."""

    class Forwarding(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(path)
                back = threading.Thread(target=pour, args=(engine, self.request), daemon=True)
                back.start()
                pour(self.request, engine)
                back.join()

    def pour(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forwarding)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", ("DOCKER_HOST=nonsense is not the address", "tcp://HOST:PORT")),
        ("tcp://127.0.0.1:x", ("is not the address",)),
        ("tcp://[::1", ("is not the address", "tcp://HOST:PORT")),
        ("tcp://127.0.0.1:1", ("(DOCKER_HOST=tcp://127.0.0.1:1)", "unset DOCKER_HOST")),
        ("ssh://nobody@127.0.0.1", ("tasks run as processes",)),
        ("unix:///no/such/socket", ("DOCKER_HOST=unix:///no/such/socket", "unset DOCKER_HOST")),
        ("unix:///etc/passwd", ("No Docker Engine answers at /etc/passwd",)),
        (f"unix:///{'long/' * 40}", ("does not answer", "too long")),
    ],
)
async def test_a_docker_host_that_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: tuple[str, ...]
) -> None:
    """Whatever is in DOCKER_HOST."""
    said = await refused(tmp_path, monkeypatch, url)
    for word in words:
        assert word in said, said


async def test_no_engine_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How to get one."""
    monkeypatch.setattr(address, "DEFAULT_URL", f"unix://{tmp_path}/docker.sock")
    said = await refused(tmp_path, monkeypatch, "")
    assert "There is no Docker Engine on this machine." in said
    assert "sudo apt-get install docker.io" in said


async def test_an_engine_that_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is there, and nobody listens."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "sock"))
    said = await refused(tmp_path, monkeypatch, f"unix://{tmp_path}/sock")
    assert "sudo systemctl start docker" in said


async def test_an_engine_that_hangs_or_is_old_or_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded, and said."""
    monkeypatch.setattr(runtime, "ENGINE_DEADLINE_S", 2.0)
    with listening(tmp_path / "hangs", None) as url:
        began = trio.current_time()
        assert "does not answer within 2 s" in await refused(tmp_path, monkeypatch, url)
        assert trio.current_time() - began < 15
    old = b'{"ApiVersion": "1.30", "Version": "17.06.0-ce", "MinAPIVersion": "1.12"}'
    with listening(tmp_path / "old", old) as url:
        said = await refused(tmp_path, monkeypatch, url)
        assert "Docker 17.06.0-ce is too old" in said
        assert "20.10" in said
    with listening(tmp_path / "none", b"hello") as url:
        assert await refused(tmp_path, monkeypatch, url)


def answering(version: bytes, info: bytes, image: bytes | None) -> Answers:
    """An engine by its answers to three questions; None: it does not answer."""

    def answer(line: str) -> bytes | None:
        return version if "/version" in line else info if "/info" in line else image

    return answer


SOUND = b'{"ApiVersion": "1.41", "Version": "20.10.24"}'
INFO = (
    b'{"OSType": "linux", "Architecture": "x86_64", "Runtimes": {"runc": {}},'
    b' "SecurityOptions": ["name=seccomp,profile=default"]}'
)


@pytest.mark.parametrize(
    ("version", "info", "image"),
    [
        (b'{"ApiVersion": null, "Version": null}', b"{}", b"{}"),
        (b'{"ApiVersion": "1.x"}', b"{}", b"{}"),
        (b"[]", b"{}", b"{}"),
        (b"null", b"null", b"null"),
        (SOUND, b"null", b"{}"),
        (SOUND, b"[1]", b"{}"),
        (SOUND, b"{}", b"null"),
        (SOUND, b"{}", b"[]"),
        (SOUND, b"{}", b"{}"),
        (SOUND, b"{}", b'{"Id": null}'),
    ],
)
async def test_what_answers_is_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: bytes, info: bytes, image: bytes
) -> None:
    """Answers that no engine gives end nothing: tasks run as processes, and a sentence says why."""
    with listening(tmp_path / "odd", answering(version, info, image)) as url:
        assert "tasks run as processes" in await refused(tmp_path, monkeypatch, url)


async def test_an_engine_that_falls_silent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that says what it is and hangs at the next question has the same deadline."""
    monkeypatch.setattr(runtime, "ENGINE_DEADLINE_S", 2.0)
    with listening(tmp_path / "silent", answering(SOUND, INFO, None)) as url:
        assert "does not answer within 2 s" in await refused(tmp_path, monkeypatch, url)


@pytest.mark.docker
@root_only
def test_an_engine_that_this_user_may_not_talk_to(engine: Engine, stranger: Stranger) -> None:
    """As after installing docker.io: its socket is root's and its group's."""
    stranger.user = NOBODY
    os.chown(stranger.home, NOBODY, NOBODY)
    os.chown(stranger.temporary, NOBODY, NOBODY)
    done = stranger.run("dev", "demo", DOCKER_HOST=engine.url, **NO_CHAIN)
    assert "This user may not talk to the Docker Engine" in done.stderr, done.stderr
    assert "sudo usermod -aG docker $USER" in done.stderr
    assert "tasks run as processes" in done.stderr
    assert "starting a development chain" in done.stderr
    assert stranger.left() == []


@pytest.mark.docker
async def test_an_engine_without_an_image(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No registry and no busybox here, or one that needs libraries: how to get one; nothing stays
    on the engine."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    before = client.images(quiet=True)
    busybox, pool = tmp_path / "a-busybox", tmp_path / "pool"
    pool.mkdir()
    monkeypatch.setattr(engines, "BUSYBOX", busybox)
    said = await refused(pool, monkeypatch, engine.url)
    assert "The Docker Engine has no image to run" in said
    assert "sudo apt-get install busybox-static" in said
    # A busybox that the container's kernel does not find the libraries of.
    busybox.write_text("#!/bin/bash\necho true\n")
    busybox.chmod(0o755)
    said = await refused(pool, monkeypatch, engine.url)
    assert "A container of p2pool-dev/busybox" in said
    assert "does not run" in said
    assert client.images(quiet=True) == before
    assert client.containers(all=True) == []
    client.close()


@pytest.mark.docker
async def test_an_engine_that_runs_containers(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own busybox is used where it has one, and stays; by a socket as over TCP."""
    monkeypatch.setattr(runtime, "WANTED", BUSYBOX_IMAGE)
    said: list[str] = []
    with forwarding(engine.url.removeprefix("unix://")) as url:
        monkeypatch.setenv("DOCKER_HOST", url)
        kind, image = await choose(tmp_path, said.append)
        assert (kind, image.name) == ("docker", BUSYBOX_IMAGE), said
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    kind, image = await choose(tmp_path, said.append)
    assert (kind, image.name, image.brought, image.engine) == (
        "docker",
        BUSYBOX_IMAGE,
        False,
        engine.url,
    )
    assert said[-1] == f"tasks run in containers of {BUSYBOX_IMAGE}"
