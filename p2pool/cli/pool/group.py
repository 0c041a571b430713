"""`p2pool pool`: shows and manages the pool as a whole, and invites nodes into it."""

import time
from typing import TYPE_CHECKING

import click

from p2pool.cli.lazy import LazyGroup
from p2pool.cli.shared.known import warn_if_stale
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import short, write_json
from p2pool.cli.shared.signing import own_signer_options
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import Span, span_text
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.errors import Misconfigured

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer

_INVITE_DEFAULT = "1h"
_OLD_S = 60
"""The chain is read every few seconds: an older word is worth its age."""


# What signs, sends transactions or reads proofs costs more to import than `show` takes.
HEAVY = {
    "blacklist": (
        "p2pool.cli.pool.exclusion:blacklist",
        "Bar nodes or a provider from a pool for good, as its creator or manager.",
    ),
    "create": ("p2pool.cli.pool.create:create", "Create a pool on the chain and print its number."),
    "eject": (
        "p2pool.cli.pool.exclusion:eject",
        "Put nodes out of the pool on the chain, as its creator or manager.",
    ),
    "end": (
        "p2pool.cli.pool.end:end",
        "End a pool on the chain for good, as its creator or manager.",
    ),
    "events": ("p2pool.cli.pool.events:events", "Write the pool's events, oldest first."),
    "evidence": ("p2pool.cli.pool.evidence:evidence", "Show voters that provably lied."),
    "leave": (
        "p2pool.cli.pool.membership:leave",
        "Take nodes out of the pool on the chain, as their provider.",
    ),
    "join": (
        "p2pool.cli.pool.membership:join",
        "Take nodes into the pool on the chain, as their provider.",
    ),
    "move": (
        "p2pool.cli.pool.membership:move",
        "Move nodes to another pool, as their provider.",
    ),
    "purge": (
        "p2pool.cli.pool.exclusion:purge",
        "Put all nodes of a provider out of the pool, as its creator or manager.",
    ),
    "rejoin": (
        "p2pool.cli.pool.membership:rejoin",
        "Take nodes back into the pool that left it, as their provider.",
    ),
    "recover": (
        "p2pool.cli.pool.recover:recover",
        "Found the pool's next epoch when a majority of its committee is gone for good.",
    ),
    "root": (
        "p2pool.cli.pool.root:root",
        "Show the root record on the chain and the one of the log that an agent follows.",
    ),
    "set": (
        "p2pool.cli.pool.settings:set_setting",
        "Change a setting of the pool, as its creator or manager.",
    ),
    "set-limit": (
        "p2pool.cli.pool.requirements:set_limit",
        "Change how many compute units a pool takes, as its creator or manager.",
    ),
    "set-requirements": (
        "p2pool.cli.pool.requirements:set_requirements",
        "Change what a pool requires of machines that join it, as its creator or manager.",
    ),
    "start": (
        "p2pool.cli.pool.start:start",
        "Start a pool on the chain, and name the agent that founds its log.",
    ),
}


@click.group(name="pool", cls=LazyGroup, table=HEAVY, help="Found, manage and recover a pool.")
def pool() -> None:
    """The group."""


@pool.command("show")
@agent_option
@json_option
def show(client: AgentClient, as_json: bool) -> None:
    """Show the pool: its keepers, members, GPUs, tasks and settings."""
    one = client.pool()
    warn_if_stale(client)
    if as_json:
        write_json("pool", one)
        return
    tasks = ", ".join(f"{count} {state}" for state, count in sorted(one["tasks"].items()))
    settings = ", ".join(f"{name} {value}" for name, value in one["settings"].items())
    write_pairs(
        [
            ("pool", f"{one['pool_id']} of {one['contract']} on chain {one['chain_id']}"),
            ("name", one["name"] or "-"),
            ("status", _status(one)),
            ("creator", one["creator"] or "not known yet"),
            ("manager", one["manager"] or "not known yet"),
            ("leader", one["leader"] or "unknown"),
            ("members", _members(one)),
            ("gpus", f"{one['gpus_free']} of {one['gpus']} free"),
            ("tasks", tasks or "none"),
            ("settings", settings or "all defaults"),
            ("feature level", _level(one)),
        ]
    )


