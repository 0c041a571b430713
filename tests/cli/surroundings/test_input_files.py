"""Every flag that takes a file takes `-`, and a specification is read as its writer meant it."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2pool.cli import errors, main
from p2pool.cli.shared.signer import opened_account
from p2pool.cli.shared.types import FilePath
from p2pool.cli.task import spec_file
from p2pool.cli.task.yaml_text import read_yaml
from p2pool.drivers.input_files import forget_input
from p2pool.model.errors import BadSpec
from tests.cli.surroundings.files import write_key, write_settings
from tests.cli.surroundings.standard_input import give


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_key(tmp_path / "key.json", b"\x07" * 32)
    write_settings(tmp_path / "pool.toml")
    for name in ("P2POOL_KEY", "P2POOL_CONFIG", "P2POOL_AGENT", "P2POOL_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    forget_input()
    return tmp_path


def test_a_key_and_a_passphrase_come_from_standard_input(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each alone; both at once are told, since the second would be empty."""
    key = (home / "key.json").read_bytes()
    give(monkeypatch, key)
    assert main.run(["wallet", "show", "-"]) == errors.OK
    give(monkeypatch, b"right\nmore\n")
    words = ["wallet", "show", "key.json", "--check", "--passphrase-file", "-"]
    assert main.run(words) == errors.OK
    give(monkeypatch, key)
    capsys.readouterr()
    assert main.run(["wallet", "show", "-", "--check", "--passphrase-file", "-"]) == 6
    assert "already, so it cannot be the" in capsys.readouterr().err
    assert main.run(["wallet", "new", "-"]) == errors.USAGE


def test_the_key_that_signs_comes_from_standard_input(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of requests and of transactions, or its passphrase; no file of that name is meant."""
    key = (home / "key.json").read_bytes()
    give(monkeypatch, key)
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")
    address = opened_account("-", None).address
    give(monkeypatch, b"right\n")
    assert opened_account("key.json", "-").address == address
    give(monkeypatch, key)
    words = ["pool", "end", "1", "--key", "-", "--config", "pool.toml", "--dry-run"]
    assert main.run(words) == errors.UNAVAILABLE  # Nobody serves the chain.


def test_a_directory_may_have_any_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is none."""
    assert FilePath(file_okay=False).convert("-", None, None) == home / "-"


def test_a_configuration_comes_from_standard_input(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though a command reads it twice: for the chain and for the pool."""
    from p2pool.cli.shared.chain import Sender, config_file

    give(monkeypatch, (home / "pool.toml").read_bytes())
    file = config_file(Path("-"), None)
    sender = Sender(file, None, None, dry_run=True, as_json=False)
    assert sender.pool(None).pool_id == 5


def test_a_proof_comes_from_standard_input(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`p2pool pool evidence --out - | p2pool verify evidence -`."""
    give(monkeypatch, b"no JSON")
    assert main.run(["verify", "evidence", "-"]) == errors.REFUSED
    assert "is not JSON" in capsys.readouterr().err


SPEC = {
    "name": "a",
    "image": "busybox",
    "env": {"A": "no", "B": "0777", "C": "1e3x"},
    "replicas": 2,
}
TEXTS = {
    "JSON": json.dumps(SPEC),
    "TOML": 'name="a"\nimage="busybox"\nreplicas=2\nenv={A="no",B="0777",C="1e3x"}\n',
    "YAML": "name: a\nimage: busybox\nreplicas: 2\nenv:\n  A: no\n  B: 0777\n  C: 1e3x\n",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_specification_is_read_in_three_forms(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """By its file's name, by what it looks like, and from standard input; to the same."""

    for name in (f"a.{kind.lower()}", "a", *(["a.yml"] if kind == "YAML" else [])):
        (home / name).write_text(TEXTS[kind])
        assert spec_file.from_file(Path(name)) == SPEC
    give(monkeypatch, TEXTS[kind].encode())
    assert spec_file.from_file(Path("-")) == SPEC


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("no", "no"), ("on", "on"), ("y", "y"), ("0777", "0777"), ("0x10", "0x10")),
        *(("80:80", "80:80"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), (".inf", ".inf")),
        *(("true", True), ("False", False), ("", None), ("~", None), ("12", 12), ("-5", -5)),
        *(("1.5", 1.5), ("1e3", 1000.0), ("'5'", "5"), ("+5", "+5"), ("1.", "1."), ("=", "=")),
    ],
)
def test_a_plain_word_of_yaml_is_what_it_looks_like(text: str, value: Any) -> None:
    """Not what YAML 1.1 made of it."""
    found = read_yaml(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "a: 1\na: 2", "the key 'a' stands twice"),
        ("a.yaml", "a: {b: 1, b: 2}", "the key 'b' stands twice"),
        ("a.yaml", "a: &x [1]\nb: *x", "an alias (*name) is not taken"),
        ("a.yaml", "a: !!python/object/apply:os.system ['x']", "tag"),
        ("a.yaml", "a: 1\n---\nb: 2", "single document"),
        ("a.yaml", "{[a]: 1}", "a key is a text"),
        ("a.yaml", "[" * 5000, "is not YAML"),
        ("a.yaml", "- a", "does not hold an object"),
        ("a.json", '{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("a.json", '{"a": NaN}', "NaN is no number"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", "\ufeff", "is not JSON"),
        ("a.toml", "a = 1\na = 2", "is not TOML"),
        ("a", "just words", "does not hold an object"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(
    home: Path, name: str, text: str, said: str
) -> None:
    """A key that stands twice, an alias, a tag; and what is no specification at all."""
    (home / name).write_text(text)
    with pytest.raises(BadSpec) as caught:
        spec_file.from_file(Path(name))
    assert said in str(caught.value)


def test_a_flag_does_not_hide_what_is_wrong_with_the_file() -> None:
    """A number where a table belongs stays, to be refused."""
    assert spec_file.merged({"resources": 5}, {"resources": {"cpu_milli": 1}}) == {"resources": 5}
