"""`p2pool pool set` and `p2pool pool eject`: what its manager does with a pool that runs.

A setting is a signed request, kept in the pool's log. An ejection is a transaction: the chain alone
says who belongs, and its creator's or manager's key alone can put a node out. How a provider leaves
and how a pool ends is `poolend`'s.
"""

from pathlib import Path

import click

from p2pool.cli.shared.chain import (
    AddressType,
    config_option,
    config_path,
    dry_send_option,
    open_chain,
    writer_maker,
)
from p2pool.cli.shared.options import (
    agent_option,
    dry_run_option,
    json_option,
    key_options,
    request_for,
)
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.signing import send_request, show_request
from p2pool.client.agent import AgentClient
from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId


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


@click.command("eject")
@click.argument("node", metavar="NODE", type=AddressType())
@click.option("--pool", "pool_id", type=int, help="Default: [pool] id of the configuration.")
@key_options
@config_option
@dry_send_option
@json_option
def eject(
    node: Address,
    pool_id: int | None,
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a node out of the pool on the chain, as its creator or manager. NODE is its address.

    It stops the pool's tasks and gives up its seat on the committee once the block is final. It can
    come back by a new invite.
    """
    import trio

    from p2pool.cli.pool.create import write_dry
    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain, load_config

    path = config_path(config)
    chain_config = load_chain(path)
    number = load_config(path).pool.id if pool_id is None else pool_id
    make_writer = writer_maker(key, passphrase_file, dry_run)
    text = "0x" + node.hex()

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        info = await chain.pool(number)
        if writer.address not in (info.creator, info.manager):
            raise NotAllowed(
                f"0x{writer.address.hex()} is neither the creator (0x{info.creator.hex()}) nor "
                f"the manager (0x{info.manager.hex()}) of pool {number}.",
                hint="Use the key of one of them.",
            )
        if not await chain.in_pool(number, NodeId(node)):
            raise NotFound(
                f"The node {text} is not in pool {number}: nothing is sent.",
                hint="See: p2pool node ls.",
            )
        sent = await chain.eject(writer, number, NodeId(node))
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
        elif as_json:
            write_json({"node_id": text, "pool_id": number, "transaction": sent.transaction_hash})
        else:
            click.echo(f"Ejected {text} by {sent.transaction_hash}.")

    trio.run(run)
