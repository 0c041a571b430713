"""The development chain's program is had on any machine, or people read why not and what to do.

Real npm, real pip, real file systems; the registries that fail are real servers, too.
"""

import functools
import http.server
import importlib.util
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trio

from p2pool.dev.chain.fetch import anvil, command
from p2pool.dev.chain.fetch.anvil import NAME, SCRATCH, VERSION, find_anvil
from p2pool.model.errors import DiskFull, Misconfigured, P2poolError, Unavailable
from tests.containers.harness.processes import wait_gone
from tests.first_run.harness.strangers import Stranger

UNAVAILABLE, MISCONFIGURED, INTERRUPTED = 5, 6, 130
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and no anvil on PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "PATH",
        os.pathsep.join(
            place
            for place in os.environ["PATH"].split(os.pathsep)
            if not Path(place, NAME).exists()
        ),
    )


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one directory with a shell and Python, and neither npm nor node."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("sh", "env", "python3"):
        found = shutil.which(name)
        assert found is not None
        (place / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(place))
    return place


def kept(tmp_path: Path) -> Path:
    """Where the cache keeps anvil."""
    return tmp_path / "cache" / "p2pool" / "anvil" / VERSION


async def find(tmp_path: Path) -> tuple[Path, list[str]]:
    """The binary, and what was said."""
    said: list[str] = []
    found = await find_anvil(said.append, tmp_path / "spare")
    return found, said


async def fails(tmp_path: Path, kind: type[P2poolError], *words: str) -> list[str]:
    """It cannot be had, these words say why and what to do, and nothing is left of the attempt."""
    said: list[str] = []
    with pytest.raises(kind) as caught:
        await find_anvil(said.append, tmp_path / "spare")
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert list(tmp_path.rglob(f"{SCRATCH}*")) == []
    assert not [path for path in tmp_path.glob(f"*/**/{NAME}") if path.is_file()]
    return said


