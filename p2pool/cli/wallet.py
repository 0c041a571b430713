"""`p2pool wallet`: key files of accounts, version 3 keystores as other wallets read them too."""

import os
import sys
from pathlib import Path

import click

from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json, write_pairs
from p2pool.model.errors import BadKey

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the passphrase is, in its first line. Default: P2POOL_PASSPHRASE_FILE, then"
    " P2POOL_PASSPHRASE, else it is asked for.",
)
file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group(name="wallet", help="Make and show key files.")
def wallet() -> None:
    """The group."""


@wallet.command("new")
@file_argument
@click.option(
    "--from-private-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the private key (hex) in this file, - for standard input, instead of a new one.",
)
@click.option(
    "--light", is_flag=True, help="Encrypt quickly and weakly: for development chains only."
)
@passphrase_option
@json_option
def new(
    file: Path,
    from_private_key: Path | None,
    light: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a key and write it to FILE, encrypted; nothing is overwritten."""
    from p2pool.drivers.keys import keystore
    from p2pool.model.errors import Conflict

    if file.exists():
        # Said before a passphrase is asked for.
        raise Conflict(f"The file {file} exists already.", hint="Name another.")
    private_key = _private_key(from_private_key) if from_private_key else os.urandom(32)
    passphrase = keystore.read_passphrase(
        f"the new key {file.name}", file=passphrase_file, confirm=True
    )
    address = keystore.import_key_file(file, private_key, passphrase, light=light)
    _write(file, address, as_json)


@wallet.command("show")
@file_argument
@click.option("--check", is_flag=True, help="Open it too: prove that the passphrase is right.")
@passphrase_option
@json_option
def show(file: Path, check: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the address of a key file; the private key is never shown."""
    from p2pool.drivers.keys import keystore

    address = keystore.key_file_address(file)
    if check:
        passphrase = keystore.read_passphrase(f"the key {file.name}", file=passphrase_file)
        opened = bytes.fromhex(keystore.load_account(file, passphrase).address[2:])
        if opened != address:
            raise BadKey(f"The key in {file} is of 0x{opened.hex()}, not of 0x{address.hex()}.")
    _write(file, address, as_json)


def _private_key(file: Path) -> bytes:
    try:
        text = sys.stdin.read(256) if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(f"The private key in {file} cannot be read.") from error
    try:
        key = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadKey("The private key is not 64 hex digits.")
    return key


def _write(file: Path, address: bytes, as_json: bool) -> None:
    if as_json:
        write_json({"address": "0x" + address.hex(), "file": str(file)})
    else:
        write_pairs([("address", "0x" + address.hex()), ("file", str(file))])
