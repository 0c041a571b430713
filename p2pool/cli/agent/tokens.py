"""`p2pool agent token`: makes, lists and revokes the tokens of an agent's API.

An agent that runs is asked through its API, so a token works, or is void, at once. Of one that does
not run the file in its data directory is changed, under the lock that the agent itself would take:
either somebody holds the directory and is asked, or nobody does and the file is nobody's.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import click

from p2pool.cli.shared.options import agent_name_option, found_agent, json_option, names_remote
from p2pool.cli.shared.output import age, write_json, write_line
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.cli.shared.types import FilePath, Span, span_text
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.discovery import AGENT_VARIABLE, agent_directory
from p2pool.client.transport import NoAgent
from p2pool.model import limits
from p2pool.model.access.tokens import MEANINGS, TokenScope
from p2pool.model.data_dir import API_TOKEN_FILE, API_URL_FILE
from p2pool.model.errors import Conflict, Misconfigured

_SCOPES = "\n".join(f"  {scope:<9}{meaning}" for scope, meaning in MEANINGS.items())


class Keeper(Protocol):
    """Who has the tokens of an agent: itself, or its data directory."""

    def tokens(self) -> list[Answer]:
        """What is known of each."""
        ...

    def create_token(self, name: str, scope: str, lifetime_s: int | None) -> Answer:
        """Make one: its `token`, `name`, `scope`, `expires_at_ms`."""
        ...

    def revoke_token(self, name: str) -> None:
        """End one."""
        ...


class StoppedAgent:
    """The tokens of an agent that does not run, as a `Keeper`; its directory is locked for us."""

    def __init__(self, directory: Path) -> None:
        """Reads the file with each call."""
        from p2pool.drivers.keys.token_file import TokenFile

        self._file = TokenFile(directory)

    def tokens(self) -> list[Answer]:
        """See `Keeper`; the agent's own token first."""
        from p2pool.model.access.tokens import OWN_NAME

        own = {"name": OWN_NAME, "scope": TokenScope.OPERATE.value}
        times = {"made_at_ms": 0, "expires_at_ms": 0, "used_at_ms": 0}
        return [own | times] + [
            {
                "name": one.name,
                "scope": one.scope.value,
                "made_at_ms": one.made_at_ms,
                "expires_at_ms": one.expires_at_ms,
                "used_at_ms": one.used_at_ms,
            }
            for one in self._file.load()
        ]

    def create_token(self, name: str, scope: str, lifetime_s: int | None) -> Answer:
        """See `Keeper`."""
        from p2pool.model.access.tokens import made_token

        text = self._file.make()
        now_ms = time.time_ns() // 1_000_000
        tokens, made = made_token(
            self._file.load(), name, TokenScope(scope), text, now_ms, lifetime_s
        )
        self._file.save(tokens)
        return {"token": text, "name": name, "scope": scope, "expires_at_ms": made.expires_at_ms}

    def revoke_token(self, name: str) -> None:
        """See `Keeper`."""
        from p2pool.model.access.tokens import without

        self._file.save(without(self._file.load(), name))


@contextmanager
def keeper_of(given: str | None) -> Iterator[Keeper]:
    """Who has the tokens of the agent that the command line means."""
    text = given or os.environ.get(AGENT_VARIABLE) or ""
    directory = None if "://" in text else agent_directory(given, os.environ)
    is_here = directory is not None and (directory / API_TOKEN_FILE).exists()
    if directory is None or not is_here or names_remote() or _answers(directory, given):
        yield AgentClient.of(found_agent(given))
        return
    from p2pool.drivers.store.datadir import DataDirLock
    from p2pool.model.errors import DataDirInUse

    lock = DataDirLock(directory)
    try:
        lock.__enter__()
    except DataDirInUse:
        yield AgentClient.of(found_agent(given))
        return
    try:
        yield StoppedAgent(directory)
    finally:
        lock.__exit__(None, None, None)


def _answers(directory: Path, given: str | None) -> bool:
    """Whether an agent serves at the URL in its directory, or did not leave it there by a crash."""
    if not (directory / API_URL_FILE).exists():
        return False
    try:
        AgentClient.of(found_agent(given)).get("/v1/health")
    except NoAgent:
        return False
    return True


