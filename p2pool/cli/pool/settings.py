"""`p2pool pool set`: a setting is a signed request, kept in the pool's log."""

import json

import click

from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.signing import Signer, signer_options
from p2pool.model.access.requests import Action


@click.command("set")
@click.argument("name")
@click.argument("value")
@signer_options
def set_setting(name: str, value: str, signer: Signer) -> None:
    """Change a setting of the pool, as its creator or manager.

    \b
      committee      how many voters there are to be: 3, 5 or 7; default 5, as far as there are
                     members. Five survive the loss of two, three that of one.
      timing         of the election: lan, default or wan.
      eject-stalled  after how long a member that was never heard is to be ejected: never (the
                     default), 1h, 6h, 1d or 7d. It is then listed and told as an event; the
                     manager ejects it with `p2pool pool eject`.
      eject-dead     the same for a member that is dead.
    """
    spec = json.dumps({"value": value}, separators=(",", ":"))
    answer = signer.send(Action.SET, name, spec)
    if answer is None:
        return
    if signer.as_json:
        write_json({"setting": name, "value": value, **answer})
    else:
        click.echo(f"{name} is {value}.")
