"""`p2pool node drain, resume, ban, unban`: what is wanted of a node, as a signed request.

A provider may drain and resume its own nodes; the pool's creator, its manager and a delegate with
the scope admin may do so with any node, and ban it. A ban is lifted by creator or manager alone.
A node that is already as it is asked to be is left alone, and nothing is signed.
"""

import time

import attrs
import click

from p2pool.cli.shared import types
from p2pool.cli.shared.lookup import find_node
from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.cli.shared.output import short, write_json
from p2pool.cli.shared.signing import send_request, show_request
from p2pool.client.agent import AgentClient, Answer
from p2pool.client.requests import request_for
from p2pool.model.access.requests import Action
from p2pool.model.errors import Unavailable

_POLL_S = 0.5
_WAIT_DEFAULT = "15m"


@attrs.frozen
class Wish:
    """What is asked for, and the intents that show that it is so already."""

    action: Action
    already: tuple[str, ...]
    done: str


DRAIN = Wish(Action.DRAIN, ("draining", "drained"), "is being drained: its copies move elsewhere.")
RESUME = Wish(Action.RESUME, ("eligible",), "is eligible for tasks again.")
BAN = Wish(Action.BAN, ("banned",), "is banned: its copies are stopped, and none is placed on it.")
UNBAN = Wish(Action.UNBAN, ("eligible",), "is not banned any more.")


@click.command("drain")
@click.argument("node_id", metavar="NODE")
@click.option("--wait", is_flag=True, help="Until nothing runs there any more.")
@click.option("--timeout", type=types.Span(), default=_WAIT_DEFAULT, help="Of --wait.")
@key_options
@agent_option
@dry_run_option
@json_option
def drain(
    node_id: str,
    wait: bool,
    timeout: int,
    key: str | None,
    passphrase_file: str | None,
    client: AgentClient,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take a node out of work, as its provider or the pool's manager.

    Its copies are stopped, each with its grace, and placed elsewhere; leadership is handed on. It
    stays a member and a voter. NODE is its id or the beginning of it.
    """
    one = _ask(client, DRAIN, node_id, (key, passphrase_file), dry_run, as_json and not wait)
    if wait and not dry_run:
        one = _wait_drained(client, one["node_id"], timeout)
        if as_json:
            write_json(one)
        else:
            click.echo(f"{short(one['node_id'])} is drained.")


@click.command("resume")
@click.argument("node_id", metavar="NODE")
@key_options
@agent_option
@dry_run_option
@json_option
def resume(
    node_id: str,
    key: str | None,
    passphrase_file: str | None,
    client: AgentClient,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a node that was drained back to work. NODE is its id or the beginning of it."""
    _ask(client, RESUME, node_id, (key, passphrase_file), dry_run, as_json)


@click.command("ban")
@click.argument("node_id", metavar="NODE")
@key_options
@agent_option
@dry_run_option
@json_option
def ban(
    node_id: str,
    key: str | None,
    passphrase_file: str | None,
    client: AgentClient,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have a node do nothing for the pool until the manager lifts it: no task, no vote.

    The chain still has it as a member; `p2pool pool eject` takes it out there. NODE is its id or
    the beginning of it.
    """
    _ask(client, BAN, node_id, (key, passphrase_file), dry_run, as_json)


@click.command("unban")
@click.argument("node_id", metavar="NODE")
@key_options
@agent_option
@dry_run_option
@json_option
def unban(
    node_id: str,
    key: str | None,
    passphrase_file: str | None,
    client: AgentClient,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Lift a ban, as the pool's creator or manager. NODE is its id or the beginning of it."""
    _ask(client, UNBAN, node_id, (key, passphrase_file), dry_run, as_json)


def _ask(
    client: AgentClient,
    wish: Wish,
    name: str,
    key: tuple[str | None, str | None],
    dry_run: bool,
    as_json: bool,
) -> Answer:
    """Sign what is wished, unless it is so already; the node as it was before."""
    one = find_node(client, name)
    if one["intent"] in wish.already:
        if as_json or dry_run:
            write_json({"node_id": one["node_id"], "intent": one["intent"], "changed": False})
        else:
            click.echo(f"{short(one['node_id'])} is {one['intent']} already: nothing is signed.")
        return one
    pool = client.pool_ref()
    request = request_for(pool, wish.action, one["node_id"].removeprefix("0x"))
    if dry_run:
        show_request(pool, request)
        return one
    answer = send_request(client, pool, request, *key)
    if as_json:
        write_json({"node_id": one["node_id"], "changed": True, **answer})
    else:
        click.echo(f"{short(one['node_id'])} {wish.done}")
    return one


def _wait_drained(client: AgentClient, node_id: str, timeout_s: int) -> Answer:
    """The node once it is drained. Raises `Unavailable` after `timeout_s`; the drain goes on."""
    end, said = time.monotonic() + timeout_s, -1
    while True:
        one = dict(client.node(node_id)["node"])
        if one["intent"] == "drained":
            return one
        if one["allocations"] != said:
            said = one["allocations"]
            click.echo(f"{one['intent']}: {said} copies are still there.", err=True)
        if time.monotonic() + _POLL_S > end:
            raise Unavailable(
                f"The node {node_id} is not drained after {timeout_s} s; the drain goes on.",
                hint=f"See what holds it: p2pool node show {short(node_id)}.",
            )
        time.sleep(_POLL_S)
