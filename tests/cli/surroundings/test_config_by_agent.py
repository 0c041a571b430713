"""Every command finds the configuration where it finds the agent."""

from pathlib import Path

import pytest

from p2pool.cli import errors, main
from p2pool.cli.shared.chain import config_file
from p2pool.drivers.config.schema import load_chain, load_config
from p2pool.drivers.config.start_record import StartRecord, write_start
from tests.cli.shell import FOUNDER
from tests.cli.surroundings.files import write_key, write_settings

NODE = "0x" + "11" * 20


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of an agent that runs with a configuration from elsewhere."""
    directory = tmp_path / "data"
    directory.mkdir()
    record = StartRecord(
        node_id=NODE,
        config=str(write_settings(tmp_path / "pool.toml", number=5)),
        node_key="/nowhere",
        overrides={"P2POOL_POOL__ID": "7"},
    )
    write_start(directory, record)
    for name in ("P2POOL_CONFIG", "P2POOL_AGENT", "P2POOL_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    return directory


@pytest.mark.parametrize("variable", ["P2POOL_AGENT", "P2POOL_DATA_DIR"])
def test_the_directory_of_the_agent_names_the_configuration(
    agent: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """With the overrides that the agent runs with; one of today wins."""
    monkeypatch.setenv(variable, str(agent))
    found = config_file(None, None)
    assert load_config(found.path, found.environment).pool.id == 7
    monkeypatch.setenv("P2POOL_POOL__ID", "8")
    found = config_file(None, None)
    assert load_config(found.path, found.environment).pool.id == 8
    other = write_settings(agent.parent / "other.toml", number=9)
    assert config_file(other, None).path == other


def test_an_argument_names_the_agent_before_the_environment(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the agent itself; a directory without a record holds config.toml."""
    monkeypatch.setenv("P2POOL_AGENT", "/nowhere")
    assert load_chain(config_file(None, str(agent)).path, {}).id == 31337
    assert config_file(None, None).path == Path("/nowhere/config.toml")


@pytest.mark.parametrize(
    "words",
    [
        f"pool eject {NODE}",
        f"pool leave {NODE}",
        "pool end 5 --yes",
        "pool create --name mine",
        f"pool start --founder {FOUNDER}",
    ],
)
def test_every_command_of_the_chain_finds_it(
    agent: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
) -> None:
    """They get as far as to the chain, which does not answer here."""
    monkeypatch.setenv("P2POOL_AGENT", str(agent))
    monkeypatch.setenv("P2POOL_KEY", str(write_key(agent / "key.json", b"\x07" * 32)))
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")
    monkeypatch.setattr("p2pool.drivers.chain.contracts.PoolContracts.of", _no_chain)
    assert main.run(words.split()) == errors.UNAVAILABLE, capsys.readouterr()
    assert "the chain of the test" in capsys.readouterr().err


def test_an_agent_named_by_url_is_not_the_one_of_the_environment(
    agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose pool may be another: a proof would be checked against the wrong one."""
    monkeypatch.setenv("P2POOL_AGENT", str(agent))
    monkeypatch.setenv("P2POOL_TOKEN", "t" * 43)
    words = ["verify", "leader", "--agent", "http://127.0.0.1:1"]
    assert main.run(words) == errors.MISCONFIGURED
    assert f"{agent.parent}/nothing/p2pool/config.toml cannot be read" in capsys.readouterr().err


def _no_chain(_: object) -> None:
    from p2pool.model.errors import ChainUnavailable

    raise ChainUnavailable("This is the chain of the test.")
