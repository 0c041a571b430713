"""`p2pool agent check`: says whether this machine qualifies, and what to do if not."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.errors import FAILED
from p2pool.cli.shared.chain import config_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.process import begin_logs, data_directory, directory_option
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.cli.shared.types import AddressType, KeyPlaceType
from p2pool.model.ids import Address, NodeId
from p2pool.model.machine.checks import Check, Group, Verdict, worst

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.drivers.keys.signers.place import KeyPlace

MARKS = {
    Verdict.PASS: ("ok", "green"),
    Verdict.WARN: ("warn", "yellow"),
    Verdict.FAIL: ("fail", "red"),
}


@click.command("check")
@directory_option
@config_option
@click.option(
    "--node-key",
    type=KeyPlaceType(),
    metavar="KEY",
    help="The node's key, asked for its address only: a key file, fd:N or clef:PATH. Default:"
    " node.json in the data directory, if there is one.",
)
@click.option("--node", type=AddressType(), help="The node's address, instead of its key file.")
@click.option("--provider", type=AddressType(), help="The address of the provider who stakes.")
@click.option(
    "--only",
    "only",
    multiple=True,
    type=click.Choice([g.value for g in Group]),
    help="Check only this group. Repeatable.",
)
@wide_option
@json_option
@click.pass_context
def check(
    context: click.Context,
    data_dir: Path | None,
    config: Path | None,
    node_key: "KeyPlace | None",
    node: Address | None,
    provider: Address | None,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check whether this machine can join the pool, and say what to do if it cannot.

    The command asks for no passphrase and sends nothing. It runs one container, to see that one
    starts and which GPUs it sees. Exit code 0: nothing failed; 1: something did.
    """
    if node is not None and node_key is not None:
        raise click.UsageError("--node and --node-key name the node twice: give one of them.")
    from p2pool.cli.agent.start_files import start_files
    from p2pool.drivers.config.schema import load_config

    directory = data_directory(data_dir)
    files = start_files(context, directory, {"config": config, "node_key": node_key})
    # Without it lines of the log would stand between those of the answer, and with their secrets.
    found = load_config(files.config, files.environment, elsewhere="--data-dir DIR")
    settings = begin_logs(found, "warning", None)
    if node is None:
        from p2pool.drivers.keys.signers.opener import key_address
        from p2pool.drivers.keys.signers.place import is_there

        if node_key is not None or is_there(files.node_key):
            node = key_address(files.node_key)
    groups = tuple(Group(name) for name in only) or tuple(Group)
    checks = _look(settings, directory, node, provider, groups)
    if as_json:
        verdict = worst(checks).name.lower()
        write_json("checks", {"verdict": verdict, "checks": [_plain(c) for c in checks]})
    else:
        write_checks(checks)
    if worst(checks) is Verdict.FAIL:
        context.exit(FAILED)


def _look(
    settings: "AgentConfig",
    directory: Path,
    node: Address | None,
    provider: Address | None,
    groups: tuple[Group, ...],
) -> list[Check]:
    import trio
    from rich.console import Console

    from p2pool.agent.certificate_check import certificate_checks
    from p2pool.agent.containers.runtime_choice import docker_runtime, runs_processes
    from p2pool.drivers.checks.run import Subject, run_checks

    node_id = NodeId(bytes(node)) if node is not None else None

    async def look() -> list[Check]:
        docker = docker_runtime(settings, directory, node_id or NodeId(bytes(20)))
        runtime = None if await runs_processes(settings, docker) else docker
        found = await run_checks(
            Subject(
                config=settings,
                directory=directory,
                runtime=runtime,
                node_id=node_id,
                provider=provider,
            ),
            groups,
        )
        return found + (certificate_checks(settings.api) if Group.NETWORK in groups else [])

    with Console(stderr=True).status("checking hardware, software, network and chain"):
        return trio.run(look)


def write_checks(checks: list[Check]) -> None:
    """Write a table, with what to do under each check that did not pass."""
    rows = [
        (MARKS[one.verdict][0], f"{one.group.value}: {one.name}", one.found, one.needed)
        for one in checks
    ]
    write_table(
        ("", "CHECK", Column("FOUND", prose=True), Column("NEEDED", rank=1, prose=True)),
        rows,
        "Nothing was checked.",
        marks=[MARKS[one.verdict][1] for one in checks],
        notes=[
            f"-> {one.todo}" if one.todo and one.verdict is not Verdict.PASS else ""
            for one in checks
        ],
    )
    failed = sum(one.verdict is Verdict.FAIL for one in checks)
    warned = sum(one.verdict is Verdict.WARN for one in checks)
    click.echo(f"\n{len(checks)} checks: {failed} failed, {warned} warned.")


def _plain(one: Check) -> dict[str, str]:
    return {
        "group": one.group.value,
        "name": one.name,
        "verdict": one.verdict.name.lower(),
        "found": one.found,
        "needed": one.needed,
        "todo": one.todo,
    }
