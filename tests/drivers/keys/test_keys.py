"""Key files: private, whole, never overwritten, and with a clear word when something is wrong."""

import json
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from p2pool.drivers.keys import keystore
from p2pool.model.data_dir import API_TOKEN_FILE
from p2pool.model.errors import BadKey, Conflict, Misconfigured

PASSPHRASE = "correct horse"


def quiet(_: str) -> None:
    """No progress notes in these tests."""


def make(path: Path) -> bytes:
    """A key file with a cheap scrypt."""
    return keystore.import_key_file(
        path, secrets.token_bytes(32), PASSPHRASE, light=True, note=quiet
    )


def test_a_new_key_opens_with_its_passphrase(tmp_path: Path) -> None:
    """The address in the file, of the account and returned are one; the mode is 0600."""
    path = tmp_path / "node.json"
    address = make(path)
    account = keystore.load_account(path, PASSPHRASE, note=quiet)
    assert bytes.fromhex(account.address[2:]) == address == keystore.key_file_address(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["crypto"]["kdf"] == "scrypt"
    assert [p.name for p in tmp_path.iterdir()] == ["node.json"]


def test_an_imported_key_keeps_its_address(tmp_path: Path) -> None:
    """A known private key gives the address that every wallet gives it (anvil's first)."""
    key = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    address = keystore.import_key_file(tmp_path / "k", key, PASSPHRASE, light=True, note=quiet)
    assert address.hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second key at the same path is refused and the first one still opens."""
    path = tmp_path / "node.json"
    make(path)
    before = path.read_bytes()
    with pytest.raises(Conflict, match="already exists"):
        make(path)
    assert path.read_bytes() == before


def test_a_wrong_passphrase_is_told_as_such(tmp_path: Path) -> None:
    """Not as a MAC mismatch."""
    make(tmp_path / "k")
    with pytest.raises(BadKey, match="Wrong passphrase"):
        keystore.load_account(tmp_path / "k", "wrong", note=quiet)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 3}',
        '{"version": 3, "crypto": {}}',
        '{"version": 3, "crypto": {"kdf": "scrypt", "kdfparams": 3}}',
        "[" * 60_000,
        "\x00",
    ],
)
def test_what_is_no_keystore_is_told(tmp_path: Path, text: str) -> None:
    """Any file gives an account or BadKey, never a traceback."""
    (tmp_path / "k").write_text(text)
    with pytest.raises(BadKey, match="not a version 3 keystore"):
        keystore.load_account(tmp_path / "k", PASSPHRASE, note=quiet)


def test_missing_files_and_directories_are_told(tmp_path: Path) -> None:
    """With the path, and what is wrong with it."""
    with pytest.raises(BadKey, match="No such file"):
        keystore.load_account(tmp_path / "none", PASSPHRASE)
    with pytest.raises(Misconfigured, match="cannot be written"):
        make(tmp_path / "none" / "k")
    with pytest.raises(BadKey, match="empty"):
        keystore.import_key_file(tmp_path / "k", secrets.token_bytes(32), "", light=True)


def test_a_full_strength_key_says_what_it_does(tmp_path: Path) -> None:
    """The progress line comes before the seconds of scrypt."""
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keystore.import_key_file(tmp_path / "k", secrets.token_bytes(32), PASSPHRASE, note=stop)
    assert "Encrypting k" in said[0]


def test_where_a_passphrase_comes_from(tmp_path: Path) -> None:
    """The file wins over the environment, the environment over the prompt."""
    file = tmp_path / "p"
    file.write_text("from file\r\nsecond line\n")
    env = {"P2POOL_PASSPHRASE": "from env"}
    by_env = {"P2POOL_PASSPHRASE_FILE": str(file), **env}

    def prompt(_: str) -> str:
        return "from prompt"

    assert keystore.read_passphrase("k", file=file, environ=env) == "from file"
    assert keystore.read_passphrase("k", environ=by_env) == "from file"
    assert keystore.read_passphrase("k", environ=env, prompt=prompt) == "from env"
    assert keystore.read_passphrase("k", environ={}, prompt=prompt, confirm=True) == "from prompt"


def test_two_passphrases_that_differ_are_refused() -> None:
    """A typing error in a new key's passphrase would lose the key."""
    answers = iter(["one", "two"])
    with pytest.raises(BadKey, match="differ"):
        keystore.read_passphrase("k", environ={}, prompt=lambda _: next(answers), confirm=True)


def test_without_a_terminal_the_error_names_the_other_ways() -> None:
    """A service has nobody to ask."""
    code = (
        "from p2pool.drivers.keys.keystore import read_passphrase; read_passphrase('k', environ={})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert "P2POOL_PASSPHRASE_FILE" in done.stderr


def test_the_peer_seed_is_made_once(tmp_path: Path) -> None:
    """32 bytes, 0600, the same at each start, with a public key of 32 bytes."""
    seed = keystore.load_or_make_peer_seed(tmp_path)
    path = tmp_path / keystore.PEER_SEED_NAME
    assert path.read_bytes() == seed == keystore.load_or_make_peer_seed(tmp_path)
    assert len(seed) == len(keystore.peer_key_of(seed)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_spoilt_peer_seed_is_refused(tmp_path: Path) -> None:
    """A short file or one that others can read is never used, nor replaced."""
    path = tmp_path / keystore.PEER_SEED_NAME
    keystore.load_or_make_peer_seed(tmp_path)
    path.chmod(0o644)
    with pytest.raises(BadKey, match="chmod 600"):
        keystore.load_or_make_peer_seed(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(BadKey, match="5 bytes, not 32"):
        keystore.load_or_make_peer_seed(tmp_path)
    assert path.read_bytes() == b"short"


def test_the_token_is_made_once(tmp_path: Path) -> None:
    """A second start finds it, and nobody else can read it."""
    token = keystore.load_or_make_token(tmp_path)
    assert token == keystore.load_or_make_token(tmp_path)
    assert len(token) == 43
    assert stat.S_IMODE((tmp_path / API_TOKEN_FILE).stat().st_mode) == 0o600
