"""`p2pool node drain, resume, ban, unban`: signs what the pool wants of a node.

A provider may drain and resume its own nodes; the pool's creator, its manager and a delegate with
the scope admin may drain, resume and ban any node. Only creator and manager lift a ban. For a node
that already has the wanted intent the command signs nothing.
"""

import time
from collections.abc import Callable
from typing import Any

import attrs
import click

from p2pool.cli.shared.lookup import find_node
from p2pool.cli.shared.options import wait_options
from p2pool.cli.shared.output import short, write_json, write_line
from p2pool.cli.shared.signer import Signer, needless
from p2pool.cli.shared.signing import signer_options
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Unavailable

_WAIT_DEFAULT = "15m"


@attrs.frozen
class Wish:
    """The request, and the intents that make it needless. `reached`: the intent that a node comes
    to in the end, where a command can wait for it."""

    action: Action
    already: tuple[str, ...]
    done: str
    help: str
    reached: str | None = None


DRAIN = Wish(
    Action.DRAIN,
    already=("draining", "drained"),
    done="is draining: its copies move elsewhere.",
    help="""Take a node out of work, as its provider or the pool's manager.

    Its copies stop, each with its grace, and start elsewhere; if it leads, it hands leadership on.
    It stays a member and a voter. NODE is its id or the beginning of it.
    """,
    reached="drained",
)
RESUME = Wish(
    Action.RESUME,
    already=("eligible",),
    done="is eligible for tasks again.",
    help="Put a drained node back to work. NODE is its id or the beginning of it.",
)
BAN = Wish(
    Action.BAN,
    already=("banned",),
    done="is banned: its copies stop, and it gets no more.",
    help="""Ban a node from all work until the manager lifts the ban: no task, no vote.

    On the chain it stays a member; `p2pool pool eject` takes it out there. NODE is its id or the
    beginning of it.
    """,
)
UNBAN = Wish(
    Action.UNBAN,
    already=("eligible",),
    done="is no longer banned.",
    help="Lift a ban, as the pool's creator or manager. NODE is its id or the beginning of it.",
)


def _command(wish: Wish) -> click.Command:
    """The command for a wish; with `--wait` where it can wait."""

    @click.command(wish.action.value, help=wish.help)
    @click.argument("node_id", metavar="NODE")
    @_wait_options if wish.reached else _no_options
    @signer_options
    def change(node_id: str, signer: Signer, wait: bool = False, timeout: int = 0) -> None:
        one = find_node(signer.client, node_id)["node"]
        said = ask(signer, wish, one)
        if said is None:
            return
        try:
            if wait:
                said["node"] = wait_reached(signer.client, wish, one["node_id"], timeout)
        finally:  # Whoever interrupts the wait is told what was signed.
            if signer.as_json:
                write_json("request", said)
        if wait and not signer.as_json:
            write_line(f"{short(one['node_id'])} is {wish.reached}.")

    return change


def _wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return wait_options("nothing runs there", _WAIT_DEFAULT)(command)


def _no_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return command


drain, resume, ban, unban = (_command(wish) for wish in (DRAIN, RESUME, BAN, UNBAN))


def ask(signer: Signer, wish: Wish, one: Answer) -> Answer | None:
    """Sign the wish, unless it is needless; what became of it. None: a dry run."""
    node_id = one["node_id"]
    if one["intent"] in wish.already:
        if not signer.as_json:
            write_line(f"{short(node_id)} is already {one['intent']}: nothing to sign.")
        return {**needless(wish.action, node_id), "node": None}
    answer = signer.send(wish.action, node_id.removeprefix("0x"))
    if answer is None:
        return None
    if not signer.as_json:
        write_line(f"{short(node_id)} {wish.done}")
    return {**answer, "node_id": node_id, "node": None}


def wait_reached(client: AgentClient, wish: Wish, node_id: str, timeout_s: int) -> Answer:
    """The node once it is as wished. Raises `Unavailable` after `timeout_s`; the drain goes on."""
    end, said = time.monotonic() + timeout_s, -1
    while True:
        one = dict(client.node(node_id)["node"])
        if one["intent"] == wish.reached:
            return one
        if one["allocations"] != said:
            said = one["allocations"]
            write_line(
                f"{one['intent']}: {said} {'copy' if said == 1 else 'copies'} left.", err=True
            )
        if time.monotonic() + limits.CLIENT_POLL_MS / 1000 > end:
            raise Unavailable(
                f"The node {node_id} is not {wish.reached} after {timeout_s} s; the"
                f" {wish.action.value} goes on.",
                hint=f"See what still runs there: p2pool node show {short(node_id)}.",
            )
        time.sleep(limits.CLIENT_POLL_MS / 1000)
