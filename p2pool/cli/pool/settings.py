"""`p2pool pool set`: a setting is a signed request, kept in the pool's log."""

import click

from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.signing import send_request, show_request
from p2pool.client.agent import AgentClient
from p2pool.client.requests import request_for


@click.command("set")
@click.argument("name")
@click.argument("value")
@key_options
@agent_option
@dry_run_option
@json_option
def set_setting(
    name: str,
    value: str,
    key: str | None,
    passphrase_file: str | None,
    client: AgentClient,
    dry_run: bool,
    as_json: bool,
) -> None:
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
    import json

    from p2pool.model.access.requests import Action

    pool = client.pool_ref()
    request = request_for(
        pool, Action.SET, name, json.dumps({"value": value}, separators=(",", ":"))
    )
    if dry_run:
        show_request(pool, request)
        return
    answer = send_request(client, pool, request, key, passphrase_file)
    if as_json:
        write_json({"setting": name, "value": value, **answer})
    else:
        click.echo(f"{name} is {value}.")
