"""`p2pool task`: runs containers in the pool, shows them, stops them.

The owner's signature decides what runs: every change is a request signed with `--key`, which any
agent passes on to the leader. The task id is derived from the signed bytes.
"""

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.lazy import LazyGroup, LazyOptions
from p2pool.cli.shared.known import copy_state, runs, warn_if_stale
from p2pool.cli.shared.lookup import LIVING, find_task, free_name
from p2pool.cli.shared.options import (
    agent_option,
    consistent_option,
    json_option,
    wait_options,
)
from p2pool.cli.shared.output import age, short, warn, write_json, write_json_line, write_line
from p2pool.cli.shared.signing import signer_options
from p2pool.cli.shared.tables import Column, wide_option, write_pairs, write_table
from p2pool.cli.task.endings import ending_text, exit_code_of
from p2pool.cli.task.progress import Waiting, copies_text
from p2pool.cli.task.reasons import full_reasons, reason_text, reasons_text, write_refusals
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer
    from p2pool.cli.task.secrets.flags import GivenSecrets
    from p2pool.cli.task.secrets.sealed_request import SealedRequest

_WAIT_DEFAULT = "5m"


LAZY = {
    "provide-secrets": (
        "p2pool.cli.task.secrets.set_secret:provide_secrets",
        "Give a task its secrets again, where no node that could pass them on is left.",
    ),
    "set-secret": (
        "p2pool.cli.task.secrets.set_secret:set_secret",
        "Give a task other values of its secrets.",
    ),
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
@wait_options(
    "all copies run or the task has ended; a task of one copy that fails gives its exit code",
    _WAIT_DEFAULT,
)
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
    from p2pool.cli.task.secrets.sealed_request import seal_for
    from p2pool.client.secrets import secrets_table
    from p2pool.model.access.requests import Action

    sealed: list[SealedRequest] = []

    def seal(secrets: "GivenSecrets") -> dict[str, Any]:
        sealed.append(seal_for(signer, secrets))
        return secrets_table(sealed[0].sealed.secrets)

    named = partial(free_name, signer.client, prefix=_prefix(signer))
    text = flags.specification(given, named, seal)
    if '"env":' in text:
        warn("environment variables are public: every member of the pool can read them.")
    accepted = signer.send(
        Action.SUBMIT,
        spec_json=text,
        request_id=sealed[0].request_id if sealed else None,
        secrets=sealed[0].sealed.blob if sealed else None,
    )
    if accepted is None:
        return
    if not signer.as_json:
        write_line(accepted["task_id"])  # Now: whoever interrupts the wait has it.
    elif not given["wait"]:
        write_json("request", {**accepted, "task": None})
    if not given["wait"]:
        return
    one = _followed(signer, accepted, given["timeout"], _settled)
    if not signer.as_json:
        write_line(ending_text(one), err=True)
    if one["state"] not in ("running", "succeeded"):
        context.exit(exit_code_of(one))


def _prefix(signer: "Signer") -> str:
    """How the name of a task has to begin that nobody named."""
    file = signer.delegation_file
    quota = None if file is None else file.signed.delegation.quota
    return (quota.name_prefix if quota is not None else None) or ""


# --- waiting ------------------------------------------------------------------------------------


def _settled(one: Answer) -> bool:
    """Whether all copies run, or none will any more."""
    if one["state"] not in LIVING:
        return True
    copies, wanted = one["allocations"], one["spec"].get("replicas", 1)
    done = [copy for copy in copies if runs(copy) or copy["state"] == "succeeded"]
    return len(copies) >= wanted and len(done) == len(copies)


def _ended(one: Answer) -> bool:
    return one["state"] not in LIVING


def _stayed(client: AgentClient, one: Answer) -> Answer:
    """The task a moment later, if it runs: what dies at once did not start well."""
    if one["state"] != "running":
        return one
    time.sleep(limits.CLIENT_SETTLE_MS / 1000)
    return client.task(one["task_id"])


def _followed(signer: "Signer", said: Answer, timeout_s: int, over: Any) -> Answer:
    """The task once `over` holds for it. With --json its document is written however the wait ends:
    whoever interrupts it is told what was signed."""
    said["task"] = None
    try:
        said["task"] = _wait(signer.client, said["task_id"], timeout_s, over)
    finally:
        if signer.as_json:
            write_json("request", said)
    return dict(said["task"])


def _wait(client: AgentClient, task_id: str, timeout_s: int, over: Any) -> Answer:
    """The task once `over` holds for it. Raises `Unavailable` after `timeout_s`; the task goes
    on."""
    end, why = time.monotonic() + timeout_s, ""
    with Waiting() as shown:
        while True:
            with suppress(NotFound):  # Committed at the leader, not yet applied by this agent.
                one = client.task(task_id)
                if over(one):
                    return _stayed(client, one)
                shown.show(one)
                why = reasons_text(one)
            if time.monotonic() + limits.CLIENT_POLL_MS / 1000 > end:
                because = f" ({why})" if why else ""
                raise Unavailable(
                    f"After {timeout_s} s the task {task_id} is not there yet{because}; it goes"
                    " on.",
                    hint=f"See why: p2pool task show {task_id}.",
                )
            time.sleep(limits.CLIENT_POLL_MS / 1000)


# --- looking ------------------------------------------------------------------------------------


@task.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="Also ended tasks.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Only tasks with this label. Repeatable: all of them.",
)
@agent_option
@consistent_option
@wide_option
@json_option
def ls(
    client: AgentClient, everything: bool, labels: tuple[str, ...], consistent: bool, as_json: bool
) -> None:
    """List the tasks, the newest first."""
    if any(not text.partition("=")[0] for text in labels):
        raise click.UsageError("--label takes NAME or NAME=VALUE.")
    states = () if everything else LIVING
    shown = client.tasks(consistent=consistent, states=states, labels=labels)
    warn_if_stale(client)
    if as_json:
        write_json("tasks", shown)
        return
    rows = (
        (
            *(short(one["task_id"]), one["name"], one["state"], copies_text(one), one["image"]),
            age(one["submitted_at_ms"]),
            reasons_text(one) or "-",
        )
        for one in shown
    )
    what = "No task with that label runs" if labels else "No task runs"
    ended = not shown and not everything and client.get("/v1/tasks", limit="1")["tasks"]
    empty = f"{what}; --all shows ended ones." if ended else f"{what}."
    columns = (
        *(Column("TASK", rank=3), "NAME", "STATE", Column("RUNNING", rank=1)),
        *(Column("IMAGE", rank=5), Column("AGE", rank=4), Column("WHY", rank=2, prose=True)),
    )
    write_table(columns, rows, empty)


