"""`p2pool pool events`: writes what happened in the pool, or happens, event by event.

Intuition: each event has an id, and whoever names the last that it read misses none. So following
goes on after an agent's restart where it was, and what an agent has lost is said: as a warning, as
an event of the kind `gap` with --json, or with --exact as the end.
"""

import time
from collections.abc import Callable, Iterator

import click

from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import write_json_line, write_line
from p2pool.client.agent_client import AgentClient, Answer, is_event_id
from p2pool.client.errors import not_an_agent
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, NotFound, Stale, Unavailable

_BEGINNING = "0.0.0"


def _id(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_event_id(value):
        raise click.BadParameter(f"{value!r} is not the id of an event: EPOCH.INDEX.NUMBER.")
    return value


@click.command("events")
@click.option(
    "-f", "--follow", is_flag=True, help="Write events as they happen, until interrupted."
)
@click.option(
    "--after",
    metavar="ID",
    callback=_id,
    help="Only events after this one. Default: all that the agent keeps, or with -f from now on.",
)
@click.option("--exact", is_flag=True, help="End with exit code 4 where events after ID are lost.")
@agent_option
@json_option
def events(
    follow: bool, after: str | None, exact: bool, client: AgentClient, as_json: bool
) -> None:
    """Write the pool's events, oldest first.

    With --json one object a line. An agent keeps the latest. Where some of those that were asked
    for are lost, it says so, and up to which. An id that the agent has not reached yet is refused
    (exit code 3): it is from another agent, or from before a recovery of the pool.
    """
    if exact and after is None and not follow:
        raise click.UsageError("--exact needs --after or --follow: else nothing can be missing.")
    newest = client.newest_event()
    if not newest and not follow:
        raise Misconfigured(
            "This agent's version does not say which event is its newest.",
            hint="Upgrade it, or follow what happens from now on: -f.",
        )
    found = (
        followed(client, after or newest, _say)
        if follow
        else kept(client, after or _BEGINNING, newest)
    )
    for one in found:
        if one["kind"] == "gap" and exact:
            raise NotFound(
                f"Events up to {one['id']} are lost.",
                hint=f"Read how the pool is now, then go on: --after {one['id']}.",
            )
        _write(one, as_json)


def kept(client: AgentClient, after: str, newest: str) -> list[Answer]:
    """The events after an id, up to the newest at the time of asking. All are read before one is
    written: the agent has a deadline, whoever reads what is written has none."""
    found: list[Answer] = []
    if _place(after) == _place(newest):
        return found
    for one in client.events(after, ends_soon=True):
        # Without an id all that it keeps was asked for: then a gap at its beginning is none.
        asked = after != _BEGINNING or one["kind"] != "gap"
        if asked and _place(one["id"]) <= _place(newest):
            found.append(one)
        if _place(one["id"]) >= _place(newest):
            break
        if len(found) > limits.CLIENT_EVENTS_MAX:
            raise not_an_agent("it has more events than any agent keeps", client.url)
    return found


def followed(client: AgentClient, after: str, say: Callable[[str], None]) -> Iterator[Answer]:
    """The events after an id, across restarts of the agent; none twice. An agent that has just
    started may not have reached the id yet, so a refusal may pass too, but not the first."""
    since, said, begun = time.monotonic(), "", False
    while True:
        try:
            for one in client.events(after or None):
                said, begun = "", True
                yield one
        except (Unavailable, Stale) as error:
            if client.read_up_to:
                after, since, begun = client.read_up_to, time.monotonic(), True
            patience_s = limits.CLIENT_FOLLOW_PATIENCE_MS / 1000
            if not begun or not after or time.monotonic() - since > patience_s:
                raise
            if error.message != said:
                said = error.message
                say(f"waits for the agent: {said}")
            time.sleep(limits.CLIENT_RETRY_PAUSE_MS / 1000)


def _say(text: str) -> None:
    write_line(f"events: {text}", err=True)


def _place(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split(".")))


def _write(one: Answer, as_json: bool) -> None:
    if as_json:
        write_json_line("event", one)
        return
    if one["kind"] == "gap":
        oldest = one.get("details", {}).get("oldest")
        kept = f"; the oldest that is kept is {oldest}" if oldest else ""
        write_line(f"warning: {one['id']}: {one['text']}{kept}", err=True)
        return
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one["at_ms"] / 1000))
    write_line(f"{one['id']}  {moment}  {one['kind']} {one['subject']} {one['text']}")
