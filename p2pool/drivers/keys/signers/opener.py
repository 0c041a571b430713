"""Opens the key of an account, wherever it is, for whoever signs with it."""

from pathlib import Path

from p2pool.codec.json.hex import unhex
from p2pool.drivers.input_files import read_descriptor
from p2pool.drivers.keys import keystore
from p2pool.drivers.keys.signers.place import Descriptor, ExternalSigner, KeyFile, KeyPlace
from p2pool.drivers.redaction import register_secret
from p2pool.model import limits
from p2pool.model.errors import BadKey, Misconfigured
from p2pool.model.ids import Address
from p2pool.model.ports.signer import Signer
from p2pool.wire.account import Account
from p2pool.wire.evm.key_signer import KeySigner
from p2pool.wire.keystore import contents


def open_signer(
    place: KeyPlace, what: str | None = None, *, passphrase_file: Path | None = None
) -> Signer:
    """Who signs with the key at a place; reads a passphrase, or prompts for it, where one is
    needed. `what`: what a prompt calls the key. Raises `BadKey`, `Misconfigured`, `Unavailable`."""
    if isinstance(place, ExternalSigner):
        if passphrase_file is not None:
            raise Misconfigured(
                "A passphrase is named for a key that another program holds.",
                hint=f"Leave it out: {place.shown} asks for what it needs.",
            )
        from p2pool.drivers.keys.signers.clef import open_clef  # Reads the contracts' interface.

        return open_clef(place)
    if isinstance(place, Descriptor):
        return KeySigner(_from_descriptor(place, what, passphrase_file))
    what = what or f"the key {place.path.name}"
    passphrase = keystore.read_passphrase(what, file=passphrase_file)
    return KeySigner(keystore.open_key_file(place.path, passphrase))


def address_said(place: KeyPlace) -> Address | None:
    """The account whose key is there, as far as can be said without a passphrase and without asking
    a person; None if it cannot. Raises `BadKey`."""
    if isinstance(place, ExternalSigner):
        return place.address
    if isinstance(place, KeyFile):
        return keystore.address_said(place.path)
    data = _held(place)
    if (key := _plain_key(data)) is not None:
        return Address(bytes.fromhex(_account(key, place).address[2:]))
    return contents.address_in(contents.keystore_of(data, place), place)


def key_address(place: KeyPlace) -> Address:
    """The same, or `BadKey`: for who needs to know. Asks an external signer."""
    if isinstance(place, KeyFile):
        return keystore.key_file_address(place.path)
    said = address_said(place)
    if said is None and isinstance(place, ExternalSigner):
        return Address(bytes.fromhex(open_signer(place).address[2:]))
    if said is None:
        raise BadKey(f"The key in {place} does not say its address.")
    return said


def _from_descriptor(place: Descriptor, what: str | None, passphrase_file: Path | None) -> Account:
    data = _held(place)
    if (key := _plain_key(data)) is not None:
        if passphrase_file is not None:
            raise Misconfigured(
                f"A passphrase is named for {place}, which holds a key that needs none.",
                hint="Leave it out.",
            )
        return _account(key, place)
    found = contents.keystore_of(data, place)
    passphrase = keystore.read_passphrase(what or f"the key in {place}", file=passphrase_file)
    account = contents.open_keystore(found, passphrase, place)
    register_secret(account.key)
    return account


def _held(place: Descriptor) -> bytes:
    """All that a descriptor holds: who signs first asks whose key it is."""
    try:
        data = read_descriptor(place.number, limits.KEYSTORE_MAX_BYTES)
    except OSError as error:
        raise BadKey(
            f"The file descriptor {place.number} cannot be read: {error.strerror}.",
            hint=f"Open it for the command: fd:{place.number} {place.number}< FILE",
        ) from error
    if len(data) > limits.KEYSTORE_MAX_BYTES:
        raise BadKey(f"{place} holds more than {limits.KEYSTORE_MAX_BYTES} bytes.")
    return data


def _plain_key(data: bytes) -> bytes | None:
    """A private key in hex digits, if that is what it is."""
    try:
        key = unhex(data.decode("ascii").strip(), contents.KEY_BYTES)
    except UnicodeDecodeError:
        return None
    if key is not None:
        register_secret(key)
    return key


def _account(key: bytes, place: Descriptor) -> Account:
    try:
        return Account(key)
    except ValueError as error:
        raise BadKey(f"What {place} holds is no number that secp256k1 allows.") from error
