"""`p2pool node drain, resume, ban, unban`: what is wanted of a node, as a signed request.

A provider may drain and resume its own nodes; the pool's creator, its manager and a delegate with
the scope admin may do so with any node, and ban it. A ban is lifted by creator or manager alone.
A node that is already as it is asked to be is left alone, and nothing is signed.
"""

import time
from collections.abc import Callable
from typing import Any

import attrs
import click

from p2pool.cli.shared import types
from p2pool.cli.shared.lookup import find_node
from p2pool.cli.shared.output import short, write_json
from p2pool.cli.shared.signing import Signer, signer_options
from p2pool.client.agent import AgentClient, Answer
from p2pool.model.access.requests import Action
from p2pool.model.errors import Unavailable

_POLL_S = 0.5
_WAIT_DEFAULT = "15m"


@attrs.frozen
class Wish:
    """What is asked for, and the intents that show that it is so already. `reached`: the intent
    that it comes to in the end, where that can be waited for."""

    action: Action
    already: tuple[str, ...]
    done: str
    help: str
    reached: str | None = None


DRAIN = Wish(
    Action.DRAIN,
    already=("draining", "drained"),
    done="is being drained: its copies move elsewhere.",
    help="""Take a node out of work, as its provider or the pool's manager.

    Its copies are stopped, each with its grace, and placed elsewhere; leadership is handed on. It
    stays a member and a voter. NODE is its id or the beginning of it.
    """,
    reached="drained",
)
RESUME = Wish(
    Action.RESUME,
    already=("eligible",),
    done="is eligible for tasks again.",
    help="Put a node that was drained back to work. NODE is its id or the beginning of it.",
)
BAN = Wish(
    Action.BAN,
    already=("banned",),
    done="is banned: its copies are stopped, and none is placed on it.",
    help="""Have a node do nothing for the pool until the manager lifts it: no task, no vote.

    The chain still has it as a member; `p2pool pool eject` takes it out there. NODE is its id or
    the beginning of it.
    """,
)
UNBAN = Wish(
    Action.UNBAN,
    already=("eligible",),
    done="is not banned any more.",
    help="Lift a ban, as the pool's creator or manager. NODE is its id or the beginning of it.",
)


def _command(wish: Wish) -> click.Command:
    """The command that asks for it; `--wait` where it can be waited for."""

    @click.command(wish.action.value, help=wish.help)
    @click.argument("node_id", metavar="NODE")
    @_wait_options if wish.reached else _no_options
    @signer_options
    def change(node_id: str, signer: Signer, wait: bool = False, timeout: int = 0) -> None:
        waits = wait and not signer.dry_run
        one = _ask(signer, wish, node_id, signer.as_json and not wait)
        if not waits:
            return
        one = _wait_reached(signer.client, wish, one["node_id"], timeout)
        if signer.as_json:
            write_json(one)
        else:
            click.echo(f"{short(one['node_id'])} is {wish.reached}.")

    return change


def _wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--timeout", type=types.Span(), default=_WAIT_DEFAULT, help="Of --wait."
    )(command)
    return click.option("--wait", is_flag=True, help="Until nothing runs there any more.")(command)


def _no_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return command


drain, resume, ban, unban = (_command(wish) for wish in (DRAIN, RESUME, BAN, UNBAN))


def _ask(signer: Signer, wish: Wish, name: str, as_json: bool) -> Answer:
    """Sign what is wished, unless it is so already; the node as it was before."""
    one = find_node(signer.client, name)
    if one["intent"] in wish.already:
        if as_json or signer.dry_run:
            write_json({"node_id": one["node_id"], "intent": one["intent"], "changed": False})
        else:
            click.echo(f"{short(one['node_id'])} is {one['intent']} already: nothing is signed.")
        return one
    answer = signer.send(wish.action, one["node_id"].removeprefix("0x"))
    if answer is None:
        return one
    if as_json:
        write_json({"node_id": one["node_id"], "changed": True, **answer})
    else:
        click.echo(f"{short(one['node_id'])} {wish.done}")
    return one


def _wait_reached(client: AgentClient, wish: Wish, node_id: str, timeout_s: int) -> Answer:
    """The node once it is as was wished. Raises `Unavailable` after `timeout_s`; it goes on."""
    end, said = time.monotonic() + timeout_s, -1
    while True:
        one = dict(client.node(node_id)["node"])
        if one["intent"] == wish.reached:
            return one
        if one["allocations"] != said:
            said = one["allocations"]
            click.echo(f"{one['intent']}: {said} copies are still there.", err=True)
        if time.monotonic() + _POLL_S > end:
            raise Unavailable(
                f"The node {node_id} is not {wish.reached} after {timeout_s} s; the"
                f" {wish.action.value} goes on.",
                hint=f"See what holds it: p2pool node show {short(node_id)}.",
            )
        time.sleep(_POLL_S)
