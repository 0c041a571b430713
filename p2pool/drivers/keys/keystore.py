"""Key files: the accounts' keystores, the peer key's seed and the API's token.

An account's key (node, provider, manager) is a version 3 keystore as geth writes it, opened with a
passphrase from a file, the environment or a prompt, never from argv, where everybody can read it.
The peer key's seed and the token are raw files that only their owner may read.

Invariants: no file is ever overwritten; an existing file is complete (written aside, synced,
linked); each secret read or made here is registered, so that no log line shows it. eth-account
takes more than a second to import: only who sends transactions needs it.
"""

import getpass
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pool.drivers.input_files import input_path, read_input
from p2pool.drivers.redaction import register_secret
from p2pool.model import limits
from p2pool.model.data_dir import API_TOKEN_FILE
from p2pool.model.errors import BadKey, Conflict, Misconfigured, P2poolError
from p2pool.model.ids import PEER_KEY_BYTES, Address, PeerKey
from p2pool.wire.account import Account
from p2pool.wire.keystore import ciphers, contents

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PEER_SEED_NAME = "peer.key"
NEXT_PEER_SEED_NAME = "peer.key.next"
PASSPHRASE_VARIABLE = "P2POOL_PASSPHRASE"
PASSPHRASE_FILE_VARIABLE = "P2POOL_PASSPHRASE_FILE"
SCRYPT_N = 262_144
SCRYPT_N_LIGHT = 4_096

Note = Callable[[str], None]


def note_on_stderr(text: str) -> None:
    """The default sink for progress notes."""
    print(text, file=sys.stderr, flush=True)


# --- passphrases -------------------------------------------------------------------------------


def read_passphrase(
    purpose: str,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    prompt: Callable[[str], str] | None = None,
    confirm: bool = False,
) -> str:
    """The passphrase for `purpose` ("the node key"), from the first of these that exists: `file`,
    P2POOL_PASSPHRASE_FILE, P2POOL_PASSPHRASE, a prompt on the terminal.

    `confirm` asks twice, for a new key. Raises BadKey if there is no passphrase, or the two
    differ.
    """
    env = os.environ if environ is None else environ
    if file is None and env.get(PASSPHRASE_FILE_VARIABLE):
        file = Path(env[PASSPHRASE_FILE_VARIABLE])
    if file is not None:
        passphrase = _first_line(input_path(file))
    elif PASSPHRASE_VARIABLE in env:
        passphrase = env[PASSPHRASE_VARIABLE]
    else:
        passphrase = _ask(purpose, prompt, confirm)
    register_secret(passphrase)
    return passphrase


def _first_line(file: Path) -> str:
    text = _read(file, limits.PASSPHRASE_FILE_MAX_BYTES, "passphrase file")
    try:
        return text.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise BadKey(f"The passphrase file {file} is not UTF-8 text.") from error


def _ask(purpose: str, prompt: Callable[[str], str] | None, confirm: bool) -> str:
    if prompt is None:
        if not sys.stdin.isatty():
            raise BadKey(
                f"No passphrase for {purpose}, and no terminal to ask on.",
                hint=f"Use --passphrase-file, or set {PASSPHRASE_FILE_VARIABLE} "
                f"or {PASSPHRASE_VARIABLE}.",
            )
        prompt = getpass.getpass
    passphrase = prompt(f"Passphrase for {purpose}: ")
    if confirm and prompt("The same again: ") != passphrase:
        raise BadKey("The two passphrases differ.", hint="Try again; nothing was written.")
    return passphrase


# --- accounts ----------------------------------------------------------------------------------


def import_key_file(
    path: Path,
    private_key: bytes,
    passphrase: str,
    *,
    light: bool = False,
    note: Note = note_on_stderr,
) -> Address:
    """Write the keystore (0600) of a private key (32 bytes) and return its address.

    `light` is for development chains only: a cheap scrypt. Raises Conflict if `path` exists,
    BadKey for an empty passphrase or a number that is no key, Misconfigured if it cannot be
    written.
    """
    register_secret(private_key)
    register_secret(passphrase)
    if path.exists():
        raise _exists(path)
    if not passphrase:
        raise BadKey("The passphrase is empty.", hint="Choose one; it protects the key's file.")
    if not light:
        note(f"Encrypting {path.name} (a few seconds, 256 MB of memory) ...")
    try:
        account = Account(private_key)
    except ValueError as error:
        raise BadKey("The private key is not a number that secp256k1 allows.") from error
    address = Address(bytes.fromhex(account.address[2:]))
    keystore = ciphers.encrypt(
        private_key, address, passphrase, n=SCRYPT_N_LIGHT if light else SCRYPT_N
    )
    write_new(path, json.dumps(keystore, indent=2).encode() + b"\n")
    return address


def key_file_address(path: Path) -> Address:
    """The address that a keystore says it holds; needs no passphrase. Raises BadKey."""
    address = address_said(path)
    if address is None:
        raise BadKey(
            f"The key file {path} does not say its address.",
            hint=f"Some wallets leave it out; its passphrase shows it: p2pool wallet show --check"
            f" {path}",
        )
    return address


def address_said(path: Path) -> Address | None:
    """The address that a keystore says it holds, None if it says none. Raises BadKey."""
    return contents.address_in(_keystore(path), path)


