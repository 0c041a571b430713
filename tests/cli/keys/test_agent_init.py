"""`p2pool agent init` writes what an agent starts with, or nothing: on a real chain."""

import http.server
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result
from eth_keyfile.keyfile import create_keyfile_json

from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.drivers.config.chain_presets import PRESETS
from p2pool.drivers.config.schema import load_config
from p2pool.drivers.keys import keystore
from p2pool.model.errors import BadKey, Conflict, Malformed, Misconfigured, Unavailable
from p2pool.wire.account import Account
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, Shell

pytestmark = pytest.mark.chain

KEY = bytes(range(1, 33))


@attrs.frozen
class Setup:
    """A directory to be, and the words that describe the test's pool."""

    shell: Shell
    directory: Path

    @property
    def url(self) -> str:
        """The chain's endpoint."""
        return self.shell.world.chain.rpc.endpoints[0].url

    @property
    def words(self) -> tuple[str, ...]:
        """The pool by its number, and the one contract that names the others."""
        at = self.shell.world.chain.at
        network = ("--network-contract", address_text(at.network))
        chain = ("--chain", "local", "--endpoint", self.url)
        return ("--pool", str(self.shell.world.pool_id), *chain, *network)

    async def __call__(self, *words: str) -> Result:
        """The result of `p2pool agent init ...`."""
        line = ["agent", "init", "--data-dir", str(self.directory), "--light", *words]
        environment = {"P2POOL_PASSPHRASE_FILE": self.shell.environment["P2POOL_PASSPHRASE_FILE"]}
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, line, env=environment)
        )

    async def done(self, *words: str) -> dict[str, Any]:
        """The JSON of one that has to succeed."""
        result = await self(*words, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        made: dict[str, Any] = held(result.stdout)
        return made


@pytest.fixture
def setup(shell: Shell, tmp_path: Path) -> Setup:
    """For a directory that is not there yet."""
    return Setup(shell, tmp_path / "agent")


async def test_flags_alone_write_a_configuration_that_an_agent_reads(setup: Setup) -> None:
    """The other contracts are read from the chain; the keys are new; three commands follow."""
    told = await setup.done(*setup.words, "--new-provider-key", "--announce", "/dns4/a.b/tcp/4001")
    read = load_config(Path(told["config"]), {})
    at = setup.shell.world.chain.at
    assert read.pool.id == setup.shell.world.pool_id
    assert (read.chain.id, read.chain.endpoints) == (31_337, (setup.url,))
    found = read.chain.addresses
    assert (found.network, found.pool, found.registry) == (at.network, at.pool, at.registry)
    assert (found.stake, found.domains, found.token) == (at.stakes, at.domains, at.token)
    assert read.network.announce == ("/dns4/a.b/tcp/4001",)
    assert {one["verdict"] for one in told["checks"]} <= {"pass", "warn"}
    node, provider = told["keys"]["node"], told["keys"]["provider"]
    for name, key in (("node.json", node), ("provider.json", provider)):
        path = setup.directory / name
        opened = keystore.open_key_file(path, PASSPHRASE, note=lambda text: None)
        assert (opened.address, str(path)) == (key["address"], key["place"])
        assert path.stat().st_mode & 0o777 == 0o600
    assert setup.directory.stat().st_mode & 0o777 == 0o700
    check, run, status = told["next"]
    assert check == f"p2pool agent check --data-dir {setup.directory}"
    assert run.startswith(f"p2pool agent run --data-dir {setup.directory} --provider-key ")
    assert status == f"p2pool agent status --agent {setup.directory}"
    again = await setup(*setup.words)
    assert isinstance(again.exception, Conflict), again.output


async def test_keys_of_other_wallets_are_taken_over(setup: Setup, tmp_path: Path) -> None:
    """A keystore of foundry, without an address, and a private key as MetaMask shows it."""
    made = create_keyfile_json(KEY, PASSPHRASE.encode(), kdf="scrypt", iterations=1024)
    del made["address"]
    (foundry := tmp_path / "foundry").write_text(json.dumps(made))
    (metamask := tmp_path / "metamask").write_text((b"m" * 32).hex())
    imports = ("--import-node-key", str(foundry), "--import-provider-key", str(metamask))
    told = await setup.done(*setup.words, *imports)
    assert told["keys"]["node"]["address"] == Account(KEY).address
    assert told["keys"]["provider"]["address"] == Account(b"m" * 32).address
    assert keystore.key_file_address(setup.directory / "node.json").hex() in Account(KEY).address
    (setup.directory / "config.toml").unlink()
    refused = await setup(*setup.words, "--import-node-key", str(metamask))
    assert isinstance(refused.exception, BadKey)
    # A key that is there stays the node's: whoever was interrupted goes on.
    again = await setup.done(*setup.words)
    assert again["keys"]["node"]["address"] == Account(KEY).address


async def test_a_failed_check_writes_nothing(setup: Setup) -> None:
    """A pool that is not there; who knows better says so."""
    words = ("--pool", "999999", *setup.words[2:])
    result = await setup(*words)
    assert result.exit_code == 1
    assert "There is no pool 999999" in result.output
    assert not setup.directory.exists()
    assert (await setup.done(*words, "--no-check"))["written"] is True


async def test_a_dry_run_writes_nothing(setup: Setup) -> None:
    """And shows the file."""
    result = await setup(*setup.words, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "[chain.addresses]" in result.output
    assert not setup.directory.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--pool is needed"),
        (("--pool", "7"), "--network-contract is needed"),
        (("--pool", "7", "--chain", "other"), "--chain-id is needed"),
        (("--pool", "7", "--chain-id", "5"), "--endpoint is needed"),
        (("--pool", "7", "--chain", "nowhere"), "nowhere"),
    ],
)
async def test_without_a_terminal_every_question_names_its_flag(
    setup: Setup, words: tuple[str, ...], said: str
) -> None:
    """Nothing waits for an answer that cannot come."""
    result = await setup(*words)
    assert (result.exit_code, said in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--node-key", "fd:3", "--import-node-key", "x"), "two places for the node key"),
        (("--new-provider-key", "--provider-key", "fd:3"), "two places for the provider key"),
        (("--node-account", f"0x{'11' * 20}"), "needs --import-node-key"),
        (("--import-passphrase-file", "x"), "needs --import-node-key"),
    ],
)
async def test_a_flag_that_nothing_would_read_is_refused(
    setup: Setup, words: tuple[str, ...], said: str
) -> None:
    """Instead of being taken for one that did something."""
    result = await setup(*setup.words, *words)
    assert (result.exit_code, said in result.output) == (2, True), result.output


