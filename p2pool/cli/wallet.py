"""`p2pool wallet`: key files of accounts, version 3 keystores that other wallets read too."""

import os
import sys
from pathlib import Path

import click

from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json, write_pairs
from p2pool.cli.shared.types import Span
from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.errors import BadKey

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File whose first line is the passphrase. Default: P2POOL_PASSPHRASE_FILE, then"
    " P2POOL_PASSPHRASE, then a prompt.",
)
file_argument = click.argument("file", type=click.Path(path_type=Path))
key_argument = click.argument(
    "key", metavar="[FILE]", type=click.Path(path_type=Path), envvar="P2POOL_KEY"
)


@click.group(name="wallet", help="Make and show key files.")
def wallet() -> None:
    """The group."""


@wallet.command("new")
@file_argument
@click.option(
    "--from-private-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Import the private key (hex) in this file instead of making one; - reads standard input.",
)
@click.option("--light", is_flag=True, help="Encrypt fast and weakly, for development chains only.")
@passphrase_option
@json_option
def new(
    file: Path,
    from_private_key: Path | None,
    light: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a key and write it to FILE, encrypted. Never overwrites a file."""
    from p2pool.drivers.keys import keystore
    from p2pool.model.errors import Conflict

    if file.exists():
        # Before asking for a passphrase in vain.
        raise Conflict(f"The file {file} already exists.", hint="Name another file.")
    private_key = _private_key(from_private_key) if from_private_key else os.urandom(32)
    passphrase = keystore.read_passphrase(
        f"the new key {file.name}", file=passphrase_file, confirm=True
    )
    address = keystore.import_key_file(file, private_key, passphrase, light=light)
    _write(file, address, as_json)


@wallet.command("show")
@file_argument
@click.option("--check", is_flag=True, help="Also open the key, which proves the passphrase.")
@passphrase_option
@json_option
def show(file: Path, check: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the address of a key file, never the private key."""
    from p2pool.drivers.keys import keystore

    address = keystore.key_file_address(file)
    if check:
        passphrase = keystore.read_passphrase(f"the key {file.name}", file=passphrase_file)
        opened = bytes.fromhex(keystore.open_key_file(file, passphrase).address[2:])
        if opened != address:
            raise BadKey(
                f"The key in {file} belongs to {address_text(opened)}, not to"
                f" {address_text(address)}."
            )
    _write(file, address, as_json)


@wallet.command("unlock")
@key_argument
@click.option(
    "--for",
    "span_s",
    type=Span(),
    default="15m",
    show_default=True,
    help=f"For how long; {limits.UNLOCK_MAX_S // 3600}h at most.",
)
@passphrase_option
@json_option
def unlock(key: Path, span_s: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Hold a key in memory for a while, so that commands sign with it without its passphrase.

    A process of yours keeps it, and only yours are answered. It signs requests to a pool and rights
    to read logs that begin now: no transaction, no invite, no delegation. Default: P2POOL_KEY.
    """
    from p2pool.drivers.keys import key_client, keystore
    from p2pool.drivers.keys.key_start import hold

    if not 0 < span_s <= limits.UNLOCK_MAX_S:
        raise click.UsageError(f"--for takes {limits.UNLOCK_MAX_S // 3600}h at most.")
    passphrase = keystore.read_passphrase(f"the key {key.name}", file=passphrase_file)
    account = keystore.open_key_file(key, passphrase)
    hold(account, key_client.UnlockedKey(keystore.key_file_address(key)), span_s)
    if as_json:
        write_json({"address": account.address, "unlocked_s": span_s})
    else:
        click.echo(f"{account.address} is unlocked for {span_s} s.")


@wallet.command("lock")
@key_argument
@json_option
def lock(key: Path, as_json: bool) -> None:
    """Have an unlocked key forgotten at once. Default: P2POOL_KEY."""
    from p2pool.drivers.keys import key_client, keystore

    address = keystore.key_file_address(key)
    held = key_client.UnlockedKey(address)
    was = held.left_s() is not None
    if was:
        held.lock()
    if as_json:
        write_json({"address": address_text(address), "was_unlocked": was})
    else:
        click.echo(f"{address_text(address)} is locked{'' if was else ' already'}.")


def _private_key(file: Path) -> bytes:
    try:
        text = sys.stdin.read(256) if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(f"Cannot read the private key in {file}.") from error
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
