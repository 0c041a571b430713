"""`p2pool pool create`: creates a pool on the chain, pending until somebody starts it."""

from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.output import warn, write_dry, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256, AddressType, Number
from p2pool.codec.text.data_uri import (
    BOOTSTRAP_KEY,
    ROOT_KEY,
    with_bootstrap,
    without_own,
)
from p2pool.codec.text.multiaddr import full_address
from p2pool.codec.text.requirements import refusals
from p2pool.drivers.chain.founding import NewPool, create_pool
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured
from p2pool.model.ids import Address

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.transactions.writer import Writer


def first_uri(data_uri: str, bootstrap: tuple[str, ...]) -> str:
    """The data URI of a new pool; `Malformed` says what is wrong with it."""
    if len(data_uri.encode()) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(
            f"The data URI is longer than {limits.DATA_URI_MAX_BYTES} bytes.", hint="Shorten it."
        )
    pairs = [pair for pair in data_uri.split(";") if pair]
    for pair in pairs:
        if "=" not in pair or not pair.isprintable():
            raise Malformed(f"{pair!r} is not a pair.", hint="Write key:sub=value;key:sub=value.")
        if pair.partition("=")[0] == BOOTSTRAP_KEY:
            full_address(pair.partition("=")[2])
        if pair.partition("=")[0] == ROOT_KEY:
            raise Malformed(
                f"The data URI of a new pool cannot hold {ROOT_KEY}.",
                hint="Leave it out: p2pool pool start writes it.",
            )
    if len(bootstrap) > limits.PEER_LIST_MAX:
        raise Malformed(
            f"{len(bootstrap)} bootstrap addresses are more than {limits.PEER_LIST_MAX}.",
            hint="Name fewer.",
        )
    return with_bootstrap(data_uri, bootstrap) if bootstrap else data_uri


def check_bootstrap(
    _: click.Context, __: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Full multiaddrs, each with the peer's id; anything else is wrong usage."""
    if value:
        from p2pool.drivers.net.peers.addresses import parse_full_address

        for address in value:
            try:
                parse_full_address(address)
            except Misconfigured as error:
                raise click.BadParameter(f"{error.message} {error.hint}") from error
    return value


@click.command("create")
@click.option("--name", required=True, help="Name of the pool, for people.")
@click.option(
    "--domain",
    type=Number(0, UINT256),
    default=0,
    show_default=True,
    help="Number of the domain on the chain.",
)
@click.option(
    "--manager",
    type=AddressType(),
    metavar="ADDRESS",
    help="Account that manages the pool and invites nodes. Default: the creator, that is --key.",
)
@click.option(
    "--compute-limit",
    type=Number(0, UINT256),
    default=0,
    help="Most compute units of all nodes together. Default: no limit.",
)
@click.option("--data-uri", default="", help="Hardware that the pool requires: key:sub=value;...")
@click.option(
    "--bootstrap",
    multiple=True,
    metavar="MULTIADDR",
    callback=check_bootstrap,
    help="Address of a peer that agents dial first: /ip4/.../tcp/4001/p2p/12D3... Repeatable.",
)
@sender_options
def create(
    name: str,
    domain: int,
    manager: Address | None,
    compute_limit: int,
    data_uri: str,
    bootstrap: tuple[str, ...],
    sender: Sender,
) -> None:
    """Create a pool on the chain and print its number. It is pending until `p2pool pool start`."""
    if not name.strip() or len(name.encode()) > limits.NAME_MAX_BYTES:
        raise click.UsageError(f"--name needs 1 to {limits.NAME_MAX_BYTES} bytes.")
    uri = first_uri(data_uri, bootstrap)
    for refusal in refusals(without_own(uri)):
        warn(f"Other tools of the network refuse these requirements, and check none: {refusal}.")

    async def act(chain: "PoolContracts", writer: "Writer") -> dict[str, Any]:
        in_charge = manager or writer.address
        asked = NewPool(name=name, data_uri=uri, compute_limit=compute_limit)
        made = await create_pool(chain, writer, domain, in_charge, asked)
        return {
            "pool_id": made,
            "chain_id": sender.chain_config.id,
            "contract": "0x" + chain.at.pool.hex(),
            "name": name,
            "creator": "0x" + writer.address.hex(),
            "manager": "0x" + in_charge.hex(),
            "data_uri": uri,
        }

    told, dry = sender.run(act)
    if sender.dry_run:
        write_dry(dry, sender.as_json)
    elif sender.as_json:
        write_json("transaction", {"dry_run": False, **told})
    else:
        write_pairs((field, str(value)) for field, value in told.items())
        click.echo(
            f"next: set id = {told['pool_id']} under [pool] in each agent's configuration, start"
            f" the first agent, then 'p2pool pool start {told['pool_id']}'.",
            err=True,
        )
