"""A data directory names what its agent was started with: it alone starts the agent again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2pool.agent.options import AgentOptions
from p2pool.cli import errors, main
from p2pool.drivers.chain.stakes import StakePolicy
from tests.cli.surroundings.files import write_key, write_settings

START = "start.json"
FIRST, SECOND, PROVIDER = b"\x07" * 32, b"\x08" * 32, b"\x09" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody keeps configuration and keys, beside the data directory `data`."""
    write_settings(tmp_path / "pool.toml")
    write_key(tmp_path / "node.key", FIRST)
    write_key(tmp_path / "provider.key", PROVIDER)
    (tmp_path / "passphrase").write_text("right\n")
    (tmp_path / "data").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    for name in ("P2POOL_CONFIG", "P2POOL_PASSPHRASE", "P2POOL_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


Started = Callable[[str], None]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[AgentOptions]:
    """Each start of an agent that succeeded, in place of running it."""
    seen: list[AgentOptions] = []

    async def run_agent(options: AgentOptions, stop: trio.Event, started: Started) -> None:
        seen.append(options)
        started("http://127.0.0.1:1")

    monkeypatch.setattr("p2pool.agent.agent.run_agent", run_agent)
    return seen


FULL = (
    *("--config", "pool.toml", "--node-key", "node.key", "--passphrase-file", "passphrase"),
    *("--provider-key", "provider.key", "--stop-tasks"),
)


def run(*words: str) -> int:
    return main.run(["agent", "run", "--data-dir", "data", *words])


def test_the_directory_alone_starts_the_agent_again(
    home: Path, starts: list[AgentOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its configuration, overrides of it, keys, passphrase and flags, from anywhere."""
    monkeypatch.setenv("P2POOL_API__BIND", "127.0.0.1:7")
    assert run(*FULL) == errors.OK
    assert (home / "data" / START).stat().st_mode & 0o777 == 0o600
    monkeypatch.delenv("P2POOL_API__BIND")
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main.run(["agent", "run", "--data-dir", str(home / "data")]) == errors.OK
    first, again = starts
    assert again.config == first.config
    assert (again.config.pool.id, again.config.api.bind) == (5, "127.0.0.1:7")
    assert again.provider is not None
    assert first.provider is not None
    assert (again.node.address, again.provider.address) == (
        first.node.address,
        first.provider.address,
    )
    assert again.stop_tasks


@pytest.mark.parametrize("verb", ["run", "check"])
def test_without_a_configuration_it_names_what_counts(
    home: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """The directory of an agent, by the option that this command has."""
    assert main.run(["agent", verb, "--data-dir", "data"]) == errors.MISCONFIGURED
    said = capsys.readouterr().err
    assert "an agent that has one: --data-dir DIR." in said
    assert "P2POOL_AGENT" not in said


def test_what_may_be_staked_is_remembered(
    home: Path, starts: list[AgentOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    """As the flags are; without a provider's key there is nobody to stake for."""
    assert run(*FULL, "--stake-max", "2.5", "--stake-top-up") == errors.OK
    assert run() == errors.OK
    assert run("--stake-max", "3") == errors.OK
    assert run(*FULL) == errors.OK
    assert [one.stake for one in starts] == [
        StakePolicy(25 * 10**17, True),
        StakePolicy(25 * 10**17, True),
        StakePolicy(3 * 10**18, True),
        StakePolicy.said(starts[3].config.chain.id, None, False),
    ]
    assert run(*FULL, "--stake-max", "300wei") == errors.OK
    assert starts[-1].stake == StakePolicy(300, False)
    assert run(*FULL, "--stake-max", "2,5") == errors.USAGE
    assert run(*FULL[:6], "--stake-max", "2") == errors.USAGE
    assert "need --provider-key" in capsys.readouterr().err


def test_a_provider_key_that_was_taken_away_is_not_missed(
    home: Path, starts: list[AgentOptions]
) -> None:
    """Once the node is in the pool its owner takes the key off the machine."""
    assert run(*FULL) == errors.OK
    (home / "provider.key").unlink()
    assert run() == errors.OK
    assert starts[1].provider is None


def test_who_names_a_file_describes_a_new_start(home: Path, starts: list[AgentOptions]) -> None:
    """A provider's key, left out on purpose, does not come back."""
    assert run(*FULL) == errors.OK
    assert run(*FULL[:6]) == errors.OK
    assert (starts[1].provider, starts[1].stop_tasks) == (None, False)
    assert run() == errors.OK
    assert starts[2].provider is None


def test_no_error_suggests_another_key_where_there_was_one(
    home: Path, starts: list[AgentOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    """The key that it ran with is named, or is to be put back; never another identity."""
    assert run(*FULL) == errors.OK
    capsys.readouterr()
    assert run("--config", "pool.toml") == errors.MISCONFIGURED
    said = capsys.readouterr().err
    assert f"--node-key {home / 'node.key'}" in said
    assert "wallet new" not in said
    (home / "node.key").rename(home / "moved.key")
    assert run() == errors.MISCONFIGURED
    said = capsys.readouterr().err
    assert "Put it back from a backup" in said
    assert "wallet new" not in said
    (home / "data" / START).unlink()
    (home / "data" / "store.db").write_text("")
    assert run("--config", "pool.toml") == errors.MISCONFIGURED
    said = capsys.readouterr().err
    assert "the node key that it ran with" in said
    assert "wallet new" not in said
    (home / "data" / "store.db").unlink()
    assert run("--config", "pool.toml") == errors.MISCONFIGURED
    assert f"p2pool wallet new {Path('data/node.json').absolute()}" in capsys.readouterr().err
    assert len(starts) == 1


def test_another_nodes_key_does_not_take_the_directory(
    home: Path, starts: list[AgentOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its store holds what the first one promised."""
    assert run(*FULL) == errors.OK
    write_key(home / "other.key", SECOND)
    words = ("--config", "pool.toml", "--passphrase-file", "passphrase")
    assert run(*words, "--node-key", "other.key") == errors.MISCONFIGURED
    said = capsys.readouterr().err
    assert f"belongs to the node {starts[0].node.address.lower()}" in said
    assert str(home / "node.key") in said


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "config": 3}', "[" * 9999]
)
def test_a_damaged_record_is_told_and_mended_by_the_next_start(
    home: Path, starts: list[AgentOptions], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Whoever names the files needs no record."""
    record = home / "data" / START
    record.write_text(text)
    assert run() == errors.MISCONFIGURED
    assert "--config FILE --node-key FILE" in capsys.readouterr().err
    assert run(*FULL) == errors.OK
    assert json.loads(record.read_text())["config"] == str(home / "pool.toml")


def test_an_agent_runs_whose_record_cannot_be_kept(
    home: Path,
    starts: list[AgentOptions],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk costs the record alone, and that is said."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("p2pool.drivers.config.start_record.write_start", full)
    assert run(*FULL) == errors.OK
    assert "the next start needs its options again: No space left" in capsys.readouterr().err


def test_a_passphrase_for_no_key_is_wrong_usage(home: Path, starts: list[AgentOptions]) -> None:
    """It would be accepted and ignored."""
    words = (*FULL[:6], "--provider-passphrase-file", "passphrase")
    assert run(*words) == errors.USAGE
    assert starts == []


def test_a_remembered_passphrase_file_is_the_one_that_was_read(
    home: Path, starts: list[AgentOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind a link and `..`, which lead elsewhere than the text says."""
    (home / "far" / "deep").mkdir(parents=True)
    (home / "far" / "secret").write_text("right\n")
    (home / "link").symlink_to(home / "far" / "deep")
    monkeypatch.setenv("P2POOL_PASSPHRASE_FILE", "link/../secret")
    assert run("--config", "pool.toml", "--node-key", "node.key") == errors.OK
    monkeypatch.delenv("P2POOL_PASSPHRASE_FILE")
    assert run() == errors.OK
    assert len(starts) == 2
