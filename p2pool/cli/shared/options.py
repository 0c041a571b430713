"""What commands that talk to an agent share: its options, the key that signs, finding by name."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pool.client.agent import AgentClient, Answer
from p2pool.client.discovery import find_agent
from p2pool.model import limits
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import Conflict, Misconfigured, NotFound
from p2pool.model.ids import DIGEST_BYTES, PoolRef

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

F = TypeVar("F", bound=Callable[..., Any])

REQUEST_LIFETIME_S = 600
_PREFIX_MIN = 4
_LISTED = 5

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print exactly what would be signed, and sign nothing."
)
consistent_option = click.option(
    "--consistent", is_flag=True, help="First catch up with the leader."
)


def agent_option(command: F) -> F:
    """`--agent`, given to the command as a client."""

    def connect(_: click.Context, __: click.Parameter, value: str | None) -> AgentClient:
        found = find_agent(value, os.environ)
        return AgentClient(found.url, found.token)

    return click.option(
        "--agent",
        "client",
        metavar="URL|DIR",
        callback=connect,
        help="The agent to ask: its URL or data directory. Default: P2POOL_AGENT, else this"
        " user's own agent.",
    )(command)


def key_options(command: F) -> F:
    """`--key` and `--passphrase-file`."""
    command = click.option(
        "--passphrase-file",
        metavar="FILE",
        help="Where the key's passphrase is. Default: P2POOL_PASSPHRASE_FILE, else it is asked"
        " for.",
    )(command)
    return click.option(
        "--key",
        metavar="FILE",
        envvar="P2POOL_KEY",
        help="The key file of the account that signs. Default: P2POOL_KEY.",
    )(command)


def account_of(key: str | None, passphrase_file: str | None) -> "LocalAccount":
    """The account in a key file, its passphrase read or asked for."""
    if not key:
        raise Misconfigured(
            "This has to be signed, and no key is given.",
            hint="Name a key file: --key FILE or P2POOL_KEY. Make one: p2pool wallet new.",
        )
    from p2pool.drivers.keys.keystore import load_account, read_passphrase

    path = Path(key).expanduser()
    file = Path(passphrase_file).expanduser() if passphrase_file else None
    return load_account(path, read_passphrase(f"the key {path.name}", file=file))


# --- what is signed -----------------------------------------------------------------------------


def request_for(
    pool: PoolRef, action: Action, target: str = "", spec_json: str = ""
) -> TaskRequest:
    """A fresh request, in force from now on for ten minutes."""
    now_s = int(time.time())
    return TaskRequest(
        action,
        pool.pool_id,
        target,
        spec_json,
        secrets.token_bytes(DIGEST_BYTES),
        now_s,
        now_s + REQUEST_LIFETIME_S,
    )


def grant_for(pool: PoolRef, task_id: str) -> LogGrant:
    """A fresh right to read a task's logs, in force as long as one may be."""
    now_s = int(time.time())
    return LogGrant(pool.pool_id, task_id, now_s, now_s + limits.GRANT_LIFETIME_MAX_S)


def plain(value: Any) -> Any:
    """Typed data with bytes as `0x` hex, as wallets take them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


# --- by name ------------------------------------------------------------------------------------


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, the beginning of its id, or its name; the living one where several have it."""
    tasks = client.tasks()
    wanted = text.lower().removeprefix("0x")
    found = [task for task in tasks if task["task_id"] == wanted]
    if not found:
        named = [task for task in tasks if task["name"] == text]
        alive = [task for task in named if task["state"] in LIVING]
        found = alive or named[:1]
    if not found and len(wanted) >= _PREFIX_MIN:
        found = [task for task in tasks if task["task_id"].startswith(wanted)]
    return _only(found, f"task {text!r}", "task_id", "p2pool task ls --all")


def find_node(client: AgentClient, text: str) -> Answer:
    """A node by id or the beginning of it."""
    wanted = "0x" + text.lower().removeprefix("0x")
    found = [node for node in client.nodes() if node["node_id"].startswith(wanted)]
    if len(wanted) < _PREFIX_MIN + 2:
        found = []
    return _only(found, f"node {text!r}", "node_id", "p2pool node ls")


LIVING = ("pending", "running", "stopping")


def _only(found: Sequence[Answer], what: str, key: str, where: str) -> Answer:
    if not found:
        raise NotFound(f"There is no {what}.", hint=f"See: {where}.")
    if len(found) > 1:
        ids = ", ".join(str(one[key]) for one in found[:_LISTED])
        raise Conflict(f"There are {len(found)} of {what}: {ids}.", hint="Use a longer id.")
    return found[0]
