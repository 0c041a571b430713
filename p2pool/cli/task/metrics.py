"""`p2pool task metrics`: shows the numbers that a task's copies report."""

import click

from p2pool.cli.shared.lookup import find_task
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import age, short, warn, write_json
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.client.agent_client import AgentClient


@click.command("metrics")
@click.argument("task_name", metavar="TASK")
@agent_option
@wide_option
@json_option
def metrics(task_name: str, client: AgentClient, as_json: bool) -> None:
    """Show the last numbers that each copy of TASK wrote to its metrics socket.

    A task writes lines of JSON, {"loss": 0.41, "step": 1200}, to the unix socket that
    P2POOL_METRICS_SOCKET names inside its container.
    """
    copies = client.task_metrics(find_task(client, task_name)["task_id"])
    if as_json:
        write_json("task-metrics", copies)
        return
    rows = [
        (
            copy["allocation"].rpartition(".")[2],
            short(copy["node_id"]),
            one["name"],
            f"{one['value']:g}",
            f"{age(one['at_ms'])} ago",
        )
        for copy in copies
        for one in copy["metrics"]
    ]
    columns = ("COPY", Column("NODE", rank=2), "METRIC", "VALUE", Column("REPORTED", rank=1))
    write_table(columns, rows, "The task has reported nothing yet.")
    for copy in copies:
        if copy["problem"]:
            warn(f"copy {copy['allocation'].rpartition('.')[2]}: {copy['problem']}")
        if copy["refused_lines"]:
            warn(
                f"copy {copy['allocation'].rpartition('.')[2]}: {copy['refused_lines']} lines were"
                " dropped (not JSON with numbers, too many names, or too fast)."
            )
