"""`p2pool access`: gives others rights in a pool, shows who holds which, takes them back."""

import time
from collections.abc import Callable, Iterator

import click

from p2pool.cli.lazy import LazyGroup
from p2pool.cli.shared.delegations.words import span
from p2pool.cli.shared.known import warn_if_stale
from p2pool.cli.shared.options import agent_option, consistent_option, json_option
from p2pool.cli.shared.output import short, write_json
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model.access.amounts import cpus_text

HEAVY = {
    "grant": (
        "p2pool.cli.access.grant:grant",
        "Let ACCOUNT act in the pool for the pool's creator or manager, whose key signs.",
    ),
    "revoke": (
        "p2pool.cli.access.revoke:revoke",
        "Void all delegations to ACCOUNT, as the pool's creator or manager.",
    ),
    "show": (
        "p2pool.cli.access.show:show",
        "Check a delegation file and show what it gives, asking nobody.",
    ),
}
"""Those that sign or check signatures, which cost more to import than `ls` takes."""


@click.group(
    name="access", cls=LazyGroup, table=HEAVY, help="Give others rights in a pool, and take them."
)
def access() -> None:
    """The group."""


STATES = {
    "in-force": "in force",
    "not-yet": "not yet",
    "expired": "expired",
    "revoked": "revoked",
    "void": "void",
    "unknown": "unknown",
}
"""How the states of a delegation are shown; a later agent's are shown as it says them."""


@access.command("ls")
@agent_option
@consistent_option
@wide_option
@json_option
def ls(client: AgentClient, consistent: bool, as_json: bool) -> None:
    """List who holds rights by delegations, until when, and what is in use.

    A delegation is listed once a task was submitted under it, and until the last such task is
    forgotten; what was revoked, for good. One that is void was given by an account that is neither
    creator nor manager any more. What is used counts together for all delegations by one account to
    another.
    """
    found = client.access(consistent=consistent)
    warn_if_stale(client)
    if as_json:
        write_json("delegates", found)
        return
    now_s = int(time.time())
    write_table(_COLUMNS, (tuple(_row(one, now_s)) for one in found), _EMPTY)


_EMPTY = "No task was submitted under a delegation, and none was revoked."
_COLUMNS = (
    *("ACCOUNT", Column("SCOPE", rank=2), "STATE", Column("ENDS", rank=3)),
    *(Column("TASKS", rank=4), Column("GPUS", rank=5), Column("CPUS", rank=6)),
    *(Column("COPIES", rank=7), Column("PRIORITY", rank=8), Column("NAMES", rank=9)),
    Column("GIVEN BY", rank=10),
)


def _row(one: Answer, now_s: int) -> Iterator[str]:
    given = one["scope"] is not None
    yield short(one["delegate"])
    yield str(one["scope"] or "-")
    yield STATES.get(one["state"], str(one["state"]))
    yield _ends(one, now_s) if given else "-"
    yield str(one["tasks"]) if given else "-"
    quota, used = one["quota"] or {}, one["used"]
    yield _part(used["gpus"], quota.get("max_gpus"), given, str)
    yield _part(used["cpu_milli"], quota.get("max_cpu_milli"), given, cpus_text)
    yield _part(used["replicas"], quota.get("max_replicas"), given, str)
    most = quota.get("max_priority")
    yield "-" if most is None else f"to {most}"
    prefix = quota.get("name_prefix")
    yield "-" if prefix is None else f"{prefix}..."
    yield short(one["grantor"])


def _ends(one: Answer, now_s: int) -> str:
    left_s = one["not_after_s"] - now_s
    return f"in {span(left_s)}" if left_s >= 0 else f"{span(-left_s)} ago"


def _part(used: int, most: int | None, given: bool, text: Callable[[int], str]) -> str:
    """What is in use, and of how much if there is a limit."""
    if not given:
        return "-"
    return text(used) if most is None else f"{text(used)}/{text(most)}"