@contextmanager
def registry(answer: int, body: bytes = b"", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A registry that answers everything alike; its URL."""

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme = "https" if tls is not None else "http"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """A registry that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@contextmanager
def file_system(place: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_without_npm_one_is_fetched_from_pypi(bare: Path, tmp_path: Path) -> None:
    """It is said, it works, and only anvil is kept of it; the next time nothing is fetched."""
    found, said = await find(tmp_path)
    assert found == kept(tmp_path) / NAME
    assert any("PyPI" in text for text in said)
    assert [path.name for path in kept(tmp_path).iterdir()] == [NAME]
    assert not (tmp_path / "spare").exists()
    assert await find(tmp_path) == (found, [])


async def test_two_at_once_and_one_that_was_killed(tmp_path: Path) -> None:
    """Two processes in one empty cache both have it; what somebody left who was killed goes, what
    somebody holds stays, and a binary that was half written is none."""
    place = kept(tmp_path)
    left, fresh = place / f"{SCRATCH}left", place / f"{SCRATCH}fresh"
    for scratch in (left, fresh):
        scratch.mkdir(parents=True)
        (scratch / "part").write_bytes(b"part")
    long_ago = time.time() - 2 * anvil.SCRATCH_AGE_S
    os.utime(left, (long_ago, long_ago))
    (place / NAME).write_bytes(b"\x7fELF half")
    (place / NAME).chmod(0o755)
    code = (
        "import sys, trio; from pathlib import Path;"
        " from p2pool.dev.chain.fetch.anvil import find_anvil;"
        " print(trio.run(find_anvil, lambda text: print(text, file=sys.stderr), Path(sys.argv[1])))"
    )
    both = [
        await trio.lowlevel.open_process(
            [sys.executable, "-c", code, str(tmp_path / f"spare-{n}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stderr is not None
        out = b"".join([data async for data in process.stdout]).decode()
        said = b"".join([data async for data in process.stderr]).decode()
        assert out.strip() == str(place / NAME), said
        assert "damaged" in said
    assert sorted(path.name for path in place.iterdir()) == [fresh.name, NAME]


@pytest.mark.parametrize(
    ("answer", "body", "kind", "word"),
    [
        (404, b"{}", Misconfigured, "has no @foundry-rs/anvil-"),
        (401, b"{}", Misconfigured, "npm login"),
        (500, b"{}", Unavailable, "cannot reach its registry http://127.0.0.1:"),
        (200, b"<html>hello</html>", Unavailable, "npm failed to fetch"),
    ],
)
async def test_a_registry_that_answers_otherwise(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: int,
    body: bytes,
    kind: type[P2poolError],
    word: str,
) -> None:
    """One that does not have it, wants a login, fails, or is none."""
    with registry(answer, body) as url:
        monkeypatch.setenv("npm_config_registry", url)
        await fails(tmp_path, kind, word, "foundryup")


async def test_a_registry_that_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stands in between, as in many companies."""
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=127.0.0.1",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    await trio.run_process(made, cwd=tmp_path, capture_stderr=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with registry(200, tls=context) as url:
        monkeypatch.setenv("npm_config_registry", url)
        await fails(tmp_path, Misconfigured, "does not trust", "NODE_EXTRA_CA_CERTS")


async def test_a_registry_that_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """npm would wait for five minutes and try again; it is ended, and so is what it started."""
    monkeypatch.setattr(command, "STALL_S", 3.0)
    before = set(psutil.Process().children(recursive=True))
    with silent() as url:
        monkeypatch.setenv("npm_config_registry", url)
        await fails(tmp_path, Unavailable, "nothing came for 3 s", url.rstrip("/"))
    assert set(psutil.Process().children(recursive=True)) <= before


async def test_a_broken_npm_and_no_pypi(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An npm without its node is said to be broken; then PyPI cannot be reached either."""
    (bare / "npm").write_text("#!/usr/bin/env node\n")
    (bare / "npm").chmod(0o755)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    said = await fails(tmp_path, Unavailable, "PyPI gave none", "apt-get install npm", "foundryup")
    assert any("npm of this machine does not run" in text for text in said)


async def test_no_npm_and_no_way_to_fetch_one(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python without pip that can make no environment, as Debian's without python3-venv."""
    python = bare / "python"
    python.write_text("#!/bin/sh\necho 'ensurepip is not available' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    await fails(tmp_path, Misconfigured, "no pip", "sudo apt-get install npm", "foundryup")


async def test_what_does_not_run_is_passed_over(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A damaged anvil on PATH, one that wants another C library: said, and the cache's is used."""
    shutil.copytree(cache, tmp_path / "cache")
    for text, why in (
        ("#!/no/such/interpreter\n", "C library"),
        ("\x7fELF", "damaged"),
        ("#!/bin/sh\nkill -SEGV $$\n", "SIGSEGV"),
    ):
        (bare / NAME).write_text(text)
        (bare / NAME).chmod(0o755)
        found, (said,) = await find(tmp_path)
        assert found == kept(tmp_path) / NAME
        assert why in said
    (bare / NAME).write_text("#!/bin/sh\necho anvil 1.0\n")
    assert await find(tmp_path) == (bare / NAME, [])


@root_only
async def test_a_cache_where_nothing_runs(tmp_path: Path, cache: Path) -> None:
    """One that is mounted noexec, one that cannot be written: the pool's own directory is used."""
    (tmp_path / "spare").mkdir()
    shutil.copy2(cache / kept(Path("..")).relative_to("../cache") / NAME, tmp_path / "spare")
    with file_system(tmp_path / "cache", "size=60m,noexec"):
        found, (said,) = await find(tmp_path)
        assert found == tmp_path / "spare" / NAME
        assert "noexec" in said
    with file_system(tmp_path / "cache2", "size=1m,ro"):
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache2")
        found, (said,) = await find(tmp_path)
        assert found == tmp_path / "spare" / NAME
        assert "Read-only" in said


@root_only
async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room is said before; where it is used up meanwhile, npm's failure is said so."""
    words = ("There is no space in", str(kept(tmp_path)), "MB are needed", "du -xh", "another disk")
    with file_system(tmp_path / "cache", "size=40m") as place:
        await fails(tmp_path, DiskFull, *words)
        monkeypatch.setattr(anvil, "ROOM_BYTES", 0)
        await fails(tmp_path, DiskFull, *words)
        assert shutil.disk_usage(place).used < 100_000


def test_interrupted(stranger: Stranger) -> None:
    """Ctrl-C while npm waits for its registry: at once, with all that was started."""
    with silent() as url:
        with stranger.started("dev", "up", npm_config_registry=url) as up:
            up.wait_said("fetching anvil")
            wait_for_npm(up.process.pid)
            began = time.monotonic()
            assert up.ended(signal.SIGINT) == INTERRUPTED, up.said
            assert time.monotonic() - began < 20
            assert "Traceback" not in up.said
    assert stranger.left() == []
    assert list(stranger.home.rglob(f"{SCRATCH}*")) == []
    assert not (stranger.home / ".local" / "share" / "p2pool-dev").exists()


def wait_for_npm(pid: int) -> None:
    """Until it has been started."""
    end = time.monotonic() + 60
    while not psutil.Process(pid).children():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("path", [None, "/usr/local/sbin"], ids=["npm", "no-npm"])
def test_a_stranger_without_a_network(stranger: Stranger, path: str | None) -> None:
    """`p2pool dev up` and `p2pool dev demo` end with a sentence and leave nothing."""
    verb = "demo" if path else "up"
    away = {
        "npm_config_registry": "http://127.0.0.1:1",
        "PIP_INDEX_URL": "http://127.0.0.1:1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": None,
    }
    began = time.monotonic()
    done = stranger.run("dev", verb, **away, **({"PATH": path} if path else {}))
    assert time.monotonic() - began < 90
    assert done.returncode == UNAVAILABLE, done.stderr
    words = (
        ("PyPI gave none: Connection refused", "sudo apt-get install npm")
        if path
        else ("npm cannot reach",)
    )
    for word in ("error: While fetching", "foundryup", *words):
        assert word in done.stderr, done.stderr
    assert stranger.left() == []
    assert not (stranger.home / ".local" / "share" / "p2pool-dev").exists()


async def test_a_program_that_does_not_want_to_end(tmp_path: Path) -> None:
    """It is killed with what it started, and whoever was cancelled waits for that."""
    script = "trap '' TERM; sleep 600 & echo $! > started; while :; do sleep 600; done"
    note = tmp_path / "started"
    async with trio.open_nursery() as nursery:
        run = functools.partial(command.run_command, ["sh", "-c", f"cd {tmp_path}; {script}"])
        nursery.start_soon(run)
        while True:
            await trio.sleep(0.02)
            if note.exists() and note.read_text().endswith("\n"):
                break
        nursery.cancel_scope.cancel()
    await wait_gone(int(note.read_text()))