def load_account(path: Path, passphrase: str, *, note: Note = note_on_stderr) -> "LocalAccount":
    """Open a keystore, for whoever sends transactions. Raises as `open_key_file`."""
    key = open_key_file(path, passphrase, note=note).key
    from eth_account import Account as EthAccount

    account: LocalAccount = EthAccount.from_key(key)
    return account


def open_key_file(path: Path, passphrase: str, *, note: Note = note_on_stderr) -> Account:
    """Open a keystore. Raises BadKey: missing file, not a keystore, wrong passphrase, or the key of
    another address than the file says."""
    register_secret(passphrase)
    keystore = _keystore(path)
    if contents.work(keystore["crypto"], path) > limits.KEYSTORE_NOTED_BYTES:
        note(f"Opening {path.name} (a few seconds) ...")
    account = contents.open_keystore(keystore, passphrase, path)
    register_secret(account.key)
    return account


def _keystore(path: Path) -> dict[str, Any]:
    return contents.keystore_of(_read(path, limits.KEYSTORE_MAX_BYTES, "key file"), path)


# --- the peer key and the token ----------------------------------------------------------------


def load_or_make_peer_seed(directory: Path) -> bytes:
    """The 32-byte Ed25519 seed of the peer key, made and synced if there is none yet.

    Called before anything else at a first start. Two agents that start at once get the same seed.
    Raises BadKey if the file has another length or others can read it.
    """
    if (directory / NEXT_PEER_SEED_NAME).exists():
        raise BadKey(
            "A rotation of the peer key was interrupted.",
            hint=f"End it: p2pool node rotate-peer-key --data-dir {directory}",
        )
    path = directory / PEER_SEED_NAME
    return _checked_seed(path, _load_or_make(path, secrets.token_bytes(32)))


def load_peer_seed(directory: Path) -> bytes:
    """The seed of the peer key that is there. Raises BadKey."""
    path = directory / PEER_SEED_NAME
    return _checked_seed(path, _private(path))


def make_next_peer_seed(directory: Path) -> bytes:
    """The seed that is to take the peer key's place, made and synced beside it; the one that an
    interrupted rotation made is kept. Raises BadKey, Misconfigured."""
    path = directory / NEXT_PEER_SEED_NAME
    return _checked_seed(path, _load_or_make(path, secrets.token_bytes(32)))


def take_next_peer_seed(directory: Path) -> None:
    """Put it in the peer key's place, at once. Raises Misconfigured."""
    path = directory / PEER_SEED_NAME
    try:
        (directory / NEXT_PEER_SEED_NAME).replace(path)
        _sync_directory(directory)
    except OSError as error:
        raise _unwritable(path, error) from error


def _checked_seed(path: Path, seed: bytes) -> bytes:
    if len(seed) != 32:
        raise BadKey(
            f"The peer key {path} has {len(seed)} bytes, not 32.",
            hint="Restore it from a backup; without one, start the node on a new data directory.",
        )
    register_secret(seed)
    return seed


def peer_key_of(seed: bytes) -> PeerKey:
    """The Ed25519 public key of a seed, 32 bytes."""
    from nacl.signing import SigningKey

    key = bytes(SigningKey(seed).verify_key)
    assert len(key) == PEER_KEY_BYTES
    return PeerKey(key)


def load_or_make_token(directory: Path) -> str:
    """The API's bearer token, made if there is none yet: 43 characters. Raises BadKey."""
    made = secrets.token_urlsafe(32).encode() + b"\n"
    return _checked_token(
        directory / API_TOKEN_FILE, _load_or_make(directory / API_TOKEN_FILE, made)
    )


def _checked_token(path: Path, data: bytes) -> str:
    token = data.decode("ascii", "replace").strip()
    if len(token) < 32 or not token.isprintable() or not token.isascii():
        raise BadKey(f"The token file {path} holds no token.", hint="Remove it and restart.")
    register_secret(token)
    return token


def _load_or_make(path: Path, made: bytes) -> bytes:
    try:
        write_new(path, made)
    except Conflict:
        pass  # It exists already: use that one.
    else:
        return made
    return _private(path)


def _private(path: Path) -> bytes:
    """A raw key file; BadKey if others can read it."""
    data = _read(path, 4096, "key file")
    if path.stat().st_mode & 0o077:
        raise BadKey(f"Others can read {path}.", hint=f"Run: chmod 600 {path}")
    return data


# --- files -------------------------------------------------------------------------------------


def _read(path: Path, most: int, what: str) -> bytes:
    try:
        data = read_input(path, most, what)
    except OSError as error:
        raise BadKey(f"The {what} {path} cannot be read: {error.strerror}.") from error
    if len(data) > most:
        raise BadKey(f"The {what} {path} is longer than {most} bytes.")
    return data


def _exists(path: Path) -> Conflict:
    return Conflict(f"The file {path} already exists.", hint="Name another; it is not overwritten.")


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read, whole or not at all; never over another."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(aside, path)
        finally:
            aside.unlink()
        _sync_directory(path.parent)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _unwritable(path: Path, error: OSError) -> P2poolError:
    return Misconfigured(
        f"The file {path} cannot be written: {error.strerror}.",
        hint="Check that its directory exists and is yours.",
    )
