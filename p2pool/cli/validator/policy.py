"""`p2pool validator policy`: a policy file, checked and shown whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.types import FilePath

if TYPE_CHECKING:
    from p2pool.validator.policy.rules import Policy


@click.command("policy")
@click.argument("file", metavar="[FILE]", required=False, type=FilePath(dir_okay=False))
@json_option
def policy(file: Path | None, as_json: bool) -> None:
    """Check a policy file and show all of it, with what it leaves unsaid. FILE: none is an empty
    one.

    An empty policy is a careful one, and a dry run. What is wrong in FILE is told at its place.
    """
    from p2pool.validator.policy.policy_file import policy_text, read_policy
    from p2pool.validator.policy.rules import Policy

    found = Policy() if file is None else read_policy(file)
    if as_json:
        write_json("policy", _document(found))
    else:
        click.echo(policy_text(found), nl=False)


def _document(found: "Policy") -> dict[str, Any]:
    import attrs

    told: dict[str, Any] = attrs.asdict(found)
    return told
