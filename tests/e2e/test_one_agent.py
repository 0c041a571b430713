"""The process of an agent is reached from elsewhere with what docs/remote.md says, and no more.

Its chain does not answer: who may speak to an agent is none of the chain's affair.
"""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from p2pool.client.discovery import agent_in
from p2pool.drivers.config.schema import ApiConfig, write_config
from p2pool.drivers.keys.keystore import import_key_file
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool_in
from tests.first_run.harness.configuration import config_of

pytestmark = [pytest.mark.e2e]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "remote.md"
DEADLINE_S = 120


@attrs.frozen
class Home:
    """Where an agent has its data and its certificate; `port`: at which it speaks TLS."""

    path: Path
    port: int

    @property
    def data(self) -> Path:
        return self.path / "data"

    def commands(self) -> list[list[str]]:
        """Those at the head of the page, for this machine and this port."""
        found = re.search(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        assert found is not None
        text = found[1].replace("\\\n", " ")
        text = text.replace("DNS:agent.example.org", "IP:127.0.0.1")
        text = text.replace("agent.example.org:8471", f"127.0.0.1:{self.port}")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return [shlex.split(line) for line in lines]

    def run(self, *words: str, agent: str = "") -> subprocess.CompletedProcess[str]:
        """A command beside those files, of somebody whose own directory has no agent."""
        named = {"P2POOL_AGENT": agent} if agent else {}
        return p2pool_in(self.path, *words, P2POOL_DATA_DIR=str(self.path / "none"), **named)

    @contextmanager
    def agent(self, end: int) -> Iterator[None]:
        """The agent's process until the block ends, by this signal then."""
        program = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "p2pool", "agent", "run", "--json", "--skip-checks"),
                *("--data-dir", str(self.data), "--config", str(self.path / "config.toml")),
                *("--node-key", str(self.path / "node.json")),
                *("--passphrase-file", str(self.path / "passphrase")),
            ],
            stdout=subprocess.PIPE,
            stderr=(self.path / "log").open("ab"),
            text=True,
        )
        assert program.stdout is not None
        try:
            started = program.stdout.readline()
            assert "agent-started" in started, (self.path / "log").read_text()[-3000:]
            yield
        finally:
            program.send_signal(end)
            program.wait(DEADLINE_S)
            program.stdout.close()


Done = subprocess.CompletedProcess[str]


def eventually(run: Callable[[], Done], holds: Callable[[Done], bool]) -> None:
    """Run a command until its outcome is right."""
    until_s = time.monotonic() + DEADLINE_S
    while not holds(done := run()):
        assert time.monotonic() < until_s, done.stdout + done.stderr


@pytest.fixture
def home(tmp_path: Path, free_tcp_port: int) -> Home:
    """As the page has it: four lines of configuration, and the certificate of its first command."""
    made = Home(tmp_path, free_tcp_port)
    (tmp_path / "passphrase").write_text("right\n")
    key = tmp_path / "node.json"
    import_key_file(key, b"\x07" * 32, "right", light=True, note=lambda text: None)
    api = ApiConfig(
        bind="127.0.0.1:0",
        tls_bind=f"127.0.0.1:{free_tcp_port}",
        tls_certificate=tmp_path / "agent.pem",
        tls_key=tmp_path / "agent.key",
    )
    write_config(config_of(api=api), tmp_path / "config.toml")
    subprocess.run(made.commands()[0], cwd=tmp_path, check=True, capture_output=True)
    return made


def test_three_commands_reach_it(home: Home) -> None:
    """Those of the page, word for word. A token opens what its scope says, while the agent runs and
    after a crash; one that was revoked while it did not run is void when it does again."""
    _, create, use = (words[1:] for words in home.commands())
    here, there = str(home.data), f"https://127.0.0.1:{home.port}"
    remote = ["--agent", there, "--ca", "agent.pem", "--token-file"]
    with home.agent(signal.SIGKILL):
        made = home.run(*create, agent=here)
        assert made.returncode == 0, made.stderr
        assert (home.path / "laptop.token").stat().st_mode & 0o077 == 0
        seen = home.run(*use)
        assert seen.returncode == 0, seen.stderr
        scraper = ["agent", "token", "create", "scraper", "--scope", "metrics"]
        assert home.run(*scraper, "--out", "scraper.token", agent=here).returncode == 0
        narrow = home.run("node", "ls", *remote, "scraper.token")
        assert (narrow.returncode, "this needs read" in narrow.stderr) == (3, True)
        shut = home.run("agent", "token", "ls", *remote, "laptop.token")
        assert (shut.returncode, "this needs operate" in shut.stderr) == (3, True)
        listed = held(home.run("agent", "token", "ls", "--json", agent=here).stdout)
        assert [one["name"] for one in listed] == ["api.token", "laptop", "scraper"]
        assert agent_in(home.data).url.startswith("http://127.0.0.1:")
    gone = home.run("agent", "token", "revoke", "scraper", agent=here)
    assert gone.returncode == 0, gone.stderr
    with home.agent(signal.SIGTERM):
        again = home.run(*use)
        assert again.returncode == 0, again.stderr
        void = home.run("node", "ls", *remote, "scraper.token")
        assert (void.returncode, "missing or wrong" in void.stderr) == (3, True)
        certificate = (home.path / "agent.pem").read_bytes()
        subprocess.run(home.commands()[0], cwd=home.path, check=True, capture_output=True)
        # It looks once a second.
        eventually(lambda: home.run(*use), lambda done: done.returncode == 0)
        (home.path / "agent.pem").write_text("no certificate")
        eventually(
            lambda: home.run("agent", "status", agent=here),
            lambda done: "shows its certificate from before" in done.stdout,
        )
        (home.path / "old.pem").write_bytes(certificate)
        stale = ["node", "ls", "--agent", there, "--token-file", "laptop.token", "--ca", "old.pem"]
        assert "signed by nobody whom" in home.run(*stale).stderr
    text = (home.path / "laptop.token").read_text().strip()
    assert text not in (home.path / "log").read_text()
