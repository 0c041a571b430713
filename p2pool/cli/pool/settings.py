"""`p2pool pool set`: signs a change of a setting, which the pool's log keeps."""

import json

import click

from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.signer import Signer
from p2pool.cli.shared.signing import signer_options
from p2pool.model.access.requests import Action
from p2pool.model.settings import SETTINGS


@click.command("set")
@click.argument("name", type=click.Choice(tuple(SETTINGS)), metavar="NAME")
@click.argument("value")
@signer_options
def set_setting(name: str, value: str, signer: Signer) -> None:
    """Change a setting of the pool, as its creator or manager.

    \b
      committee      the number of voters: 3, 5 (the default) or 7, as far as there are members.
                     Five survive the loss of two, three the loss of one.
      timing         of elections: lan, default or wan.
      eject-stalled  after how long to propose ejecting a member that was never heard: never (the
                     default), 1h, 6h, 1d or 7d. The pool lists it and reports an event; the manager
                     ejects it with `p2pool pool eject`.
      eject-dead     the same for a dead member.
    """
    if value not in SETTINGS[name]:
        raise click.BadParameter(
            f"{value!r} is not one of {', '.join(SETTINGS[name])}.", param_hint=f"the {name}"
        )
    spec = json.dumps({"value": value}, separators=(",", ":"))
    answer = signer.send(Action.SET, name, spec)
    if answer is None:
        return
    if signer.as_json:
        write_json("request", {**answer, "value": value})
    else:
        click.echo(f"{name} is {value}.")
