"""What operators get wrong is said in a sentence, with what to do and a documented exit code."""

import http.server
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.drivers.config.schema import (
    AgentConfig,
    ApiConfig,
    ChainConfig,
    ContractAddresses,
    NetworkConfig,
    PoolConfig,
    RuntimeConfig,
    load_config,
    write_config,
)
from p2pool.drivers.keys.keystore import import_key_file
from p2pool.model.ids import Address
from tests.e2e.conftest import p2pool

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

MISCONFIGURED = 6
DEADLINE_S = 60


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A chain without any contract."""
    running = trio.run(start_anvil, tmp_path_factory.mktemp("anvil"))
    yield running
    trio.run(running.stop)


@pytest.fixture
def home(tmp_path: Path, anvil: Anvil) -> Path:
    """A directory with a key, its passphrase and a configuration that could be right."""
    (tmp_path / "passphrase").write_text("right\n")
    import_key_file(
        tmp_path / "node.json", b"\x07" * 32, "right", light=True, note=lambda text: None
    )
    address = Address(b"\x01" * 20)
    contracts = ContractAddresses(
        network=address,
        pool=address,
        registry=address,
        stake=address,
        domains=address,
        token=address,
    )
    config = AgentConfig(
        chain=ChainConfig(id=31337, endpoints=(anvil.url,), addresses=contracts),
        pool=PoolConfig(id=0),
        network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
        api=ApiConfig(bind="127.0.0.1:0"),
        runtime=RuntimeConfig(kind="process"),
    )
    write_config(config, tmp_path / "config.toml")
    return tmp_path


def arguments(home: Path) -> list[str]:
    """The command line of an agent there."""
    return [
        "agent",
        "run",
        "--data-dir",
        str(home / "data"),
        "--config",
        str(home / "config.toml"),
        "--node-key",
        str(home / "node.json"),
        "--passphrase-file",
        str(home / "passphrase"),
    ]


def change(home: Path, **parts: Any) -> None:
    """Write another configuration."""
    config = load_config(home / "config.toml", {})
    write_config(attrs.evolve(config, **parts), home / "config.toml")


def refused(home: Path, *words: str) -> None:
    """The agent does not start, and says all these words."""
    done = p2pool(*arguments(home))
    assert done.returncode == MISCONFIGURED, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@contextmanager
def running(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """An agent that runs meanwhile; ended by its id."""
    with (home / "agent.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "p2pool", *arguments(home), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), (home / "agent.log").read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)


def test_a_directory_in_use_or_of_another_pool(home: Path) -> None:
    """A second agent on a data directory ends at once; so does one for another pool."""
    with running(home):
        refused(home, "data")
    change(home, pool=PoolConfig(id=5))
    refused(home, "pool")


def test_a_port_that_is_taken(home: Path) -> None:
    """Of libp2p or of the API: the address is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        change(home, network=NetworkConfig(listen=(f"/ip4/127.0.0.1/tcp/{port}",)))
        refused(home, str(port))
        change(
            home,
            network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
            api=ApiConfig(bind=f"127.0.0.1:{port}"),
        )
        refused(home, str(port))


def test_keys_and_configuration(home: Path) -> None:
    """A wrong passphrase, no key, no configuration, a misspelt key in it."""
    (home / "passphrase").write_text("wrong\n")
    refused(home, "passphrase")
    (home / "node.json").unlink()
    refused(home, "p2pool wallet new")
    text = (home / "config.toml").read_text()
    (home / "config.toml").write_text(text.replace("endpoints", "endpoint"))
    refused(home, "endpoint")
    (home / "config.toml").unlink()
    refused(home, "--config")


def problem_of(home: Path, *words: str) -> None:
    """An agent starts, and says in its status what is wrong with the chain."""
    with running(home):
        environment = {"P2POOL_AGENT": str(home / "data")}
        said = ""
        for _ in range(DEADLINE_S * 2):
            said = p2pool("agent", "status", **environment).stdout
            if all(word in said for word in words):
                return
            trio.run(trio.sleep, 0.5)
        raise AssertionError((said, (home / "agent.log").read_text()))


def test_a_chain_that_is_wrong_or_has_no_contract(home: Path, anvil: Anvil) -> None:
    """Another chain id, or no code at the address: said by the agent, which waits."""
    problem_of(home, "There is no ComputePool at 0x0101")
    chain = load_config(home / "config.toml", {}).chain
    change(home, chain=attrs.evolve(chain, id=1), runtime=RuntimeConfig(kind="docker"))
    (home / "data").rename(home / "old")
    problem_of(home, "chain")


class Nonsense(http.server.BaseHTTPRequestHandler):
    """An endpoint that answers everything with a page."""

    def do_POST(self) -> None:
        """Say something that is no answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_endpoint_that_answers_nonsense_or_nothing(home: Path) -> None:
    """The agent runs, and says what is wrong with its endpoint."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chain = load_config(home / "config.toml", {}).chain
        url = f"http://127.0.0.1:{server.server_address[1]}"
        change(home, chain=attrs.evolve(chain, endpoints=(url,)))
        problem_of(home, "chain", "cannot be read")
        server.shutdown()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        change(home, chain=attrs.evolve(chain, endpoints=(url,)))
        problem_of(home, "chain", "cannot be read")