def _labels(one: Answer) -> list[str]:
    return [f"{name}={value}" for name, value in one["spec"].get("labels", {}).items()]


def _secrets(one: Answer) -> list[str]:
    """The names of a task's secrets, with how a copy sees each."""
    given = one["spec"]["secrets"]
    if not isinstance(given, dict):  # An old task's names, to which nothing is given.
        return [str(name) for name in given]
    found = []
    for use in given.get("uses", ()):
        variable = use.get("variable")
        seen = ["file"] if use.get("file", True) else []
        found.append(f"{use['name']} ({' and '.join([*seen, *([variable] if variable else [])])})")
    return found + (["registry credentials"] if given.get("registry_auth") else [])


@task.command("show")
@click.argument("name", metavar="TASK")
@agent_option
@wide_option
@json_option
def show(name: str, client: AgentClient, as_json: bool) -> None:
    """Show a task and its copies. TASK is its id, the beginning of it, or its name."""
    one = find_task(client, name)
    warn_if_stale(client)
    if as_json:
        write_json("task", one | full_reasons(client, one))
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
            ("labels", ", ".join(_labels(one)) or "-"),
            *((("secrets", ", ".join(_secrets(one))),) if one["spec"].get("secrets") else ()),
            *((("work", _work(one["spec"]["work"])),) if one["spec"].get("work") else ()),
            ("owner", one["signer"]),
            ("age", age(one["submitted_at_ms"])),
        ]
    )
    click.echo()
    rows = (
        (
            *(str(copy["replica"]), copy_state(copy), short(copy["node_id"])),
            *(", ".join(copy["gpus"]) or "-", str(copy["attempt"]), reason_text(copy) or "-"),
            age(copy["changed_at_ms"]),
        )
        for copy in one["allocations"]
    )
    columns = (
        *("REPLICA", "STATE", Column("NODE", rank=1), Column("GPUS", rank=2, prose=True)),
        *(Column("ATTEMPT", rank=4), Column("REASON", prose=True), Column("SINCE", rank=3)),
    )
    write_table(columns, rows, "It has no copies yet.")
    write_refusals(client, one)


def _digests(one: Answer) -> list[str]:
    """The digests that the image's name stood for: several if the name has moved meanwhile."""
    return sorted({copy["image_digest"] for copy in one["allocations"] if copy["image_digest"]})


def _work(told: Answer) -> str:
    """What of it is submitted to the chain, and under which key."""
    source = f"the file {told['file']}" if told.get("file") else f"lines of {told['metric']}"
    units = f"{told['units']} units each" if told.get("units") else "units as they say"
    return f"{source}, {units}, key {told.get('key', 'a digest of each')}"


# --- stopping -----------------------------------------------------------------------------------


@task.command("stop")
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@wait_options("no copy runs", _WAIT_DEFAULT)
@signer_options
def stop(names: tuple[str, ...], wait: bool, timeout: int, signer: "Signer") -> None:
    """Stop tasks. TASK is its id, the beginning of it, or its name.

    Of several all are looked up before anything is signed. With --json each has a document, and of
    several each document is a line. With --wait each has that time.
    """
    if signer.dry_run and len(names) > 1:
        raise click.UsageError("--dry-run shows what one signature is over: name one TASK.")
    listed = [find_task(signer.client, name) for name in names]
    found = {one["task_id"]: one for one in listed}
    said: list[tuple[Answer, Answer]] = []
    try:
        for one in found.values():
            answer = _stop(one, signer)
            if answer is not None:
                said.append((one, answer))
        for one, answer in said if wait else ():
            answer["task"] = answer["task"] or _wait(signer.client, one["task_id"], timeout, _ended)
    finally:  # Whoever interrupts it, or is refused the next one, is told what was signed.
        for one, answer in said:
            if not signer.as_json:
                write_line(_stop_text(one, answer))
            elif len(found) == 1:
                write_json("request", answer)
            else:
                write_json_line("request", answer)


def _stop(one: Answer, signer: "Signer") -> Answer | None:
    """Have a task stopped; its document. None: a dry run."""
    from p2pool.cli.shared.signer import needless
    from p2pool.model.access.requests import Action

    if _ended(one):
        return {**needless(Action.STOP, one["task_id"]), "task": one}
    answer = signer.send(Action.STOP, one["task_id"])
    return None if answer is None else {**answer, "task": None}


def _stop_text(one: Answer, answer: Answer) -> str:
    if not answer["changed"]:
        return f"{one['name']} has ended already ({one['state']}): nothing to sign."
    return f"{one['name']} {'is stopping' if answer['task'] is None else 'has stopped'}."
