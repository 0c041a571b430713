"""`p2pool access revoke`: voids every delegation to an account that was given until now.

A pool knows a delegation by its account and its beginning, so a revocation says before which time
what began is void. That is the next second, so that what was granted in this one is void too; and
later yet where a delegation that the pool has seen begins later, by a clock that is ahead of ours.
"""

import json
import time
from collections.abc import Sequence

import click

from p2pool.cli.shared import types
from p2pool.cli.shared.delegations.words import moment
from p2pool.cli.shared.output import warn, write_json, write_line
from p2pool.cli.shared.signer import Signer
from p2pool.cli.shared.signing import signer_options
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.codec.json.hex import address_text, unhex
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import ADDRESS_BYTES

_HEX = frozenset("0123456789abcdef")


class _Holder(types.AccountType):
    """An account, or the beginning of one that `access ls` shows, as text."""

    name = "text"

    def convert(self, value: object, param: object, ctx: object) -> str:  # type: ignore[override]
        """As it was typed, if it may be the beginning of an address; whole ones are checked."""
        text = str(value)
        digits = text.lower().removeprefix("0x")
        if limits.API_PREFIX_MIN <= len(digits) < 2 * ADDRESS_BYTES and _HEX.issuperset(digits):
            return "0x" + digits
        return address_text(super().convert(text, param, ctx))  # type: ignore[arg-type]


@click.command("revoke")
@click.argument("account", metavar="ACCOUNT", type=_Holder())
@click.option("--stop-tasks", is_flag=True, help="Also stop the tasks that run under them.")
@click.option(
    "--before",
    "before_s",
    type=types.Moment(),
    help="Also those that begin later, but before TIME, such as 2026-12-01. Default: now.",
)
@click.option("--yes", is_flag=True, help="Do not ask; --json needs this.")
@signer_options
def revoke(account: str, stop_tasks: bool, before_s: int | None, yes: bool, signer: Signer) -> None:
    """Void all delegations to ACCOUNT, as the pool's creator or manager.

    Each peer obeys as soon as it applies it: nothing starts under them any more, and no log lines
    are read. Copies that run go on to their end, unless --stop-tasks is given. A new grant gives
    new rights. ACCOUNT may be the beginning of an address that `p2pool access ls` shows.
    """
    asks = not (yes or signer.dry_run)
    if signer.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes.")
    who = _found(signer.client, account)
    held = signer.client.access(who)
    _warn(signer.client, who)
    if asks:
        _confirm(who, held, stop_tasks)
    before_s = _before(before_s, held)
    wanted = {"beforeS": before_s, "stopRunning": stop_tasks}
    text = json.dumps(wanted, separators=(",", ":"))
    answer = signer.send(Action.REVOKE, who.removeprefix("0x"), text)
    if answer is None:
        return
    if signer.as_json:
        write_json("request", {**answer, "account": who, "before_s": before_s})
    else:
        write_line(f"All delegations to {who} are void{'; its tasks stop' if stop_tasks else ''}.")


def _found(client: AgentClient, text: str) -> str:
    """The whole address of an account; `NotFound`, `Conflict`: none, or several, begin so."""
    if unhex(text, ADDRESS_BYTES) is not None:
        return text
    fitting = sorted(
        {one["delegate"] for one in client.access() if one["delegate"].startswith(text)}
    )
    if not fitting:
        raise NotFound(
            f"No account that begins with {text} holds a delegation that the pool has seen.",
            hint="Name the whole address: 0x and 40 hex digits.",
        )
    if len(fitting) > 1:
        raise Conflict(
            f"{len(fitting)} accounts begin with {text}: {', '.join(fitting[:3])}.",
            hint="Name the whole address.",
        )
    return str(fitting[0])


def _warn(client: AgentClient, who: str) -> None:
    """Say what a revocation does not take."""
    pool = client.pool()
    if who in (pool["creator"], pool["manager"]):
        warn(f"{who} rules the pool by the chain's word: no revocation takes that.")


def _confirm(who: str, held: Sequence[Answer], stop_tasks: bool) -> None:
    live = sum(one["tasks"] for one in held)
    what = "its task" if live == 1 else f"its {live} tasks"
    if not live:
        end = ""
    else:
        end = f", and stop {what}" if stop_tasks else f", and let {what} run to the end"
    click.confirm(f"Void all delegations to {who}{end}?", abort=True)


def _before(given_s: int | None, held: Sequence[Answer]) -> int:
    """The time before which what began is void: the next second at least."""
    now_s = int(time.time())
    if given_s is None:
        # No later than a clock may be ahead: what an agent says must not void what comes.
        most_s = now_s + limits.CLOCK_SKEW_MAX_MS // 1000
        begun = [min(one["not_before_s"] or 0, most_s) for one in held]
        # A grant after a revocation begins with its end, unseen (`access grant`): take it too.
        voided = [one["revoked_before_s"] or 0 for one in held]
        return max(now_s, *begun, *(at_s for at_s in voided if at_s <= most_s), 0) + 1
    if given_s <= now_s:
        raise click.UsageError(
            f"--before {moment(given_s)} is past: a revocation takes effect now."
        )
    if given_s > now_s + limits.DELEGATION_LIFETIME_MAX_S:
        most = types.span_text(limits.DELEGATION_LIFETIME_MAX_S)
        raise click.UsageError(f"--before {moment(given_s)} is more than {most} ahead.")
    return given_s
