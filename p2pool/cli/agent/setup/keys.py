"""The keys of a new agent: made, imported from another wallet, or left where they are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.agent.setup.questions import Questions
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import BadKey
from p2pool.model.ids import Address

if TYPE_CHECKING:
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.wire.account import Account

NEW, IMPORT, NAMED, NONE = "new", "import", "named", "none"


@attrs.frozen(kw_only=True)
class KeyChoice:
    """One key. `file`: where it is to be written; None: it stays at `place`. `private_key`: what is
    written there; None: the file is there already."""

    what: str
    place: "KeyPlace"
    address: Address | None
    file: Path | None = None
    private_key: bytes | None = attrs.field(default=None, repr=False)
    source: str = NAMED

    @property
    def shown(self) -> str:
        """What becomes of it, in words."""
        where = f"{address_text(self.address) if self.address else 'account unknown'}, {self.place}"
        return f"{where} ({self.source})"


def choose_node_key(asks: Questions, given: Mapping[str, Any], file: Path) -> KeyChoice:
    """The node's key; one that is there already is kept, whatever is asked for."""
    from p2pool.drivers.keys.signers.place import KeyFile

    if file.exists() and given["node_key"] is None:
        if given["import_node_key"] is not None:
            raise _is_there(file, "It is this node's name. Name another --data-dir for another.")
        return _named("node", KeyFile(file))
    how = NEW
    if given["node_key"] is None and given["import_node_key"] is None:
        how = asks.choose("--node-key", "The node's key", (NEW, IMPORT, NAMED), NEW)
    return _chosen(asks, given, "node", file, how)


def choose_provider_key(asks: Questions, given: Mapping[str, Any], file: Path) -> KeyChoice | None:
    """The provider's key, None where it is to stay away from this machine."""
    from p2pool.drivers.keys.signers.place import KeyFile

    if given["new_provider_key"] and file.exists():  # Whoever was interrupted goes on.
        return _named("provider", KeyFile(file))
    named = given["provider_key"] is not None or given["import_provider_key"] is not None
    how = NEW if given["new_provider_key"] else NONE
    if not named and not given["new_provider_key"]:
        asks.say("The provider's key stakes and joins. Without it here, its owner does that.")
        how = asks.choose("--provider-key", "The provider's key", (NONE, NEW, IMPORT, NAMED), NONE)
        if how == NONE:
            return None
    writes = how == IMPORT or given["import_provider_key"] is not None
    if file.exists() and writes:
        raise _is_there(file, f"Use that one, --provider-key {file}, or move it away.")
    if file.exists() and how == NEW:
        return _named("provider", KeyFile(file))
    return _chosen(asks, given, "provider", file, how)


def _is_there(file: Path, hint: str) -> BadKey:
    return BadKey(f"{file} is there already, and is not overwritten.", hint=hint)


def _wanted(given: Mapping[str, Any]) -> dict[str, Address | None]:
    """Which of several accounts in a file, for each key."""
    return {"node": given["node_account"], "provider": given["provider_account"]}


def check_flags(given: Mapping[str, Any]) -> None:
    """Wrong usage: two places for one key, or a flag that only an import reads."""
    places = {
        "node": ("node_key", "import_node_key"),
        "provider": ("provider_key", "import_provider_key", "new_provider_key"),
    }
    for what, names in places.items():
        used = ["--" + name.replace("_", "-") for name in names if given[name]]
        if len(used) > 1:
            raise click.UsageError(f"{used[0]} and {used[1]} are two places for the {what} key.")
        if _wanted(given)[what] is not None and given[f"import_{what}_key"] is None:
            raise click.UsageError(f"--{what}-account needs --import-{what}-key.")
    imports = given["import_node_key"] or given["import_provider_key"]
    if given["import_passphrase_file"] is not None and imports is None:
        raise click.UsageError("--import-passphrase-file needs --import-node-key or the like.")


def _chosen(
    asks: Questions, given: Mapping[str, Any], what: str, file: Path, how: str
) -> KeyChoice:
    from p2pool.drivers.keys.signers.place import KeyFile, key_place

    place, source = given[f"{what}_key"], given[f"import_{what}_key"]
    if place is None and how == NAMED:
        question = "Where it is: a key file, fd:N, or clef:PATH"
        place = asks.ask(f"--{what}-key", question, key_place)
    if source is None and how == IMPORT:
        source = asks.ask(f"--import-{what}-key", "The file that the other wallet wrote", Path)
    if place is not None:
        return _named(what, place)
    if source is None:
        key, told = os.urandom(32), NEW
        address: Address | None = _address(_account(key))
    else:
        from p2pool.drivers.keys.key_import import imported_account

        account = imported_account(source, given["import_passphrase_file"], _wanted(given)[what])
        key, told, address = account.key, f"imported from {source}", _address(account)
    return KeyChoice(
        what=what, place=KeyFile(file), address=address, file=file, private_key=key, source=told
    )


def _named(what: str, place: "KeyPlace") -> KeyChoice:
    from p2pool.drivers.keys.signers.opener import address_said
    from p2pool.drivers.keys.signers.place import is_there

    if not is_there(place):
        raise BadKey(
            f"There is no key file {place}.",
            hint=f"Make one (leave out --{what}-key), or import one: --import-{what}-key FILE.",
        )
    return KeyChoice(what=what, place=place, address=address_said(place))


def _account(key: bytes) -> "Account":
    from p2pool.wire.account import Account

    return Account(key)


def _address(account: "Account") -> Address:
    return Address(bytes.fromhex(account.address[2:]))
