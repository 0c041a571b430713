"""`p2pool wallet`: key files of accounts, version 3 keystores that other wallets read too."""

import os
from pathlib import Path

import click

from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import AddressType, FilePath, Span
from p2pool.client.agent_client import AgentClient
from p2pool.codec.json.hex import address_text
from p2pool.drivers.input_files import is_stdin, read_input
from p2pool.model import limits
from p2pool.model.errors import BadKey
from p2pool.model.ids import Address

_PRIVATE_KEY_MAX_BYTES = 256
_NAMED = ("task_id", "node_id", "setting")
"""What a request may be about."""
passphrase_option = click.option(
    "--passphrase-file",
    type=FilePath(),
    metavar="FILE",
    help="File whose first line is the passphrase. Default: P2POOL_PASSPHRASE_FILE, then"
    " P2POOL_PASSPHRASE, then a prompt.",
)
file_argument = click.argument("file", type=FilePath())
key_argument = click.argument("file", metavar="[FILE]", type=FilePath(), envvar="P2POOL_KEY")


@click.group(name="wallet", help="Make and show key files; send what was signed elsewhere.")
def wallet() -> None:
    """The group."""


@wallet.command("new")
@file_argument
@click.option(
    "--from-private-key",
    type=FilePath(),
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

    if is_stdin(file):
        raise click.UsageError("A key is kept in a file: name it.")
    if file.exists():
        # Before asking for a passphrase in vain.
        raise Conflict(f"The file {file} already exists.", hint="Name another file.")
    private_key = _private_key(from_private_key) if from_private_key else os.urandom(32)
    passphrase = keystore.read_passphrase(
        f"the new key {file.name}", file=passphrase_file, confirm=True
    )
    address = keystore.import_key_file(file, private_key, passphrase, light=light)
    _write(file, address, as_json)


@wallet.command("import")
@click.argument("source", type=FilePath(dir_okay=False))
@file_argument
@click.option(
    "--account", type=AddressType(), metavar="ADDRESS", help="Which of several accounts in SOURCE."
)
@click.option(
    "--import-passphrase-file",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="File with the passphrase of SOURCE. Default: as for --passphrase-file.",
)
@click.option("--light", is_flag=True, help="Encrypt fast and weakly, for development chains only.")
@passphrase_option
@json_option
def import_key(
    source: Path,
    file: Path,
    account: Address | None,
    import_passphrase_file: Path | None,
    light: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Write the key in SOURCE, which another wallet wrote, to FILE. Never overwrites a file.

    SOURCE is a keystore of geth or foundry (scrypt or PBKDF2), a private key in hex as MetaMask
    shows it, or MetaMask's vault.
    """
    from p2pool.drivers.keys import keystore
    from p2pool.drivers.keys.key_import import imported_account
    from p2pool.model.errors import Conflict

    if is_stdin(file):
        raise click.UsageError("A key is kept in a file: name it.")
    if file.exists():
        raise Conflict(f"The file {file} already exists.", hint="Name another file.")
    found = imported_account(source, import_passphrase_file, account)
    passphrase = keystore.read_passphrase(
        f"the new key {file.name}", file=passphrase_file, confirm=True
    )
    address = keystore.import_key_file(file, found.key, passphrase, light=light)
    _write(file, address, as_json)


@wallet.command("show")
@file_argument
@click.option("--check", is_flag=True, help="Also open the key, which proves the passphrase.")
@passphrase_option
@json_option
def show(file: Path, check: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the address of a key file, never the private key."""
    from p2pool.drivers.keys import keystore

    if passphrase_file is not None and not check:
        raise click.UsageError("--passphrase-file needs --check: nothing else opens the key.")
    if check:
        passphrase = keystore.read_passphrase(f"the key {file.name}", file=passphrase_file)
        address = Address(bytes.fromhex(keystore.open_key_file(file, passphrase).address[2:]))
    else:
        address = keystore.key_file_address(file)
    _write(file, address, as_json)


@wallet.command("unlock")
@key_argument
@click.option(
    "--for",
    "span_s",
    type=Span(1, limits.UNLOCK_MAX_S),
    default="15m",
    show_default=True,
    help=f"For how long; {limits.UNLOCK_MAX_S // 3600}h at most.",
)
@passphrase_option
@json_option
def unlock(file: Path, span_s: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Hold a key in memory for a while, so that commands sign with it without its passphrase.

    A process of yours keeps it, and only yours are answered. It signs requests to a pool and rights
    to read logs that begin now: no transaction, no invite, no delegation. Default: P2POOL_KEY.
    """
    from p2pool.drivers.keys import key_client, keystore
    from p2pool.drivers.keys.key_start import hold

    passphrase = keystore.read_passphrase(f"the key {file.name}", file=passphrase_file)
    account = keystore.open_key_file(file, passphrase)
    if keystore.address_said(file) is None:
        raise BadKey(
            f"The key file {file} does not say its address: no command would find it unlocked.",
            hint=f'Write it into the file: "address": "{account.address[2:]}".',
        )
    held = key_client.UnlockedKey(Address(bytes.fromhex(account.address[2:])))
    hold(account, held, span_s)
    if as_json:
        write_json("unlocked-key", {"address": account.address, "unlocked_s": span_s})
    else:
        click.echo(f"{account.address} is unlocked for {span_s} s.")


@wallet.command("lock")
@key_argument
@json_option
def lock(file: Path, as_json: bool) -> None:
    """Have an unlocked key forgotten at once. Default: P2POOL_KEY."""
    from p2pool.drivers.keys import key_client, keystore

    address = keystore.key_file_address(file)
    was = key_client.UnlockedKey(address).lock()
    if as_json:
        said = {"address": address_text(address), "unlocked_s": 0, "was_unlocked": was}
        write_json("unlocked-key", said)
    else:
        click.echo(f"{address_text(address)} is locked{'' if was else ' already'}.")


@wallet.command("send")
@click.argument("file", type=FilePath(dir_okay=False))
@click.option(
    "--signature",
    required=True,
    metavar="SIGNATURE",
    help="What was signed elsewhere: 0x and hex digits, or a file that holds them; - reads standard"
    " input.",
)
@agent_option
@json_option
def send(file: Path, signature: str, client: AgentClient, as_json: bool) -> None:
    """Send what --unsigned wrote to FILE, with a signature that was made elsewhere.

    By a wallet on another machine, or by the owners of a contract account: the file holds the typed
    data that a wallet shows, and the digest that the contract is asked about.
    """
    from p2pool.cli import unsigned_file
    from p2pool.cli.shared.signer import sent
    from p2pool.codec.json.requests import invite_json

    unsigned = unsigned_file.read_unsigned(file)
    made = unsigned_file.read_signature(signature)
    if unsigned.is_invite:
        invite = unsigned.invite(made)
        client.invite(invite)
        if as_json:
            write_json("invite", invite_json(invite))
        else:
            click.echo(f"Invited {address_text(invite.node_id)}.")
        return
    answer = sent(client, unsigned.request(client.pool_ref(), made))
    if as_json:
        write_json("request", answer)
    else:
        named = next((v for k, v in answer.items() if k in _NAMED and v), "")
        write_line(f"Carried out: {answer['action']} {named}".rstrip())


def _private_key(file: Path) -> bytes:
    try:
        text = read_input(file, _PRIVATE_KEY_MAX_BYTES, "private key").decode()
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
        write_json("key", {"address": "0x" + address.hex(), "file": str(file)})
    else:
        write_pairs([("address", "0x" + address.hex()), ("file", str(file))])
