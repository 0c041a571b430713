"""`p2pool task`: runs containers in the pool, shows them, stops them.

The owner's signature decides what runs: every change is a request signed with `--key`, which any
agent passes on to the leader. The task id is derived from the signed bytes.
"""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.lazy import LazyGroup, LazyOptions
from p2pool.cli.shared.lookup import LIVING, find_task
from p2pool.cli.shared.options import (
    agent_option,
    consistent_option,
    json_option,
    wait_timeout_option,
)
from p2pool.cli.shared.output import age, short, warn, write_json, write_pairs, write_table
from p2pool.cli.shared.signing import signer_options
from p2pool.cli.task.progress import Waiting, copies_text, pull_text
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer

_WAIT_DEFAULT = "5m"

wait_timeout = wait_timeout_option(_WAIT_DEFAULT)


LAZY = {
    "logs": ("p2pool.cli.task.logs:logs", "Write the log of a task, or of one copy: TASK.0."),
    "metrics": (
        "p2pool.cli.task.metrics:metrics",
        "Show the last numbers that each copy of TASK wrote to its metrics socket.",
    ),
}


def _flags(command: Any) -> Any:
    from p2pool.cli.task import flags

    return flags.run_options(command)


@click.group(
    name="task",
    cls=LazyGroup,
    table=LAZY,
    help="Run, watch and stop tasks: containers in the pool.",
)
def task() -> None:
    """The group."""


@task.command(
    "run", cls=LazyOptions, lazily=_flags, context_settings={"ignore_unknown_options": False}
)
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@click.option("--wait", is_flag=True, help="Wait until all copies run or the task has ended.")
@wait_timeout
@signer_options
@click.pass_context
def run(context: click.Context, /, signer: "Signer", **given: Any) -> None:
    """Run a task from flags, or from a file whose keys the flags replace.

    \b
      p2pool task run --image busybox --replicas 3 --wait -- sh -c 'echo hello'
      p2pool task run -f train.toml --gpus 2

    A file has the keys of the signed specification:

    \b
      {"name": "train", "image": "pytorch:2", "command": ["python", "t.py"],
       "env": {"LR": "0.1"}, "replicas": 2, "restart": {"mode": "on-failure"},
       "resources": {"cpu_milli": 4000, "memory_bytes": 8589934592, "gpu": {"count": 2}}}
    """
    from p2pool.cli.task import flags
    from p2pool.codec.spec.spec import spec_json
    from p2pool.model.access.requests import Action

    text = spec_json(flags.specification(given))
    if '"env":' in text:
        warn("environment variables are public: every member of the pool can read them.")
    accepted = signer.send(Action.SUBMIT, spec_json=text)
    if accepted is None:
        return
    one: Answer | None = None
    if given["wait"]:
        one = _wait(signer.client, accepted["task_id"], given["timeout"], _settled)
    if signer.as_json:
        write_json(accepted if one is None else one)
    else:
        click.echo(accepted["task_id"])
        if one is not None:
            click.echo(f"The task is {one['state']}: {copies_text(one)} copies run.", err=True)
    if one is not None and one["state"] not in ("running", "succeeded"):
        context.exit(1)


# --- waiting ------------------------------------------------------------------------------------


def _settled(one: Answer) -> bool:
    """Whether all copies run, or none will any more."""
    if one["state"] not in LIVING:
        return True
    states = [copy["state"] for copy in one["allocations"]]
    done = {"running", "succeeded"}
    wanted = one["spec"].get("replicas", 1)
    return len(states) >= wanted and all(state in done for state in states)


def _ended(one: Answer) -> bool:
    return one["state"] not in LIVING


def _wait(client: AgentClient, task_id: str, timeout_s: int, over: Any) -> Answer:
    """The task once `over` holds for it. Raises `Unavailable` after `timeout_s`; the task goes
    on."""
    end = time.monotonic() + timeout_s
    with Waiting() as shown:
        while True:
            with suppress(NotFound):  # Committed at the leader, not yet applied by this agent.
                one = client.task(task_id)
                if over(one):
                    return one
                shown.show(one)
            if time.monotonic() + limits.CLIENT_POLL_MS / 1000 > end:
                raise Unavailable(
                    f"After {timeout_s} s the task {task_id} is not there yet; it goes on.",
                    hint=f"See why: p2pool task show {task_id}.",
                )
            time.sleep(limits.CLIENT_POLL_MS / 1000)


