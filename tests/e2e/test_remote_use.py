"""A real agent is reached from elsewhere by TLS and a token, as docs/remote.md has it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.client.discovery import agent_in
from p2pool.dev.pool import DevAgent
from p2pool.drivers.config.schema import load_config, write_config
from tests.cli.output.held import held
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

thread = trio.to_thread.run_sync
PREFIX = "/p2pool"


def new_certificate(directory: Path) -> None:
    """By the command of the page, for this machine."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-noenc", "-days", "365", "-subj", "/CN=p2pool"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", "agent.key", "-out", "agent.pem"),
        ],
        cwd=directory,
        check=True,
        capture_output=True,
    )


@attrs.frozen
class Elsewhere:
    """Somebody with nothing but a URL, a certificate and a token."""

    url: str
    files: Path

    def run(self, *words: str, token: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of theirs, which finds no directory of an agent."""
        return p2pool(
            *words,
            P2POOL_AGENT=self.url,
            P2POOL_CA=str(self.files / "agent.pem"),
            P2POOL_TOKEN_FILE=str(self.files / f"{token}.token"),
            P2POOL_DATA_DIR=str(self.files / "none"),
            **environment,
        )


@pytest.fixture
async def remote(
    pool_directory: Path, tmp_path: Path, free_tcp_port: int
) -> AsyncIterator[tuple[Acting, DevAgent, Elsewhere]]:
    """The pool's last agent, started anew with TLS beside loopback and a path; and as it was."""
    acting = Acting.on(pool_directory)
    at = acting.agents[-1]
    new_certificate(tmp_path)
    path = acting.pool.directory / f"{at.name}.toml"
    before = load_config(path, {})
    there = attrs.evolve(
        before.api,
        tls_bind=f"127.0.0.1:{free_tcp_port}",
        tls_certificate=tmp_path / "agent.pem",
        tls_key=tmp_path / "agent.key",
        path_prefix=PREFIX,
    )
    await restart(acting, at, lambda: write_config(attrs.evolve(before, api=there), path))
    yield acting, at, Elsewhere(f"https://127.0.0.1:{free_tcp_port}{PREFIX}", tmp_path)
    await restart(acting, at, lambda: write_config(before, path))


async def restart(acting: Acting, at: DevAgent, change: Callable[[], None]) -> None:
    """End an agent, change its configuration, and start it."""
    await acting.kill(at, signal.SIGTERM)
    change()
    await acting.start(at)


async def test_a_pool_is_used_from_elsewhere(
    remote: tuple[Acting, DevAgent, Elsewhere], tmp_path: Path
) -> None:
    """With a token that reads, a task is run and its log read: the signature gives the right. What
    belongs to the machine stays shut; a token outlives a crash, and its end does too."""
    acting, at, there = remote
    for name, scope in (("laptop", "read"), ("scraper", "metrics")):
        out = str(tmp_path / f"{name}.token")
        made = p2pool(
            *("agent", "token", "create", name, "--scope", scope, "--out", out),
            P2POOL_AGENT=str(at.directory),
        )
        assert made.returncode == 0, made.stderr
    listed = await thread(lambda: there.run("node", "ls", "--json", token="laptop"))
    assert listed.returncode == 0, listed.stderr
    assert len(held(listed.stdout)) == 3
    signs = {name: value for name, value in acting.environment(at).items() if "AGENT" not in name}
    ran = await thread(
        lambda: there.run(
            *("task", "run", "--name", "far", "--image", IMAGE, "--cpus", "0.1"),
            *("--memory", "64MiB", "--restart", "never", "--wait", "--timeout", "120s"),
            *("--", "echo", "from afar"),
            token="laptop",
            **signs,
        )
    )
    assert ran.returncode == 0, ran.stderr
    logs = await thread(lambda: there.run("task", "logs", "far", token="laptop", **signs))
    assert "from afar" in logs.stdout, logs.stderr
    narrow = await thread(lambda: there.run("node", "ls", token="scraper"))
    assert narrow.returncode == 3
    assert "has the scope metrics, and this needs read" in narrow.stderr
    shut = await thread(lambda: there.run("agent", "token", "ls", token="laptop"))
    assert shut.returncode == 3
    assert "needs operate" in shut.stderr

    await acting.kill(at)
    offline = p2pool("agent", "token", "revoke", "scraper", P2POOL_AGENT=str(at.directory))
    assert offline.returncode == 0, offline.stderr
    await acting.start(at)
    again = await thread(lambda: there.run("node", "ls", token="laptop"))
    assert again.returncode == 0, again.stderr
    void = await thread(lambda: there.run("node", "ls", token="scraper"))
    assert void.returncode == 3
    assert "missing or wrong" in void.stderr


async def follows(acting: Acting, at: DevAgent, follower: trio.Process, name: str) -> None:
    """Have something happen, and wait until a reader of events has told of it."""
    task = acting.submit(at, name, "true")
    seen = b""
    assert follower.stdout is not None
    with trio.fail_after(60):
        while task.encode() not in seen:
            piece = await follower.stdout.receive_some()
            assert piece, "it follows no more"
            seen += bytes(piece)


async def test_a_certificate_is_renewed_while_somebody_follows_events(
    remote: tuple[Acting, DevAgent, Elsewhere], tmp_path: Path
) -> None:
    """The stream goes on; who comes next is shown the new one, and with the old one in hand
    refuses it; the end of the token ends the stream with the reason."""
    acting, at, there = remote
    out = str(tmp_path / "watcher.token")
    agent = {"P2POOL_AGENT": str(at.directory)}
    made = p2pool("agent", "token", "create", "watcher", "--scope", "read", "--out", out, **agent)
    assert made.returncode == 0, made.stderr
    old = tmp_path / "old"
    old.mkdir()
    (old / "agent.pem").write_bytes((tmp_path / "agent.pem").read_bytes())
    (old / "watcher.token").touch(mode=0o600)
    (old / "watcher.token").write_text(Path(out).read_text())
    environment = {
        **os.environ,
        "P2POOL_AGENT": there.url,
        "P2POOL_CA": str(old / "agent.pem"),
        "P2POOL_TOKEN_FILE": str(old / "watcher.token"),
    }
    follower = await trio.lowlevel.open_process(
        [sys.executable, "-m", "p2pool", "pool", "events", "-f", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert follower.stderr is not None
    try:
        await follows(acting, at, follower, "first")
        new_certificate(tmp_path)
        with trio.fail_after(60):
            while True:
                stale = await thread(
                    lambda: Elsewhere(there.url, old).run("node", "ls", token="watcher")
                )
                if stale.returncode:
                    break
        assert "signed by nobody whom" in stale.stderr
        fresh = await thread(lambda: there.run("node", "ls", token="watcher"))
        assert fresh.returncode == 0, fresh.stderr
        await follows(acting, at, follower, "second")
        gone = p2pool("agent", "token", "revoke", "watcher", **agent)
        assert gone.returncode == 0, gone.stderr
        told = b""
        with trio.fail_after(60):
            while piece := await follower.stderr.receive_some():
                told += bytes(piece)
            await follower.wait()
        assert follower.returncode == 3
        assert "was revoked" in told.decode()
    finally:
        if follower.returncode is None:
            follower.kill()
            await follower.wait()
    assert agent_in(at.directory).url.startswith("http://127.0.0.1:")
