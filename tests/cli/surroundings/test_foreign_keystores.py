"""Keystores as other wallets write them are opened; what is none is told, and stops nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from p2pool.cli import errors, main

KEY = b"\x07" * 32
ADDRESS = Account.from_key(KEY).address.lower()
OURS: dict[str, Any] = Account.encrypt(KEY, "right", "pbkdf2", 1)
SCRYPT: dict[str, Any] = Account.encrypt(KEY, "right", "scrypt", 2)


def upper(value: Any) -> Any:
    """With names in upper case, as some old wallets."""
    return {k.upper(): upper(v) for k, v in value.items()} if isinstance(value, dict) else value


def prefixed(value: Any) -> Any:
    """With 0x before all hex."""
    if isinstance(value, dict):
        return {key: prefixed(item) for key, item in value.items()}
    return (
        f"0x{value}" if isinstance(value, str) and len(value) > 30 and "-" not in value else value
    )


def without_address() -> Any:
    """As foundry's `cast wallet import` writes it."""
    return {key: item for key, item in SCRYPT.items() if key != "address"}


def changed(*path: str, to: Any, of: Any = SCRYPT) -> Any:
    """A keystore with one part changed."""
    copy = json.loads(json.dumps(of))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return copy


GOOD: dict[str, Any] = {
    "geth": SCRYPT,
    "pbkdf2": OURS,
    "ethers 5": {"Crypto": SCRYPT["crypto"], **{k: SCRYPT[k] for k in ("address", "version")}}
    | {"x-ethers": {"client": "ethers.js", "gethFilename": "UTC--x"}},
    "upper case": upper(SCRYPT),
    "with 0x": prefixed(SCRYPT),
    "a checksummed address": changed("address", to=Account.from_key(KEY).address),
    "foundry": without_address(),
    "version as text": changed("version", to="3"),
    "a kdf in capitals": changed("crypto", "kdf", to="Scrypt"),
    "an empty address": changed("address", to=""),
}
BAD: dict[str, tuple[Any, str]] = {
    "a number": (5, "is not a version 3 keystore"),
    "a list": ([SCRYPT], "is not a version 3 keystore"),
    "version 4": (changed("version", to=4), "is not a version 3 keystore"),
    "MetaMask's vault": ({"data": "x", "iv": "y", "salt": "z"}, "is not a version 3 keystore"),
    "no parameters": (changed("crypto", "kdfparams", to={}), "is not a version 3 keystore"),
    "parameters that are a list": (changed("crypto", "kdfparams", to=[1]), "is not a version 3"),
    "no cipher parameters": (changed("crypto", "cipherparams", to=None), "is not a version 3"),
    "another cipher": (
        changed("crypto", "cipher", to="aes-128-cbc"),
        "is not a version 3 keystore",
    ),
    "another kdf": (changed("crypto", "kdf", to="argon2id"), "is not a version 3 keystore"),
    "a kdf that is a list": (
        changed("crypto", "kdf", to=["scrypt"]),
        "is not a version 3 keystore",
    ),
    "an odd n": (changed("crypto", "kdfparams", "n", to=3), "is not a version 3 keystore"),
    "n as text": (changed("crypto", "kdfparams", "n", to="2"), "is not a version 3 keystore"),
    "n below 0": (changed("crypto", "kdfparams", "n", to=-2), "is not a version 3 keystore"),
    "a huge n": (changed("crypto", "kdfparams", "n", to=2**40), "more memory or time"),
    "a huge p": (changed("crypto", "kdfparams", "p", to=2**30), "more memory or time"),
    "a huge count": (changed("crypto", "kdfparams", "c", to=2**40, of=OURS), "more memory or time"),
    "an absurd n": (changed("crypto", "kdfparams", "n", to=10**400), "more memory or time"),
    "a huge length": (changed("crypto", "kdfparams", "dklen", to=2**40), "is not a version 3"),
    "a short length": (changed("crypto", "kdfparams", "dklen", to=1), "is not a version 3"),
    "no salt": (changed("crypto", "kdfparams", "salt", to=None), "is not a version 3 keystore"),
    "a salt without hex": (changed("crypto", "kdfparams", "salt", to="xyz"), "is not a version 3"),
    "no iv": (changed("crypto", "cipherparams", to={}), "is not a version 3 keystore"),
    "no ciphertext": (changed("crypto", "ciphertext", to=7), "is not a version 3 keystore"),
    "another mac": (changed("crypto", "mac", to="00" * 32), "Wrong passphrase"),
    "a mac without hex": (changed("crypto", "mac", to="x"), "is not a version 3 keystore"),
    "another's address": (changed("address", to="11" * 20), "and the file says 0x1111"),
    "half an address": (changed("address", to="11"), "is none: 40 hex digits"),
    "an address that is a list": (changed("address", to=[1]), "is none: 40 hex digits"),
}

Check = Callable[[Any], tuple[int, str, str]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """`wallet show --check` of such a file."""
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")

    def run(value: Any) -> tuple[int, str, str]:
        path = tmp_path / "key.json"
        path.write_text(json.dumps(value))
        code = main.run(["wallet", "show", "--check", str(path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("wallet", GOOD)
def test_what_other_wallets_write_is_opened(check: Check, wallet: str) -> None:
    """And it is the account that they mean."""
    code, out, err = check(GOOD[wallet])
    assert (code, ADDRESS in out) == (errors.OK, True), err


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_keystore_is_told(check: Check, what: str) -> None:
    """With exit code 6, at once, whatever the file asks of the machine."""
    value, said = BAD[what]
    code, _, err = check(value)
    assert (code, said in err) == (errors.MISCONFIGURED, True), err
    assert "Traceback" not in err


def test_a_file_without_an_address_says_how_to_see_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no passphrase is asked for."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(without_address()))
    assert main.run(["wallet", "show", str(path)]) == errors.MISCONFIGURED
    assert f"p2pool wallet show --check {path}" in capsys.readouterr().err


def test_a_file_without_an_address_is_not_unlocked_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands look for an unlocked key by its address: the line that is named mends it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")
    path = tmp_path / "key.json"
    path.write_text(json.dumps(without_address()))
    assert main.run(["wallet", "unlock", str(path)]) == errors.MISCONFIGURED
    assert f'"address": "{ADDRESS[2:]}"' in capsys.readouterr().err
    path.write_text(json.dumps({**without_address(), "address": ADDRESS[2:]}))
    assert main.run(["wallet", "unlock", str(path), "--for", "1m", "--json"]) == errors.OK
    assert json.loads(capsys.readouterr().out)["data"] == {"address": ADDRESS, "unlocked_s": 60}
    assert main.run(["wallet", "lock", str(path), "--json"]) == errors.OK
    assert json.loads(capsys.readouterr().out)["data"]["was_unlocked"]
