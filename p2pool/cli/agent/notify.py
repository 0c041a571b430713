"""`p2pool agent notify`: tries what the configuration says of receivers of events."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.errors import FAILED
from p2pool.cli.shared.chain import config_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.process import begin_logs, data_directory, directory_option
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.model.errors import Misconfigured, NotFound

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import NotifyConfig
    from p2pool.drivers.webhooks.client import Outcome
    from p2pool.drivers.webhooks.receiver import Receiver

_HOW = "Add [[notify.webhooks]] with name, url and secret_file to the configuration."


@click.group(name="notify", help="Try the receivers of events that the configuration names.")
def notify() -> None:
    """The group."""


@notify.command("test")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@directory_option
@config_option
@wide_option
@json_option
@click.pass_context
def test(
    context: click.Context,
    names: tuple[str, ...],
    data_dir: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Send a signed message of the type "test" to each receiver, or to those named.

    It is sent once, from here, by the rules of the agent: addresses, TLS, secret, deadline. The
    agent itself need not run. Exit code 0: all took it; 1: one did not.
    """
    from p2pool.cli.agent.start_files import start_files
    from p2pool.drivers.config.schema import load_config

    directory = data_directory(data_dir)
    files = start_files(context, directory, {"config": config})
    found = load_config(files.config, files.environment, elsewhere="--data-dir DIR")
    settings = begin_logs(found, "warning", None)
    results = _send(settings.notify, names)
    items = [
        {
            "name": receiver.name,
            "url": receiver.shown,
            "message_id": message_id,
            "delivered": not outcome.why,
            "status": outcome.status,
            "problem": outcome.why,
        }
        for receiver, message_id, outcome in results
    ]
    if as_json:
        write_json("webhook-tests", items)
    else:
        rows = [
            (
                "failed" if outcome.why else "ok",
                *(receiver.name, receiver.shown),
                outcome.why or f"status {outcome.status}",
            )
            for receiver, _, outcome in results
        ]
        columns = ("", "WEBHOOK", Column("URL", rank=1), Column("RESULT", prose=True))
        marks = ["red" if one["problem"] else "green" for one in items]
        write_table(columns, rows, "", marks=marks)
    if any(one["problem"] for one in items):
        context.exit(FAILED)


def _send(
    settings: "NotifyConfig", names: tuple[str, ...]
) -> "list[tuple[Receiver, str, Outcome]]":
    """Send to all at once; the results in the order of the configuration."""
    import trio

    from p2pool.drivers.webhooks.delivery import send_test
    from p2pool.drivers.webhooks.receiver import load_receivers

    known = [one.name for one in settings.webhooks]
    if not known:
        raise Misconfigured("The configuration names no receiver of events.", hint=_HOW)
    if wrong := [name for name in names if name not in known]:
        raise NotFound(
            f"The configuration has no webhook {wrong[0]!r}.", hint=f"It has: {', '.join(known)}."
        )
    receivers = [one for one in load_receivers(settings) if not names or one.name in names]
    results: dict[str, tuple[str, Outcome]] = {}

    async def send(receiver: "Receiver") -> None:
        results[receiver.name] = await send_test(receiver)

    async def send_all() -> None:
        async with trio.open_nursery() as nursery:
            for receiver in receivers:
                nursery.start_soon(send, receiver)

    trio.run(send_all)
    return [(one, *results[one.name]) for one in receivers]
