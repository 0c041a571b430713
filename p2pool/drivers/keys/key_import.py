"""Reads the key of an account out of what another wallet wrote (`wire.keystore.exports`)."""

from collections.abc import Mapping
from pathlib import Path

from p2pool.codec.json.hex import address_text
from p2pool.drivers.input_files import input_path, read_input
from p2pool.drivers.keys import keystore
from p2pool.drivers.redaction import register_secret
from p2pool.model import limits
from p2pool.model.errors import BadKey, Misconfigured
from p2pool.model.ids import Address
from p2pool.wire.account import Account
from p2pool.wire.keystore.exports import Export, accounts_in, export_kind


def imported_account(source: Path, passphrase_file: Path | None, wanted: Address | None) -> Account:
    """The account in what another wallet wrote; of several the wanted one."""
    path = input_path(source)
    try:
        data = read_input(path, limits.KEY_EXPORT_MAX_BYTES, "key to import")
    except OSError as error:
        raise BadKey(f"The key in {path} cannot be read: {error.strerror}.") from error
    if len(data) > limits.KEY_EXPORT_MAX_BYTES:
        raise BadKey(f"{path} is longer than {limits.KEY_EXPORT_MAX_BYTES} bytes.")
    passphrase = ""
    if export_kind(data, path) is not Export.PRIVATE_KEY:
        passphrase = keystore.read_passphrase(f"the file {path.name}", file=passphrase_file)
    elif passphrase_file is not None:
        raise Misconfigured(
            f"{path} holds a private key, which needs no passphrase.", hint="Leave it out."
        )
    found = {_address(one): one for one in accounts_in(data, passphrase, path)}
    for one in found.values():
        register_secret(one.key)
    if wanted is not None and wanted not in found:
        raise BadKey(
            f"{path} does not hold the key of {address_text(wanted)}.",
            hint=f"It holds those of {_listed(found)}.",
        )
    if wanted is None and len(found) > 1:
        raise BadKey(
            f"{path} holds several keys: those of {_listed(found)}.",
            hint="Name the account that you mean.",
        )
    return found[wanted] if wanted is not None else next(iter(found.values()))


def _listed(found: Mapping[Address, Account]) -> str:
    return ", ".join(address_text(address) for address in found)


def _address(account: Account) -> Address:
    return Address(bytes.fromhex(account.address[2:]))