def _members(one: Answer) -> str:
    unknown = one.get("nodes_unknown", 0)
    text = f"{one['members']}, {one['nodes_healthy']} healthy"
    return f"{text}, {unknown} unknown" if unknown else text


def _status(one: Answer) -> str:
    """What the chain says, and when, unless that was a moment ago."""
    old_s = one.get("roster_age_ms", 0) // 1000
    return f"{one['status']}, as the chain said {old_s} s ago" if old_s > _OLD_S else one["status"]


def _level(one: Answer) -> str:
    """The pool's feature level, and who keeps it from the next one."""
    level, lagging = one["feature_level"], one["lagging"]
    if not lagging:
        return str(level)
    named = ", ".join(f"{short(node['node_id'])} ({_runs(node)})" for node in lagging)
    return f"{level}; {level + 1} when these are upgraded: {named}"


def _runs(node: Answer) -> str:
    if node["feature_level"] is None:
        return "not heard of late"
    return f"runs {node['agent_version']}"


@pool.command("invite")
@click.argument("node_id", metavar="NODE")
@click.option(
    "--expires",
    type=Span(1, limits.INVITE_LIFETIME_MAX_S),
    default=_INVITE_DEFAULT,
    show_default=True,
    help="How long the invite is valid; 24h at most.",
)
@own_signer_options
def invite(node_id: str, expires: int, signer: "Signer") -> None:
    """Invite a node into the pool, as its manager. NODE is the node's address.

    The command signs the invite with --key and hands it to the agent, which keeps it for the node.
    Where a contract manages the pool, its owner signs: --contract ADDRESS.
    """
    from p2pool.cli import unsigned_file
    from p2pool.cli.shared.signer import say_unsigned, write_signature
    from p2pool.codec.json.hex import address_text, unhex
    from p2pool.codec.json.requests import invite_json
    from p2pool.drivers.chain.consent import KeyManager, unsigned_invite
    from p2pool.model.ids import ADDRESS_BYTES, NodeId

    node = unhex(node_id, ADDRESS_BYTES)
    if node is None:
        raise click.UsageError(f"{node_id!r} is not a node id: 0x and 40 hex digits.")
    one = signer.client.pool()
    if one["manager"] is None:
        raise Misconfigured(
            "The agent has not read the chain yet, so it does not know the pool's manager.",
            hint="Try again in a moment. See what keeps it: p2pool agent status.",
        )
    expiration_s = int(time.time()) + expires
    if signer.dry_run:
        sentence = {"domain_id": one["domain_id"], "pool_id": one["pool_id"]}
        sentence |= {"node_id": address_text(NodeId(node)), "expiration_s": expiration_s}
        write_signature(sentence, signer.as_json)
        return
    if signer.contract is not None:
        _check_manager(one, "The contract account is", signer.contract)
    if signer.unsigned is not None:
        blank = unsigned_invite(one["domain_id"], one["pool_id"], NodeId(node), expiration_s)
        document = unsigned_file.write_invite(signer.unsigned, blank, signer.contract)
        say_unsigned(signer.unsigned, document["digest"], signer.as_json)
        return
    manager = KeyManager(signer.account)
    if signer.contract is None:
        _check_manager(one, "The key belongs to", manager.address)
    made = manager.sign_invite(one["domain_id"], one["pool_id"], NodeId(node), expiration_s)
    signer.client.invite(made)
    if signer.as_json:
        write_json("invite", invite_json(made))
    else:
        click.echo(f"Invited {node_id}; it can join within {span_text(expires)}.")


def _check_manager(one: Answer, what: str, account: bytes) -> None:
    """`Misconfigured` unless an account is the pool's manager."""
    who = "0x" + account.hex()
    if who != one["manager"]:
        raise Misconfigured(
            f"{what} {who}; the pool's manager is {one['manager']}.",
            hint="Sign with the manager's key; for a contract account that manages the pool, with"
            f" its owner's: --contract {one['manager']}.",
        )
