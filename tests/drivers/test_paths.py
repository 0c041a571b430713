"""Paths become absolute where they enter, so nothing later depends on where a process started."""

import os
from pathlib import Path

import click
import pytest

from p2pool.cli.shared.process import data_directory
from p2pool.client.discovery import default_directory as agents_directory
from p2pool.drivers.config.schema import default_directory, load_config
from p2pool.drivers.keys.keystore import read_passphrase
from p2pool.drivers.paths import absolute_path
from p2pool.model.errors import Misconfigured
from tests.cli.command_tree import every_command
from tests.drivers.least_config import GOOD

NOBODY = "~nobody-of-that-name/x"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test starts in a directory of its own, which is also its user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("given", ["data", "./data", "x/../data", "~/data"])
def test_a_data_directory_is_absolute(here: Path, given: str) -> None:
    """By the option and by the variable, for agents and for those who look for them."""
    (here / "x").mkdir()
    assert data_directory(Path(given)) == here / "data"
    for found in (default_directory, agents_directory):
        assert found({"P2POOL_DATA_DIR": given}) == here / "data"


def test_every_path_of_the_configuration_is_absolute(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file and in the environment, alone and in lists."""
    text = '[api]\ntls_key = "key.pem"\n[runtime]\nbind_directories = ["~/sets", "more", "/abs"]\n'
    (here / "config.toml").write_text(GOOD + text)
    monkeypatch.setenv("P2POOL_API__TLS_CERTIFICATE", "./cert.pem")
    config = load_config(Path("config.toml"))
    assert (config.api.tls_key, config.api.tls_certificate) == (here / "key.pem", here / "cert.pem")
    assert config.runtime.bind_directories == (here / "sets", here / "more", Path("/abs"))


def test_a_home_that_nobody_has_is_a_sentence(here: Path) -> None:
    """`~name` of a user who does not exist, wherever a path may stand."""
    (here / "config.toml").write_text(GOOD + f'[api]\ntls_key = "{NOBODY}"\n')
    with pytest.raises(Misconfigured, match=r"api\.tls_key: .*has no home"):
        load_config(here / "config.toml")
    for found in (default_directory, agents_directory):
        with pytest.raises(Misconfigured, match="has no home"):
            found({"P2POOL_DATA_DIR": NOBODY})
    with pytest.raises(Misconfigured, match="has no home"):
        read_passphrase("the key", file=Path(NOBODY))


def test_a_passphrase_file_may_be_in_the_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the variable, where no shell has written out the home."""
    (here / "word").write_text("open\n")
    monkeypatch.setenv("P2POOL_PASSPHRASE_FILE", "~/word")
    assert read_passphrase("the key") == "open"


def test_a_path_with_a_character_that_none_has_is_refused() -> None:
    """A configuration can hold it; opening it would be no failure of the system's."""
    with pytest.raises(Misconfigured, match="null character"):
        absolute_path("a\0b")


def test_every_option_that_is_a_path_gives_an_absolute_one(here: Path) -> None:
    """A new option with click's own type would hand on what was typed."""
    paths = [
        (command, parameter, parameter.type)
        for command, found in every_command()
        for parameter in found.params
        if isinstance(parameter.type, click.Path)
    ]
    assert len(paths) > 10
    for _, parameter, kind in paths:
        stdin = Path("-") if kind.file_okay else here / "-"
        for given, wanted in (("~/x", here / "x"), ("x", here / "x"), ("-", stdin)):
            assert kind.convert(given, parameter, None) == wanted, parameter.name
    assert os.getcwd() == str(here)
