"""Why copies do not run: in a line, which nodes refused a task, and in full for `task show`.

A reason that the log had no room for ends with an ellipsis: then the nodes are asked for all of it.
"""

import re
import time
from collections import Counter
from typing import Any

import click

from p2pool.cli.documents import visible
from p2pool.cli.shared.output import short, size
from p2pool.cli.shared.tables import Column, write_table
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.codec.text.clip import ELLIPSIS

_REASONS_MAX = 5


def pull_text(copy: Answer) -> str:
    """How much of a copy's image is here: `12 MiB of 80 MiB (15%)`."""
    done, total = copy["pulled_bytes"], copy["pull_total_bytes"]
    return f"fetching: {size(done)} of {size(total)} ({100 * done // max(1, total)}%)"


def reason_text(copy: Answer, *, pulls: bool = True) -> str:
    """Why a copy is in its state, as far as that is known; else empty. `pulls`: with how much of
    its image is here."""
    parts = [copy["reason"]] if copy["reason"] else []
    if pulls and copy["pull_total_bytes"]:
        parts.append(pull_text(copy))
    if copy["oom_killed"]:
        whose = "one of its processes" if copy["exit_code"] == 0 else "it"
        parts.append(f"{whose} used more memory than it has, and was killed")
    code = f"exit code {copy['exit_code']}"
    if copy["exit_code"] is not None and not re.search(rf"\b{code}\b", copy["reason"]):
        parts.append(code)
    return "; ".join(parts)


def reasons_text(one: Answer, *, pulls: bool = True) -> str:
    """Why copies do not run, each reason once, the most frequent first."""
    waiting = [c for c in one["allocations"] if c["state"] not in ("running", "succeeded")]
    counted = Counter(text for copy in waiting if (text := reason_text(copy, pulls=pulls)))
    named = [
        f"{text} ({count} copies)" if count > 1 else text
        for text, count in counted.most_common(_REASONS_MAX)
    ]
    more = len(counted) - len(named)
    return "; ".join([*named, *([f"and {more} more reasons"] if more > 0 else [])])


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
        write_table(
            (
                "REFUSED BY",
                Column("TIMES", rank=2),
                Column("TRIED AGAIN", rank=1),
                Column("REASON", prose=True),
            ),
            rows,
            "",
        )
    for node in full_reasons(client, one)["full_reasons"]:
        if node["problem"]:
            click.echo(f"\nNode {short(node['node_id'])} was not asked: {visible(node['problem'])}")
        for told in node["reasons"]:
            click.echo(f"\nCopy {told['allocation']}, attempt {told['attempt']}, in full:")
            click.echo(f"  {visible(told['reason'])}")


def _again(refusal: Answer) -> str:
    """When the node may be tried again."""
    left_s = int(refusal["until_ms"] / 1000 - time.time())
    return f"in {left_s} s" if left_s > 0 else "at once"
