"""`p2pool agent init` judges each answer before it writes, and leaves nothing half written."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2pool.cli import main
from p2pool.drivers.keys import keystore
from p2pool.model.errors import BadKey, Malformed, Misconfigured
from tests.cli.shell import PASSPHRASE

CONTRACTS = {
    name: f"0x{number:040x}"
    for number, name in enumerate(("network", "pool", "registry", "stake", "domains", "token"), 1)
}
FLAGS = tuple(f"--{name}-contract={at}" for name, at in CONTRACTS.items())
CHAIN = "[chain]\nid = 31337\nendpoints = ['http://127.0.0.1:9']\n"
ADDRESSES = "".join(f"{name} = '{at}'\n" for name, at in CONTRACTS.items())
DOCUMENT = f"{CHAIN}[chain.addresses]\n{ADDRESSES}[pool]\nid = 7\n"


def init(directory: Path, *words: str, pool: str = "7", passphrase: str = PASSPHRASE) -> Result:
    """The result of `p2pool agent init` without a chain and without a terminal."""
    line = ["agent", "init", "--data-dir", str(directory), "--light", "--yes", "--no-check"]
    chain = ("--chain", "local", *FLAGS) if pool.isdigit() else ()
    environment = {"P2POOL_PASSPHRASE": passphrase}
    return CliRunner().invoke(main.cli, [*line, "--pool", pool, *chain, *words], env=environment)


def test_what_the_refusals_are_made_from_is_taken(tmp_path: Path) -> None:
    """By number and by document, so that each refusal below is for what it changes."""
    for number, pool in enumerate(("7", str(tmp_path / "pool.toml"))):
        (tmp_path / "pool.toml").write_text(DOCUMENT)
        assert init(tmp_path / str(number), pool=pool).exit_code == 0


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("\N{SUPERSCRIPT TWO}", "cannot be read"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "cannot be read"),
        ("1" * 5000, "no pool's number"),
        (str(2**63), "no pool's number"),
    ],
)
def test_a_pools_number_is_written_in_digits_that_we_read(
    tmp_path: Path, pool: str, said: str
) -> None:
    """Those of other scripts are none, and not another pool; so is what no contract holds."""
    error = init(tmp_path / "agent", pool=pool).exception
    assert isinstance(error, Misconfigured), error
    assert said in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{DOCUMENT}[network]\nbootstrap = 5\n", "network.bootstrap: must be a list"),
        (f"{DOCUMENT}[network]\nbootstrap = [['a']]\n", "network.bootstrap: must be text"),
        (f"{DOCUMENT}[network]\nbootstrap = ['a']\n", "can never be dialled"),
        (DOCUMENT.replace("id = 7", "id = '7'"), "pool.id: must be a whole number"),
        (DOCUMENT.replace("id = 7", "id = -1"), "pool.id: -1"),
        (DOCUMENT.replace("id = 7", "id = " + "7" * 5000), "is no TOML"),
        (DOCUMENT.replace("id = 7", ""), "pool.id: is missing"),
        (DOCUMENT.replace("id = 31337", "id = true"), "chain.id: must be a whole number"),
        (DOCUMENT.replace("id = 31337", "ids = 1"), "chain.ids: is unknown"),
        (DOCUMENT.replace("id = 31337", "confirmations = 2.0"), "chain.confirmations: must be"),
        (f"{CHAIN}addresses = 5\n[pool]\nid = 7\n", "chain.addresses: must be a table"),
        (f"{CHAIN}[pool]\nid = 7\n[chain.addresses]\npool = 5\n", "chain.addresses.pool: must be"),
    ],
)
def test_a_strangers_document_is_judged_whole(tmp_path: Path, text: str, said: str) -> None:
    """Each value at its place, as one's own configuration would be."""
    (path := tmp_path / "pool.toml").write_text(text)
    error = init(tmp_path / "agent", pool=str(path)).exception
    assert isinstance(error, Malformed), error
    assert said in error.message
    assert str(path) in error.message
    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--listen", ""), "--listen: '' is not an address to listen on"),
        (("--listen", "/dns4/a.b/tcp/4001"), "--listen: "),
        (("--listen", "/ip4/0.0.0.0/tcp/65536"), "--listen: "),
        (("--api-bind", "x"), "--api-bind: 'x' is not HOST:PORT"),
        (("--api-bind", ""), "--api-bind: "),
        (("--api-bind", "127.0.0.1:65536"), "--api-bind: "),
    ],
)
def test_where_nothing_can_listen_is_wrong_usage(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """The agent would not start with it."""
    result = init(tmp_path / "agent", *words)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert not (tmp_path / "agent").exists()


def test_where_something_can_listen_is_taken(tmp_path: Path) -> None:
    """With any port, of either family, by a name of this machine."""
    listen = ("--listen", "/ip6/::/tcp/0", "--listen", " /ip4/127.0.0.1/tcp/1")
    result = init(tmp_path / "agent", *listen, "--api-bind", "localhost:0")
    assert result.exit_code == 0, result.exception


def test_no_error_names_a_file_that_is_gone(tmp_path: Path) -> None:
    """What is wrong came from the answers."""
    error = init(tmp_path / "agent", "--announce", "x").exception
    assert isinstance(error, Misconfigured)
    assert error.message.startswith("The configuration that these answers make has 1 problem(s)")


def test_a_providers_key_that_is_there_is_found_before_anything_is_written(tmp_path: Path) -> None:
    """The same command without it succeeds then."""
    (directory := tmp_path / "agent").mkdir(mode=0o700)
    keystore.import_key_file(directory / "provider.json", b"p" * 32, PASSPHRASE, light=True)
    (other := tmp_path / "other").write_text((b"o" * 32).hex())
    (mine := tmp_path / "mine").write_text((b"m" * 32).hex())
    node = ("--import-node-key", str(mine))
    error = init(directory, *node, "--import-provider-key", str(other)).exception
    assert isinstance(error, BadKey)
    assert "provider.json is there already" in error.message
    assert [path.name for path in directory.iterdir()] == ["provider.json"]
    assert init(directory, *node).exit_code == 0


def test_a_passphrase_that_fails_at_the_second_key_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It differs, is empty, or Ctrl-C ends the question."""
    for second in (BadKey("The two passphrases differ."), "", KeyboardInterrupt()):
        told = iter([PASSPHRASE, second])

        def read(*_: object, given: object = told, **__: object) -> object:
            one = next(given)  # type: ignore[call-overload]
            if isinstance(one, BaseException):
                raise one
            return one

        monkeypatch.setattr(keystore, "read_passphrase", read)
        result = init(tmp_path / "agent", "--new-provider-key")
        assert result.exit_code != 0
        assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize("failed", ["provider.json", "config.toml"])
def test_what_ends_the_writing_midway_takes_back_what_was_written(
    tmp_path: Path, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or Ctrl-C while a key is encrypted; the same command succeeds afterwards."""
    whole = keystore.write_new

    def write_new(path: Path, data: bytes) -> None:
        if path.name == failed:
            raise Misconfigured("The disk is full.")
        whole(path, data)

    (mine := tmp_path / "mine").write_text((b"m" * 32).hex())
    words = ("--import-node-key", str(mine), "--new-provider-key")
    monkeypatch.setattr(keystore, "write_new", write_new)
    assert isinstance(init(tmp_path / "agent", *words).exception, Misconfigured)
    assert list((tmp_path / "agent").iterdir()) == []
    monkeypatch.undo()
    assert init(tmp_path / "agent", *words).exit_code == 0
