"""Options and arguments of commands that plan: amounts, nodes, invites, `--yes`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pool.cli.shared.types import AccountType, FilePath
from p2pool.codec.text.amounts import parse_tokens
from p2pool.model import limits
from p2pool.model.errors import Malformed, NotFound
from p2pool.model.ids import NodeId

if TYPE_CHECKING:
    from p2pool.model.chain.invite import Invite
    from p2pool.model.ids import Address

F = TypeVar("F", bound=Callable[..., Any])


class Amount(click.ParamType[int]):
    """`2.5` tokens, or `300wei`."""

    name = "AMOUNT"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Wei."""
        if isinstance(value, int):
            return value
        try:
            return parse_tokens(str(value))
        except Malformed as wrong:
            self.fail(f"{wrong.message} {wrong.hint}".rstrip(), param, ctx)


yes_option = click.option("--yes", is_flag=True, help="Do not ask; --json needs this.")


def stake_options(command: F) -> F:
    """`--stake-max` and `--yes`: by one of them an owner allows what is staked."""
    most = click.option(
        "--stake-max",
        "stake_max_wei",
        type=Amount(),
        help="Most to stake in all, in tokens: what takes more is refused, and nothing is sent."
        " Without it you are asked, except on a development chain.",
    )
    yes = click.option(
        "--yes", is_flag=True, help="Stake what is asked for without a question; see --stake-max."
    )
    return most(yes(command))


invite_option = click.option(
    "--invite",
    "invites",
    type=FilePath(dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="File with an invite, as `p2pool pool invite --json` writes it. Repeatable.",
)


def nodes_argument(command: F) -> F:
    """`NODE...`: addresses of nodes, each once."""

    def once(_: click.Context, __: click.Parameter, value: "Sequence[Address]") -> list[NodeId]:
        found = list(dict.fromkeys(NodeId(one) for one in value))
        if len(found) > limits.BATCH_NODES_MAX:
            raise click.BadParameter(f"{limits.BATCH_NODES_MAX} nodes at most, in one go.")
        return found

    return click.argument(
        "nodes", metavar="NODE...", type=AccountType(), nargs=-1, required=True, callback=once
    )(command)


def read_invites(paths: Sequence[Path]) -> "dict[NodeId, Invite]":
    """The invites in files, by node; `Malformed` for a file that holds none."""
    import json

    from p2pool.codec.json.envelope import unwrapped
    from p2pool.codec.json.requests import read_invite
    from p2pool.drivers.input_files import read_input

    found: dict[NodeId, Invite] = {}
    for path in paths:
        text = read_input(path, limits.GOSSIP_MESSAGE_MAX_BYTES, "invite")
        try:
            invite = read_invite(unwrapped(json.loads(text)))
        except (ValueError, RecursionError) as broken:
            raise Malformed(
                f"{path} holds no invite.", hint="Write it with: p2pool pool invite NODE --json."
            ) from broken
        found[invite.node_id] = invite
    return found


def check_invites_used(invites: "dict[NodeId, Invite]", nodes: Sequence[NodeId]) -> None:
    """`NotFound` for an invite of a node that is not named: it would be ignored."""
    for node_id in invites:
        if node_id not in nodes:
            raise NotFound(
                f"An invite is for the node 0x{node_id.hex()}, which you did not name.",
                hint="Name it as a NODE, or leave its invite out.",
            )