# --- looking ------------------------------------------------------------------------------------


@task.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="Also ended tasks.")
@agent_option
@consistent_option
@json_option
def ls(client: AgentClient, everything: bool, consistent: bool, as_json: bool) -> None:
    """List the tasks, the newest first."""
    shown = client.tasks(consistent=consistent, states=() if everything else LIVING)
    if as_json:
        write_json(shown)
        return
    rows = (
        (
            *(short(one["task_id"]), one["name"], one["state"], copies_text(one), one["image"]),
            age(one["submitted_at_ms"]),
        )
        for one in shown
    )
    ended = not shown and not everything and client.get("/v1/tasks", limit="1")["tasks"]
    empty = "No task runs; --all shows ended ones." if ended else "No task runs."
    write_table(("TASK", "NAME", "STATE", "RUNNING", "IMAGE", "AGE"), rows, empty)


@task.command("show")
@click.argument("name", metavar="TASK")
@agent_option
@json_option
def show(name: str, client: AgentClient, as_json: bool) -> None:
    """Show a task and its copies. TASK is its id, the beginning of it, or its name."""
    one = find_task(client, name)
    if as_json:
        write_json(one)
        return
    command = " ".join((*one["spec"].get("entrypoint", ()), *one["spec"].get("command", ())))
    write_pairs(
        [
            ("task", one["task_id"]),
            ("name", one["name"]),
            ("state", one["state"] + (", stopping" if one["stop_requested"] else "")),
            ("image", one["image"]),
            ("digest", ", ".join(_digests(one)) or "not known yet"),
            ("command", command or "the image's"),
            ("owner", one["signer"]),
            ("age", age(one["submitted_at_ms"])),
        ]
    )
    click.echo()
    rows = (
        (
            *(str(copy["replica"]), _state(copy), short(copy["node_id"])),
            *(", ".join(copy["gpus"]) or "-", str(copy["attempt"]), _reason(copy)),
            age(copy["changed_at_ms"]),
        )
        for copy in one["allocations"]
    )
    columns = ("REPLICA", "STATE", "NODE", "GPUS", "ATTEMPT", "REASON", "SINCE")
    write_table(columns, rows, "It has no copies yet.")


def _digests(one: Answer) -> list[str]:
    """The digests that the image's name stood for: several if the name has moved meanwhile."""
    return sorted({copy["image_digest"] for copy in one["allocations"] if copy["image_digest"]})


def _state(copy: Answer) -> str:
    """A copy's state, with its health if its image has a check."""
    return f"{copy['state']} ({copy['health']})" if copy["health"] != "none" else str(copy["state"])


def _reason(copy: Answer) -> str:
    parts = [copy["reason"]] if copy["reason"] else []
    if copy["pull_total_bytes"]:
        parts.append(pull_text(copy))
    if copy["oom_killed"]:
        whose = "one of its processes" if copy["exit_code"] == 0 else "it"
        parts.append(f"{whose} used more memory than it has, and was killed")
    if copy["exit_code"] is not None:
        parts.append(f"exit code {copy['exit_code']}")
    return "; ".join(parts) or "-"


# --- stopping -----------------------------------------------------------------------------------


@task.command("stop")
@click.argument("name", metavar="TASK")
@click.option("--wait", is_flag=True, help="Wait until no copy runs.")
@wait_timeout
@signer_options
def stop(name: str, wait: bool, timeout: int, signer: "Signer") -> None:
    """Stop a task. TASK is its id, the beginning of it, or its name."""
    from p2pool.model.access.requests import Action

    one = find_task(signer.client, name)
    answer = signer.send(Action.STOP, one["task_id"])
    if answer is None:
        return
    if wait:
        answer = _wait(signer.client, one["task_id"], timeout, _ended)
    if signer.as_json:
        write_json(answer)
    else:
        click.echo(f"{one['name']} {'has stopped' if wait else 'is stopping'}.")
