"""`p2pool access show`: what a delegation file gives, and whether it still does; asks nobody.

Exit codes: 0 it is in force; 3 it is not yet or no longer, was edited, or is none; 6 it cannot be
read. What only a pool knows (who rules it, what was revoked) is not in a file.
"""

import time
from pathlib import Path

import click

from p2pool.cli.errors import REFUSED
from p2pool.cli.shared.delegations.delegation_file import pool_text, read_delegation
from p2pool.cli.shared.delegations.words import SCOPES, moment, quota_text, state_of, state_text
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import FilePath
from p2pool.codec.json.delegations import delegation_file_json, quota_json
from p2pool.codec.json.hex import address_text
from p2pool.model.access.delegations import DelegationFile, Scope


@click.command("show")
@click.argument("file", metavar="[FILE]", type=FilePath(), envvar="P2POOL_DELEGATION")
@json_option
@click.pass_context
def show(context: click.Context, file: Path, as_json: bool) -> None:
    """Check a delegation file and show what it gives, asking nobody. Default: P2POOL_DELEGATION.

    It fails unless the delegation is in force by this machine's clock. Whether it was revoked, and
    whether who gave it still rules the pool, only an agent knows: p2pool access ls.
    """
    found, now_s = read_delegation(file), int(time.time())
    given = found.signed.delegation
    state = state_of(given.not_before_s, given.not_after_s, now_s)
    if as_json:
        checked = {"delegation": delegation_file_json(found), "state": state}
        proven = {"signature_proven": found.signed.contract is None}
        write_json("delegation-check", checked | proven | {"as_of_s": now_s})
    else:
        write_pairs(_pairs(found, now_s))
    if state != "in-force":
        context.exit(REFUSED)


def _pairs(found: DelegationFile, now_s: int) -> list[tuple[str, str]]:
    given = found.signed.delegation
    scope = given.scope.name.lower()
    pairs = [
        ("account", address_text(given.delegate)),
        ("pool", pool_text(found.pool)),
        ("given by", f"{address_text(found.grantor)}, {_signature(found)}"),
        ("scope", f"{scope}: {SCOPES[scope]}"),
    ]
    if given.scope is not Scope.READ:
        pairs.append(("quota", quota_text(quota_json(given.quota) if given.quota else None)))
    return [
        *pairs,
        ("from", moment(given.not_before_s)),
        ("until", moment(given.not_after_s)),
        ("now", state_text(given.not_before_s, given.not_after_s, now_s)),
    ]


def _signature(found: DelegationFile) -> str:
    """How far the signature proves who gave it. A contract account's only the chain can judge."""
    if found.signed.contract is None:
        return "whose signature is good"
    return "a contract: only the chain can tell whether it signed"
