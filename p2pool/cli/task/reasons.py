"""Which nodes refused a task, and reasons in full, for `p2pool task show`.

A reason that the log had no room for ends with an ellipsis: then the nodes are asked for all of it.
"""

import time
from typing import Any

import click

from p2pool.cli.shared.output import clean, short, write_table
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.codec.text.clip import ELLIPSIS


def full_reasons(client: AgentClient, one: Answer) -> dict[str, Any]:
    """What the nodes tell of reasons that were cut, as a part of the task's JSON."""
    cut = any(part["reason"].endswith(ELLIPSIS) for part in (*one["allocations"], *_refusals(one)))
    if not cut:
        return {"full_reasons": []}
    return {"full_reasons": client.task_reasons(one["task_id"])["nodes"]}


def _refusals(one: Answer) -> list[Answer]:
    return list(one.get("refusals", ()))


def write_refusals(client: AgentClient, one: Answer) -> None:
    """Write the nodes that refused the task, and each reason that was cut, in full."""
    if refusals := _refusals(one):
        click.echo()
        rows = ((short(r["node_id"]), str(r["times"]), _again(r), r["reason"]) for r in refusals)
        write_table(("REFUSED BY", "TIMES", "TRIED AGAIN", "REASON"), rows, "")
    for node in full_reasons(client, one)["full_reasons"]:
        if node["problem"]:
            click.echo(f"\nNode {short(node['node_id'])} was not asked: {clean(node['problem'])}")
        for told in node["reasons"]:
            click.echo(f"\nCopy {told['allocation']}, attempt {told['attempt']}, in full:")
            click.echo(f"  {clean(told['reason'])}")


def _again(refusal: Answer) -> str:
    """When the node may be tried again."""
    left_s = int(refusal["until_ms"] / 1000 - time.time())
    return f"in {left_s} s" if left_s > 0 else "at once"
