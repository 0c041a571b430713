"""The file that holds a delegation: written for whoever gets it, read by whoever signs under it.

Intuition: the file is no secret. It is of use only to the key of the account that it names, and
every member of the pool sees it in what that account signs. So it has the rights of any new file
(the umask's), and may be mailed. What matters is that nobody loses one: it is never written over
another file unasked, and is whole or not there.

Invariants: whatever makes a delegation useless for a signature is said before a passphrase is asked
for: a file that cannot be read, was edited, is for another pool or account, or not in force. Rights
of the grantor, revocations and quotas are the pool's to judge: no file tells them.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from p2pool.cli.documents import json_text
from p2pool.cli.shared.delegations.words import moment, span, state_of
from p2pool.codec.json.delegations import delegation_file_json, read_delegation_file
from p2pool.codec.json.hex import address_text
from p2pool.drivers.input_files import is_stdin, read_input
from p2pool.model import limits
from p2pool.model.access.delegations import DelegationFile
from p2pool.model.errors import (
    Conflict,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotForUs,
    P2poolError,
    Stale,
)

if TYPE_CHECKING:
    from p2pool.model.ids import Address, PoolRef

ONESELF = "To sign for yourself: --delegation ''."


def read_delegation(path: Path) -> DelegationFile:
    """The delegation in a file, or on standard input, that its grantor signed. `Misconfigured`: it
    cannot be read; `Malformed`, `BadSignature`: it holds none, or was edited."""
    from p2pool.wire.typed_data import check_delegation_file

    named = _named(path)
    try:
        body = read_input(path, limits.DELEGATION_FILE_MAX_BYTES, "delegation")
    except OSError as error:
        raise Misconfigured(
            f"{named} cannot be read: {error.strerror}.",
            hint="Name the file that the pool's manager gave you: --delegation FILE.",
        ) from error
    try:
        file = read_delegation_file(body)
        check_delegation_file(file)
    except P2poolError as error:
        problems = error.problems if isinstance(error, Malformed) else ()
        said = f"{named}: {error.message}"
        if isinstance(error, Malformed):
            raise type(error)(said, hint=error.hint, problems=problems) from error
        raise type(error)(said, hint=error.hint) from error
    return file


def _named(path: Path) -> str:
    return "Standard input" if is_stdin(path) else f"The delegation file {path}"


def check_use(file: DelegationFile, pool: "PoolRef", now_s: int) -> None:
    """`NotForUs` for another pool's, `Stale` if it is not in force at `now_s`, Unix seconds."""
    if file.pool != pool:
        raise NotForUs(
            f"The delegation is for {pool_text(file.pool)}; the agent is in {pool_text(pool)}.",
            hint=f"Name the file for this pool, or that pool's agent: --agent. {ONESELF}",
        )
    given = file.signed.delegation
    state = state_of(given.not_before_s, given.not_after_s, now_s)
    if state == "expired":
        raise Stale(
            f"The delegation expired {span(now_s - given.not_after_s)} ago, at"
            f" {moment(given.not_after_s)}.",
            hint=f"Ask {address_text(file.grantor)} for a new one. {ONESELF}",
        )
    if state == "not-yet":
        raise Stale(
            f"The delegation takes effect in {span(given.not_before_s - now_s)}, at"
            f" {moment(given.not_before_s)}.",
            hint=f"Wait, or set the clock of this machine. {ONESELF}",
        )


def check_delegate(file: DelegationFile, account: "Address") -> None:
    """`NotAllowed` unless the delegation is made out to the account that signs."""
    delegate = file.signed.delegation.delegate
    if delegate != account:
        raise NotAllowed(
            f"The delegation is made out to {address_text(delegate)}, and the key belongs to"
            f" {address_text(account)}.",
            hint=f"Sign with the key of the account that it names: --key FILE. {ONESELF}",
        )


def pool_text(pool: "PoolRef") -> str:
    """A pool by all its names."""
    return f"pool {pool.pool_id} of {address_text(pool.contract)} on chain {pool.chain_id}"


# --- writing ------------------------------------------------------------------------------------


def check_free(path: Path) -> None:
    """`Conflict` if something is there already: said before a passphrase is asked for."""
    if os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> Conflict:
    return Conflict(
        f"The file {path} already exists.", hint="Name another, or overwrite it: --force."
    )


def write_delegation(path: Path, file: DelegationFile, *, force: bool) -> None:
    """Write the file, whole or not at all; over another one only by `force`."""
    text = delegation_text(file)
    aside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        try:
            with aside.open("x", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if force:
                aside.replace(path)
            else:
                os.link(aside, path)
        finally:
            with suppress(FileNotFoundError):
                aside.unlink()
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise Misconfigured(
            f"The file {path} cannot be written: {error.strerror}.",
            hint="Check that its directory exists and is yours.",
        ) from error


def delegation_text(file: DelegationFile) -> str:
    """The file's text."""
    return json_text(delegation_file_json(file), indent=2) + "\n"