@click.group(name="token", help="Make, list and revoke the tokens of an agent's API.")
def token() -> None:
    """The group."""


@token.command(
    "create",
    epilog=f"\b\nScopes:\n{_SCOPES}",
)
@click.argument("name")
@click.option(
    "--scope",
    required=True,
    type=click.Choice([scope.value for scope in TokenScope]),
    help="What it opens.",
)
@click.option(
    "--for",
    "lifetime_s",
    type=Span(1, limits.API_TOKEN_LIFETIME_MAX_S),
    metavar="TIME",
    help="How long it is good, such as 30d. Default: until it is revoked.",
)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="A new file for the token, which only you can read. Default: standard output.",
)
@agent_name_option("The agent that it opens")
@json_option
def create(
    name: str,
    scope: str,
    lifetime_s: int | None,
    out: Path | None,
    agent: str | None,
    as_json: bool,
) -> None:
    """Make a token, and show it this once.

    It is good at once where the agent runs, and otherwise from its next start. The agent keeps its
    digest alone, so whoever loses it makes another one.
    """
    with _file_for(out) as write, keeper_of(agent) as keeper:
        made = keeper.create_token(name, scope, lifetime_s)
        write(str(made["token"]))
    until_ms = int(made["expires_at_ms"])
    if as_json:
        told: dict[str, Any] = {"name": name, "scope": scope, "expires_at_ms": until_ms}
        held = {"token": None, "file": str(out)} if out else {"token": made["token"], "file": None}
        write_json("token", told | held)
        return
    good = f"for {span_text(lifetime_s)}" if lifetime_s else "until it is revoked"
    if out is not None:
        write_line(f"{out}: the token {name}, which opens {scope}, {good}.")
        return
    click.echo(made["token"])
    write_line(f"The token {name} opens {scope}, {good}. It is not shown again.", err=True)


@contextmanager
def _file_for(out: Path | None) -> Iterator[Any]:
    """Something that takes the token. The file is there before the token is made, since a token
    that cannot be written down is lost; and gone again if none was made."""
    if out is None:
        yield lambda _: None
        return
    try:
        opened = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Conflict(
            f"The file {out} already exists.", hint="Name another; it is not overwritten."
        ) from error
    except OSError as error:
        raise Misconfigured(f"The file {out} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(opened, "w") as file:
            yield lambda text: file.write(text + "\n")
    except BaseException:
        with suppress(OSError):
            out.unlink()
        raise


@token.command("ls")
@agent_name_option("The agent whose tokens they are")
@wide_option
@json_option
def ls(agent: str | None, as_json: bool) -> None:
    """List the tokens: what each opens, until when, and when somebody last showed it.

    api.token is the agent's own, by which the commands of its machine speak to it.
    """
    with keeper_of(agent) as keeper:
        found = keeper.tokens()
    if as_json:
        write_json("tokens", found)
        return
    rows = (
        (
            *(str(one["name"]), str(one["scope"]), age(one["made_at_ms"])),
            *(_until(one["expires_at_ms"]), age(one["used_at_ms"])),
        )
        for one in found
    )
    columns = ("NAME", "SCOPE", Column("MADE", rank=2), Column("EXPIRES", rank=1), "LAST USED")
    write_table(columns, rows, "The agent has no token.")


def _until(at_ms: int) -> str:
    now_ms = time.time_ns() // 1_000_000
    if not at_ms:
        return "never"
    return f"in {age(now_ms, at_ms)}" if at_ms > now_ms else f"{age(at_ms, now_ms)} ago"


@token.command("revoke")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@agent_name_option("The agent whose tokens they are")
@json_option
def revoke(names: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Revoke tokens. Where the agent runs they open nothing from now on, and the streams that they
    opened end."""
    with keeper_of(agent) as keeper:
        for name in names:
            keeper.revoke_token(name)
            if not as_json:
                write_line(name)
    if as_json:
        write_json("tokens", {"revoked": list(names)})