async def test_what_contradicts_itself_is_refused(setup: Setup) -> None:
    """Two ids, and one key for two."""
    result = await setup(*setup.words, "--chain-id", "5")
    assert isinstance(result.exception, Misconfigured), result.output
    node = ("--node-key", str(setup.shell.key), "--provider-key", str(setup.shell.key))
    result = await setup(*setup.words, *node)
    assert isinstance(result.exception, Conflict), result.output
    assert not setup.directory.exists()


@attrs.define
class Site:
    """A web server of a pool's owner."""

    url: str
    body: bytes = b""
    status: int = 200


@pytest.fixture
def site() -> Iterator[Site]:
    """On this machine, so that plain HTTP is allowed."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(made.body)))
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Site(f"http://127.0.0.1:{server.server_address[1]}/pool.toml")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


async def test_a_pool_is_joined_by_the_url_of_its_owner(
    setup: Setup, site: Site, tmp_path: Path
) -> None:
    """One word says it all; by the file too; and it can say nothing of the machine."""
    chain, peer = (
        setup.shell.world.chain,
        "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
    )
    text = f"[chain]\nid = 31337\nendpoints = ['{setup.url}']\n[chain.addresses]\n"
    text += f"network = '{address_text(chain.at.network)}'\n"
    text += f"[pool]\nid = {setup.shell.world.pool_id}\n[network]\nbootstrap = ['{peer}']\n"
    site.body = text.encode()
    told = await setup.done("--pool", site.url)
    read = load_config(Path(told["config"]), {})
    assert (read.pool.id, read.network.bootstrap) == (setup.shell.world.pool_id, (peer,))
    (setup.directory / "config.toml").unlink()
    (tmp_path / "pool.toml").write_text(text)
    assert (await setup.done("--pool", str(tmp_path / "pool.toml")))["text"] == told["text"]
    (setup.directory / "config.toml").unlink()
    for more in ("[runtime]\nkind = 'process'\n", "[network]\nisolation = false\n", "x = 1\n"):
        site.body = (text.partition("[network]")[0] + more).encode()
        refused = await setup("--pool", site.url)
        assert isinstance(refused.exception, Malformed), refused.output
        assert "not for a pool to say" in refused.exception.message
    wrong = (b"[chain]\nid = 'x'\n[pool]\nid = 1\n", b"[chain.addresses]\nnetwork = 5\n")
    for body in (b"\xff", b"a = ", b"[pool]\nid = 1\n", *wrong):
        site.body = body
        assert isinstance((await setup("--pool", site.url)).exception, Malformed)
    site.status = 302
    refused = await setup("--pool", site.url)
    assert isinstance(refused.exception, Unavailable)
    assert "302" in refused.exception.message
    refused = await setup("--pool", "http://pool.example/pool.toml")
    assert isinstance(refused.exception, Misconfigured)
    assert "not https" in refused.exception.message


async def test_on_a_terminal_it_asks(setup: Setup) -> None:
    """A wrong answer is asked again; Enter takes what stands in brackets."""
    at = setup.shell.world.chain.at
    answers = [
        str(setup.shell.world.pool_id), "nonsense", "local", "ftp://x", setup.url,
        "0x12", address_text(at.network), "", "", "", "none",
    ]  # fmt: skip
    master, slave = pty.openpty()
    words = ["agent", "init", "--data-dir", str(setup.directory), "--light"]
    code = "from p2pool.cli.main import main; main()"
    environment = {**os.environ, "P2POOL_PASSPHRASE": PASSPHRASE}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment,
    ) as process:
        os.close(slave)
        os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
        out, _ = await trio.to_thread.run_sync(process.communicate)
        os.close(master)
    assert process.returncode == 0, out
    assert b"p2pool agent run --data-dir" in out
    read = load_config(setup.directory / "config.toml", {})
    assert (read.chain.endpoints, read.chain.addresses.pool) == ((setup.url,), at.pool)


def test_every_preset_is_whole() -> None:
    """Distinct ids, and two endpoints but for the one here."""
    ids = [preset.id for preset in PRESETS.values()]
    assert len(ids) == len(set(ids))
    for name, preset in PRESETS.items():
        assert len(preset.endpoints) == (1 if name == "local" else 2)
